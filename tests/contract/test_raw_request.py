"""The request whose texts are bytes reads the same wire as Envoy's request, and reads more of it.

The server falls back to it for requests that protobuf refuses, so a difference between the two
would give one caller two different answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import UInt32Value, UInt64Value
from hypothesis import given
from hypothesis import strategies as st

from ratelimitd._gen.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest
from ratelimitd._gen.ratelimitd.internal.v1 import raw_request_pb2
from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import (
    RawRateLimitDescriptor,
    RawRateLimitRequest,
)
from tests.contract.envoy_descriptors import DESCRIPTOR, REQUEST, Facts, facts, our_files

if TYPE_CHECKING:
    from collections.abc import Callable

RAW_NAMES = {
    REQUEST: "ratelimitd.internal.v1.RawRateLimitRequest",
    DESCRIPTOR: "ratelimitd.internal.v1.RawRateLimitDescriptor",
}
OVERRIDE = f"{DESCRIPTOR}.RateLimitOverride"  # holds no text, so both requests use the same one

TEXT = st.text(max_size=20)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)

entries = st.builds(RateLimitDescriptor.Entry, key=TEXT, value=TEXT)
overrides = st.builds(
    RateLimitDescriptor.RateLimitOverride,
    requests_per_unit=UINT32,
    unit=st.integers(0, 9),  # 7 to 9: units that a newer Envoy may know
    unit_multiplier=st.none() | st.builds(UInt32Value, value=UINT32),
)
hits = st.builds(UInt64Value, value=UINT64)
descriptors = st.builds(
    RateLimitDescriptor,
    entries=st.lists(entries, max_size=4),
    limit=st.none() | overrides,
    hits_addend=st.none() | hits,
    is_negative_hits=st.booleans(),
)
requests = st.builds(
    RateLimitRequest,
    domain=TEXT,
    descriptors=st.lists(descriptors, max_size=4),
    hits_addend=UINT32,
)


def as_bytes(text: str | bytes) -> bytes:
    """Return a text of either message as its bytes."""
    return text.encode() if isinstance(text, str) else text


def values(request: RateLimitRequest | RawRateLimitRequest) -> object:
    """Return all that a request says, absent apart from zero, as plain values."""
    return (
        as_bytes(request.domain),
        request.hits_addend,
        [descriptor_values(descriptor) for descriptor in request.descriptors],
    )


def descriptor_values(descriptor: RateLimitDescriptor | RawRateLimitDescriptor) -> object:
    """Return all that a descriptor says, absent apart from zero, as plain values."""
    limit = descriptor.limit
    return (
        [(as_bytes(entry.key), as_bytes(entry.value)) for entry in descriptor.entries],
        limit.SerializeToString(deterministic=True) if descriptor.HasField("limit") else None,
        descriptor.hits_addend.value if descriptor.HasField("hits_addend") else None,
        descriptor.is_negative_hits,
    )


def raw_name(name: str) -> str:
    """Return what a name of Envoy's request is called in the raw request."""
    if OVERRIDE not in name:
        for real, raw in RAW_NAMES.items():
            name = name.replace(real, raw)
    return name


def raw_part(part: object) -> object:
    """Return a part of a fact about Envoy's request as the raw request must have it."""
    if part == "TYPE_STRING":
        return "TYPE_BYTES"
    return raw_name(part) if isinstance(part, str) else part


def facts_wanted() -> Facts:
    """Return what the raw request must be: Envoy's request with bytes for texts."""
    return {
        raw_name(name): tuple(map(raw_part, fact))
        for name, fact in facts(our_files().file).items()
        if f"{name}.".startswith((f"{REQUEST}.", f"{DESCRIPTOR}.")) and OVERRIDE not in name
    }


def facts_of(file: FileDescriptorProto) -> Facts:
    """Return what the messages of the raw request's file are."""
    return {name: fact for name, fact in facts([file]).items() if name != file.name}


def raw_file() -> FileDescriptorProto:
    """Return a copy of the raw request's file, which a test may spoil."""
    file = FileDescriptorProto()
    raw_request_pb2.DESCRIPTOR.CopyToProto(file)
    return file


def test_the_raw_request_is_the_real_one_with_bytes_for_texts() -> None:
    """Same names, numbers and types at every depth, and no text left that could be refused."""
    assert facts_of(raw_file()) == facts_wanted()


def keep_a_text(file: FileDescriptorProto) -> None:
    """Let the domain be a text."""
    file.message_type[0].field[0].type = FieldDescriptorProto.TYPE_STRING


def swap_numbers(file: FileDescriptorProto) -> None:
    """Exchange the numbers of an entry's key and value."""
    key, value = file.message_type[1].nested_type[0].field
    key.number, value.number = value.number, key.number


def forget_a_field(file: FileDescriptorProto) -> None:
    """Leave out what Envoy came to send only later."""
    del file.message_type[1].field[3]


@pytest.mark.parametrize("spoil", [keep_a_text, swap_numbers, forget_a_field])
def test_a_planted_difference_is_found(spoil: Callable[[FileDescriptorProto], None]) -> None:
    """The comparison tells a raw request that is wrong in one place from a right one."""
    file = raw_file()
    spoil(file)
    assert facts_of(file) != facts_wanted()


@given(request=requests)
def test_both_read_the_same_values(request: RateLimitRequest) -> None:
    """What a valid request says does not depend on which of the two messages reads it."""
    wire = request.SerializeToString()
    assert values(RawRateLimitRequest.FromString(wire)) == values(RateLimitRequest.FromString(wire))


@given(first=requests, second=requests)
def test_both_merge_repeated_fields_alike(
    first: RateLimitRequest, second: RateLimitRequest
) -> None:
    """A field that comes twice means the same to both: the last text, all descriptors."""
    wire = first.SerializeToString() + second.SerializeToString()
    assert values(RawRateLimitRequest.FromString(wire)) == values(RateLimitRequest.FromString(wire))


@given(first=requests, second=requests)
def test_different_requests_read_differently(
    first: RateLimitRequest, second: RateLimitRequest
) -> None:
    """The comparison loses nothing that a request says: only equal requests have equal values."""
    raw = RawRateLimitRequest.FromString(second.SerializeToString())
    assert (values(first) == values(raw)) == (first == second)


@given(value=st.binary(max_size=20))
def test_the_raw_request_reads_what_the_real_one_refuses(value: bytes) -> None:
    """Any bytes are a value: the raw request keeps them as they came, valid UTF-8 or not."""
    entry = RawRateLimitDescriptor.Entry(key=b"path", value=value)
    sent = RawRateLimitRequest(domain=b"d", descriptors=[RawRateLimitDescriptor(entries=[entry])])
    wire = sent.SerializeToString()
    assert RawRateLimitRequest.FromString(wire) == sent
    try:
        value.decode()
    except UnicodeDecodeError:
        with pytest.raises(DecodeError):
            RateLimitRequest.FromString(wire)
    else:
        assert values(RateLimitRequest.FromString(wire)) == values(sent)
