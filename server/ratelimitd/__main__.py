"""The entry point, as `ratelimitd` and as `python -m ratelimitd`."""

from __future__ import annotations

import sys

from ratelimitd.cli.program import run


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
