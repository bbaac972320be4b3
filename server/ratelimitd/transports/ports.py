"""What the process asks of a transport, whichever it is."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """Serves the handlers it was made with on the addresses it was made with."""

    async def start(self) -> tuple[str, ...]:
        """Listen and serve; return the addresses, free ports resolved.

        Raises `SettingsError` when an address cannot be had.
        """
        ...

    async def stop(self, grace: float) -> None:
        """Take no new calls, let those under way finish for up to `grace` seconds, then close."""
        ...


HEADERS = 128 << 10
"""Bytes of a call's headers. A tracing Envoy copies its client's `tracestate`, of up to 96 KiB,
into its call to the limiter: refusing that would let the request pass unlimited."""
FIELDS = 256
"""Header fields of a call."""
GRACE = 5.0
"""Seconds that calls under way get to finish."""
