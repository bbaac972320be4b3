"""What is known of a key is found by its keyed hash, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.record import Record
from ratelimitd.clock import ManualClock
from ratelimitd.keys import Hasher
from ratelimitd.limiter import Limiter
from ratelimitd.model import Descriptor, Question
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import NEW_YEAR
from tests.support.policies import agent_api
from tests.support.stores import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Subject

NEW, OLD = b"the first of the secrets", b"the other of the secrets"
REGISTERED = "sk-registered-0123456789abcdef"
ASKED = (REGISTERED, REGISTERED[:-1], f"{REGISTERED[:-1]}e", "sk-another", "demo-pro")


class Seen(dict[Any, Any]):
    """Keys of the policy file, and what they were asked for."""

    def __init__(self, *told: Any) -> None:  # noqa: ANN401 - as a dict's
        super().__init__(*told)
        self.asked: list[Any] = []

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401 - as a dict's
        """Note what is asked for."""
        self.asked.append(key)
        return super().get(key, default)


class Noted(MemoryRecords):
    """A registry that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    async def get(self, subjects: Sequence[Subject]) -> list[Record | None]:
        """Note it."""
        self.asked += subjects
        return await super().get(subjects)


def test_keys_are_found_by_their_keyed_hashes_only() -> None:
    """In the policy file and in the registry, by each secret, for right, half-right and wrong."""
    hasher = Hasher(NEW, OLD)
    records, filed = Noted(), Seen()
    at_once(records.put([Record(subject=hasher.key(REGISTERED), tier="pro")]))
    clock = ManualClock(NEW_YEAR)
    limiter = Limiter(
        [replace(agent_api(), records=filed)],
        MemoryCounters(clock),
        hasher,
        new_lease=str,
        on_event=lambda *_: None,
        registry=KnownKeys(records, clock),
    )
    amounts = []
    for key in ASKED:
        descriptor = Descriptor(entries=(("api_key", f"Bearer {key}"),))
        shown = at_once(limiter.decide(Question("agent-api", (descriptor,)))).shown
        assert shown
        amounts.append(shown.limit.amount)
    assert amounts == [1_000, 100, 100, 100, 100]
    hashes = {each.key(key) for key in ASKED for each in (Hasher(NEW), Hasher(OLD))}
    assert set(records.asked) == set(filed.asked) == hashes
    assert {len(each) for each in hashes} == {16}
