"""What the figures were measured on: the machine and the commit."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from os import cpu_count
from pathlib import Path


def describe() -> str:
    """Return one line: processor, cores, Python, versions that matter, commit."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    packages = ", ".join(f"{name} {version(name)}" for name in ("h2corn", "grpcio", "protobuf"))
    return (
        f"{names[0] if names else platform.machine()}, {cpu_count()} cores, "
        f"Python {platform.python_version()}, {packages}, commit {_commit()}"
    )


def _commit() -> str:
    git = ("git", "describe", "--always", "--dirty")
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
