"""Back-off: never before `retry_after`, never too long, and not where it is no use."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimitd.client import Backoff, Decision

ALLOWED = Decision(allowed=True)
AWAY = Decision(allowed=False, away=True, retry_after=1.0)
NEVER = Decision(allowed=False, reason="exceeds_limit")


def denied(retry_after: float) -> Decision:
    """Return a denial that may be tried again."""
    return Decision(allowed=False, retry_after=retry_after)


@given(
    retry_after=st.floats(0, 1e6),
    luck=st.floats(0, 1),
    elapsed=st.floats(0, 1e6),
    jitter=st.floats(0, 2),
    tried=st.integers(1, 10),
)
def test_a_wait_is_as_long_as_told_and_ends_in_time(
    retry_after: float, luck: float, elapsed: float, jitter: float, tried: int
) -> None:
    """Longer by the jitter at most, and only where it ends within what is allowed."""
    backoff = Backoff(attempts=10, within=1000, jitter=jitter)
    wait = backoff.wait(denied(retry_after), tried, elapsed, luck)
    if wait is None:
        least = retry_after * (1 + jitter)
        assert tried == 10 or elapsed + least > 1000
    else:
        assert retry_after <= wait <= retry_after + min(jitter * retry_after, 10)
        assert elapsed + wait <= 1000


def test_callers_who_were_denied_together_come_back_apart() -> None:
    """The jitter is theirs, not the limiter's."""
    waits = {Backoff().wait(denied(10), 1, 0, luck / 10) for luck in range(11)}
    assert len(waits) == 11
    assert (min(filter(None, waits)), max(filter(None, waits))) == (10, 12)


@pytest.mark.parametrize("decision", [ALLOWED, NEVER, Decision(allowed=True, away=True)])
def test_some_answers_are_final(decision: Decision) -> None:
    """What is allowed, and what waiting does not help."""
    assert Backoff().wait(decision, 1, 0, 0.5) is None


def test_a_limiter_that_is_away_is_tried_ever_more_rarely() -> None:
    """Twice as long each time, up to ten seconds."""
    backoff = Backoff(attempts=100, within=1e6, jitter=0)
    waits = [backoff.wait(AWAY, tried, 0, 0) for tried in range(1, 10)]
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.wait(AWAY, 99, 0, 0) == 10.0


def test_the_last_answer_is_returned() -> None:
    """After so many attempts, or as soon as it is allowed."""
    answers = iter([denied(0), denied(0), ALLOWED])
    assert Backoff().run(lambda: next(answers)).allowed
    numbered = enumerate(itertools.repeat(denied(0)), 1)
    assert not Backoff(attempts=3).run(lambda: next(numbered)[1]).allowed
    assert next(numbered)[0] == 4


async def test_the_last_answer_is_returned_to_those_who_await_it() -> None:
    """The same rules."""
    answers = iter([denied(0), ALLOWED])

    async def ask() -> Decision:
        return next(answers)

    assert (await Backoff().arun(ask)).allowed
    assert next(answers, None) is None


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"within": -1}, {"jitter": -0.1}, {"first": 0}])
def test_nonsense_is_refused(wrong: dict[str, int]) -> None:
    """Where it is made, and not where it would hurt."""
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**wrong)
