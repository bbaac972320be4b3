"""Generated requests: valid messages with random content, and random bytes."""

from __future__ import annotations

from hypothesis import strategies as st

from ratelimitd._gen.ratelimitd.internal.v1.raw_request_pb2 import (
    RawRateLimitDescriptor,
    RawRateLimitRequest,
)
from tests.rpc.support.calls import one

_BYTES = st.one_of(
    st.binary(max_size=30),
    st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.binary(min_size=1, max_size=8).map(lambda part: part * 500),
)
_NAMES = st.one_of(
    st.sampled_from([b"api_key", b"meter", b"phase", b"lease", b"route", b"org"]), _BYTES
)
_WORDS = st.sampled_from([b"requests", b"tokens", b"concurrent", b"done", b"health", b"Bearer x"])
_HITS = st.one_of(st.integers(0, 6), st.integers(0, 2**64 - 1))


@st.composite
def _descriptors(draw: st.DrawFn) -> RawRateLimitDescriptor:
    """Draw a descriptor; its own limit may have any unit, known or not."""
    descriptor = RawRateLimitDescriptor()
    pairs = draw(st.lists(st.tuples(_NAMES, st.one_of(_WORDS, _BYTES)), max_size=6))
    for key, value in pairs:
        descriptor.entries.add(key=key, value=value)
    if draw(st.booleans()):
        descriptor.hits_addend.value = draw(_HITS)
    descriptor.is_negative_hits = draw(st.integers(0, 4)) == 0
    if draw(st.integers(0, 3)) == 0:
        descriptor.limit.requests_per_unit = draw(st.integers(0, 2**32 - 1))
        descriptor.limit.unit = draw(st.integers(0, 9))  # type: ignore[assignment]
        if draw(st.booleans()):
            descriptor.limit.unit_multiplier.value = draw(st.integers(0, 2**32 - 1))
    return descriptor


def _request(domain: bytes, descriptors: list[RawRateLimitDescriptor], hits: int) -> bytes:
    return RawRateLimitRequest(
        domain=domain, descriptors=descriptors, hits_addend=hits
    ).SerializeToString()


VALID = st.builds(
    _request,
    st.one_of(st.just(b"test"), st.sampled_from([b"", b"elsewhere", b"\xff"])),
    st.one_of(st.lists(_descriptors(), max_size=5), st.lists(_descriptors(), max_size=1)),
    st.one_of(st.integers(0, 6), st.integers(0, 2**32 - 1)),
)
"""Wire forms of requests that protobuf can read, as strings or as bytes."""


@st.composite
def _cut(draw: st.DrawFn) -> bytes:
    """Draw a sound request with a few bytes changed, or its end cut off."""
    wire = bytearray(one("api_key=a", "meter=tokens", hits=3).SerializeToString())
    for at in draw(st.lists(st.integers(0, len(wire) - 1), max_size=4)):
        wire[at] = draw(st.integers(0, 255))
    return bytes(wire[: draw(st.integers(0, len(wire)))])


ANY = st.one_of(VALID, st.binary(max_size=200), _cut())
"""Whatever a peer may put into a message."""
