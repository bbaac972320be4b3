"""Whether an outage went as docs/store-failure.md and docs/redis.md say."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

from tests.e2e.support.redis_faults import FORGETFUL, NOTICED, UNSEEN
from tests.e2e.support.redis_outage import CACHED, SPENT, is_policys, is_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.support.redis_outage import Outage

MOST_GROWN: Final = 32 << 10
"""KiB that a limiter's memory may grow by: all its queues are bounded."""


def faults_of(seen: Outage, fault: str) -> list[str]:
    """Return all that went otherwise than documented; nothing is as it should be."""
    return [*_of_the_process(seen, fault), *_of_answers(seen, fault), *_of_counts(seen, fault)]


def _of_the_process(seen: Outage, fault: str) -> Iterator[str]:
    if not seen.alive or "Traceback" in seen.log:
        yield f"the limiter did not bear it: {seen.log}"
    if not all(line.startswith("time=") for line in seen.log.splitlines()):
        yield f"not every event is a line: {seen.log}"
    if seen.grown > MOST_GROWN:
        yield f"it grew by {seen.grown} KiB"
    if fault in NOTICED:
        told = ("the store does not answer", "the store answers again")
        if not all(line in seen.log for line in told):
            yield f"the log does not tell: {seen.log}"
    if fault in UNSEEN and seen.failures:
        yield f"{seen.failures} calls were decided without the store"


def _of_answers(seen: Outage, fault: str) -> Iterator[str]:
    for key, each in seen.odd(forgotten=fault in FORGETFUL):
        yield f"{key} got {each}"
    if fault not in NOTICED:
        return
    during = seen.during()
    if len(during) < len(seen.answers):
        yield f"only {len(during)} calls were made meanwhile"
    for key, each in during:
        known = key == SPENT and each.asked < seen.taken_over + CACHED and is_stores(key, each)
        if not known and not is_policys(seen.mode, key, each):
            yield f"{key} got {each} while Redis was away"


def _of_counts(seen: Outage, fault: str) -> Iterator[str]:
    """Nobody is charged more than they asked, nor less than they got; `local` goes on."""
    for key, answers in seen.answers.items():
        if key == SPENT:
            continue
        if seen.charged[key] > len(answers):
            yield f"{key} asked {len(answers)} times and was charged {seen.charged[key]}"
        passed = sum(is_stores(key, each) for each in answers)
        if seen.mode != "local" and fault not in FORGETFUL and seen.charged[key] < passed:
            yield f"{key} passed {passed} times and was charged {seen.charged[key]}"
        left = [
            int(each.header("X-RateLimit-Remaining") or 0)
            for each in answers
            if seen.began <= each.asked and each.answered <= seen.ending
        ]
        goes_on = seen.mode == "local" and fault in NOTICED
        if goes_on and any(a <= b for a, b in itertools.pairwise(left)):
            yield f"{key} was left {left}"
