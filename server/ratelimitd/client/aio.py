"""The client for asyncio. One `AsyncLimiter` belongs to one event loop, that of its first call.

What must not be lost is done in tasks of its own: a lease is released although its holder was
cancelled, also while it was still asking for it. `close` waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2_grpc
from ratelimitd.client import wire
from ratelimitd.client.clock import monotonic
from ratelimitd.client.errors import DeniedError
from ratelimitd.client.renewal import Course, after
from ratelimitd.client.values import Ask, Settlement

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Self

    from ratelimitd.client.values import Decision, Reservation, WhenAway

_LOG = logging.getLogger(__name__)


class AsyncLimiter:
    """Asks one limiter, or several behind one name. May be made before there is a loop."""

    def __init__(
        self,
        target: str | grpc.aio.Channel,
        *,
        domain: str,
        deadline: float = wire.DEADLINE,
        when_away: WhenAway = "raise",
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """See `Limiter`."""
        self.domain = domain
        self.deadline = deadline
        self.when_away = when_away
        self._target = target
        self._credentials = credentials
        self._owned: grpc.aio.Channel | None = None
        self._stub: Any = None
        self._work: set[asyncio.Task[Any]] = set()

    @property
    def stub(self) -> Any:  # noqa: ANN401 - generated, without types
        """The generated stub, for calls that this class has no method for. Needs a loop."""
        if self._stub is None:
            target = self._target
            if isinstance(target, str):
                self._owned = target = _channel(target, self._credentials)
            self._stub = limiter_pb2_grpc.LimiterServiceStub(target)
        return self._stub

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Finish what is under way (each within the deadline), and hang up. Idempotent."""
        while self._work:
            await asyncio.wait(self._work)
        if self._owned is not None:
            await self._owned.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run what goes on although its caller is cancelled; `close` waits for it."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        task.add_done_callback(self._done)
        return task

    def detach(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run what nobody waits for but `close`."""
        _ = self.spawn(work)

    def _done(self, task: asyncio.Task[Any]) -> None:
        """Let go of a task; whoever waited for its failure has it, or has gone."""
        self._work.discard(task)
        if not task.cancelled():
            task.exception()

    def caller(
        self, key: str | None, subject: str | None, entries: Mapping[str, str] | None
    ) -> wire.Caller:
        """Return who asks."""
        return wire.Caller(self.domain, key, subject, entries or {})

    async def decide(
        self,
        key: str | None,
        *asks: Ask | str,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> Decision:
        """See `Limiter.decide`."""
        return await self.ask(self.caller(key, subject, entries), asks)

    async def ask(self, caller: wire.Caller, asks: tuple[Ask | str, ...]) -> Decision:
        """Ask for a caller that was made before."""
        try:
            answer = await self.stub.Decide(wire.decide(caller, asks), timeout=self.deadline)
        except grpc.aio.AioRpcError as error:
            return wire.undecided(error, self.when_away)
        return wire.decided(answer)

    def lease(
        self,
        key: str | None,
        *asks: Ask | str,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> AsyncHeld:
        """See `Limiter.lease`; entered by `async with`."""
        return AsyncHeld(self, self.caller(key, subject, entries), asks or ("concurrent",))

    def reserve(
        self,
        key: str | None,
        *estimates: Ask,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> AsyncEstimate:
        """See `Limiter.reserve`; entered by `async with`."""
        asked = {meter: 1 if amount is None else amount for meter, amount, _ in estimates}
        return AsyncEstimate(self, self.caller(key, subject, entries), asked)


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=wire.OPTIONS)
    return grpc.aio.secure_channel(target, credentials, options=wire.OPTIONS)


class AsyncHeld:
    """A lease while it is held, as an async context manager; or by `acquire` and `release`."""

    def __init__(
        self, limiter: AsyncLimiter, caller: wire.Caller, asks: tuple[Ask | str, ...]
    ) -> None:
        self._limiter = limiter
        self._caller = caller
        self._asks = asks
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self.id = ""
        """The lease's; empty where no limit on what is held applies, and while away."""
        self.lost = False
        """It is no longer held: it could not be renewed in time."""
        self.decision: Decision

    async def acquire(self) -> Decision:
        """Ask; what is allowed is held from now on. Cancelled meanwhile, it is given back."""
        asking = self._limiter.spawn(self._limiter.ask(self._caller, self._asks))
        try:
            self.decision = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._limiter.detach(self._give_up(asking))
            raise
        lease = self.decision.lease
        if lease is not None:
            self.id = lease.id
            self._wind(Course(lease.lasts, monotonic()))
        return self.decision

    async def _give_up(self, asking: asyncio.Task[Decision]) -> None:
        """Give back what was granted to somebody who had gone."""
        await asyncio.wait((asking,))
        if asking.cancelled() or asking.exception() is not None:
            return
        lease = asking.result().lease
        if lease is not None:
            self.id = lease.id
            await self._release()

    def _wind(self, course: Course) -> None:
        wait = max(0.0, course.due - monotonic())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(wait, lambda: self._limiter.detach(self._renew(course)))

    async def _renew(self, course: Course) -> None:
        limiter, outcome = self._limiter, 0.0
        request = wire.renew(self._caller, self.id)
        try:
            answer = await limiter.stub.Renew(request, timeout=limiter.deadline)
        except grpc.aio.AioRpcError:
            again = after(course, outcome, monotonic())
        else:
            lasts = wire.lease(answer.lease).lasts if answer.renewed else None
            again = after(course, lasts, monotonic())
        if self._ended:
            return
        if again:
            self._wind(course)
        else:
            self.lost = True

    async def release(self) -> bool:
        """Give it back; say whether this did it. What cannot be told now ends by itself."""
        if not self.id or self._ended:
            return False
        return bool(await asyncio.shield(self._limiter.spawn(self._release())))

    async def _release(self) -> bool:
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        limiter = self._limiter
        request = wire.release(self._caller, self.id)
        try:
            answer = await limiter.stub.Release(request, timeout=limiter.deadline)
        except grpc.aio.AioRpcError as error:
            _LOG.warning("a lease was not released and ends by itself: %s", error.code().name)
            return False
        return bool(answer.released)

    async def __aenter__(self) -> Self:
        if not (await self.acquire()).allowed:
            raise DeniedError(self.decision)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.release()


class AsyncEstimate:
    """A reservation as an async context manager: entered, it is charged; `settle` settles it."""

    def __init__(
        self, limiter: AsyncLimiter, caller: wire.Caller, estimates: Mapping[str, int]
    ) -> None:
        self._limiter = limiter
        self._request = wire.reserve(caller, estimates)
        self.reservation: Reservation | None = None
        """None where no limit applies, and while away."""
        self.decision: Decision

    async def reserve(self) -> Decision:
        """Ask; what is allowed is charged from now on."""
        limiter = self._limiter
        try:
            answer = await limiter.stub.Reserve(self._request, timeout=limiter.deadline)
        except grpc.aio.AioRpcError as error:
            self.decision = wire.undecided(error, limiter.when_away)
            return self.decision
        self.decision = wire.decision(answer.decision)
        if answer.HasField("reservation"):
            self.reservation = wire.reservation(answer.reservation)
        return self.decision

    async def settle(self, **actual: int) -> Settlement:
        """See `Estimate.settle`."""
        if self.reservation is None:
            return Settlement(settled=False)
        request = wire.settle(self.reservation.id, actual)
        return await asyncio.shield(self._limiter.spawn(self._settle(request)))

    async def _settle(self, request: Any) -> Settlement:  # noqa: ANN401 - a SettleRequest
        limiter = self._limiter
        for left in reversed(range(wire.SETTLE_TRIES)):
            try:
                answer = await limiter.stub.Settle(request, timeout=limiter.deadline)
                return wire.settlement(answer)
            except grpc.aio.AioRpcError as error:
                if wire.gives_up(error, left, limiter.when_away):
                    raise wire.raised(error) from error
            if left:
                await asyncio.sleep(wire.SETTLE_PAUSE)
        return Settlement(settled=False)

    async def __aenter__(self) -> Self:
        if not (await self.reserve()).allowed:
            raise DeniedError(self.decision)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing: what is not settled stays charged, or is given back as the policy says."""
