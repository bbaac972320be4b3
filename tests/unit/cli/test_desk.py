"""What `usage`, `leases` and `reset` print of an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd.cli import _admin

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from tests.unit.cli.conftest import Ran

NOON = 1_641_038_400


def limit(name: str, used: int, **fields: object) -> pb.LimitUsage:
    """Return a limit of a hundred."""
    told = pb.LimitUsage(limit=name, meter=name.partition("/")[0], amount=100, used=used)
    told.remaining = max(0, 100 - used)
    told.window = name.partition("/")[2]
    told.reset.FromSeconds(NOON)
    if fields:
        told.forecast.MergeFrom(pb.Forecast(**fields))  # type: ignore[arg-type]
    return told


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Message], None]:
    """Let the limiter answer this, whatever it is asked."""

    def give(message: Message) -> None:
        monkeypatch.setattr(_admin.Admin, "call", lambda *_: message)

    return give


def test_usage_tells_where_the_pace_ends(
    ratelimitd: Callable[..., Ran], answer: Callable[[Message], None]
) -> None:
    """In a word where it is harmless, with the time where it is not, and nothing without one."""
    over = limit("requests/hour", 60, projected=1_200, exceeds=True)
    over.forecast.reached.FromSeconds(NOON - 600)
    mild = limit("tokens/month", 5, projected=20)
    answer(pb.GetUsageResponse(tier="pro", limits=[over, mild, limit("requests/day", 0)]))
    assert ratelimitd("usage", "k").out.splitlines() == [
        "pro",
        (
            "  requests/hour: 60 of 100 used, 40 left, all of it again at 2022-01-01T12:00:00Z; "
            "at this pace 1,200 a window, used up at 2022-01-01T11:50:00Z"
        ),
        (
            "  tokens/month: 5 of 100 used, 95 left, all of it again at 2022-01-01T12:00:00Z; "
            "at this pace 20 a window, within the limit"
        ),
        "  requests/day: 0 of 100 used, 100 left",
    ]


def test_reset_names_what_it_left_and_why(
    ratelimitd: Callable[..., Ran], answer: Callable[[Message], None]
) -> None:
    """What was forgotten is data; the rest is talk, of the meter that was asked for."""
    own, shared, held = limit("requests/hour", 1_234), limit("requests/day", 9), limit("slots", 2)
    answer(pb.ResetResponse(before=[own, shared, held], forgotten=[own]))
    ran = ratelimitd("reset", "k")
    assert ran.out == "requests/hour: 1,234 forgotten\n"
    assert "requests/day: left as it is, for other keys count on it too\n" in ran.err
    assert "slots: 2 held, and left: leases end by themselves" in ran.err
    assert "slots" not in ratelimitd("reset", "k", "--meter", "requests").err


def test_leases_are_shown_with_their_ends(
    ratelimitd: Callable[..., Ran], answer: Callable[[Message], None]
) -> None:
    """Those that end next; of the rest how many there are."""
    told = pb.HeldLimit(limit="concurrent", amount=2_000, held=1_001)
    told.leases.add(mark="0123456789ab").ends.FromSeconds(NOON)
    answer(pb.ListLeasesResponse(limits=[told]))
    assert ratelimitd("leases", "k").out.splitlines() == [
        "concurrent: 1,001 of 2,000 held",
        "  0123456789ab ends 2022-01-01T12:00:00Z",
        "  and 1,000 that end later",
    ]
    answer(pb.ListLeasesResponse())
    assert "no limit of this key is one of leases" in ratelimitd("leases", "k").out
