"""The use case: a question becomes operations, one `take`, and a decision.

Knows the policies and the port to the counts. Reads no clock, does no I/O of its own, knows no
protobuf. What a call means is `calls`; how it looks on the wire is `render` and `rpc`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from ratelimitd.calls import Call, compile_call
from ratelimitd.errors import (
    ColdKeysError,
    InvalidRequestError,
    RequestTooLargeError,
    StoreError,
)
from ratelimitd.model import Kind, Subject
from ratelimitd.policy.matcher import Matcher
from ratelimitd.settling import settle
from ratelimitd.stores.ports import leased

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimitd.decision import Decision
    from ratelimitd.keys import Hasher
    from ratelimitd.model import Op, Question
    from ratelimitd.policy.registry import Registry
    from ratelimitd.policy.spec import Policy
    from ratelimitd.stores.ports import Counters, Observe, Taken

MOST_DESCRIPTORS = 64
"""Descriptors in one call; more are refused with RESOURCE_EXHAUSTED."""
MOST_ENTRIES = 64
"""Entries in one descriptor; more are refused with RESOURCE_EXHAUSTED."""


class OnFailure(Protocol):
    """What is done for calls that the store did not answer (`ratelimitd.failure`)."""

    async def decide(
        self,
        call: Call,
        ops: Sequence[Op],
        request_id: bytes,
        error: StoreError,
        known: Taken | None,
    ) -> Decision:
        """Answer a call whose `take` failed, by its domain's policy; may raise the error.

        `known`: what came of it the last time, in the order of its operations.
        """
        ...

    def abandon(self, ops: Sequence[Op], request_id: bytes) -> None:
        """Take note that nobody waits any more for the outcome of a `take`."""
        ...

    def release(self, ops: Sequence[Op]) -> bool:
        """Give back what leases were granted without the store; say whether any was."""
        ...


class Limiter:
    """Decides calls by the policies of their domains."""

    def __init__(  # noqa: PLR0913 - its ports
        self,
        policies: Iterable[Policy],
        counters: Counters,
        hasher: Hasher,
        *,
        new_lease: Callable[[], str],
        on_event: Callable[[str, Question], None],
        new_id: Callable[[], bytes] = bytes,
        failure: OnFailure | None = None,
        registry: Registry | None = None,
    ) -> None:
        """Serve `policies` from `counters`.

        `new_lease` makes unguessable lease ids; `on_event` is told of unknown domains and meters
        and of untrusted entries (the names in `calls`), each time they occur. `new_id` makes the
        ids of calls that report. Without `failure`, calls end in the store's errors, and what is
        acquired for a caller who has gone is held until it ends. Without `registry` only the
        policies' own keys are known.
        """
        self._registry = registry
        self._counters = counters
        self._hasher = hasher
        self._new_lease = new_lease
        self._on_event = on_event
        self._new_id = new_id
        self._failure = failure
        self.observe: Observe | None = None
        """Is told how the limits of each call stand that the store has answered."""
        self.use(self.matchers_of(policies))

    def matchers_of(self, policies: Iterable[Policy]) -> dict[str, Matcher]:
        """Return what reads descriptors under these policies, by domain; changes nothing."""
        return {
            policy.domain: Matcher(policy, self._hasher, registry=self._registry)
            for policy in policies
        }

    def use(self, matchers: dict[str, Matcher]) -> None:
        """Decide by these from now on. Counts stay: their identity is not the policy's."""
        self.matchers = matchers
        self._generation = object()

    async def decide(self, question: Question) -> Decision:  # noqa: C901 - hot
        """Answer one call.

        Raises `InvalidRequestError` and `RequestTooLargeError` for what only an operator can send,
        and `StoreError` where the policy says so.
        """
        call = question.plan
        if (
            not isinstance(call, Call)
            or call.generation is not self._generation
            or not call.known.current
        ):
            call = await self._compiled(question)
        for event in call.events:
            self._on_event(event, question)
        ops, lease, request_id = call.ops, "", b""
        if not call.plain:
            if call.releases and self._failure is not None:
                self._failure.release(ops)  # what was granted here, without the store
            lease = self._new_lease() if call.acquires else ""
            request_id = self._new_id() if call.reports else b""
        try:
            taken = await self._counters.take(ops, request_id, 0, lease)
        except StoreError as error:
            if self._failure is None:
                raise
            known = cast("Taken | None", question.last) if question.plan is call else None
            asked = leased(ops, lease)
            return await self._failure.decide(call, asked, request_id, error, known)
        except (asyncio.CancelledError, GeneratorExit):
            if self._failure is not None:
                self._failure.abandon(leased(ops, lease), request_id)
            raise
        if self.observe is not None:
            self.observe(ops, taken)
        if question.plan is call:  # the policy may have changed meanwhile
            question.last = taken
        return settle(call, taken, lease)

    async def release(self, question: Question) -> bool:
        """Answer a call that gives a lease back; say whether it was held. Raises as `decide`."""
        call = await self._compiled(question)
        here = self._failure is not None and self._failure.release(call.ops)
        decision = await self.decide(question)  # releases once more, which changes nothing
        return here or any(standing.before > standing.after for standing in decision.every)

    def give_back(self, ops: Sequence[Op], lease: str) -> None:
        """Release a lease whose answer nobody took; `ops`: those of its decision.

        By the way of what the store could not be told: soon, and again until it is. Without
        `failure` the lease ends in its time.
        """
        if self._failure is not None:
            acquired = (op for op in ops if op.kind == Kind.ACQUIRE)
            released = [op._replace(kind=Kind.RELEASE, lease=lease) for op in acquired]
            self._failure.release(released)
            self._failure.abandon(released, b"")

    async def _compiled(self, question: Question) -> Call:
        """Return what a question means; waits for keys only that are to be looked up first."""
        while True:
            try:
                return self._read(question)
            except ColdKeysError as cold:
                assert self._registry is not None
                await self._registry.fetch(map(Subject, cold.subjects))

    def _read(self, question: Question) -> Call:
        check(question)
        call = compile_call(question, self.matchers.get(question.domain), self._generation)
        question.plan, question.last = call, None
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
