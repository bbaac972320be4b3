"""What a cluster says of who has which slots (CLUSTER SLOTS), and whom it is asked of."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.connect import WITHIN, Direct, shown
from ratelimitd.stores.redis.connection import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.stores.redis.link import Link
    from ratelimitd.stores.redis.urls import Target

Address = tuple[str, int]
Ranges = dict[Address, list[tuple[int, int]]]
"""Each primary's slots: the first and the last of each range."""

SLOTS = 16_384
_QUESTION = ("CLUSTER", "SLOTS")
_UNKNOWN = (None, b"", b"?")


async def told_by(link: Link) -> object:
    """Return what the server of a link says, an error being a value."""
    future: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def answer(reply: object) -> None:
        if not future.done():
            future.set_result(reply)

    link.send(packed(_QUESTION), answer)
    return await future


async def told_by_seeds(target: Target) -> Ranges:
    """Ask the nodes that the operator named, over connections of their own, one after another.

    Raises `StoreUnavailableError` with what each of them has against it.
    """
    complaints = []
    for address in target.addresses:
        try:
            connection = await Direct(target, address, any_role=True)()
        except StoreUnavailableError as error:
            complaints.append(str(error))
            continue
        try:
            async with asyncio.timeout(WITHIN):
                (reply,) = await connection.ask(_QUESTION)
        except (TimeoutError, ConnectionError) as error:
            reply = None
            complaints.append(f"Redis ({shown(address)}) does not answer: {error}")
        finally:
            connection.drop()
        if ranges := read(reply, address[0]):
            return ranges
        if reply is not None:
            complaints.append(f"Redis ({shown(address)}) knows no slots: {str(reply)[:200]}")
    raise StoreUnavailableError("; ".join(complaints))


def read(reply: object, host: str) -> Ranges:
    """Return each primary's slots as a server told them that is reached as `host`.

    Empty: the reply says nothing of the kind.
    """
    ranges: Ranges = {}
    try:
        for first, last, address in _primaries(reply, host):
            ranges.setdefault(address, []).append((first, last))
    except (TypeError, ValueError, IndexError):
        return {}
    return ranges


def _primaries(reply: object, host: str) -> Iterator[tuple[int, int, Address]]:
    if not isinstance(reply, list):
        return
    for first, last, primary, *_ in reply:
        name, port, _, *more = primary
        if name in _UNKNOWN:  # it does not know how clients reach it: as we reached who says so
            facts = more[0] if more else []
            name = dict(zip(facts[::2], facts[1::2], strict=True)).get(b"ip") or host.encode()
        if not 0 <= first <= last < SLOTS:
            raise ValueError(first)
        yield first, last, (name.decode(), port)
