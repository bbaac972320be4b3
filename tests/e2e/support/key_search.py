"""Whether an API key stands anywhere that a limiter writes: the search, and where it looks."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    import redis

Places = dict[str, bytes]
"""What was written, by where."""


def spellings(key: str) -> set[bytes]:
    """Return a key as it is, in hexadecimal, and in each alignment of base64."""
    plain = key.encode()
    shifted = (base64.b64encode(b"\0" * shift + plain)[4:-4] for shift in range(3))
    return {plain, plain.hex().encode(), plain.hex().upper().encode(), *shifted}


def found(places: Mapping[str, bytes], keys: Iterable[str]) -> set[tuple[str, str]]:
    """Return which keys stand where."""
    wanted = {key: spellings(key) for key in keys}
    return {
        (place, key)
        for place, text in places.items()
        for key, spelled in wanted.items()
        if any(each in text for each in spelled)
    }


def in_redis(client: redis.Redis) -> bytes:
    """Return every key of a Redis, and all that they hold."""
    readers: dict[bytes | str, Callable[[bytes], Any]] = {
        b"string": client.get,
        b"hash": client.hgetall,
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1),
        b"stream": client.xrange,
    }
    kept = [(key, readers[client.type(key)](key)) for key in client.scan_iter("*")]
    return b"\n".join(_flat(kept))


def _flat(value: Any) -> Iterator[bytes]:  # noqa: ANN401 - whatever a command replies
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, dict):
        yield from _flat(list(value.items()))
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            yield from _flat(each)


def in_folder(folder: Path) -> Places:
    """Return the files of a folder: counts, records, and what is not yet in them (`-wal`)."""
    return {f"file {path.name}": path.read_bytes() for path in folder.iterdir()}
