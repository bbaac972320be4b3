"""The tests of ratelimitd; a folder is a level.

    architecture/  what may import, read or call what, and how large anything may grow
    unit/          one module, no I/O, time given by the test
    contract/      one suite for every implementation of a port
    property/      laws under generated input: the model against the implementation
    rpc/           the servicers over a real channel in this process
    e2e/           real Envoy, real Redis, real processes
    robustness/    hostile peers on every transport, with one table of what they get
    simulation/    weeks of traffic on a virtual clock
    soak/          the long runs of `make soak`; `make test` leaves them out

`tests` is an ordinary package whose parent is on pytest's path (`pythonpath` in pyproject.toml),
so a shared helper is imported by its full name, `from tests.support import …`, and a file has one
name for pytest and for mypy. Each folder needs its `__init__.py`.

A test's name is a sentence and its docstring the rule; below e2e/ no test sleeps. An
`async def test_…` simply runs: anyio's pytest plugin finds it, on the loop of conftest.py.
"""
