"""Starting a real Envoy from its wheel, and what is said when it does not start."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimitd.devkit.envoy import EnvoyError, run_envoy, validate
from ratelimitd.devkit.envoy_config import render
from tests.e2e.support.edge import shipped_config

NOBODY = "127.0.0.1:9"


def somewhere(edge: str = "127.0.0.1:0") -> dict[str, Any]:
    """The shipped configuration on free ports, with nobody behind it."""
    return render(shipped_config(), limiter=[NOBODY], api=NOBODY, edge=edge)


async def test_the_shipped_file_is_valid_as_it_stands() -> None:
    """Envoy accepts envoy/envoy.yaml without any rendering."""
    await validate(shipped_config())


async def test_it_is_ready_on_entry_and_gone_on_exit() -> None:
    """On entry it serves and has a verdict on the limiter's health; afterwards it has ended."""
    async with run_envoy(somewhere()) as envoy:
        stats = await envoy.stats(r"^cluster\.limiter\.")
        assert stats["cluster.limiter.health_check.failure"] >= 1
        assert stats["cluster.limiter.membership_total"] == 1
        assert stats["never heard of"] == 0
    assert await envoy.wait() is not None


async def test_two_run_side_by_side() -> None:
    """Neither ports nor shared memory collide."""
    async with run_envoy(somewhere()) as one, run_envoy(somewhere()) as other:
        assert len({one.edge, one.admin, other.edge, other.admin}) == 4


async def test_a_port_in_use_is_refused_by_name() -> None:
    """Two Envoys would share a port without a word, and answer half of the requests each."""
    async with run_envoy(somewhere()) as first:
        with pytest.raises(EnvoyError, match=f"cannot listen at {first.edge}: Address already"):
            async with run_envoy(somewhere(edge=first.edge)):
                pass


async def test_a_fault_in_the_configuration_is_told_in_envoys_words() -> None:
    """The error names the field, whether the fault is found by a start or by validation."""
    config = somewhere()
    config["static_resources"]["clusters"][0]["connekt_timeout"] = "1s"
    with pytest.raises(EnvoyError, match="connekt_timeout"):
        async with run_envoy(config):
            pass
    with pytest.raises(EnvoyError, match="connekt_timeout"):
        await validate(config)


async def test_an_envoy_that_is_not_ready_in_time_is_stopped_and_reported() -> None:
    """A start is bounded."""
    with pytest.raises(EnvoyError, match="not ready in 0 s"):
        async with run_envoy(somewhere(), ready_within=0):
            pass
