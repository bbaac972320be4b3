"""What the script answers, read as the memory store tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.stores.redis import wire
from ratelimitd.stores.redis.spelling import Layout
from ratelimitd.stores.stacking import stacked
from tests.support.ops import NEW_YEAR, charge, fixed, peek

if TYPE_CHECKING:
    import pytest

LIMIT = fixed(10)
USED = 2


def told(*, passed: bool) -> list[tuple[int, int]]:
    """Return before and after of a charge of three, a peek beside it, and a peek elsewhere."""
    ops = stacked([charge(LIMIT, 3), peek(LIMIT), peek(LIMIT, who="other")])
    package = wire.pack(ops, NEW_YEAR, Layout())
    standings = wire.read(ops, package, [USED] * 3, NEW_YEAR, passed=passed)
    return [(standing.before, standing.after) for standing in standings]


def test_a_peek_is_told_as_the_call_leaves_its_counter() -> None:
    """With what the same call charged, which is nothing where it was denied."""
    assert told(passed=True) == [(2, 5), (5, 5), (2, 2)]
    assert told(passed=False) == [(2, 2), (2, 2), (2, 2)]


def test_a_peek_that_does_not_see_the_charge_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: nobody looked which of the call's operations charge the counter."""
    monkeypatch.setattr(wire, "_charged_beside", lambda _: {})
    assert told(passed=True) != [(2, 5), (5, 5), (2, 2)]
