"""Envoy's request messages as questions.

Owns the bounds of conversion and the cache of questions: callers repeat themselves, so the same
bytes become the same `Question`, plan included. Knows no limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
from ratelimitd._gen.envoy.type.v3.ratelimit_unit_pb2 import RateLimitUnit
from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import RawRateLimitRequest
from ratelimitd.memo import Memo
from ratelimitd.model import Descriptor, Override, Question, Unit, Window
from ratelimitd.windows import LONGEST_US

if TYPE_CHECKING:
    from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import (
        RateLimitDescriptor,
    )
    from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import RawRateLimitDescriptor

REMEMBERED = 8_192
"""Questions per generation of the cache; two generations."""
LONGEST_REMEMBERED = 1_024
"""Bytes of a request that is worth remembering; bounds the cache to about 50 MiB."""

_UNITS = {
    RateLimitUnit.SECOND: Unit.SECOND,
    RateLimitUnit.MINUTE: Unit.MINUTE,
    RateLimitUnit.HOUR: Unit.HOUR,
    RateLimitUnit.DAY: Unit.DAY,
    RateLimitUnit.MONTH: Unit.MONTH,
    RateLimitUnit.YEAR: Unit.YEAR,
}


def parse(wire: bytes) -> RateLimitRequest | RawRateLimitRequest | None:
    """Read a request, whatever bytes its strings hold; None where they are no request at all.

    protobuf refuses a message whose strings are not UTF-8, but Envoy sends header values as they
    are; an error would let the request pass. The twin message has bytes where Envoy has strings.
    """
    try:
        return RateLimitRequest.FromString(wire)
    except DecodeError:
        pass
    try:
        return RawRateLimitRequest.FromString(wire)
    except DecodeError:
        return None


class Questions:
    """Turns requests into questions, remembering those that came before by their bytes."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._memo: Memo[bytes, Question] = Memo(remembered)

    def read(self, wire: bytes) -> Question | None:
        """Return the question that a request asks; None where the bytes are no request."""
        found = self._memo.get(wire) or self._memo.recall(wire)
        if found is not None:
            return found
        request = parse(wire)
        if request is None:
            return None
        question = Question(
            _text(request.domain),
            tuple(_descriptor(descriptor) for descriptor in request.descriptors),
            request.hits_addend,
        )
        if len(wire) <= LONGEST_REMEMBERED and not _names_lease(question):
            self._memo.put(wire, question)
        return question


def _names_lease(question: Question) -> bool:
    """Say whether a question is about one lease, so that nobody will ask it again."""
    return any(name == "lease" for each in question.descriptors for name, _ in each.entries)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _descriptor(message: RateLimitDescriptor | RawRateLimitDescriptor) -> Descriptor:
    return Descriptor(
        entries=tuple((_text(entry.key), _text(entry.value)) for entry in message.entries),
        hits=message.hits_addend.value if message.HasField("hits_addend") else None,
        negative=message.is_negative_hits,
        override=_override(message),
    )


def _override(message: RateLimitDescriptor | RawRateLimitDescriptor) -> Override | None:
    """Return the descriptor's own limit; None without one, or with a window that policies lack."""
    if not message.HasField("limit"):
        return None
    limit = message.limit
    unit = _UNITS.get(limit.unit)
    if unit is None:
        return None
    window = Window.of(unit)
    times = limit.unit_multiplier.value if limit.HasField("unit_multiplier") else 1
    if times > 1:
        length = window.length_us * times
        if window.months or length > LONGEST_US:
            return None
        window = Window.lasting(length)
    return Override(limit.requests_per_unit, window)
