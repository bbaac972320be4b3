"""Parts of a `RateLimitResponse` in their bytes, as protobuf writes them.

A message is its fields one after another, so that an answer can be put together of parts that were
made by protobuf. Only what changes from answer to answer is written here: numbers, and lengths.
"""

from __future__ import annotations

from ratelimitd._gen.envoy.config.core.v3.base_pb2 import HeaderValue
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.model import MAX_UINT32

_RESPONSE = RateLimitResponse.DESCRIPTOR.fields_by_name
_STATUS = RateLimitResponse.DescriptorStatus.DESCRIPTOR.fields_by_name
_VARINT, _LENGTH = 0, 2  # wire types
_LONGEST_REMAINING = 6
"""Bytes of the field `limit_remaining`: its tag and five of seven bits."""


def _varint(number: int) -> bytes:
    """Return a number of at least 0 as protobuf writes it: seven bits a byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes((low | 0x80,)) + _varint(rest) if rest else bytes((low,))


def _sized(field: int, size: int) -> bytes:
    """Return what stands before a field of so many bytes."""
    return _varint(field << 3 | _LENGTH) + _varint(size)


_LEFT = _varint(_STATUS["limit_remaining"].number << 3 | _VARINT)
FEW, MANY = 1 << 14, 1 << 28
"""Below the first, what is left is one of a table; below the second, of two."""
LOW = tuple(_LEFT + bytes((left & 0x7F | 0x80, left >> 7 | 0x80)) for left in range(FEW))
"""How the field `limit_remaining` of a status begins for `FEW` and more, by its low 14 bits."""
HIGH = tuple(_varint(left) for left in range(FEW))
"""How it ends for less than `MANY`, by the bits above."""
SMALL = (b"", *(_LEFT + low for low in HIGH[1:]))
"""The whole field, by its number below `FEW`; 0 is left out."""
_MOST = _LEFT + _varint(MAX_UINT32)


def most(left: int) -> bytes:
    """Return the field for `MANY` and more, cut to what it can hold."""
    return _LEFT + _varint(left) if left < MAX_UINT32 else _MOST


def begun(status: RateLimitResponse.DescriptorStatus) -> tuple[bytes, ...]:
    """Return a status as one of the field `statuses`, by how many bytes end it that follow."""
    body = status.SerializeToString()
    number = _RESPONSE["statuses"].number
    return tuple(_sized(number, len(body) + more) + body for more in range(_LONGEST_REMAINING + 1))


def header(name: str, value: str) -> bytes:
    """Return one of the field `response_headers_to_add`."""
    body = HeaderValue(key=name, value=value).SerializeToString()
    return _sized(_RESPONSE["response_headers_to_add"].number, len(body)) + body


def before_values(name: str, longest: int) -> tuple[bytes, ...]:
    """Return, by its length, what stands before the value of a header of this name."""
    values = ("?" * length for length in range(longest + 1))
    return tuple(header(name, value).removesuffix(value.encode()) for value in values)
