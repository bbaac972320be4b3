"""Peers that take their time: each is a beginning, and what follows twice a second."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Final

from tests.e2e.support.limiter import run_limiter
from tests.robustness import outcomes
from tests.robustness.outcomes import TRANSPORTS
from tests.robustness.support import frames
from tests.robustness.support.frames import CALL, HELLO, PREFACE, frame, headers, number
from tests.robustness.support.malformed import MESSAGE
from tests.robustness.support.peer import connected
from tests.robustness.support.watched import POLICY, bystander

if TYPE_CHECKING:
    from tests.robustness.support.peer import Peer

PACE: Final = 0.5
TOLERANCE: Final = 2.0
_LONG_HEADERS: Final = headers(1, CALL + b"\x00\x01x\x7f\x80\x01" + b"y" * 255)
_NO_WINDOW: Final = frame(frames.SETTINGS, payload=b"\0\x04" + number(0))


@dataclasses.dataclass(frozen=True, slots=True)
class Slow:
    """One kind of peer."""

    begin: bytes
    more: bytes = b""
    """Sent whole, time after time; or cut into bytes where `bytewise`."""
    bytewise: bool = False


SLOW: Final[dict[str, Slow]] = {
    "nothing at all": Slow(b""),
    "half a preface": Slow(PREFACE[:10]),
    "half a preface, and rubbish": Slow(PREFACE[:10] + b"X"),
    "no settings": Slow(PREFACE),
    "half a frame": Slow(HELLO + headers(1)[:20]),
    "headers byte by byte": Slow(HELLO + _LONG_HEADERS[:-250], _LONG_HEADERS[-250:], bytewise=True),
    "headers without end": Slow(HELLO + headers(1, flags=0)),
    "a continuation now and then": Slow(
        HELLO + headers(1, flags=0), frame(frames.CONTINUATION, 0, 1, b"\x00\x01x\x01y")
    ),
    "no body": Slow(HELLO + headers(1)),
    "a body byte by byte": Slow(HELLO + headers(1), frame(frames.DATA, 0, 1, b"\0")),
    "an answer that is not taken": Slow(HELLO + _NO_WINDOW + headers(1) + MESSAGE),
}


async def patience(address: str, slow: Slow, most: float) -> float | None:
    """Return the seconds after which the call or the connection was ended; None if it was not."""
    async with connected(address, slow.begin) as peer:
        began = time.monotonic()
        sent = 0
        while (now := time.monotonic() - began) < most:
            if peer.is_cut_off or peer.resets:
                return now
            if slow.more and now >= (sent + 1) * PACE:
                _send(peer, slow, sent)
                sent += 1
            await asyncio.sleep(0.05)
    return None


def _send(peer: Peer, slow: Slow, index: int) -> None:
    peer.send(slow.more[index : index + 1] if slow.bytewise else slow.more)


async def _waits(transport: str, most: float) -> list[float | None]:
    """Return what each slow peer saw; somebody who comes afterwards is served."""
    async with run_limiter(POLICY, transport=transport) as limiter:
        waits = await asyncio.gather(
            *(patience(limiter.address, slow, most) for slow in SLOW.values())
        )
        async with bystander(limiter.address):
            return waits


def _agree(expected: float | None, found: float | None, most: float) -> bool:
    if expected is None or expected > most:
        return found is None
    return found is not None and abs(expected - found) < TOLERANCE


async def wrong_waits(most: float) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Wait at all transports at once; return expected and seen where they differ."""
    found = await asyncio.gather(*(_waits(transport, most) for transport in TRANSPORTS))
    return {
        (row, transport): (waits[index], found[index][number])
        for index, transport in enumerate(TRANSPORTS)
        for number, (row, waits) in enumerate(outcomes.SLOW.items())
        if not _agree(waits[index], found[index][number], most)
    }
