"""A reservation as its holder carries it: all that was charged, signed. Pure.

No process keeps a table of reservations: whichever is asked reads from the ticket on which counters
what was charged, and settles there, also under another policy than the one that granted it. The
ticket names counters, which hold the subject's hash; never an API key.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.meters import Meter, MeterKind, OnExpiry
from ratelimitd.model import MAX_COUNT, Algorithm, Counter, Kind, Limit, Op
from ratelimitd.windows import Unit, Window

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ratelimitd.keys import Hasher
    from ratelimitd.model import Standing

LONGEST = 1 << 18
"""Characters of a ticket; longer ones are not even looked at."""
_VERSION = 1
_SIGNATURE = 16


class Charged(NamedTuple):
    """What was charged to one counter."""

    counter: Counter
    limit: Limit
    estimate: int
    """How much was asked for."""
    charged: int
    """How much the store counted: the estimate, or 0 (a shadow limit without room, an outage)."""


class Reservation(NamedTuple):
    """An estimate that was charged."""

    id: bytes
    """Unguessable; the settlement's request id, and the expiry's."""
    granted_at: int
    """By the store's clock, microseconds since the epoch."""
    expires_at: int
    parts: tuple[Charged, ...]

    @property
    def meters(self) -> frozenset[str]:
        """The meters that an estimate was charged to."""
        return frozenset(part.limit.meter.name for part in self.parts)

    def settling(self, actual: Mapping[str, int]) -> list[Op]:
        """Return what puts the real amounts, by meter, in the place of what was charged.

        What is as estimated is refunded by nothing, so that the id is used up all the same.
        """
        ops = []
        for part in self.parts:
            more = actual.get(part.limit.meter.name, part.estimate) - part.charged
            kind = Kind.REPORT if more > 0 else Kind.REFUND
            ops.append(self._op(part, kind, abs(more)))
        return ops

    def giving_back(self) -> list[Op]:
        """Return what its expiry gives back: the estimates of the meters that say so."""
        return [
            self._op(part, Kind.REFUND, part.charged)
            for part in self.parts
            if part.charged and part.limit.meter.on_expiry is OnExpiry.RELEASE
        ]

    def _op(self, part: Charged, kind: int, hits: int) -> Op:
        as_of = self.granted_at if kind == Kind.REFUND else 0
        return Op(kind, part.counter, part.limit, min(hits, MAX_COUNT), as_of=as_of)


def charged(op: Op, standing: Standing | None) -> Charged:
    """Return what one operation of a granted estimate charged; None: nobody counted it."""
    counted = standing is not None and standing.passes
    return Charged(op.counter, op.limit, op.hits, op.hits if counted else 0)


def sealed(reservation: Reservation, hasher: Hasher) -> str:
    """Return the ticket of a reservation."""
    parts = [_packed(part) for part in reservation.parts]
    said = [_VERSION, reservation.id.hex(), *reservation[1:3], parts]
    text = json.dumps(said, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hasher.sign(text) + text).rstrip(b"=").decode()


def opened(ticket: str, hasher: Hasher) -> Reservation | None:
    """Return the reservation of a ticket; None for one that no holder of our secrets has sealed."""
    if len(ticket) > LONGEST or not ticket.isascii():
        return None
    try:
        raw = base64.b64decode(ticket + "=" * (-len(ticket) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    signature, text = raw[:_SIGNATURE], raw[_SIGNATURE:]
    if not hasher.has_signed(text, signature):
        return None
    version, name, granted_at, expires_at, parts = json.loads(text)
    if version != _VERSION:
        return None
    return Reservation(
        bytes.fromhex(name), granted_at, expires_at, tuple(_unpacked(part) for part in parts)
    )


def _packed(part: Charged) -> list[Any]:
    counter, limit = part.counter, part.limit
    meter, window = limit.meter, limit.window
    assert window is not None  # what is held is not reserved
    unit = window.unit.value if window.unit else ""
    return [
        *(counter.family, counter.key.hex(), counter.bounded),
        *(counter.overflow.hex(), counter.tag.hex()),
        *(meter.name, meter.kind.value, meter.on_expiry.value),
        *(limit.name, limit.amount, limit.algorithm.value, limit.burst, limit.shadow),
        *(unit, window.anchor_day, window.length_us),
        *(part.estimate, part.charged),
    ]


def _unpacked(said: list[Any]) -> Charged:
    family, key, bounded, overflow, tag = said[:5]
    meter = Meter(name=said[5], kind=MeterKind(said[6]), on_expiry=OnExpiry(said[7]))
    name, amount, algorithm, burst, shadow = said[8:13]
    unit, anchor_day, length_us = said[13:16]
    window = Window.of(Unit(unit), anchor_day=anchor_day) if unit else Window.lasting(length_us)
    limit = Limit(
        name=name,
        meter=meter,
        amount=amount,
        window=window,
        algorithm=Algorithm(algorithm),
        burst=burst,
        shadow=shadow,
    )
    places = {"overflow": bytes.fromhex(overflow), "tag": bytes.fromhex(tag)}
    counter = Counter(family, bytes.fromhex(key), bounded=bounded, **places)
    return Charged(counter, limit, *said[16:18])
