"""What a record means under a policy: its words become limits, and time decides what holds.

Pure. Reads leniently what was checked when it was written (`checks`): a limit that the present
policy cannot have, of a meter that it lacks, is left out.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimitd.model import Algorithm, Limit, MeterKind, usual_algorithm, usual_name
from ratelimitd.policy import spec
from ratelimitd.policy.rates import read_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimitd.accounts.record import OwnLimit, Record
    from ratelimitd.model import Meter

NO_LIMITS = "of a custom tier, and has no limits of its own yet"
MOST_FACTOR = 1_000
_KEPT = 8_192


def meaning(record: Record, policy: spec.Policy, now: int) -> spec.Record | None:
    """Return the record as a policy understands it at an instant; None: as if not registered.

    A key whose tier the policy does not have gets that of callers whom nobody registered.
    """
    refusal = record.refusal(now)
    tier = policy.tiers.get(record.tier)
    name = record.tier
    if tier is None:
        default = policy.subject.default_tier
        name = default if isinstance(default, str) else ""
        if not name and not refusal:
            return None
    boost = record.boosted(now)
    limits = _limits(record.limits, policy.meters)
    if boost is not None:
        instead = _limits(boost.limits, policy.meters)
        meters = {limit.meter for limit in instead}
        limits = (*(limit for limit in limits if limit.meter not in meters), *instead)
    if tier is not None and tier.custom and not limits:
        refusal = refusal or NO_LIMITS
    return spec.Record(
        subject=record.subject,
        tier=name,
        attributes=record.attributes,
        limits=limits,
        billing_day=record.billing_day,
        refusal=refusal,
        factor=Fraction(boost.factor) if boost is not None and boost.factor else Fraction(1),
    )


def _limits(own: Iterable[OwnLimit], meters: Mapping[str, Meter]) -> tuple[Limit, ...]:
    made = []
    for each in own:
        meter = meters.get(each.meter)
        if meter is not None:
            try:
                made.append(limit_of(each, meter))
            except ValueError:
                continue
    return tuple(made)


@lru_cache(_KEPT)
def limit_of(own: OwnLimit, meter: Meter) -> Limit:
    """Return a limit; equal words give the same object. Raises `ValueError` for what is none."""
    amount, window = read_rate(own.rate)
    held = meter.kind is MeterKind.LEASE
    algorithm = Algorithm(own.algorithm) if own.algorithm else usual_algorithm(meter)
    if held != (window is None):
        like = "the amount alone, as `5`" if held else "AMOUNT/WINDOW, as `100/hour`"
        raise ValueError(f"limits of `{meter.name}` are written {like}")
    if own.burst and algorithm is not Algorithm.TOKEN_BUCKET:
        raise ValueError("only token buckets have a burst")
    bucket = algorithm is Algorithm.TOKEN_BUCKET
    return Limit(
        name=own.name or usual_name(meter, window),
        meter=meter,
        amount=amount,
        window=window,
        algorithm=algorithm,
        burst=(own.burst or amount) if bucket else 0,
        when=own.when,
        per=tuple(sorted(own.per, key=lambda name: (name != "subject", name))),
        shadow=own.shadow,
    )
