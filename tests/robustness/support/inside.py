"""What pyvoy loads in place of our own module: the same application, with faults planted first."""

from __future__ import annotations

import os

from ratelimitd.cli.inside_envoy import application
from tests.robustness.support import planted

__all__ = ["application"]

planted.plant(os.environ[planted.VARIABLE])
