"""`/metrics` of several workers: each has series of its own."""

from http import HTTPStatus

from starlette.requests import Request

from ratelimitd.http.metrics import Readings, application
from ratelimitd.telemetry import Reading

OWN = Reading({("decisions", "allowed"): 2}, {"ready": 1.0, "store_counters": 3.0})
OTHER = Reading({("decisions", "allowed"): 5}, {"ready": 1.0, "worker_restarts_total": 1.0})
LOST = Reading({}, {"ready": 0.0, "worker_up": 0.0})


async def scrape(readings: Readings | None) -> list[str]:
    """Return the samples that a scraper sees."""

    async def workers() -> Readings:
        return readings or {}

    app = application(lambda: OWN, None if readings is None else workers)
    (route,) = app.routes
    answer = await route.endpoint(Request({"type": "http"}))  # type: ignore[attr-defined]
    assert answer.status_code == HTTPStatus.OK
    return [line for line in answer.body.decode().splitlines() if not line.startswith("#")]


async def test_one_process_has_no_label() -> None:
    """Dashboards of a single limiter stay as they are."""
    assert await scrape(None) == [
        'ratelimitd_decisions_total{verdict="allowed"} 2.0',
        "ratelimitd_ready 1.0",
        "ratelimitd_store_counters 3.0",
    ]


async def test_each_worker_has_series_of_its_own() -> None:
    """A sum over processes would fall when one starts anew, and a fall reads as a restart."""
    assert await scrape({"0": OWN, "1": OTHER, "2": LOST}) == [
        'ratelimitd_decisions_total{verdict="allowed",worker="0"} 2.0',
        'ratelimitd_decisions_total{verdict="allowed",worker="1"} 5.0',
        'ratelimitd_ready{worker="0"} 1.0',
        'ratelimitd_ready{worker="1"} 1.0',
        'ratelimitd_ready{worker="2"} 0.0',
        'ratelimitd_store_counters{worker="0"} 3.0',
        'ratelimitd_worker_restarts_total{worker="1"} 1.0',
        'ratelimitd_worker_up{worker="2"} 0.0',
    ]
