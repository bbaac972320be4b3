"""The Redis store's client side in virtual time, against servers that fail by a seed.

`python -m tests.simulation SEED` runs one seed and prints what happened. Bottom first: `loop`,
`keyspace`, `script`, `server`, `network`, `ledger`, `traffic`, `run`, `plants`.
"""
