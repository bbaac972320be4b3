"""A flood with a bystander beside it: what it ends in, and what it costs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from tests.robustness.outcomes import CUT, OPEN
from tests.robustness.support.frames import HELLO
from tests.robustness.support.peer import connected
from tests.robustness.support.watched import Watch, p99

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.floods import Flood
    from tests.robustness.support.watched import Bystander

SURELY: Final = 4.0
"""Seconds within which a server that cuts off has done it: Envoy lingers for one."""
HARDLY: Final = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an attack ended in, and what it cost."""

    ending: str
    frames: int
    cpu_us: float
    """Of the limiter, a frame."""
    grown: int
    """KiB of the limiter's memory, more than before."""
    quiet: float
    beside: float
    """p99 of the bystander in seconds: before the attack, and during it."""
    failures: int


async def attack(
    limiter: Limiter, someone: Bystander, flood: Flood, seconds: float, *, cut: bool
) -> Figures:
    """Flood for some time; `cut` says whether to wait for the end of the connection."""
    watch = Watch(limiter, someone)
    await watch.rest(seconds / 2)
    async with connected(limiter.address, HELLO + flood.begin, reads=flood.reads) as peer:
        async with watch.attack():
            await peer.flood(flood.units(), seconds)
        peer.start_reading()
        is_cut = await peer.cut_off_within(SURELY if cut else HARDLY)
    frames = max(1, peer.sent * flood.frames)
    return Figures(
        ending=CUT if is_cut else OPEN,
        frames=frames,
        cpu_us=watch.cpu * 1e6 / frames,
        grown=watch.grown,
        quiet=p99(watch.quiet),
        beside=p99(watch.beside),
        failures=someone.failures,
    )
