"""Which limits bind a key: its tier's, with its own in their place, on its own billing day.

Pure. Used by the matcher for every record, from the policy file or from the registry, so equal
questions give the same `Limit` objects: what is cached by limit stays small with 100,000 keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ratelimitd.model import MAX_COUNT
from ratelimitd.windows import Window

if TYPE_CHECKING:
    from fractions import Fraction

    from ratelimitd.model import Limit
    from ratelimitd.policy.spec import Policy, Record

_KEPT = 8_192
"""Answers kept; far more than tiers × billing days × sets of replaced meters."""


def effective_limits(policy: Policy, record: Record) -> tuple[Limit, ...]:
    """Return the limits of a record, its tier's first, each in the file's order.

    The record's own limits replace all of the tier's limits of the meters that they name. Calendar
    windows of both begin on the record's billing day. A boost makes all of them larger.
    """
    own = on_billing_day(record.limits, record.billing_day)
    replaced = frozenset(limit.meter.name for limit in own)
    tier = policy.tiers.get(record.tier)  # none for refused keys of a tier that is gone
    both = _rest(tier.limits if tier else (), replaced, record.billing_day) + own
    if record.factor == 1:
        return both
    return tuple(boosted(limit, record.factor) for limit in both)


@lru_cache(_KEPT)
def boosted(limit: Limit, factor: Fraction) -> Limit:
    """Return a limit of so many times the amount, as far as its counting stays exact.

    It counts on the same counters: an amount is no part of their identity.
    """
    amount, burst = (min(int(each * factor), MAX_COUNT) for each in (limit.amount, limit.burst))
    try:
        return replace(limit, amount=max(amount, limit.amount and 1), burst=burst)
    except ValueError:
        return limit


def on_billing_day(limits: tuple[Limit, ...], day: int) -> tuple[Limit, ...]:
    """Return the limits with their calendar windows beginning on that day of the month."""
    return tuple(_anchored(limit, day) for limit in limits)


@lru_cache(_KEPT)
def _rest(limits: tuple[Limit, ...], replaced: frozenset[str], day: int) -> tuple[Limit, ...]:
    kept = tuple(limit for limit in limits if limit.meter.name not in replaced)
    return on_billing_day(kept, day)


def _anchored(limit: Limit, day: int) -> Limit:
    window = limit.window
    if window is None or not window.months or window.unit is None or window.anchor_day == day:
        return limit
    return _moved(limit, day)


@lru_cache(_KEPT)
def _moved(limit: Limit, day: int) -> Limit:
    assert limit.window is not None
    assert limit.window.unit is not None
    return replace(limit, window=Window.of(limit.window.unit, anchor_day=day))
