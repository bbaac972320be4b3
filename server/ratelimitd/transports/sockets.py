"""What may be done with the path of a unix socket before anything listens there.

Servers unlink whatever has the name: they would take a running limiter's callers away, or a file.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimitd.settings import Address

IN_USE = "in use by a running server; stop that one first, or choose another path"


def refuse_in_use(addresses: Iterable[Address]) -> None:
    """Raise `SettingsError` for the first path that is not free, nor left behind by a crash."""
    for address in addresses:
        if not address.path:
            continue
        try:
            refuse_path(Path(address.path))
        except OSError as error:
            msg = f"cannot listen on {address}: {error.strerror or error}"
            raise SettingsError(msg) from error


def refuse_path(path: Path) -> None:
    """Raise `OSError` where listening would take something away, or cannot work."""
    if not path.exists():
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise FileNotFoundError(0, f"{path.parent} is no folder that can be written to")
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(0, "the file exists, and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a server that is too busy to accept is one all the same
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # left behind by a process that is gone, or taken away meanwhile
        except PermissionError as error:
            raise OSError(0, "the socket of somebody else, who lets nobody ask") from error
        except OSError as error:
            raise OSError(0, IN_USE) from error
    raise OSError(0, IN_USE)
