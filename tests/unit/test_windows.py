"""How time is cut: names, alignment, calendar windows and billing days."""

from datetime import UTC, datetime

import pytest

from ratelimitd.windows import Span, Unit, Window
from tests.support.ops import DAY, HOUR, MINUTE, S


def at(text: str) -> int:
    """Return an instant, microseconds."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return int(moment.timestamp()) * S + moment.microsecond


def span(first: str, last: str) -> Span:
    """Return the window between two instants."""
    return Span(at(first), at(last))


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        (Unit.SECOND, span("2024-02-29T13:45:07", "2024-02-29T13:45:08")),
        (Unit.MINUTE, span("2024-02-29T13:45", "2024-02-29T13:46")),
        (Unit.HOUR, span("2024-02-29T13:00", "2024-02-29T14:00")),
        (Unit.DAY, span("2024-02-29", "2024-03-01")),
        (Unit.WEEK, span("2024-02-26", "2024-03-04")),
        (Unit.MONTH, span("2024-02-01", "2024-03-01")),
        (Unit.YEAR, span("2024-01-01", "2025-01-01")),
    ],
)
def test_a_unit_is_cut_where_the_clock_and_the_calendar_cut_it(unit: Unit, expected: Span) -> None:
    """Second to day are aligned to the epoch, weeks begin on Monday, months and years on day 1."""
    assert Window.of(unit).span(at("2024-02-29T13:45:07.123456")) == expected


def test_a_window_holds_its_first_instant_and_not_its_end() -> None:
    """At the turn the new window begins."""
    hour = Window.of(Unit.HOUR)
    assert hour.span(at("2024-01-01T13:00")).start == at("2024-01-01T13:00")
    assert hour.span(at("2024-01-01T13:00") - 1).end == at("2024-01-01T13:00")


@pytest.mark.parametrize(
    ("day", "now", "expected"),
    [
        (15, "2024-03-14T23:59:59", span("2024-02-15", "2024-03-15")),
        (15, "2024-03-15", span("2024-03-15", "2024-04-15")),
        (15, "2024-01-03", span("2023-12-15", "2024-01-15")),
        (15, "2024-12-20", span("2024-12-15", "2025-01-15")),
        (29, "2024-02-28T12:00", span("2024-01-29", "2024-02-29")),
        (29, "2023-02-28T12:00", span("2023-02-28", "2023-03-29")),
        (30, "2024-02-29", span("2024-02-29", "2024-03-30")),
        (31, "2024-02-29T12:00", span("2024-02-29", "2024-03-31")),
        (31, "2023-02-28", span("2023-02-28", "2023-03-31")),
        (31, "2023-03-30T23:59:59", span("2023-02-28", "2023-03-31")),
        (31, "2024-04-30", span("2024-04-30", "2024-05-31")),
        (31, "2024-12-31", span("2024-12-31", "2025-01-31")),
    ],
)
def test_a_month_begins_on_the_billing_day_or_the_last_day(
    day: int, now: str, expected: Span
) -> None:
    """A billing day that a month lacks is its last day, leap years included."""
    assert Window.of(Unit.MONTH, anchor_day=day).span(at(now)) == expected


@pytest.mark.parametrize(
    ("day", "now", "expected"),
    [
        (1, "2100-02-28", span("2100-01-01", "2101-01-01")),
        (20, "2024-01-19T23:59:59", span("2023-01-20", "2024-01-20")),
        (20, "2024-01-20", span("2024-01-20", "2025-01-20")),
        (31, "2024-12-31", span("2024-01-31", "2025-01-31")),
    ],
)
def test_a_year_begins_on_the_billing_day_of_january(day: int, now: str, expected: Span) -> None:
    """Years turn in January, on the billing day."""
    assert Window.of(Unit.YEAR, anchor_day=day).span(at(now)) == expected


@pytest.mark.parametrize(
    ("length", "name"),
    [
        (S, "second"),
        (60 * S, "minute"),
        (3600 * S, "hour"),
        (24 * HOUR, "day"),
        (30 * S, "30s"),
        (90 * S, "90s"),
        (5 * MINUTE, "5m"),
        (120 * MINUTE, "2h"),
        (36 * HOUR, "36h"),
        (7 * DAY, "7d"),
        (365 * DAY, "365d"),
    ],
)
def test_a_length_has_one_name(length: int, name: str) -> None:
    """The canonical name is the unit's where there is one, else the shortest spelling."""
    assert Window.lasting(length).name == name
    assert Window.lasting(length).length_us == length


def test_equal_lengths_are_equal_windows_but_seven_days_are_no_week() -> None:
    """`60s` is `minute`; `7d` counts from the epoch, a Thursday, and a week from Monday."""
    assert Window.lasting(MINUTE) == Window.of(Unit.MINUTE)
    assert Window.lasting(7 * DAY) != Window.of(Unit.WEEK)
    assert Window.lasting(7 * DAY).span(0) == Span(0, 7 * DAY)
    assert Window.of(Unit.WEEK).span(0) == span("1969-12-29", "1970-01-05")


def test_the_billing_day_is_part_of_a_calendar_windows_name_and_of_no_other() -> None:
    """Windows that cut differently have different names; fixed lengths have no billing day."""
    assert Window.of(Unit.MONTH, anchor_day=31).name == "month@31"
    assert Window.of(Unit.YEAR, anchor_day=2).name == "year@2"
    assert Window.of(Unit.MONTH, anchor_day=1).name == "month"
    assert Window.of(Unit.HOUR, anchor_day=31) == Window.of(Unit.HOUR)


def test_only_the_protocols_windows_have_a_unit() -> None:
    """What has no exact name on the wire has none."""
    assert Window.of(Unit.MONTH, anchor_day=9).unit is Unit.MONTH
    assert Window.lasting(DAY).unit is Unit.DAY
    assert Window.lasting(90 * S).unit is None


def test_the_longest_length_bounds_calendar_windows() -> None:
    """A month lasts at most 31 days, a year at most 12 such."""
    assert Window.of(Unit.MONTH).longest_us == 31 * DAY
    assert Window.of(Unit.YEAR).longest_us == 372 * DAY
    assert Window.of(Unit.WEEK).longest_us == 7 * DAY


@pytest.mark.parametrize("length", [0, -S, 1, S + 1, 1_500_000])
def test_a_length_is_a_positive_number_of_whole_seconds(length: int) -> None:
    """Anything else is refused when the policy is read, not when it is used."""
    with pytest.raises(ValueError, match="positive number of whole seconds"):
        Window.lasting(length)


@pytest.mark.parametrize(("length", "months"), [(0, 0), (S, 1), (-S, 0)])
def test_a_window_has_a_length_or_months(length: int, months: int) -> None:
    """Exactly one of the two says how long it is."""
    with pytest.raises(ValueError, match="either a positive length or a number of months"):
        Window(name="odd", length_us=length, months=months)


@pytest.mark.parametrize("day", [0, 32, -1])
def test_a_billing_day_is_a_day_of_some_month(day: int) -> None:
    """1 to 31."""
    with pytest.raises(ValueError, match="is in no month"):
        Window.of(Unit.MONTH, anchor_day=day)
