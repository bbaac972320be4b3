"""The use case: a question becomes operations, one `take`, and a decision.

Knows the policies and the port to the counts. Reads no clock, does no I/O of its own, knows no
protobuf. What a call means is `calls`; how it looks on the wire is `render` and `rpc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.calls import Call, compile_call, settle
from ratelimitd.errors import InvalidRequestError, RequestTooLargeError
from ratelimitd.model import Kind, Question
from ratelimitd.policy.matcher import Matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimitd.decision import Decision
    from ratelimitd.keys import Hasher
    from ratelimitd.model import Op
    from ratelimitd.policy.spec import Policy
    from ratelimitd.stores.ports import Counters

MOST_DESCRIPTORS = 64
"""Descriptors in one call; more are refused with RESOURCE_EXHAUSTED."""
MOST_ENTRIES = 64
"""Entries in one descriptor; more are refused with RESOURCE_EXHAUSTED."""


class Limiter:
    """Decides calls by the policies of their domains."""

    def __init__(
        self,
        policies: Iterable[Policy],
        counters: Counters,
        hasher: Hasher,
        *,
        new_lease: Callable[[], str],
        on_event: Callable[[str, Question], None],
    ) -> None:
        """Serve `policies` from `counters`.

        `new_lease` makes unguessable lease ids; `on_event` is told of unknown domains and meters
        and of untrusted entries (the names in `calls`), each time they occur.
        """
        self._counters = counters
        self._hasher = hasher
        self._new_lease = new_lease
        self._on_event = on_event
        self.use(self.matchers_of(policies))

    def matchers_of(self, policies: Iterable[Policy]) -> dict[str, Matcher]:
        """Return what reads descriptors under these policies, by domain; changes nothing."""
        return {policy.domain: Matcher(policy, self._hasher) for policy in policies}

    def use(self, matchers: dict[str, Matcher]) -> None:
        """Decide by these from now on. Counts stay: their identity is not the policy's."""
        self.matchers = matchers
        self._generation = object()

    async def decide(self, question: Question) -> Decision:
        """Answer one call.

        Raises `InvalidRequestError` and `RequestTooLargeError` for what only an operator can send,
        and `StoreError`.
        """
        call = question.plan
        if not isinstance(call, Call) or call.generation is not self._generation:
            call = self._read(question)
        for event in call.events:
            self._on_event(event, question)
        if not call.acquires:
            return settle(call, await self._counters.take(call.ops), "")
        lease = self._new_lease()
        return settle(call, await self._counters.take(_leased(call.ops, lease)), lease)

    def _read(self, question: Question) -> Call:
        check(question)
        call = compile_call(question, self.matchers.get(question.domain), self._generation)
        question.plan = call
        return call


def check(question: Question) -> None:
    """Refuse what no customer can cause: an empty domain or list, or far too much of anything."""
    if not question.domain:
        msg = "the request's domain is empty; set `domain` in the filter's configuration"
        raise InvalidRequestError(msg)
    if not question.descriptors:
        msg = "the request has no descriptors; send at least one"
        raise InvalidRequestError(msg)
    if len(question.descriptors) > MOST_DESCRIPTORS:
        msg = f"{len(question.descriptors)} descriptors in one call; at most {MOST_DESCRIPTORS}"
        raise RequestTooLargeError(msg)
    most = max(len(descriptor.entries) for descriptor in question.descriptors)
    if most > MOST_ENTRIES:
        msg = f"{most} entries in one descriptor; at most {MOST_ENTRIES}"
        raise RequestTooLargeError(msg)


def _leased(ops: Sequence[Op], lease: str) -> list[Op]:
    return [op._replace(lease=lease) if op.kind == Kind.ACQUIRE else op for op in ops]
