"""Laws of windows, patterns and identities, under generated input."""

import fnmatch
import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ratelimitd.keys import Hasher, escape, to_bytes
from ratelimitd.policy.glob import matches
from ratelimitd.windows import Unit, Window
from tests.support.ops import DAY, S

HASHER = Hasher(b"secret")
INSTANTS = st.integers(0, 2**53 - 1)
WINDOWS = st.one_of(
    st.integers(1, 400 * 86_400).map(lambda seconds: Window.lasting(seconds * S)),
    st.sampled_from(Unit).map(Window.of),
    st.builds(
        lambda unit, day: Window.of(unit, anchor_day=day),
        st.sampled_from([Unit.MONTH, Unit.YEAR]),
        st.integers(1, 31),
    ),
)
# Text as it comes from the wire: whatever bytes are sent, those that are not UTF-8 as surrogates.
SENT = st.binary(max_size=40).map(lambda sent: sent.decode("utf-8", "surrogateescape"))
VALUES = st.one_of(st.none(), SENT, st.binary(min_size=16, max_size=16))


@given(WINDOWS, INSTANTS)
def test_windows_partition_time(window: Window, now: int) -> None:
    """Every instant is in exactly one window; windows follow each other without a gap."""
    span = window.span(now)
    assert span.start <= now < span.end
    assert window.span(span.start) == window.span(span.end - 1) == span
    assert window.span(span.end).start == span.end
    assert window.span(span.start - 1).end == span.start
    assert span.end - span.start <= window.longest_us


@given(WINDOWS, INSTANTS)
def test_a_calendar_window_begins_on_its_day(window: Window, now: int) -> None:
    """At midnight of the billing day, or of the month's last day where the month lacks it."""
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=window.span(now).start)
    if not window.months:
        assert (window.span(now).end - window.span(now).start) == window.length_us
        return
    assert (start.hour, start.minute, start.second, start.microsecond) == (0, 0, 0, 0)
    if start.day != window.anchor_day:
        assert start.day < window.anchor_day
        assert (start + timedelta(days=1)).day == 1
    if window.months == 12:
        assert start.month == 1


@given(INSTANTS)
def test_a_week_begins_on_a_monday(now: int) -> None:
    """As people count them."""
    start = Window.of(Unit.WEEK).span(now).start
    assert datetime.fromtimestamp(start // S, UTC).weekday() == 0
    assert start % DAY == 0


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_escaping_is_injective_and_printable(one: bytes, other: bytes) -> None:
    """No two values share a spelling; a spelling holds no separator and no space."""
    assert (escape(one) == escape(other)) == (one == other)
    assert all(33 <= byte < 127 and byte not in b"|,=~#@*" for byte in escape(one))


@given(st.lists(VALUES, max_size=3), st.lists(VALUES, max_size=3))
def test_no_two_descriptors_share_a_counter(
    one: list[str | bytes | None], other: list[str | bytes | None]
) -> None:
    """Equal keys are of equal values: absent, empty, text and subjects are told apart."""
    if len(one) == len(other) and [type(each) for each in one] == [type(each) for each in other]:
        same = [_plain(each) for each in one] == [_plain(each) for each in other]
        assert (HASHER.counter_key(one) == HASHER.counter_key(other)) == same
    elif len(one) == len(other) > 1:
        assert HASHER.counter_key(one) != HASHER.counter_key(other)


def _plain(value: str | bytes | None) -> bytes | None:
    return to_bytes(value) if isinstance(value, str) else value


@given(SENT)
def test_a_value_is_what_was_sent_or_its_digest(value: str) -> None:
    """What is not UTF-8 neither fails nor changes."""
    assert HASHER.bounded_value(value) == value
    assert HASHER.bounded_value(value * 200).startswith("digest:") == (
        len(to_bytes(value)) * 200 > 1024
    )


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_patterns_match_as_the_shell_would(pattern: str, value: str) -> None:
    """The standard library's patterns agree where only `*` is special."""
    assert matches(pattern, value) == bool(re.fullmatch(fnmatch.translate(pattern), value))
