"""How the limits of a key stand, and what comes of them: one look, which charges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.accounts.forecast import Forecast, Seen, forecasts, probe
from ratelimitd.model import Kind, Limit, Op, Standing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ratelimitd.model import Counter
    from ratelimitd.stores.ports import Counters


class Counted(NamedTuple):
    """A limit of a key, and where it is counted."""

    domain: str
    limit: Limit
    counter: Counter


class Usage(NamedTuple):
    """How one limit of a key stands."""

    domain: str
    limit: Limit
    standing: Standing
    forecast: Forecast | None = None
    """What comes of it at the present pace; None: nothing can be said."""


async def look(counters: Counters, counted: Sequence[Counted]) -> list[Usage]:
    """Return how limits stand, all at one instant. Raises `StoreError`."""
    if not counted:
        return []
    peeks = [Op(Kind.PEEK, each.counter, each.limit, 1) for each in counted]
    probes = [peek._replace(hits=probe(peek.limit)) for peek in peeks if probe(peek.limit)]
    taken = await counters.take([*peeks, *probes])
    standings, ahead = taken.standings[: len(peeks)], iter(taken.standings[len(peeks) :])
    seen = list(_seen(counted, standings, ahead))
    return [
        Usage(each.domain, each.limit, standing, forecast)
        for each, standing, forecast in zip(
            counted, standings, forecasts(seen, taken.now), strict=True
        )
    ]


def _seen(
    counted: Sequence[Counted], standings: Sequence[Standing], ahead: Iterator[Standing]
) -> Iterator[Seen]:
    for each, standing in zip(counted, standings, strict=True):
        probed = next(ahead) if probe(each.limit) else None
        yield Seen(each.domain, each.limit, standing.before, probed)
