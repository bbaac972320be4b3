"""gRPC's bytes: frames, timeouts, statuses, metadata. Pure functions, against the protocol."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimitd.transports import grpc_wire as wire
from tests.rpc.support.interop import SPECIAL

MESSAGES = st.lists(st.binary(max_size=40), max_size=6)


@given(MESSAGES, st.lists(st.integers(0, 250), max_size=12))
def test_messages_survive_any_cut_of_their_bytes(messages: list[bytes], cuts: list[int]) -> None:
    """What is framed, joined and cut anywhere comes out as it was, in order."""
    body = b"".join(map(wire.frame, messages))
    deframer = wire.Deframer(40)
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    out = [
        message
        for start, end in itertools.pairwise(edges)
        for message in deframer.feed(body[start:end])
    ]
    deframer.finish()
    assert out == messages


@given(st.binary(max_size=60))
def test_any_bytes_are_messages_or_refused(body: bytes) -> None:
    """A hostile body raises the three kinds of refusal only, and never a message over the bound."""
    deframer = wire.Deframer(20)
    try:
        messages = deframer.feed(body)
        deframer.finish()
    except (wire.MalformedError, wire.CompressedError, wire.OversizedError):
        return
    assert b"".join(map(wire.frame, messages)) == body
    assert all(len(message) <= 20 for message in messages)


@given(st.binary(max_size=60))
def test_one_message_is_read_or_refused(body: bytes) -> None:
    """The reader of unary bodies agrees with the one of streams."""
    try:
        message = wire.only_message(body)
    except (wire.MalformedError, wire.CompressedError):
        return
    assert wire.frame(message) == body
    assert wire.Deframer(100).feed(body) == [message]


TIMEOUTS = {
    b"1H": 3600,
    b"2M": 120,
    b"3S": 3,
    b"20m": 0.02,
    b"500u": 0.0005,
    b"7n": 7e-9,
    b"0S": 0,
    b"00000010S": 10,
    b"99999999H": 99_999_999 * 3600,
}


@pytest.mark.parametrize(("value", "seconds"), TIMEOUTS.items())
def test_timeouts(value: bytes, seconds: float) -> None:
    """Up to eight digits and a unit."""
    assert wire.timeout_seconds(value) == pytest.approx(seconds)


@given(st.one_of(st.binary(max_size=12), st.from_regex(rb"[0-9 .+_-]{0,10}[HMSmunx]?")))
def test_what_is_no_timeout_is_refused(value: bytes) -> None:
    """Only the protocol's spelling is read; Python's own (`1_0`, `+1`, ` 1`) is not."""
    if re.fullmatch(rb"[0-9]{1,8}[HMSmun]", value):
        assert wire.timeout_seconds(value) >= 0
    else:
        with pytest.raises(wire.MalformedError):
            wire.timeout_seconds(value)


@given(st.text(max_size=60))
def test_a_status_message_is_printable_ascii_and_comes_back(text: str) -> None:
    """Percent-encoded UTF-8: no line break or other control byte can reach a header."""
    pairs = dict(wire.status_pairs(grpc.StatusCode.NOT_FOUND, text))
    assert pairs[b"grpc-status"] == b"5"
    sent = pairs.get(b"grpc-message", b"")
    assert re.fullmatch(rb"[ -~]*", sent)
    assert unquote(sent.decode()) == text.encode("utf-8", "replace").decode()


def test_the_interoperability_message_is_spelled_as_the_protocol_wants() -> None:
    """The example of gRPC's own suite: only what must be is escaped."""
    assert dict(wire.status_pairs(grpc.StatusCode.UNKNOWN, SPECIAL))[b"grpc-message"] == (
        b"%09%0Atest with whitespace%0D%0Aand Unicode BMP %E2%98%BA and non-BMP %F0%9F%98%88%09%0A"
    )


KEYS = st.from_regex(r"[a-z][a-z0-9_.]{0,8}", fullmatch=True).filter(
    lambda key: not key.startswith("grpc") and key != "te" and not key.endswith("-bin")
)
PAIRS = st.lists(
    st.one_of(
        st.tuples(KEYS, st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E))),
        st.tuples(KEYS.map(lambda key: f"{key}-bin"), st.binary(max_size=30)),
    ),
    max_size=5,
)


@given(PAIRS)
def test_metadata_comes_back(metadata: list[tuple[str, str | bytes]]) -> None:
    """Text as it is, bytes of `-bin` keys in base64; order and repetition stay."""
    assert list(wire.decode_metadata(wire.encode_metadata(metadata))) == metadata


@given(st.binary(max_size=30))
def test_binary_metadata_is_read_with_and_without_padding(value: bytes) -> None:
    """Peers may pad their base64 or not."""
    ((key, sent),) = wire.encode_metadata([("k-bin", value)])
    assert b"=" not in sent
    padded = sent + b"=" * (-len(sent) % 4)
    assert wire.decode_metadata([(key, padded)]) == (("k-bin", value),)


def test_several_binary_values_in_one_header_are_told_apart() -> None:
    """A proxy may join equal headers with commas, which base64 does not contain."""
    assert wire.decode_metadata([(b"k-bin", b"YQ,Yg==, Yw")]) == (
        ("k-bin", b"a"),
        ("k-bin", b"b"),
        ("k-bin", b"c"),
    )


def test_the_protocols_own_headers_are_no_metadata() -> None:
    """A servicer sees what its caller's application sent."""
    headers = [
        (b":path", b"/x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"identity"),
        (b"x-own", b"1"),
    ]
    assert wire.decode_metadata(headers) == (("x-own", "1"),)


def test_binary_metadata_that_is_none_is_refused() -> None:
    """A servicer that reads metadata is told of a peer's fault by a status, not by bytes."""
    with pytest.raises(wire.MalformedError):
        wire.decode_metadata([(b"k-bin", b"%%%")])
