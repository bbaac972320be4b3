"""The composition root: the only place that makes stores, limiters, servicers and listeners.

A `Service` is one process's limiter, from its settings to its last written count. Importing this
module opens nothing and reads no environment.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import secrets
from typing import TYPE_CHECKING

from ratelimitd import listeners
from ratelimitd.accounts.administration import Administration
from ratelimitd.accounts.customers import Customers
from ratelimitd.accounts.known import KnownKeys
from ratelimitd.accounts.notifier import Notifier
from ratelimitd.accounts.opening import open_outbox, open_records
from ratelimitd.accounts.reads import ReadLimit
from ratelimitd.accounts.sealing import Sealer
from ratelimitd.background import unobtrusive
from ratelimitd.calls import UNKNOWN_DOMAIN, UNKNOWN_METER
from ratelimitd.clock import SystemClock
from ratelimitd.errors import SettingsError
from ratelimitd.failure import Failure
from ratelimitd.http import metrics, probes, webhooks
from ratelimitd.ids import Ids
from ratelimitd.keys import DEVELOPMENT_SECRET, Hasher
from ratelimitd.limiter import Limiter
from ratelimitd.policy.freeing import free_policies
from ratelimitd.policy.load import load
from ratelimitd.reservations.keeper import Reservations
from ratelimitd.rpc import admin_service, health, limiter_service, ratelimit, reflection
from ratelimitd.stores.opening import open_counters
from ratelimitd.telemetry import LoopLag, Reading, Telemetry
from ratelimitd.transports.handlers import Handlers
from ratelimitd.transports.ports import GRACE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ratelimitd.clock import Clock
    from ratelimitd.http.metrics import Readings
    from ratelimitd.model import Question
    from ratelimitd.policy.load import Loaded
    from ratelimitd.settings import Settings
    from ratelimitd.stores.ports import Observe
    from ratelimitd.transports.ports import Transport
    from ratelimitd.transports.pyvoy import Host

_LOG = logging.getLogger("ratelimitd")
_ADVICE = {
    UNKNOWN_DOMAIN: "a call names a domain that no policy has; it is allowed, unlimited",
    UNKNOWN_METER: "a descriptor names a meter that the policy does not have; it is not limited",
}
NOT_INSIDE = "--transport pyvoy: only `ratelimitd serve` starts an Envoy around itself"
_SERVICES = (ratelimit.SERVICE, limiter_service.SERVICE)
_FLAGS = {"grpc": "listen", "http": "http", "admin": "admin"}
_new_lease = Ids().new
_UNTRUSTED = "an entry has the name of a key's attribute and is ignored; only records set those"


class Service:
    """One process's limiter. Make it, `start` it, and `stop` it, once each."""

    def __init__(
        self, settings: Settings, clock: Clock | None = None, envoy: Host | None = None
    ) -> None:
        """Load the policy. Raises `PolicyError` and `SettingsError`.

        `envoy` is what the transport `pyvoy` needs: the Envoy that this process runs in.
        """
        if settings.transport == "pyvoy" and envoy is None:
            raise SettingsError(NOT_INSIDE)
        self._settings, self._envoy = settings, envoy
        self._secrets = settings.secrets or (DEVELOPMENT_SECRET,)
        self.hasher = Hasher(*self._secrets)
        self.policy: Loaded = load(settings.policy, self.hasher)
        self.telemetry = Telemetry()
        self._lag = LoopLag()
        self._counters = open_counters(settings, clock or SystemClock())
        self.health = health.Health(_SERVICES)
        self._failure = self._stand_in()
        self.keys = self._known_keys()
        self.limiter = Limiter(
            self.policy.policies.values(),
            self._counters,
            self.hasher,
            new_lease=_new_lease,
            on_event=self._note,
            new_id=_new_id,
            failure=self._failure,
            registry=self.keys,
        )
        counted = (self._counters, self._counters.clock, self.hasher)
        self.reservations = Reservations(*counted, new_id=_new_id, counts=self.telemetry.counts)
        self.notifier = self._notifier()
        self.handlers = self._registered()
        self.workers: Callable[[], Awaitable[Readings]] | None = None
        """Tells the counts of all workers, where this is the first of several."""
        self._ready = False
        self._transports: list[Transport] = []
        self.addresses: dict[str, tuple[str, ...]] = {}
        """Listener (`grpc`, `http`, `admin`) to its addresses, once started."""

    def _known_keys(self) -> KnownKeys:
        """Return what decisions know of registered keys."""
        records = open_records(self._settings.registry_place)
        patience = self._settings.store_timeout
        return KnownKeys(records, self._counters.clock, patience=patience)

    def _notifier(self) -> Notifier:
        """Return what makes alerts of decisions, and delivers them."""
        allowed = self._settings.allow_private_webhooks
        return Notifier(
            open_outbox(self._settings.registry_place),
            webhooks.Poster(allow_private=allowed),
            Sealer(self._secrets),
            self.limiter,
            self.keys,
            self._counters.clock,
            counts=self.telemetry.counts,
            on_watching=self._observed,
            allow_private=allowed,
        )

    def _observed(self, observe: Observe | None) -> None:
        """Let results of decisions and settlements be told to somebody, or to nobody."""
        self.limiter.observe = self.reservations.observe = observe

    def _registered(self) -> Handlers:
        """Return the methods of all services."""
        handlers = Handlers()
        ratelimit.register(handlers, self.limiter, self.telemetry)
        servicer = limiter_service.LimiterServicer(self.limiter, self.reservations, self.telemetry)
        limiter_service.register(handlers, servicer)
        self.health.register(handlers)
        reflection.register(handlers, (*_SERVICES, health.SERVICE))
        return handlers

    def _stand_in(self) -> Failure:
        """Return what answers where the store does not."""
        counters, counts = self._counters, self.telemetry.counts
        told = self.health.store
        return Failure(
            counters, counters.clock, new_lease=_new_lease, counts=counts, on_change=told
        )

    @property
    def is_ready(self) -> bool:
        """Whether this process wants calls."""
        return self._ready

    async def prepare(self) -> None:
        """Open the store and say SERVING. For ASGI servers that bring their own listeners."""
        await self._counters.start()
        await self.keys.start()
        await self.notifier.start()
        self._lag.start()
        self.health.serve(ready=True)
        self._ready = True

    async def start(self) -> None:
        """Open the store, then listen everywhere. Raises `SettingsError`, `StoreError`.

        What could be opened is closed again where something else could not.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop(grace=0)
            raise

    async def _start(self) -> None:
        settings = self._settings
        wanted: dict[str, Callable[[], Transport]] = {
            "grpc": lambda: listeners.grpc(self.handlers, settings, self._envoy),
            "http": self._customers,
            "admin": self._administration,
        }
        if settings.worker:  # all but gRPC belongs to the first
            wanted = {"grpc": wanted["grpc"]}
        await self.prepare()
        for name, make in wanted.items():
            try:
                transport = make()
                self.addresses[name] = await transport.start()
            except SettingsError as error:
                msg = f"--{_FLAGS[name]}: {error}"
                raise SettingsError(msg) from error
            self._transports.append(transport)

    def _customers(self) -> Transport:
        """Return the listener for customers and probes."""
        from ratelimitd.http import api, door  # noqa: PLC0415 - 0.25 s, 7 MiB: the first's alone

        customers = Customers(self.keys, self._counters, self.hasher, self.limiter)
        reads = ReadLimit(self._counters.clock)
        alerting = self.notifier.alerting
        served = door.Door(
            probes.application(lambda: self._ready),
            api.application(customers, reads, alerting),
            reads,
            self._settings.trusted_proxies,
        )
        return listeners.customers(served, self._settings.http)

    def _administration(self) -> Transport:
        """Return the listener for administrators and scrapers."""
        counted = (self.keys, self._counters, self.hasher, self.limiter)
        admin = Administration(*counted, _new_id, self.notifier.alerting.forget)
        handlers = Handlers()
        admin_service.register(handlers, admin_service.AdminServicer(admin))
        http = metrics.application(self.reading, self.workers)
        return listeners.administration(handlers, http, self._settings)

    async def drain(self) -> None:
        """Ask for no more calls: NOT_SERVING and not ready; what comes is still decided."""
        self._ready = False
        self.health.drain()

    async def reload(self) -> None:
        """Read the policy again and decide by it. Raises `PolicyError`, and then nothing changes.

        Reading happens in a thread, because a large file takes longer than a call may wait.
        """
        outcome = "failed"
        try:
            with unobtrusive():
                policy = await asyncio.to_thread(load, self._settings.policy, self.hasher)
                policies = policy.policies.values()
                matchers = await asyncio.to_thread(self.limiter.matchers_of, policies)
                old = [(self.policy, self.limiter.matchers)]
                self.policy = policy
                self.limiter.use(matchers)
                outcome = "succeeded"
                await asyncio.to_thread(free_policies, old)
                gc.freeze()  # policies have no cycles, and looking for some would stop the loop
        finally:
            self.telemetry.count("reloads", outcome)

    async def stop(self, grace: float = GRACE) -> None:
        """Let calls under way finish, close all listeners, and write the last counts."""
        await self.drain()
        self.health.end_watches()
        failure: Exception | None = None
        for transport in self._transports:
            try:
                await transport.stop(grace)
            except Exception as error:  # noqa: BLE001 - the rest stops all the same
                failure = failure or error
        self._transports.clear()
        self._lag.stop()
        await self.reservations.close()
        await self._failure.close()
        await self.notifier.close(grace)
        await self._counters.close()
        await self.keys.close()
        if failure is not None:
            raise failure

    def _note(self, event: str, question: Question) -> None:
        self.telemetry.note(event, question.domain, _ADVICE.get(event, _UNTRUSTED))

    def reading(self) -> Reading:
        """Return what this process counted."""
        figures = {
            "ready": float(self._ready),
            "tasks": float(len(asyncio.all_tasks())),
            **self._lag.figures(),
            "rules_examined": sum(m.examined for m in self.limiter.matchers.values()),
            **self._counters.figures(),
            **self._failure.figures(),
            **self.keys.figures(),
            **self.notifier.figures(),
        }
        return Reading(self.telemetry.counts, figures)


def _new_id() -> bytes:
    return secrets.token_bytes(16)
