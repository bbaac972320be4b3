"""How counters are spelled in Redis: one spelling, versioned; no two descriptors share a key.

    rl1:{3a7}:agent-api|requests|hour|fixed_window||subject:1640995200:@0f3c…
    version, bucket, family, start of the window (Unix seconds), whose

The bucket is the hash tag: counters of one group (the subject, or its org) share one, and so a slot
of a cluster. It only places a key and never tells two apart. No API key is ever in a name: subjects
are keyed hashes. Knows nothing of connections or scripts.
"""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from ratelimitd.model import Counter

PREFIX = b"rl1:"
"""Begins every key of counts; another layout has another number."""
BUCKETS = 1024
"""How many hash tags there are: enough to spread over any cluster, few enough to fill batches."""

_SUBJECT_BYTES = 16
_SECOND = 1_000_000


class Layout(NamedTuple):
    """Where counters stand."""

    buckets: int = BUCKETS
    """Hash tags in use."""
    together: bool = False
    """Whether what belongs to a counter must share its bucket, as in a cluster: then the room for
    invented counters, and the counter that newcomers share, are one for each bucket."""

    def bucket(self, counter: Counter) -> int:
        """Return the bucket of a counter, by the group that it belongs to."""
        return crc32(counter.tag or counter.key) % self.buckets

    def overflow(self, counter: Counter) -> Counter:
        """Return the counter that stands in for one that finds no place."""
        tag = (counter.tag or counter.key) if self.together else b""
        return Counter(counter.family, counter.overflow, bounded=False, tag=tag)

    def spell(self, counter: Counter, start: int | None) -> bytes:
        """Return the key of a counter in the window that begins at `start` (None: it has none)."""
        begins = b"" if start is None else b"%d" % (start // _SECOND)
        return b"%b{%x}:%b:%b:%b" % (
            PREFIX,
            self.bucket(counter),
            counter.family.encode(),
            begins,
            _owner(counter.key),
        )

    def spell_id(self, request_id: bytes, counter: Counter) -> bytes:
        """Return the key that remembers that a call's reports were counted.

        In a cluster beside them. Elsewhere always in one bucket, because a replay may hold fewer of
        them: which comes first must not decide where it is looked for.
        """
        bucket = self.bucket(counter) if self.together else 0
        return b"%b{%x}:id:%b" % (PREFIX, bucket, request_id.hex().encode())


def _owner(key: bytes) -> bytes:
    """Return whose a counter is, in printable ASCII without a colon.

    Spelled keys are printable already (`keys.counter_key`) and escape `@`, `#` and `%`; a subject
    that stands alone is raw bytes, and so is the digest of what would be long.
    """
    if len(key) == _SUBJECT_BYTES:
        return b"@" + key.hex().encode()
    if key.startswith(b"#"):
        return b"#" + key[1:].hex().encode()
    return key.replace(b":", b"%3A")
