"""Records and usage as AdminService's messages, and back. Texts never repeat what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from ratelimitd._gen.ratelimitd.v1 import admin_pb2
from ratelimitd.accounts.leases import mark
from ratelimitd.accounts.record import Boost, OwnLimit, Record
from ratelimitd.errors import InvalidFieldsError
from ratelimitd.keys import read_subject
from ratelimitd.model import OWN
from ratelimitd.rpc.asking import LONGEST_KEY
from ratelimitd.rpc.telling import instant

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from google.protobuf.timestamp_pb2 import Timestamp

    from ratelimitd.accounts.leases import Held
    from ratelimitd.accounts.usage import Usage
    from ratelimitd.model import Subject

_SECOND = 1_000_000
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


def subjects(
    key: admin_pb2.Key, hashed: Callable[[str], Sequence[Subject]], field: str = "key"
) -> Sequence[Subject]:
    """Return the hashes that a key may have. Raises `InvalidFieldsError`."""
    which = key.WhichOneof("id")
    if which == "subject" and (subject := read_subject(key.subject)) is not None:
        return (subject,)
    if which == "api_key" and key.api_key and len(key.api_key) <= LONGEST_KEY:
        return hashed(key.api_key)
    if which == "subject":
        raise InvalidFieldsError.of((f"{field}.subject", "a key's hash is 32 hexadecimal digits"))
    text = f"name the key, by itself (at most {LONGEST_KEY} characters) or by its hash"
    raise InvalidFieldsError.of((field, text))


def read(message: admin_pb2.KeyRecord, subject: Subject) -> Record:
    """Return the record that a message holds. Raises `InvalidFieldsError`."""
    boost = None
    if message.HasField("boost"):
        until = _moment(message.boost.until, "boost.until")
        if not until:
            raise InvalidFieldsError.of(("boost.until", "say when the boost ends"))
        limits = tuple(map(_own, message.boost.limits))
        boost = Boost(until=until, factor=message.boost.factor, limits=limits)
    return Record(
        subject=subject,
        tier=message.tier,
        limits=tuple(map(_own, message.limits)),
        attributes=MappingProxyType(dict(message.attributes)),
        billing_day=message.billing_day or 1,
        note=message.note,
        expires=max(_moment(message.expires, "expires"), 1) if message.HasField("expires") else 0,
        is_disabled=message.disabled,
        is_revoked=message.revoked,
        boost=boost,
        version=message.version,
    )


def _moment(at: Timestamp, field: str) -> int:
    if not 0 <= at.seconds <= _LATEST:
        raise InvalidFieldsError.of((field, "an instant from 1970 to 9999"))
    return at.seconds * _SECOND + at.nanos // 1_000


def _own(limit: admin_pb2.OwnLimit) -> OwnLimit:
    usual = () if limit.for_domain else OWN
    return OwnLimit(
        meter=limit.meter,
        rate=limit.rate,
        algorithm=limit.algorithm,
        burst=limit.burst,
        when=tuple(sorted(limit.when.items())),
        per=tuple(dict.fromkeys(limit.per)) or usual,
        name=limit.name,
        shadow=limit.shadow,
    )


def told(record: Record, *, from_policy: bool = False) -> admin_pb2.KeyRecord:
    """Return a record as a message."""
    message = admin_pb2.KeyRecord(
        subject=record.subject.hex(),
        tier=record.tier,
        limits=map(_told, record.limits),
        attributes=record.attributes,
        billing_day=record.billing_day,
        note=record.note,
        disabled=record.is_disabled,
        revoked=record.is_revoked,
        version=record.version,
        from_policy=from_policy,
    )
    if record.expires:
        message.expires.CopyFrom(instant(record.expires))
    if record.boost is not None:
        message.boost.until.CopyFrom(instant(record.boost.until))
        message.boost.factor = record.boost.factor
        message.boost.limits.extend(map(_told, record.boost.limits))
    return message


def _told(limit: OwnLimit) -> admin_pb2.OwnLimit:
    return admin_pb2.OwnLimit(
        meter=limit.meter,
        rate=limit.rate,
        algorithm=limit.algorithm,
        burst=limit.burst,
        when=dict(limit.when),
        per=limit.per,
        for_domain=not limit.per,
        name=limit.name,
        shadow=limit.shadow,
    )


def usage(found: Usage) -> admin_pb2.LimitUsage:
    """Return how a limit stands as a message."""
    limit, standing = found.limit, found.standing
    message = admin_pb2.LimitUsage(
        domain=found.domain,
        limit=limit.name,
        meter=limit.meter.name,
        window=limit.window.name if limit.window else "",
        amount=limit.capacity,
        used=standing.before,
        remaining=max(limit.capacity - standing.before, 0),
        reset=instant(standing.reset_at),
    )
    if found.forecast is not None:
        message.forecast.projected = found.forecast.projected
        message.forecast.exceeds = found.forecast.exceeds
        if found.forecast.reached_at is not None:
            message.forecast.reached.CopyFrom(instant(found.forecast.reached_at))
    return message


def held(found: Held) -> admin_pb2.HeldLimit:
    """Return what is held of a limit as a message."""
    message = admin_pb2.HeldLimit(
        domain=found.domain,
        limit=found.limit.name,
        meter=found.limit.meter.name,
        amount=found.limit.amount,
        held=found.held,
    )
    for lease in found.leases:
        message.leases.add(mark=mark(lease.lease), ends=instant(lease.ends))
    return message
