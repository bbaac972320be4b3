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
    "events": ("kind", "Odd things that callers sent, by kind; each was decided all the same."),
}


class _Counts(Collector):
    def __init__(self, telemetry: Telemetry, gauges: Callable[[], dict[str, float]]) -> None:
        self._telemetry = telemetry
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield every count as it stands."""
        for metric, (label, text) in _HELP.items():
            family = CounterMetricFamily(f"ratelimitd_{metric}", text, labels=[label])
            for (name, value), count in self._telemetry.counts.items():
                if name == metric:
                    family.add_metric([value], count)
            yield family
        for gauge, reading in self._gauges().items():
            yield GaugeMetricFamily(f"ratelimitd_{gauge}", gauge.replace("_", " "), value=reading)


def application(telemetry: Telemetry, gauges: Callable[[], dict[str, float]]) -> Starlette:
    """Serve `/metrics` in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Counts(telemetry, gauges))

    async def metrics(request: Request) -> Response:
        del request
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/metrics", metrics)])
