"""The client for threads. One `Limiter` serves as many threads as there are."""

from __future__ import annotations

import logging
import threading
from time import sleep
from typing import TYPE_CHECKING, Any

import grpc

from ratelimitd._gen.ratelimitd.v1 import limiter_pb2_grpc
from ratelimitd.client import wire
from ratelimitd.client.errors import DeniedError
from ratelimitd.client.renewal import Renewals
from ratelimitd.client.values import Ask, Settlement

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from ratelimitd.client.values import Decision, Reservation, WhenAway

_LOG = logging.getLogger(__name__)


class Limiter:
    """Asks one limiter, or several behind one name."""

    def __init__(
        self,
        target: str | grpc.Channel,
        *,
        domain: str,
        deadline: float = wire.DEADLINE,
        when_away: WhenAway = "raise",
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        """Ask at `target` (`HOST:PORT`, `unix:PATH`) about the limits of `domain`.

        `deadline`: seconds that a call may take. `when_away`: whether a call that nobody decided in
        that time is allowed, denied, or raises `LimiterAwayError`. With `credentials` over TLS. A
        channel in the target's place stays the caller's to close.
        """
        self.domain = domain
        self.deadline = deadline
        self.when_away = when_away
        self._owned: grpc.Channel | None = None
        if isinstance(target, str):
            self._owned = _channel(target, credentials)
            target = self._owned
        self.stub: Any = limiter_pb2_grpc.LimiterServiceStub(target)
        """For calls that this class has no method for."""
        self.renewals = Renewals()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Renew no more leases, and hang up. Idempotent."""
        self.renewals.close()
        if self._owned is not None:
            self._owned.close()

    def caller(
        self, key: str | None, subject: str | None, entries: Mapping[str, str] | None
    ) -> wire.Caller:
        """Return who asks."""
        return wire.Caller(self.domain, key, subject, entries or {})

    def decide(
        self,
        key: str | None,
        *asks: Ask | str,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> Decision:
        """Say whether the key may do all of what is asked; nothing in particular is one request.

        `entries`: what the policy's `when` and `per` look at. Whoever asks for a meter that is held
        has a lease to give back; `lease` does it by itself. Raises `LimiterError`.
        """
        return self.ask(self.caller(key, subject, entries), asks)

    def ask(self, caller: wire.Caller, asks: tuple[Ask | str, ...]) -> Decision:
        """Ask for a caller that was made before."""
        try:
            answer = self.stub.Decide(wire.decide(caller, asks), timeout=self.deadline)
        except grpc.RpcError as error:
            return wire.undecided(error, self.when_away)
        return wire.decided(answer)

    def lease(
        self,
        key: str | None,
        *asks: Ask | str,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> Held:
        """Return a context that holds a lease, of `concurrent` unless said otherwise.

        What else is asked is decided in the same call. Entering raises `DeniedError` if it is
        denied. A lease that is held for long is renewed, and released on the way out.
        """
        return Held(self, self.caller(key, subject, entries), asks or ("concurrent",))

    def reserve(
        self,
        key: str | None,
        *estimates: Ask,
        subject: str | None = None,
        entries: Mapping[str, str] | None = None,
    ) -> Estimate:
        """Return a context with an estimate charged, to be settled in it.

        Entering raises `DeniedError` if it is denied. What is not settled is the policy's matter.
        """
        asked = {meter: 1 if amount is None else amount for meter, amount, _ in estimates}
        return Estimate(self, self.caller(key, subject, entries), asked)


def _channel(target: str, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    if credentials is None:
        return grpc.insecure_channel(target, options=wire.OPTIONS)
    return grpc.secure_channel(target, credentials, options=wire.OPTIONS)


class Held:
    """A lease while it is held, as a context manager; or by `acquire` and `release`."""

    def __init__(self, limiter: Limiter, caller: wire.Caller, asks: tuple[Ask | str, ...]) -> None:
        self._limiter = limiter
        self._caller = caller
        self._asks = asks
        self._ended = threading.Event()
        self._number = 0
        self.id = ""
        """The lease's; empty where no limit on what is held applies, and while away."""
        self.lost = False
        """It is no longer held: it could not be renewed in time."""
        self.decision: Decision

    def acquire(self) -> Decision:
        """Ask; what is allowed is held from now on."""
        limiter = self._limiter
        self.decision = limiter.ask(self._caller, self._asks)
        lease = self.decision.lease
        if lease is not None:
            self.id = lease.id
            self._number = limiter.renewals.add(lease.lasts, self._renew)
        return self.decision

    def _renew(self) -> float | None:
        """Renew; return for how long it is held now, None if not any more, 0 if nobody knows."""
        if self._ended.is_set():
            return None
        limiter = self._limiter
        request = wire.renew(self._caller, self.id)
        try:
            answer = limiter.stub.Renew(request, timeout=limiter.deadline)
        except (grpc.RpcError, ValueError):  # a channel that was closed meanwhile
            return 0
        if not answer.renewed:
            self.lost = not self._ended.is_set()
            return None
        return wire.lease(answer.lease).lasts

    def release(self) -> bool:
        """Give it back; say whether this did it. What cannot be told now ends by itself."""
        if not self.id or self._ended.is_set():
            return False
        self._ended.set()
        limiter = self._limiter
        limiter.renewals.drop(self._number)
        request = wire.release(self._caller, self.id)
        try:
            answer = limiter.stub.Release(request, timeout=limiter.deadline)
        except grpc.RpcError as error:
            _LOG.warning("a lease was not released and ends by itself: %s", error.code().name)
            return False
        return bool(answer.released)

    def __enter__(self) -> Self:
        if not self.acquire().allowed:
            raise DeniedError(self.decision)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Estimate:
    """A reservation as a context manager: entered, it is charged; in it, `settle` settles it."""

    def __init__(self, limiter: Limiter, caller: wire.Caller, estimates: Mapping[str, int]) -> None:
        self._limiter = limiter
        self._request = wire.reserve(caller, estimates)
        self.reservation: Reservation | None = None
        """None where no limit applies, and while away."""
        self.decision: Decision

    def reserve(self) -> Decision:
        """Ask; what is allowed is charged from now on."""
        limiter = self._limiter
        try:
            answer = limiter.stub.Reserve(self._request, timeout=limiter.deadline)
        except grpc.RpcError as error:
            self.decision = wire.undecided(error, limiter.when_away)
            return self.decision
        self.decision = wire.decision(answer.decision)
        if answer.HasField("reservation"):
            self.reservation = wire.reservation(answer.reservation)
        return self.decision

    def settle(self, **actual: int) -> Settlement:
        """Put the real amounts, by meter, in the estimates' place; one left out was as estimated.

        Raises `ReservationExpiredError`, and `LimiterAwayError` unless `when_away` is `allow`: what
        was not settled is then the policy's matter.
        """
        if self.reservation is None:
            return Settlement(settled=False)
        limiter = self._limiter
        request = wire.settle(self.reservation.id, actual)
        for left in reversed(range(wire.SETTLE_TRIES)):
            try:
                return wire.settlement(limiter.stub.Settle(request, timeout=limiter.deadline))
            except grpc.RpcError as error:
                if wire.gives_up(error, left, limiter.when_away):
                    raise wire.raised(error) from error
            if left:
                sleep(wire.SETTLE_PAUSE)
        return Settlement(settled=False)

    def __enter__(self) -> Self:
        if not self.reserve().allowed:
            raise DeniedError(self.decision)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: what is not settled stays charged, or is given back as the policy says."""
