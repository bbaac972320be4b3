"""The admin interface of the Envoy around this process, on one connection to a unix socket.

The socket can be removed once the connection stands: then nobody else reaches the interface.
"""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from typing import TYPE_CHECKING

from ratelimitd.transports.pyvoy_config import STAT_PREFIX

if TYPE_CHECKING:
    from pathlib import Path


class Admin:
    """One connection to the admin interface."""

    def __init__(self, path: Path) -> None:
        self._http = http.client.HTTPConnection("envoy")
        self._http.auto_open = 0
        self._http.sock = socket.socket(socket.AF_UNIX)
        self._http.sock.settimeout(5)
        self._http.sock.connect(str(path))
        self._turn = threading.Lock()

    async def ask(self, method: str, path: str) -> bytes:
        """Return the body of an answer."""
        return await asyncio.to_thread(self._ask, method, path)

    def _ask(self, method: str, path: str) -> bytes:
        with self._turn:  # a question that nobody waits for any more is still answered
            self._http.request(method, path)
            return self._http.getresponse().read()

    async def is_live(self) -> bool:
        """Say whether Envoy serves."""
        return await self.ask("GET", "/ready") == b"LIVE\n"

    async def count(self, name: str) -> int:
        """Return one of Envoy's counts of gRPC connections (`cx_…`) or requests (`rq_…`)."""
        name = f"http.{STAT_PREFIX}.downstream_{name}"
        text = await self.ask("GET", f"/stats?filter=^{name}$")
        return int(text.rpartition(b":")[2] or 0)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()
