"""The admin listener: metrics for Prometheus.

Turns the process's plain counts into the exposition format when scraped. The number of series is
fixed: no label ever holds what a caller sent.
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
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric
    from starlette.requests import Request

    from ratelimitd.telemetry import Telemetry

_HELP = {
    "decisions": ("verdict", "Calls decided, by verdict."),
    "reloads": ("outcome", "Times that the policy was read again, by outcome."),
    "events": ("kind", "Odd things that callers sent, by kind; each was decided all the same."),
}
_FIGURES = {
    "ready": "Whether this process wants calls.",
    "rules_examined": "Rules examined to make plans, under the present policy.",
    "store_families": "Counter families in memory: kinds of limit in use.",
    "store_counters": "Counter states in memory; a sliding window's counter may have two.",
    "store_overflow_total": "Charges of new callers that found no room and shared a counter.",
    "store_unwritten": "Counters that changed since they were last written to the file.",
    "store_write_errors_total": "Writings of the file that failed.",
    "store_refused_total": "Counters that no row of the file can hold.",
}


class _Counts(Collector):
    def __init__(self, telemetry: Telemetry, figures: Callable[[], dict[str, float]]) -> None:
        self._telemetry = telemetry
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield every count as it stands."""
        for metric, (label, text) in _HELP.items():
            family = CounterMetricFamily(f"ratelimitd_{metric}", text, labels=[label])
            for (name, value), count in self._telemetry.counts.items():
                if name == metric:
                    family.add_metric([value], count)
            yield family
        for figure, reading in self._figures().items():
            kind = CounterMetricFamily if figure.endswith("_total") else GaugeMetricFamily
            text = _FIGURES.get(figure) or figure.replace("_", " ")
            yield kind(f"ratelimitd_{figure}", text, value=reading)


def application(telemetry: Telemetry, figures: Callable[[], dict[str, float]]) -> Starlette:
    """Serve `/metrics` in Prometheus's text format.

    `figures` are read at each scrape; a name that ends in `_total` only grows.
    """
    registry = CollectorRegistry()
    registry.register(_Counts(telemetry, figures))

    async def metrics(request: Request) -> Response:
        del request
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/metrics", metrics)])
