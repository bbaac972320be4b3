"""Flags as a key's record, and a record as a line for people. What is kept is AdminService's."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimitd.cli import terminal, values
from ratelimitd.clock import SystemClock
from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

NEVER = "never"
_DAYS = range(1, 32)
_FACTOR = re.compile(r"([0-9./]+)x")


class Given(NamedTuple):
    """What was said of a key; None: nothing, so that it stays as it is."""

    limits: list[str] | None = None
    """Empty: those of its tier."""
    attributes: list[str] | None = None
    """Empty: none any more."""
    billing_day: int | None = None
    expires: str | None = None
    note: str | None = None
    disabled: bool | None = None
    boost: list[str] | None = None
    """Empty: no boost any more."""
    until: str | None = None

    def put(self, record: Any) -> None:  # noqa: ANN401 - a message of `rpc.admin_client`
        """Put it into a record. Raises `SettingsError` with every fault."""
        faults = values.Faults()
        if self.limits is not None:
            record.ClearField("limits")
        if self.attributes == []:
            record.ClearField("attributes")
        for meter, rate in _pairs(faults, "--limit", self.limits, "requests=20_000/hour"):
            record.limits.add(meter=meter, rate=rate)
        for name, value in _pairs(faults, "--attr", self.attributes, "org=acme"):
            record.attributes[name] = value
        record.note = record.note if self.note is None else self.note
        record.disabled = record.disabled if self.disabled is None else self.disabled
        self._put_dates(record, faults)
        if self.boost is not None or self.until is not None:
            self._put_boost(record, faults)
        faults.settle()

    def _put_dates(self, record: Any, faults: values.Faults) -> None:  # noqa: ANN401 - as above
        if self.billing_day in _DAYS:
            record.billing_day = self.billing_day
        elif self.billing_day is not None:
            faults.add(f"--billing-day {self.billing_day}: write a day of the month, 1 to 31")
        if self.expires == NEVER:
            record.ClearField("expires")
        elif self.expires:
            at = faults.of("--expires", _instant, self.expires)
            if at is not None:
                record.expires.FromDatetime(at)

    def _put_boost(self, record: Any, faults: values.Faults) -> None:  # noqa: ANN401 - as above
        record.ClearField("boost")
        if not self.boost:
            if self.until is not None:
                faults.add("--until is when a boost ends: give --boost as well")
            return
        if self.until is None:
            faults.add("--boost needs its end: give --until as well")
            return
        until = faults.of("--until", _later, self.until)
        if until is not None:
            record.boost.until.FromDatetime(until)
        factors = [found[1] for text in self.boost if (found := _FACTOR.fullmatch(text))]
        rates = [text for text in self.boost if not _FACTOR.fullmatch(text)]
        if len(factors) > 1:
            faults.add("--boost: one factor is enough")
        record.boost.factor = factors[0] if factors else ""
        for meter, rate in _pairs(faults, "--boost", rates, "2x, or requests=500/hour"):
            record.boost.limits.add(meter=meter, rate=rate)


def _pairs(
    faults: values.Faults, flag: str, texts: list[str] | None, example: str
) -> Iterator[tuple[str, str]]:
    for text in texts or ():
        name, equals, value = text.partition("=")
        if equals:
            yield name, value
        else:
            faults.add(f"{flag} {text}: write it as {example}")


def _instant(text: str) -> dt.datetime:
    try:
        at = dt.datetime.fromisoformat(text)
        return at.replace(tzinfo=at.tzinfo or dt.UTC).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is no date; write 2026-12-31 or 2026-12-31T18:00:00Z"
        raise SettingsError(msg) from error


def _later(text: str) -> dt.datetime:
    at = _instant(text)
    if at.timestamp() * 1e6 <= SystemClock()():
        msg = f"{text!r} has passed already"
        raise SettingsError(msg)
    return at


def line(record: Any) -> str:  # noqa: ANN401 - a message of `rpc.admin_client`
    """Return what a record says, but for what is as usual."""
    words = [record.subject, record.tier, *map(_limit, record.limits)]
    if record.HasField("boost"):
        boost = record.boost
        words += ["boost", boost.factor and f"{boost.factor}x", *map(_limit, boost.limits)]
        words.append(f"until {boost.until.ToJsonString()}")
    if record.HasField("expires"):
        words.append(f"expires {record.expires.ToJsonString()}")
    words += [name for name in ("revoked", "disabled", "from_policy") if getattr(record, name)]
    words.append(record.note)
    return "  ".join(terminal.printable(word) for word in words if word)


def _limit(limit: Any) -> str:  # noqa: ANN401 - a message of `rpc.admin_client`
    return f"{limit.meter}={limit.rate}"
