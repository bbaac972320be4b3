"""The figures of a load, and h2load's report."""

from __future__ import annotations

import pytest

from ratelimitd.cli.bench import h2load
from ratelimitd.cli.bench.figures import Load, Measured
from ratelimitd.errors import UnreachableError
from ratelimitd.settings import Address

REPORT = """\
finished in 2.00s, 17468.00 req/s, 2.81MB/s
requests: 34940 total, 35036 started, 34940 done, 34936 succeeded, 4 failed, 0 errored, 1 timeout
status codes: 34936 2xx, 0 3xx, 0 4xx, 4 5xx
"""
LOG = ["1700000000000000\t200\t4000", "1700000000000001\t200\t1000", "1700000000000002\t503\t9"]
LOAD = Load(seconds=2.5, requests=0, connections=3, streams=7)


def measured(latencies: list[int]) -> Measured:
    """Return figures with these latencies, in microseconds."""
    return Measured(
        generator="h2load", seconds=2.0, decisions=10, not_ok=1, latencies=sorted(latencies)
    )


def test_a_report_and_its_log_become_figures() -> None:
    """What failed is no decision, and its time is not one that a caller saw."""
    figures = h2load.measured(REPORT, LOG)
    assert (figures.decisions, figures.not_ok, figures.seconds) == (34936, 4, 2.0)
    assert list(figures.latencies) == [1000, 4000]


def test_a_short_run_is_in_other_units() -> None:
    """h2load writes `1.05ms` for a run that was over at once."""
    assert h2load.measured(REPORT.replace("2.00s", "1.05ms"), LOG).seconds == pytest.approx(0.00105)


@pytest.mark.parametrize("output", ["", "unexpected words\n[ERROR] resolution failed"])
def test_no_report_is_a_failure_with_its_last_line(output: str) -> None:
    """Figures are never made up."""
    with pytest.raises(UnreachableError, match=r"said nothing|resolution failed"):
        h2load.measured(output, [])


def test_the_arguments_bound_the_load() -> None:
    """Time or calls end it, and so does a limiter that no longer answers."""
    by_time = list(h2load.arguments(Address("127.0.0.1", 81), "/s/M", LOAD))
    assert "--duration=2.5" in by_time
    assert "--connection-inactivity-timeout=10" in by_time
    assert by_time[-1] == "http://127.0.0.1:81/s/M"
    counted = Load(seconds=0, requests=9, connections=1, streams=1)
    by_count = list(h2load.arguments(Address(path="/run/x"), "/s/M", counted))
    assert "--requests=9" in by_count
    assert "--base-uri=unix:/run/x" in by_count


def test_percentiles_are_of_calls_that_were_made() -> None:
    """The nearest rank: a value that some call took, never one between two."""
    figures = measured(list(range(1000, 101_000, 1000)))
    assert [figures.percentile(p) for p in (50, 99, 99.9)] == [50.0, 99.0, 100.0]
    assert measured([]).percentile(99) == 0.0


def test_figures_have_one_shape() -> None:
    """Names and units stay."""
    assert measured([1500]).as_dict() == {
        "generator": "h2load",
        "seconds": 2.0,
        "decisions": 10,
        "decisions_per_second": 5.0,
        "not_ok": 1,
        "latency_ms": {"p50": 1.5, "p99": 1.5, "p99.9": 1.5},
    }
