"""All of alerts in one process, on one outbox: what customers do, the watch, and the courier."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ratelimitd.accounts.alerting import Alerting
from ratelimitd.accounts.delivery import Courier, route_of
from ratelimitd.accounts.watch import Watch

if TYPE_CHECKING:
    from collections import Counter as Tally
    from collections.abc import Callable

    from ratelimitd.accounts import lookup
    from ratelimitd.accounts.delivery import Post
    from ratelimitd.accounts.outbox import Outbox
    from ratelimitd.accounts.sealing import Sealer
    from ratelimitd.clock import Clock
    from ratelimitd.policy.registry import Registry
    from ratelimitd.stores.ports import Observe


class Notifier:
    """See the module. `start` it after the registry, and `close` it before."""

    def __init__(  # noqa: PLR0913 - its ports
        self,
        outbox: Outbox,
        post: Post,
        sealer: Sealer,
        policies: lookup.Policies,
        registry: Registry,
        clock: Clock,
        *,
        counts: Tally[tuple[str, str]],
        on_watching: Callable[[Observe | None], object],
        allow_private: bool,
    ) -> None:
        """See `Alerting`, `Watch` and `Courier`."""
        self._outbox = outbox
        self._watch = Watch(outbox, policies, registry, counts, on_watching)
        opened = partial(route_of, sealer=sealer, allow_private=allow_private)
        self._courier = Courier(outbox, post, opened, clock, counts=counts)
        self.alerting = Alerting(
            outbox,
            registry,
            policies,
            sealer,
            clock,
            allow_private=allow_private,
            on_change=self._watch.changed,
        )
        self.figures = self._watch.figures

    async def start(self) -> None:
        """Open the outbox and begin. Raises `StoreError`."""
        await self._outbox.start()
        await self._watch.start()
        self._courier.start()

    async def close(self, grace: float) -> None:
        """Note what is still to be told, let posts under way end for `grace` seconds, and stop."""
        await self._watch.close()
        await self._courier.close(grace)
        await self._outbox.close()
