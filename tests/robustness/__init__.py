"""What hostile, broken and impatient peers get, on every transport as a process.

`outcomes.py` is the one table: row and transport to what really happens. The tests measure, and
compare with it; none is skipped. The long runs of the same rows are in tests/soak.
"""
