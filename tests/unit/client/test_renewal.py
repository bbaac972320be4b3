"""When leases are renewed: in time, again after a failure, never more once they are over."""

from __future__ import annotations

import threading

import pytest

from ratelimitd.client.renewal import Course, Renewals, after

PATIENCE = 10.0


def test_a_lease_is_renewed_after_half_of_its_time() -> None:
    """And from each renewal anew, by what the limiter says it lasts then."""
    course = Course(10, 100)
    assert (course.due, course.ends) == (105, 110)
    assert after(course, 20, 105)
    assert (course.due, course.ends) == (115, 125)


def test_a_limiter_that_is_away_is_asked_again_while_there_is_time() -> None:
    """Seven times in the second half of the lease; then it has ended."""
    course, now, tries = Course(16, 0), 8.0, 0
    while after(course, 0, now):
        tries += 1
        assert course.due < course.ends
        now = course.due
    assert tries == 7


def test_what_is_over_is_renewed_no_more() -> None:
    """The limiter said so."""
    assert not after(Course(10, 0), None, 5)


def test_the_thread_renews_what_is_due_and_ends_with_its_client() -> None:
    """The shortest first, whatever the order in which they came."""
    renewals, seen, twice = Renewals(), [], threading.Event()

    def renew(name: str, outcomes: list[float | None]) -> float | None:
        seen.append(name)
        if seen.count("short") == 2:
            twice.set()
        return outcomes.pop(0)

    never: list[float | None] = [None]
    renewals.add(1_000, lambda: renew("long", never))
    outcomes: list[float | None] = [0.02, None]
    renewals.add(0.02, lambda: renew("short", outcomes))
    assert twice.wait(PATIENCE)
    renewals.close()
    assert seen == ["short", "short"]
    assert "ratelimitd-renewals" not in {each.name for each in threading.enumerate()}
    assert renewals.add(0.01, lambda: pytest.fail("closed")) > 0


def test_what_was_released_is_dropped() -> None:
    """It is not renewed, and what is kept of it is bounded."""
    renewals = Renewals()
    for _ in range(1_000):
        renewals.drop(renewals.add(1_000, lambda: pytest.fail("released")))
    assert len(renewals._order) < 100
    done = threading.Event()
    renewals.add(0.01, done.set)
    assert done.wait(PATIENCE)
    renewals.close()


def test_closing_twice_and_without_leases_is_no_matter() -> None:
    """No thread was ever started."""
    renewals = Renewals()
    renewals.close()
    renewals.close()
