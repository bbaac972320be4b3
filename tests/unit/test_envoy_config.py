"""Moving Envoy's shipped configuration to other addresses, in the parsed document."""

from __future__ import annotations

import copy

import pytest

from ratelimitd.devkit.envoy_config import Config, EnvoyConfigError, address, load, render
from ratelimitd.devkit.samples import samples_dir


@pytest.fixture
def shipped() -> Config:
    """envoy/envoy.yaml, parsed."""
    return load(samples_dir() / "envoy.yaml")


def test_the_shipped_addresses_rendered_again_change_nothing(shipped: Config) -> None:
    """Rendering touches five places and no other part of what is shipped."""
    before = copy.deepcopy(shipped)
    same = render(
        shipped,
        limiter=["127.0.0.1:8081"],
        api="127.0.0.1:8000",
        http="127.0.0.1:8080",
        edge="127.0.0.1:10000",
        admin="127.0.0.1:9901",
    )
    assert same == before == shipped


def test_each_process_of_the_limiter_is_an_endpoint(shipped: Config) -> None:
    """`serve --workers 2` listens twice, on ports or on sockets, and Envoy is told of both."""
    moved = render(shipped, limiter=["[::1]:1", "unix:/run/r.0"], api="127.0.0.1:2")
    limiter = moved["static_resources"]["clusters"][0]
    assert limiter["load_assignment"]["endpoints"] == [
        {
            "lb_endpoints": [
                {"endpoint": {"address": address("[::1]:1")}},
                {"endpoint": {"address": {"pipe": {"path": "/run/r.0"}}}},
            ]
        }
    ]


def test_an_ipv6_address_loses_its_brackets() -> None:
    """Envoy wants the host alone."""
    assert address("[::1]:8081") == {"socket_address": {"address": "::1", "port_value": 8081}}


@pytest.mark.parametrize("text", ["", "8081", ":8081", "localhost", "unix:", "h:port", "h:²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The message shows what was given and what is wanted."""
    with pytest.raises(EnvoyConfigError, match="HOST:PORT or unix:PATH"):
        address(text)


def test_a_configuration_without_the_named_parts_is_refused(shipped: Config) -> None:
    """Rendering somebody else's file says which part it misses."""
    shipped["static_resources"]["clusters"][0]["name"] = "rls"
    with pytest.raises(EnvoyConfigError, match="nothing named 'limiter'"):
        render(shipped, limiter=["127.0.0.1:1"], api="127.0.0.1:2")
