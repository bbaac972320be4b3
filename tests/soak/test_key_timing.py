"""How long it takes to refuse a key tells nothing of the keys that are registered.

Welch's t over decisions about keys that share all but the end with a registered one, and about
keys that share nothing with any, in random order: under 4.5 is no difference that could be seen.
"""

from __future__ import annotations

import gc
import random
import string
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.record import Record
from ratelimitd.clock import ManualClock
from ratelimitd.keys import Hasher
from ratelimitd.limiter import Limiter
from ratelimitd.model import Descriptor, Question
from ratelimitd.policy.spec import SubjectRule, Verdict
from ratelimitd.stores.memory.counters import MemoryCounters
from tests.support.ops import NEW_YEAR
from tests.support.policies import agent_api
from tests.support.stores import at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Subject

LENGTH, SAME = 64, 56
"""Characters of a key, and of those that a half-right one has of a registered one."""
SAMPLES: Final = 200_000
BATCH: Final = 1_000
"""Keys that are made before any of them is asked about, so that making them is not measured."""
KEPT: Final = 0.9
"""The part of the samples that counts: the slowest are the machine's other business."""
SEEN: Final = 4.5
CHARACTERS: Final = string.ascii_letters + string.digits
CHANCE: Final = random.Random(7)


def new_key(half: str = "") -> str:
    """Return a key of the usual length; `half`: one that begins as this one does."""
    key = "".join(CHANCE.choices(CHARACTERS, k=LENGTH))
    return (half or key)[:SAME] + key[SAME:]


REGISTERED: Final = [new_key() for _ in range(100)]


class Leaky(Hasher):
    """The twin: compares a key with a registered one, character by character, before it hashes."""

    def key(self, api_key: str) -> Subject:
        """Take longer for whatever begins as the registered key does."""
        for ours, theirs in zip(api_key, REGISTERED[0], strict=False):
            if ours != theirs:
                break
        return super().key(api_key)


def limiter_of(hasher: Hasher) -> Limiter:
    """Return a limiter that refuses keys which are not registered."""
    clock, records = ManualClock(NEW_YEAR), MemoryRecords()
    at_once(records.put([Record(subject=hasher.key(key), tier="pro") for key in REGISTERED]))
    return Limiter(
        [agent_api(subject=SubjectRule(default_tier=Verdict.DENY, missing="free"))],
        MemoryCounters(clock),
        hasher,
        new_lease=str,
        on_event=lambda *_: None,
        registry=KnownKeys(records, clock),
    )


def times(limiter: Limiter) -> tuple[list[int], list[int]]:
    """Return nanoseconds of decisions about half-right keys, and about wrong ones."""
    taken: tuple[list[int], list[int]] = ([], [])
    for _ in range(SAMPLES // BATCH):
        kinds = [CHANCE.getrandbits(1) for _ in range(BATCH)]
        keys = [new_key("" if kind else REGISTERED[0]) for kind in kinds]
        asked = [Question("agent-api", (Descriptor(entries=(("api_key", k),)),)) for k in keys]
        for kind, question in zip(kinds, asked, strict=True):
            began = perf_counter_ns()
            decision = at_once(limiter.decide(question))
            taken[kind].append(perf_counter_ns() - began)
            assert not decision.allowed
    return taken


def welch(one: Sequence[int], other: Sequence[int]) -> float:
    """Return Welch's t of what is left of two samples without what is slow in both."""
    bound = sorted([*one, *other])[int(KEPT * (len(one) + len(other)))]
    kept = [[each for each in sample if each < bound] for sample in (one, other)]
    means = [sum(sample) / len(sample) for sample in kept]
    spreads = [
        sum((each - mean) ** 2 for each in sample) / (len(sample) - 1) / len(sample)
        for sample, mean in zip(kept, means, strict=True)
    ]
    difference: float = (means[0] - means[1]) / sum(spreads) ** 0.5
    print(f"means {means[0]:.0f} and {means[1]:.0f} ns, t {difference:+.2f}")
    return difference


def measured(hasher: Hasher) -> float:
    """Return t of a limiter's decisions, without the collector between them."""
    gc.collect()
    gc.disable()
    try:
        return welch(*times(limiter_of(hasher)))
    finally:
        gc.enable()


def test_half_right_keys_take_as_long_as_wrong_ones() -> None:
    """The whole decision, from its entries to its refusal."""
    assert abs(measured(Hasher(b"a secret of sixteen bytes"))) < SEEN


def test_a_comparison_by_characters_is_seen() -> None:
    """The twin."""
    assert measured(Leaky(b"a secret of sixteen bytes")) > SEEN
