"""What the process tells its operators of odd things: all are counted, few are logged."""

import logging

import pytest

from ratelimitd.telemetry import MOST_LOGGED, Telemetry


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
