"""Which Python runs what: the transport pyvoy has an environment of its own (see Makefile)."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

PYVOY = Path(__file__).parents[2] / ".venv-pyvoy/bin/python"


def interpreter(transport: str) -> str:
    """Return the Python that a limiter on a transport runs in."""
    if transport != "pyvoy":
        return sys.executable
    assert PYVOY.exists(), f"no {PYVOY}; `make test` makes it"
    return str(PYVOY)


def has_libpython() -> bool:
    """Say whether this Python has the shared library that an Envoy loads it from."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}{sys.abiflags}.so.1.0"
    folders = (sysconfig.get_config_var("LIBDIR"), f"{sys.base_exec_prefix}/lib")
    return any(Path(folder, name).exists() for folder in folders if folder)
