"""Keys of ours in one slot of Redis's, so that every change of them is one atomic script.

Commands go as words, and come back as answers or as `StoreError`. Knows no keys but their slot.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from redis.crc import key_slot
from redis.exceptions import RedisError

from ratelimitd.errors import StoreUnavailableError
from ratelimitd.stores.redis.connection import packed
from ratelimitd.stores.redis.servers import ask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.stores.redis.servers import Servers


class RedisSlot:
    """The keys that begin with a prefix whose hash tag makes them share a slot."""

    def __init__(self, servers: Servers, prefix: str, whose: str) -> None:
        """Ask `servers`, these keys' own connections; `whose`, in errors: `registry`."""
        self._send = partial(servers.send, key_slot(prefix.encode()))
        self._whose = whose

    async def ask(self, *words: str | bytes) -> Any:  # noqa: ANN401 - whatever Redis says
        """Return what the server replies. Raises `StoreError`."""
        reply = await ask(self._send, packed(words))
        if isinstance(reply, RedisError):
            msg = f"the {self._whose}'s Redis refuses: {reply}"
            raise StoreUnavailableError(msg) from reply
        return reply

    async def run(self, script: str, keys: Sequence[str], *values: str | bytes) -> Any:  # noqa: ANN401 - as above
        """Return what a script returns. Raises `StoreError`."""
        return await self.ask("EVAL", script, str(len(keys)), *keys, *values)
