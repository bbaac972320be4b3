"""The circuit breaker, step by step."""

import pytest

from ratelimitd.errors import StoreTimeoutError, StoreUnavailableError
from ratelimitd.stores.redis.breaker import INTERVAL_NS, Breaker, State


class Hand:
    """A breaker, the hand on its clock, and what it told."""

    def __init__(self, jitter: float = 0.5) -> None:
        self.now = 7
        self.told: list[tuple[State, str]] = []
        self.breaker = Breaker(
            lambda: self.now,
            on_change=lambda state, why: self.told.append((state, why)),
            jitter=lambda: jitter,
        )


def test_closed_lets_everything_through() -> None:
    """A server that answers is asked, and nobody probes it."""
    hand = Hand()
    assert hand.breaker.refusal() is None
    assert hand.breaker.probe_in_ns() is None
    assert hand.told == []


@pytest.mark.parametrize("error", [StoreTimeoutError("silent"), StoreUnavailableError("gone")])
def test_one_failure_opens_it(error: StoreTimeoutError | StoreUnavailableError) -> None:
    """Nobody waits for a server that has just not answered; why is told with each refusal."""
    hand = Hand()
    hand.breaker.failed(error)
    assert str(hand.breaker.refusal()) == str(error)
    assert hand.told == [(State.OPEN, str(error))]


def test_more_failures_of_an_open_one_are_no_news() -> None:
    """All that wait fail at once: that is one outage, and no new beginning of the probing."""
    hand = Hand()
    for _ in range(3):
        hand.breaker.failed(StoreTimeoutError("silent"))
    hand.breaker.probe_sent()
    hand.breaker.failed(StoreTimeoutError("silent"))
    assert hand.breaker.probe_in_ns() is None, "one probe at a time"
    assert (hand.breaker.opened, len(hand.told)) == (1, 1)


def test_the_first_probe_is_due_at_once_and_only_one_is_under_way() -> None:
    """A hiccup ends as soon as the server answers; a dead server gets no queue of probes."""
    hand = Hand()
    hand.breaker.failed(StoreTimeoutError("silent"))
    assert hand.breaker.probe_in_ns() == 0
    hand.breaker.probe_sent()
    assert hand.breaker.probe_in_ns() is None
    assert hand.breaker.refusal() is not None, "a probe lets nothing else through"


@pytest.mark.parametrize("jitter", [0.0, 0.25, 0.999])
def test_the_next_probe_follows_after_about_the_interval(jitter: float) -> None:
    """Each wait is off by up to half, so that processes do not come back in step."""
    hand = Hand(jitter)
    hand.breaker.failed(StoreTimeoutError("silent"))
    hand.breaker.probe_sent()
    hand.now += 12_000_000
    hand.breaker.probe_ended(StoreTimeoutError("still silent"))
    wait = int(INTERVAL_NS * (0.5 + jitter))
    assert hand.breaker.probe_in_ns() == wait
    assert str(hand.breaker.refusal()) == "still silent"
    hand.now += wait - 1
    assert hand.breaker.probe_in_ns() == 1
    hand.now += 50
    assert hand.breaker.probe_in_ns() == 0


def test_an_answered_probe_closes_it() -> None:
    """And the next failure opens it anew, with a first probe at once."""
    hand = Hand()
    hand.breaker.failed(StoreTimeoutError("silent"))
    hand.breaker.probe_sent()
    hand.now += 2_500_000_000
    hand.breaker.probe_ended(None)
    assert hand.breaker.refusal() is None
    assert hand.told[-1] == (State.CLOSED, "answered again after 2.5 s")
    hand.breaker.failed(StoreUnavailableError("gone"))
    assert hand.breaker.probe_in_ns() == 0
    assert hand.breaker.figures() == {
        "store_breaker_state": 1,
        "store_breaker_opened_total": 2,
        "store_breaker_closed_total": 1,
        "store_breaker_probes_total": 1,
        "store_breaker_refused_total": 0,
    }


def test_refusals_are_counted() -> None:
    """Operators see how much was not sent."""
    hand = Hand()
    hand.breaker.failed(StoreTimeoutError("silent"))
    for _ in range(5):
        hand.breaker.refusal()
    assert hand.breaker.figures()["store_breaker_refused_total"] == 5
