"""Conversations that were sound, with their frames mutated; and header blocks drawn at random.

All is drawn from seeds, so that a number tells the whole conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from typing import TYPE_CHECKING, Final

import hpack

from tests.robustness.support import frames
from tests.robustness.support.frames import (
    ACK,
    CALL,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HELLO,
    frame,
    headers,
    number,
)
from tests.robustness.support.malformed import QUESTION
from tests.robustness.support.peer import connected
from tests.robustness.support.testing import INITIAL, SERVICE
from tests.rpc.support.raw_http2 import grpc_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CALLS: Final = 6
"""In each conversation."""
AT_ONCE: Final = 16
"""Connections."""
ENDS_WITHIN: Final = 20.0
"""Seconds for a server to end a connection whose peer has said all."""
_MESSAGE: Final = b"\0" + len(QUESTION).to_bytes(4) + QUESTION
MOST: Final = 4
"""Mutations in a conversation: a strict server reads nothing after the first that it sees."""


def _conversation() -> list[bytes]:
    """Return the frames of a sound one."""
    sent = [frame(frames.SETTINGS, ACK), frame(frames.WINDOW, payload=number(1 << 20))]
    for stream in frames.streams(CALLS):
        half = len(_MESSAGE) // 2
        sent += [
            headers(stream, CALL[:20], 0),
            frame(CONTINUATION, END_HEADERS, stream, CALL[20:]),
            frame(frames.DATA, 0, stream, _MESSAGE[:half]),
            frame(frames.PING, payload=bytes(8)),
            frame(frames.PRIORITY, 0, stream, number(0) + b"\1"),
            frame(frames.DATA, END_STREAM, stream, _MESSAGE[half:]),
        ]
    return sent


CONVERSATION: Final = _conversation()


def _flip(draw: random.Random, data: bytes) -> bytes:
    """Change some bits, of the head more often than of what follows."""
    changed = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        most = len(changed) if draw.random() < 0.5 else min(len(changed), frames.HEAD)
        changed[draw.randrange(most)] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _other_kind(draw: random.Random, data: bytes) -> bytes:
    return data[:3] + bytes([draw.randrange(12), draw.randrange(256)]) + data[5:]


def _other_stream(draw: random.Random, data: bytes) -> bytes:
    stream = draw.choice((0, 1, 2, 3, 11, 2**31 - 1, draw.randrange(2**32)))
    return data[:5] + number(stream) + data[frames.HEAD :]


def _other_length(draw: random.Random, data: bytes) -> bytes:
    return draw.choice((0, 1, 5, 255, 16_384, 16_385, 2**24 - 1)).to_bytes(3) + data[3:]


def _other_payload(draw: random.Random, data: bytes) -> bytes:
    kind, flags, stream = data[3], data[4], int.from_bytes(data[5 : frames.HEAD]) & 0x7FFF_FFFF
    return frame(kind, flags, stream, draw.randbytes(draw.choice((0, 1, 4, 8, 64, 1_000))))


def _cut(draw: random.Random, data: bytes) -> bytes:
    return data[: draw.randrange(len(data))]


def _twice(_: random.Random, data: bytes) -> bytes:
    return data * 2


MUTATIONS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    *(_flip, _other_kind, _other_stream, _other_length, _other_payload, _cut, _twice),
    lambda _, __: b"",
)


def mutated(seed: int) -> list[bytes]:
    """Return a conversation's frames; every one is the same for the same seed."""
    draw = random.Random(seed)
    sent = list(CONVERSATION)
    for _ in range(draw.randint(1, MOST)):
        at = draw.randrange(len(sent))
        if len(sent[at]) < frames.HEAD:  # it has been cut before
            continue
        if draw.random() < 0.1:
            sent.insert(draw.randrange(len(sent)), sent.pop(at))
        else:
            sent[at] = draw.choice(MUTATIONS)(draw, sent[at])
    return sent


@dataclasses.dataclass(slots=True)
class Fuzzed:
    """What was sent."""

    sent: int = 0
    """Frames."""
    hung: list[int] = dataclasses.field(default_factory=list)
    """Seeds of conversations whose connections the limiter never ended."""
    refused: int = 0
    """Connections that could not be made."""


async def fuzz(address: str, count: int, first: int, done: Fuzzed) -> None:
    """Send so many frames more, in conversations of consecutive seeds; note it in `done`."""
    most = done.sent + count
    seeds = iter(range(first, first + count))  # more than there are conversations
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(_converse(address, seeds, most, done))


async def _converse(address: str, seeds: Iterator[int], most: int, done: Fuzzed) -> None:
    while done.sent < most:
        seed = next(seeds)
        sent = mutated(seed)
        done.sent += len(sent)
        try:
            async with connected(address, HELLO + b"".join(sent)) as peer:
                peer.decodes = False
                with contextlib.suppress(OSError):
                    peer.writer.write_eof()
                if not await peer.closed_within(ENDS_WITHIN):
                    done.hung.append(seed)
        except ConnectionError:  # nobody listens
            done.refused += 1
            await asyncio.sleep(0.1)


LETTERS: Final = "".join(map(chr, range(0x20, 0x7F)))
_KEYS: Final = tuple(f"x-{index}" for index in range(40))


async def round_trips(address: str, seed: int, count: int) -> list[tuple[str, str]]:
    """Send values in blocks of every shape on one connection; return what came back otherwise.

    Names and values recur, so that both tables are full of them; and the peer's is now and then
    made smaller and larger.
    """
    draw = random.Random(seed)
    encoder = hpack.Encoder()
    wrong = []
    async with connected(address, HELLO) as peer:
        for stream in frames.streams(count):
            if draw.random() < 0.1:
                encoder.header_table_size = draw.choice((0, 64, 1_000, 4_096))
            value = _text(draw)
            block = encoder.encode(_pairs(draw, value), huffman=draw.random() < 0.5)
            peer.fields.clear()
            peer.send(_parts(draw, stream, bytes(block)))
            peer.send(frame(frames.DATA, END_STREAM, stream, bytes(5)))
            await peer.until_answered(ENDS_WITHIN)
            if (found := peer.fields.get(INITIAL, "nothing")) != value:
                wrong.append((value, found))
    return wrong


def _pairs(draw: random.Random, value: str) -> list[hpack.HeaderTuple]:
    """Return a call's headers, some of them not for the table."""
    path = f"/{SERVICE}/UnaryCall"
    more = [(draw.choice(_KEYS), _text(draw)) for _ in range(draw.randrange(20))]
    kinds = (hpack.HeaderTuple, hpack.HeaderTuple, hpack.NeverIndexedHeaderTuple)
    return [
        *(hpack.HeaderTuple(*pair) for pair in grpc_headers(path)),
        *(draw.choice(kinds)(*pair) for pair in ((INITIAL, value), *more)),
    ]


def _text(draw: random.Random) -> str:
    """Return a value: often one of a few, and sometimes one that no table takes."""
    if draw.random() < 0.4:
        return draw.choice(("a", "value", "x" * 200))
    length = draw.choice((0, 1, 10, 126, 127, 128, 255, 3_000))
    return "".join(draw.choices(LETTERS, k=length)).strip()


def _parts(draw: random.Random, stream: int, block: bytes) -> bytes:
    """Return a block in one frame or in several."""
    if draw.random() < 0.5:
        return b"".join(
            frame(kind, flags, stream, part)
            for kind, flags, part in (
                (frames.HEADERS, 0, block[:10]),
                (CONTINUATION, 0, block[10:11]),
                (CONTINUATION, END_HEADERS, block[11:]),
            )
        )
    return headers(stream, block)
