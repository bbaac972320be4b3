"""What a service tells of its store and of reloads, and how it stops in spite of trouble."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimitd.app import Service
from ratelimitd.errors import PolicyError
from ratelimitd.settings import Settings
from ratelimitd.stores.file import FileCounters

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
domain: test
tiers: {free: {requests: 10/hour}}
subject: {entry: api_key, default_tier: free}
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A service of its own, which counts in a file."""
    (tmp_path / "policy.yaml").write_text(POLICY)
    return Settings(policy=tmp_path / "policy.yaml", store=f"file:{tmp_path / 'counts.db'}")


async def test_the_operator_sees_the_file_and_the_reloads(settings: Settings) -> None:
    """What is not yet written, what could not be, and which policies were taken or not."""
    service = Service(settings)
    await service.prepare()
    await service.reload()
    settings.policy.write_text("domain: [")
    for _ in range(2):
        with pytest.raises(PolicyError):
            await service.reload()
    figures = service.reading().figures
    assert figures["store_unwritten"] == figures["store_write_errors_total"] == 0
    counts = service.telemetry.counts
    assert (counts["reloads", "succeeded"], counts["reloads", "failed"]) == (1, 2)
    await service.stop()


class Stuck:
    """A transport that cannot be stopped."""

    async def stop(self, grace: float) -> None:
        """Fail."""
        del grace
        raise OSError("stuck")


class Stopped:
    """A transport that notes that it was stopped."""

    def __init__(self) -> None:
        self.stops = 0

    async def stop(self, grace: float) -> None:
        """Note it."""
        del grace
        self.stops += 1


async def test_the_counts_are_written_though_a_transport_does_not_stop(settings: Settings) -> None:
    """Its failure is told after everything else has stopped."""
    service, others = Service(settings), (Stopped(), Stopped())
    await service.prepare()
    service._transports = [others[0], Stuck(), others[1]]  # type: ignore[list-item]
    with pytest.raises(OSError, match="stuck"):
        await service.stop()
    assert [other.stops for other in others] == [1, 1]
    counters = service._counters
    assert isinstance(counters, FileCounters)
    assert counters._lock is None, "the file was let go of"
