"""`bench`: load on a running limiter, by h2load where it is installed, and what came of it."""

from ratelimitd.cli.bench.command import bench

__all__ = ["bench"]
