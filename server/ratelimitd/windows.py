"""How time is cut into windows: fixed lengths aligned to the epoch, Monday weeks, calendar windows.

Pure arithmetic on integer microseconds, UTC. Knows no limits and reads no clock.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NamedTuple

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
LONGEST_US = 366 * _DAY
"""The longest window of a length of its own: no shorter than a year, and exact in 53 bits."""

_LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())
_EPOCH = date(1970, 1, 1).toordinal()
_MONDAY = 4 * _DAY  # 1970-01-05 was a Monday


class Unit(enum.Enum):
    """Windows that Envoy's protocol has a name for."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


_LENGTHS = {
    Unit.SECOND: _SECOND,
    Unit.MINUTE: 60 * _SECOND,
    Unit.HOUR: 3600 * _SECOND,
    Unit.DAY: _DAY,
    Unit.WEEK: 7 * _DAY,
}
_MONTHS = {Unit.MONTH: 1, Unit.YEAR: 12}
_SUFFIXES = (("d", _DAY), ("h", 3600 * _SECOND), ("m", 60 * _SECOND), ("s", _SECOND))


class Span(NamedTuple):
    """One window in time: from `start` (included) to `end` (excluded), microseconds."""

    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A way to cut time. Equal windows cut alike: `60s` is `minute`, but `7d` is no `week`."""

    name: str
    """Canonical: a unit's name, or the shortest spelling of a length (`90s`, `5m`, `7d`)."""
    length_us: int
    """Length in microseconds; 0 for calendar windows."""
    months: int = 0
    """Calendar windows: 1 for a month, 12 for a year; else 0."""
    unit: Unit | None = None
    """The protocol's unit that it exactly is, if any."""
    anchor_day: int = 1
    """Calendar windows begin on this day of the month, short months on their last day."""

    def __post_init__(self) -> None:
        if (self.length_us > 0) == (self.months > 0):
            msg = f"window {self.name}: either a positive length or a number of months"
            raise ValueError(msg)
        if not 1 <= self.anchor_day <= 31:  # noqa: PLR2004 - days of the longest month
            msg = f"window {self.name}: day {self.anchor_day} is in no month"
            raise ValueError(msg)

    @staticmethod
    def of(unit: Unit, *, anchor_day: int = 1) -> Window:
        """Return the window of a unit; calendar windows begin on `anchor_day`."""
        months = _MONTHS.get(unit, 0)
        if not months:
            return Window(name=unit.value, length_us=_LENGTHS[unit], unit=unit)
        name = unit.value if anchor_day == 1 else f"{unit.value}@{anchor_day}"
        return Window(name=name, length_us=0, months=months, unit=unit, anchor_day=anchor_day)

    @staticmethod
    def lasting(length_us: int) -> Window:
        """Return the epoch-aligned window of any whole number of seconds."""
        if length_us <= 0 or length_us % _SECOND:
            msg = f"a window of {length_us} µs is not a positive number of whole seconds"
            raise ValueError(msg)
        for unit in (Unit.SECOND, Unit.MINUTE, Unit.HOUR, Unit.DAY):
            if _LENGTHS[unit] == length_us:
                return Window.of(unit)
        suffix, size = next(pair for pair in _SUFFIXES if length_us % pair[1] == 0)
        return Window(name=f"{length_us // size}{suffix}", length_us=length_us)

    @property
    def longest_us(self) -> int:
        """The longest that one such window can last."""
        return self.length_us or self.months * 31 * _DAY

    def span(self, now: int) -> Span:
        """Return the window that holds the instant `now`."""
        if not self.months:
            offset = _MONDAY if self.unit is Unit.WEEK else 0
            start = now - (now - offset) % self.length_us
            return Span(start, start + self.length_us)
        today = date.fromordinal(_EPOCH + now // _DAY)
        first = today.year * 12 + (today.month - 1 if self.months == 1 else 0)
        if now < self._begin(first):
            first -= self.months
        return Span(self._begin(first), self._begin(first + self.months))

    def _begin(self, month: int) -> int:
        """Return the start of the calendar window that begins in `month` (counted from year 0)."""
        year, index = divmod(month, 12)
        after = date(year + (index == 11), (index + 1) % 12 + 1, 1)  # noqa: PLR2004 - December
        first = date(year, index + 1, 1)
        day = min(self.anchor_day, (after - first).days)
        return (first.toordinal() - _EPOCH + day - 1) * _DAY


def timestamp(instant: int) -> str:
    """Return an instant as RFC 3339 UTC, whole seconds rounded up, 9999 at the latest."""
    whole = min(-(-instant // _SECOND), _LAST_SECOND)
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
