"""The script that decides, put together of the files in `lua/`, and what it is called by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from importlib.resources import files

PARTS = ("prelude", "clock", "fixed_window", "sliding_window", "token_bucket", "lease", "batch")
"""In the order in which each needs the ones before."""


@dataclass(frozen=True)
class Script:
    """One Lua script."""

    text: bytes

    @classmethod
    def load(cls, **instead: str) -> Script:
        """Read the script; `instead` gives other text for parts (tests give a clock of theirs)."""
        folder = files("ratelimitd.stores.redis") / "lua"
        parts = (instead.get(name) or (folder / f"{name}.lua").read_text() for name in PARTS)
        return cls("\n".join(parts).encode())

    @cached_property
    def sha(self) -> bytes:
        """What EVALSHA calls it: Redis names scripts by their SHA-1, which protects nothing."""
        return sha1(self.text, usedforsecurity=False).hexdigest().encode()

    @cached_property
    def by_sha(self) -> bytes:
        """The beginning of a call, after its number of arguments (RESP)."""
        return b"$7\r\nEVALSHA\r\n$40\r\n%b\r\n" % self.sha

    @cached_property
    def by_text(self) -> bytes:
        """The same for a server that does not have the script, which then has it."""
        return b"$4\r\nEVAL\r\n$%d\r\n%b\r\n" % (len(self.text), self.text)


def bulk(value: bytes) -> bytes:
    """Spell an argument for the wire (RESP)."""
    return b"$%d\r\n%b\r\n" % (len(value), value)
