"""The admin listener: metrics for Prometheus.

Turns plain counts into the exposition format when scraped: the process's own, or those of all
workers, told apart by a label. The number of series is fixed: no label ever holds what a caller
sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from prometheus_client.core import Metric
    from starlette.requests import Request

    from ratelimitd.telemetry import Reading

_HELP = {
    "decisions": ("verdict", "Calls decided, by verdict."),
    "reloads": ("outcome", "Times that the policy was read again, by outcome."),
    "events": ("kind", "Odd things that callers sent, by kind; each was decided all the same."),
    "reservations": ("outcome", "Reservations by what became of them, and settlements too late."),
    "leases_undelivered": ("method", "Leases of answers that nobody took; each was given back."),
    "alert_events": ("outcome", "Thresholds reached, by what the outbox or its bounds made of it."),
    "alert_messages": ("outcome", "Deliveries of alerts tried, by outcome."),
    "store_failures": ("mode", "Calls that the store did not answer, by on_store_failure."),
    "store_replay_dropped": ("reason", "Reports and releases that will not count, by reason."),
}
_FIGURES = {
    "ready": "Whether this process wants calls.",
    "worker_up": "Whether the worker told its counts for this scrape; without it they are missing.",
    "worker_restarts_total": "Times that the worker was started again.",
    "tasks": "asyncio tasks of this process: calls that wait, connections, the store's writer.",
    "loop_lag_max_seconds": "The latest that the event loop came to something, in the last minute.",
    "loop_lag_p999_seconds": "How late it came at one look in a thousand, in the last minute.",
    "rules_examined": "Rules examined to make plans, under the present policy.",
    "store_families": "Counter families in memory: kinds of limit in use.",
    "store_counters": "Counter states in memory; a sliding window's counter may have two.",
    "store_overflow_total": "Charges of new callers that found no room and shared a counter.",
    "store_ids": "Ids of calls in memory that must not count twice.",
    "store_ids_dropped_total": "Such ids that were forgotten before their time: room was out.",
    "store_up": "Whether the store answers.",
    "store_breaker_state": "Servers of the store that are given up until they answer again.",
    "store_standby_counters": "Counter states in memory that stand in for those of the store.",
    "store_replay_queue": "Reports and releases that wait for the store.",
    "store_replayed_total": "Reports and releases that were sent again, and taken.",
    "registry_up": "Whether the registry of keys answers.",
    "registry_keys": "Keys in memory of which is known whether and how they are registered.",
    "registry_lookups_total": "Reads of the registry for decisions about keys not in memory.",
    "alerts_up": "Whether the outbox of alerts answers.",
    "alerts_keys": "Keys that have alerts, as far as this process knows.",
    "alerts_pending": "Counters near a threshold that are to be looked at.",
    "alerts_waiting": "Alerts that wait to be delivered, of all processes on the outbox.",
    "store_unwritten": "Counters that changed since they were last written to the file.",
    "store_write_errors_total": "Writings of the file that failed.",
    "store_refused_total": "Counters that no row of the file can hold.",
}


Readings = dict[str, "Reading"]
"""By worker."""


class _Counts(Collector):
    """Counts as they stood at a scrape."""

    def __init__(self, readings: Mapping[tuple[str, ...], Reading]) -> None:
        """Tell what was read; each reading has its worker before it, or nothing."""
        self._readings = readings
        self._labels = ["worker"] if any(readings) else []

    def collect(self) -> Iterator[Metric]:
        """Yield every count."""
        for metric, (label, text) in _HELP.items():
            family = CounterMetricFamily(
                f"ratelimitd_{metric}", text, labels=[*self._labels, label]
            )
            for worker, reading in self._readings.items():
                for (name, value), count in reading.counts.items():
                    if name == metric:
                        family.add_metric([*worker, value], count)
            yield family
        figures = {name: None for reading in self._readings.values() for name in reading.figures}
        for figure in figures:
            kind = CounterMetricFamily if figure.endswith("_total") else GaugeMetricFamily
            text = _FIGURES.get(figure) or figure.replace("_", " ")
            told = kind(f"ratelimitd_{figure}", text, labels=self._labels)
            for worker, reading in self._readings.items():
                if figure in reading.figures:
                    told.add_metric(worker, reading.figures[figure])
            yield told


def application(
    read: Callable[[], Reading], workers: Callable[[], Awaitable[Readings]] | None = None
) -> Starlette:
    """Serve `/metrics` in Prometheus's text format.

    `read` tells this process's counts at each scrape; `workers`, where there are several, those of
    all of them.
    """

    async def metrics(request: Request) -> Response:
        del request
        readings: dict[tuple[str, ...], Reading] = {(): read()}
        if workers is not None:
            readings = {(worker,): reading for worker, reading in (await workers()).items()}
        registry = CollectorRegistry()
        registry.register(_Counts(readings))
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/metrics", metrics)])
