"""What the process tells its operators of odd things: all are counted, few are logged."""

import asyncio
import logging

import pytest

from ratelimitd import telemetry as module
from ratelimitd.clock import steady_ns
from ratelimitd.telemetry import MOST_LOGGED, TICKS, LoopLag, Telemetry


def details(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the details that were logged."""
    return [record.__dict__["detail"] for record in caplog.records]


def test_a_case_is_logged_once_and_counted_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """A busy caller writes no log."""
    telemetry = Telemetry()
    for _ in range(3):
        telemetry.note("unknown_domain", "a", "advice")
    assert telemetry.counts["events", "unknown_domain"] == 3
    assert details(caplog) == ["a"]
    assert caplog.records[0].levelno == logging.WARNING


def test_many_cases_of_one_event_hide_no_other_event(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of event has its own cap: who sends many domains keeps no meter out of the log."""
    telemetry = Telemetry()
    for number in range(MOST_LOGGED + 5):
        telemetry.note("unknown_domain", f"{number}", "advice")
    telemetry.note("unknown_meter", "agent-api", "advice")
    assert len(details(caplog)) == MOST_LOGGED + 1
    assert details(caplog)[-1] == "agent-api"
    assert telemetry.counts["events", "unknown_domain"] == MOST_LOGGED + 5


async def test_the_loop_is_looked_at_until_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour later than due is an hour of lag; whoever stops looks no more."""
    lag, looked = LoopLag(), asyncio.Event()
    monkeypatch.setattr(module, "TICK", -3600)
    look = lag._look

    def once() -> None:
        look()
        lag.stop()
        looked.set()

    monkeypatch.setattr(lag, "_look", once)
    lag.start()
    lag.stop()
    lag.start()
    await asyncio.wait_for(looked.wait(), 10)
    assert lag.figures()["loop_lag_max_seconds"] == pytest.approx(3600, abs=60)


async def test_a_minute_of_looks_is_remembered() -> None:
    """What was longer ago is forgotten; of 6,000 looks, six may be over the p99.9."""
    lag = LoopLag()
    for seconds in (9, *range(7), *(0,) * (TICKS - 7)):
        lag._due = steady_ns() - seconds * 10**9
        lag._look()
        lag.stop()
    figures = lag.figures()
    assert 6 <= figures["loop_lag_max_seconds"] < 7
    assert figures["loop_lag_p999_seconds"] < 1
