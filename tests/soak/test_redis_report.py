"""The last of the long runs with Redis: docs/reliability-redis.md, of what the others measured."""

from tests.e2e.support.redis_faults import FAULTS
from tests.e2e.support.redis_outage import MODES
from tests.soak import report_redis


def test_the_report_is_written() -> None:
    """Of whole tables only: every row, and every fault with every policy."""
    assert sorted(report_redis.rows) == sorted(report_redis.REFERENCES)
    assert {fault: set(each) for fault, each in report_redis.matrix.items()} == {
        fault: set(MODES) for fault in FAULTS
    }
    assert len(report_redis.others) == 2
    report_redis.write()
