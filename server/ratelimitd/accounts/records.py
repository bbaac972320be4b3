"""The port to records: what a registry promises, wherever it keeps them.

`tests/contract/test_records.py` holds every registry to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.accounts.record import Record
    from ratelimitd.model import Subject

CONFLICT = 0
"""In the place of a version: the record was not put, because another version is there."""
MOST_CHANGES = 1_000
"""Subjects that one `watch` tells; there may be more at once."""


class Mark(NamedTuple):
    """How far a reader of changes has come."""

    version: int = 0
    origin: bytes = b""
    """Which registry's versions these are, and over which connection they were read."""


class Changes(NamedTuple):
    """What has changed since a mark."""

    mark: Mark
    """To go on from."""
    subjects: Sequence[Subject]
    """Each once, in the order of their last changes."""
    lost: bool = False
    """Whether anything else may have changed as well: records must be read again."""


class Page(NamedTuple):
    """Some records, by their subjects."""

    records: Sequence[Record]
    after: bytes
    """Where the next page begins; empty: this was the last."""


class Records(Protocol):
    """Records of keys, by subject.

    - Records stay until they are changed; they have no lifetime and are never removed.
    - A version is larger than every one that the registry gave before.
    - Several processes may use one registry; each sees what any of them has put.
    - `StoreError` (and its kinds) is the only exception that leaves a registry.
    """

    is_lasting: bool
    """Whether records outlive the process."""
    is_instant: bool
    """Whether nothing here ever waits."""

    async def start(self) -> None:
        """Open what is to be opened. Raises `StoreError`, and `SettingsError` if it cannot work."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """Return the records of subjects, in their order; None where there is none.

        Costs one round trip, and one for each 100.
        """
        ...

    async def put(self, records: Sequence[Record]) -> list[int]:
        """Write records, each by itself and atomically; return their new versions.

        A record is written only where the version that is there is the one that it has
        (0: there is none), else `CONFLICT` stands for its version and nothing has changed.
        """
        ...

    async def page(self, after: bytes, most: int, tier: str = "") -> Page:
        """Return up to `most` records whose subjects come after `after`, in their order.

        With `tier` those of that tier alone; a page may then have fewer, or none, and not be the
        last. Costs about as much on the last page as on the first, and no more with a tier.
        """
        ...

    async def watch(self, mark: Mark) -> Changes:
        """Return what has changed since a mark, at once; nothing is missed and little repeated.

        `Mark()` stands for the beginning of what a reader knows: what comes of it is where to go on
        from, and `lost`.
        """
        ...
