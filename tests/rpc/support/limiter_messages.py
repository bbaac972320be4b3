"""Generated requests of LimiterService: valid messages with random content, and random bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2 as pb

REQUESTS: dict[str, Any] = {
    "Decide": pb.DecideRequest,
    "Release": pb.ReleaseRequest,
    "Renew": pb.RenewRequest,
    "Reserve": pb.ReserveRequest,
    "Settle": pb.SettleRequest,
}
"""Method to the message that it takes."""

_ANY_TEXT = st.one_of(st.text(max_size=20), st.text(min_size=1, max_size=4).map(lambda t: t * 400))
_METERS = st.one_of(st.sampled_from(["", "requests", "tokens", "concurrent", "images"]), _ANY_TEXT)
_AMOUNTS = st.one_of(st.integers(0, 6), st.integers(0, 2**64 - 1))
_NAMES = st.one_of(st.sampled_from(["route", "model", "meter", "lease", "phase", "org"]), _ANY_TEXT)
KEYS = st.one_of(st.sampled_from(["a", "large"]), _ANY_TEXT)
"""API keys. `bystander` is none of them."""
_HASHES = st.one_of(st.binary(min_size=16, max_size=16).map(bytes.hex), _ANY_TEXT)
_IDS = st.one_of(st.just(""), _ANY_TEXT, st.binary(max_size=200).map(bytes.hex))


@st.composite
def _asks(draw: st.DrawFn) -> pb.Ask:
    ask = pb.Ask(meter=draw(_METERS), peek=draw(st.booleans()))
    if draw(st.booleans()):
        ask.amount = draw(_AMOUNTS)
    return ask


_SOME = st.lists(st.builds(pb.Amount, meter=_METERS, amount=_AMOUNTS), max_size=4)
_SOUND = st.lists(
    st.builds(pb.Amount, meter=st.sampled_from(["tokens", "requests"]), amount=st.integers(1, 3)),
    min_size=1,
    max_size=1,
)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw a method and a request for it."""
    method = draw(st.sampled_from(list(REQUESTS)))
    if method == "Settle":
        return method, pb.SettleRequest(reservation_id=draw(_IDS), actual=draw(_SOME))
    domain = draw(st.one_of(st.just("test"), st.just("test"), _ANY_TEXT))
    fields: dict[str, Any] = {"domain": domain}
    who = draw(st.sampled_from(["api_key", "api_key", "subject", ""]))
    if who:
        fields[who] = draw(KEYS if who == "api_key" else _HASHES)
    fields["entries"] = draw(st.dictionaries(_NAMES, _ANY_TEXT, max_size=3))
    if method == "Decide":
        fields["asks"] = draw(st.lists(_asks(), max_size=4))
    elif method == "Reserve":
        fields["estimates"] = draw(st.one_of(_SOME, _SOUND))
    else:
        fields["lease_id"] = draw(_IDS)
    return method, REQUESTS[method](**fields)


@st.composite
def wires(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw a method and bytes for it: a request, a spoilt one, or anything."""
    method, request = draw(calls())
    wire = bytearray(request.SerializeToString())
    if draw(st.booleans()) and wire:
        for at in draw(st.lists(st.integers(0, len(wire) - 1), max_size=4)):
            wire[at] = draw(st.integers(0, 255))
        del wire[draw(st.integers(0, len(wire))) :]
    elif draw(st.integers(0, 3)) == 0:
        wire = bytearray(draw(st.binary(max_size=200)))
    return method, bytes(wire)
