"""The scenario tables against every store."""

import pytest

from ratelimitd.model import Standing
from tests.contract.scenarios import SCENARIOS, Row, Scenario
from tests.support.bench import Bench
from tests.support.ops import NEW_YEAR, op

ALL = {
    f"{name}-{number}": scenario
    for name, scenarios in SCENARIOS.items()
    for number, scenario in enumerate(scenarios, 1)
}


def as_row(row: Row, standing: Standing, now: int) -> Row:
    """Return the row that this result would have made."""
    retry = standing.retry_at if standing.retry_at < 0 else standing.retry_at - now
    return row._replace(
        passes=standing.passes,
        remaining=standing.remaining,
        retry_after=retry,
        reset_after=standing.reset_at - now,
    )


async def assert_table_holds(bench: Bench, scenario: Scenario) -> None:
    """Do what the rows say, at their times, and compare each result."""
    for number, row in enumerate(scenario.rows):
        bench.clock.advance(NEW_YEAR + row.at - bench.clock.now)
        standing = await bench.one(op(row.kind, scenario.limit, row.hits, lease=row.lease))
        assert (number, as_row(row, standing, bench.clock.now)) == (number, row)


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
async def test_the_table_holds(bench: Bench, scenario: Scenario) -> None:
    """Row by row: whether it passes, what is left, and both waits to the microsecond."""
    await assert_table_holds(bench, scenario)


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
def test_a_table_tells_its_time_forward_and_has_enough_to_say(scenario: Scenario) -> None:
    """A table that shows no denial, or none of an algorithm's edges, proves little."""
    times = [row.at for row in scenario.rows]
    assert times == sorted(times)
    assert {row.passes for row in scenario.rows} == {True, False}
    assert len(scenario.rows) >= 7
