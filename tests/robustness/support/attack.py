"""A flood with a bystander beside it: what it ends in, what it costs, and what it costs others.

Others are compared with a control: the same flood at the same time, sent to a sink. What remains is
the limiter's, and not the machine's whose cores all of them share.
"""

from __future__ import annotations

import dataclasses
import statistics
from typing import TYPE_CHECKING, Final

from tests.robustness.outcomes import CUT, OPEN
from tests.robustness.support.floods import FLOODS
from tests.robustness.support.watched import Watch, p99

if TYPE_CHECKING:
    from tests.e2e.support.limiter import Limiter
    from tests.robustness.support.flooder import Flooder
from tests.robustness.support.watched import Bystander

SURELY: Final = 4.0
"""Seconds within which a server that cuts off has done it: Envoy lingers for one."""
HARDLY: Final = 0.1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One control, one attack."""

    cuts: int
    frames: int
    rate: float
    """Bytes a second that the limiter took."""
    cpu: float
    grown: int
    calls: int
    control: float
    beside: float
    failures: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Figures:
    """What attacks ended in, and what they cost."""

    rounds: list[Round]

    @property
    def ending(self) -> str:
        """Whether the limiter ended the connection, in every round."""
        return CUT if all(each.cuts for each in self.rounds) else OPEN

    @property
    def cpu_us(self) -> float:
        """Of the limiter, a frame."""
        return sum(each.cpu for each in self.rounds) * 1e6 / sum(e.frames for e in self.rounds)

    @property
    def grown(self) -> int:
        """KiB of the limiter's memory, more than before a round at the most."""
        return max(each.grown for each in self.rounds)

    @property
    def rate(self) -> float:
        """Bytes a second that the limiter took."""
        return statistics.median(each.rate for each in self.rounds)

    @property
    def beside(self) -> float:
        """The bystander's p99 in seconds, beside the flood."""
        return statistics.median(each.beside for each in self.rounds)

    @property
    def ratio(self) -> float:
        """That p99 as a multiple of the control's."""
        return statistics.median(each.beside / each.control for each in self.rounds)

    @property
    def calls(self) -> int:
        """Of the bystander in a round beside the flood, at the least."""
        return min(each.calls for each in self.rounds)

    @property
    def failures(self) -> list[str]:
        """How calls of the bystander failed."""
        return [failure for each in self.rounds for failure in each.failures]


async def attack(
    limiter: Limiter,
    someone: Bystander,
    flooder: Flooder,
    row: str,
    seconds: float,
    *,
    cut: bool,
    rounds: int = 1,
) -> Figures:
    """Flood for some time; `cut` says whether to wait for the end of the connection."""
    wait = SURELY if cut else HARDLY
    return Figures(
        [await _round(limiter, someone, flooder, row, seconds, wait) for _ in range(rounds)]
    )


async def _round(
    limiter: Limiter, someone: Bystander, flooder: Flooder, row: str, seconds: float, wait: float
) -> Round:
    watch = Watch(limiter, someone)
    before = len(someone.failed)
    async with watch.control():
        await flooder.flood(row, None, seconds)
    async with watch.attack():
        flooded = await flooder.flood(row, limiter.address, seconds, wait=wait)
    return Round(
        cuts=flooded.cuts,
        frames=max(1, flooded.units * FLOODS[row].frames),
        rate=flooded.size / seconds,
        cpu=watch.cpu,
        grown=watch.grown,
        calls=len(watch.beside),
        control=p99(watch.quiet),
        beside=p99(watch.beside),
        failures=tuple(someone.failed[before:]),
    )
