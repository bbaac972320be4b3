"""A reservation's ticket: all that was charged, nothing secret, and nobody else can make one."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimitd.keys import Hasher
from ratelimitd.meters import Meter, MeterKind, OnExpiry
from ratelimitd.model import Algorithm, Counter, Kind, Limit, Op, Unit, Window
from ratelimitd.reservations.ticket import Charged, Reservation, charged, opened, sealed
from tests.support.ops import MONTHLY, TOKENS, fixed
from tests.support.policies import HASHER

IMAGES = Meter(name="images", kind=MeterKind.POSTPAID, on_expiry=OnExpiry.RELEASE)
WINDOWS = [
    *(Window.of(unit) for unit in Unit),
    Window.of(Unit.MONTH, anchor_day=31),
    Window.of(Unit.YEAR, anchor_day=2),
    Window.lasting(90_000_000),
]
COUNTER = Counter("f|é", b"\x00key\xff", bounded=True, overflow=b"~o", tag=b"org=\xff")


def limit(window: Window = MONTHLY, meter: Meter = TOKENS) -> Limit:
    """Return a limit of 100."""
    return fixed(100, window, meter)


def reservation(*parts: Charged) -> Reservation:
    """Return a reservation of some parts, at instants that are told apart."""
    return Reservation(b"i" * 16, 1_000, 9_000, parts)


def same(one: Limit, other: Limit) -> bool:
    """Say whether two limits count alike; they are compared by identity elsewhere."""
    fields = ("name", "amount", "window", "algorithm", "burst", "shadow")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.name)
def test_what_is_sealed_is_what_is_opened(window: Window) -> None:
    """Every kind of window, every byte of a counter's name, and what becomes of it at expiry."""
    given_limit = replace(limit(window, IMAGES), shadow=True)
    ticket = sealed(reservation(Charged(COUNTER, given_limit, 7, 0)), HASHER)
    found = opened(ticket, HASHER)
    assert found is not None
    assert found[:3] == (b"i" * 16, 1_000, 9_000)
    (part,) = found.parts
    assert same(part.limit, given_limit)
    assert (part.estimate, part.charged) == (7, 0)
    assert part.limit.meter.on_expiry is OnExpiry.RELEASE
    for name in ("family", "key", "bounded", "overflow", "tag"):
        assert getattr(part.counter, name) == getattr(COUNTER, name)


def test_a_token_bucket_is_sealed_with_its_burst() -> None:
    """It cannot be counted on without."""
    window = Window.of(Unit.SECOND)
    bucket = Limit(
        name="b",
        meter=TOKENS,
        amount=10,
        window=window,
        algorithm=Algorithm.TOKEN_BUCKET,
        burst=20,
    )
    found = opened(sealed(reservation(Charged(COUNTER, bucket, 1, 1)), HASHER), HASHER)
    assert found is not None
    assert same(found.parts[0].limit, bucket)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_one_changed_byte_makes_it_nothing(at: int, flip: int) -> None:
    """Wherever it is: in the signature, the id, an instant, a count."""
    ticket = sealed(reservation(Charged(COUNTER, limit(), 7, 7)), HASHER)
    raw = bytearray(base64.urlsafe_b64decode(ticket + "=" * (-len(ticket) % 4)))
    raw[at % len(raw)] ^= flip
    assert opened(base64.urlsafe_b64encode(raw).decode().rstrip("="), HASHER) is None


@given(text=st.one_of(st.text(max_size=40), st.text("ABCabc-_=", max_size=200)))
def test_nobody_guesses_one(text: str) -> None:
    """Whatever is sent is nothing, and no error."""
    assert opened(text, HASHER) is None


def test_a_new_secret_honours_what_the_old_one_signed_and_not_the_other_way() -> None:
    """As with keys: the first secret writes, all of them read."""
    old, new = Hasher(b"old"), Hasher(b"new", b"old")
    made = reservation(Charged(COUNTER, limit(), 7, 7))
    assert opened(sealed(made, old), new) is not None
    assert opened(sealed(made, new), old) is None


def told(ops: list[Op]) -> list[tuple[int, int, int]]:
    """Return kind, hits and `as_of` of operations."""
    return [(op.kind, op.hits, op.as_of) for op in ops]


@pytest.mark.parametrize(
    ("actual", "charged", "wanted"),
    [
        ({"tokens": 9}, 7, (Kind.REPORT, 2, 0)),
        ({"tokens": 3}, 7, (Kind.REFUND, 4, 1_000)),
        ({"tokens": 7}, 7, (Kind.REFUND, 0, 1_000)),
        ({}, 7, (Kind.REFUND, 0, 1_000)),
        ({}, 0, (Kind.REPORT, 7, 0)),
        ({"tokens": 0}, 0, (Kind.REFUND, 0, 1_000)),
    ],
)
def test_settling_makes_up_the_difference(
    actual: dict[str, int], charged: int, wanted: tuple[int, int, int]
) -> None:
    """More is reported, less is given back of the window in which it was charged."""
    made = reservation(Charged(COUNTER, limit(), 7, charged))
    assert told(made.settling(actual)) == [wanted]


def test_only_what_was_charged_on_meters_that_say_so_is_given_back() -> None:
    """`keep` is the default; what nobody counted cannot come back."""
    parts = (
        Charged(COUNTER, limit(), 7, 7),
        Charged(COUNTER, limit(meter=IMAGES), 5, 5),
        Charged(COUNTER, limit(meter=IMAGES), 4, 0),
    )
    assert told(reservation(*parts).giving_back()) == [(Kind.REFUND, 5, 1_000)]


def test_nobody_counted_what_has_no_standing() -> None:
    """The store was away: nothing was charged there, and the real amount is reported in full."""
    assert charged(Op(Kind.CHARGE, COUNTER, limit(), 7), None)[2:] == (7, 0)
