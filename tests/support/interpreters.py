"""Which Python runs what: the transport pyvoy has an environment of its own (see Makefile)."""

from __future__ import annotations

import sys
from pathlib import Path

PYVOY = Path(__file__).parents[2] / ".venv-pyvoy/bin/python"


def interpreter(transport: str) -> str:
    """Return the Python that a limiter on a transport runs in."""
    if transport != "pyvoy":
        return sys.executable
    assert PYVOY.exists(), f"no {PYVOY}; `make test` makes it"
    return str(PYVOY)
