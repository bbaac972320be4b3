"""Envoy's shipped configuration, moved to other addresses.

The file in envoy/ is valid for the default ports. Whoever needs others changes addresses in the
parsed document, found by the names of the listener and the clusters: nothing else differs between
what is shipped and what runs here. Knows no process; `devkit.envoy` starts one.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Config = dict[str, Any]


class EnvoyConfigError(ValueError):
    """Expected: an address that is none, or a document without the part that should be moved."""


def load(path: Path) -> Config:
    """The document in `path`, as Envoy would read it."""
    document: Config = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def render(
    config: Mapping[str, Any],
    *,
    limiter: Sequence[str],
    api: str,
    http: str = "",
    edge: str = "127.0.0.1:0",
    admin: str = "127.0.0.1:0",
) -> Config:
    """A copy of `config` that listens at `edge` and `admin` and calls `limiter`, `http` and `api`.

    Addresses are `HOST:PORT`, `[V6]:PORT` or `unix:PATH`, the forms that `ratelimitd serve` prints.
    The limiter has one for each of its processes. Port 0 lets the kernel choose, without a race.
    Without `http`, the limiter's HTTP listener, what it would answer is 503.
    """
    moved: Config = copy.deepcopy(dict(config))
    moved["admin"]["address"] = address(admin)
    resources = moved["static_resources"]
    _named(resources["listeners"], "edge")["address"] = address(edge)
    _set_endpoints(_named(resources["clusters"], "limiter"), limiter)
    _set_endpoints(_named(resources["clusters"], "agent_api"), [api])
    _set_endpoints(_named(resources["clusters"], "limiter_http"), [http] if http else [])
    return moved


def address(text: str) -> Config:
    """Envoy's message for `HOST:PORT`, `[V6]:PORT` or `unix:PATH`."""
    if text.startswith("unix:") and len(text) > len("unix:"):
        return {"pipe": {"path": text.removeprefix("unix:")}}
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit()):
        raise EnvoyConfigError(f"not an address: {text!r} (HOST:PORT or unix:PATH)")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}


def _set_endpoints(cluster: Config, addresses: Sequence[str]) -> None:
    endpoints = [{"endpoint": {"address": address(text)}} for text in addresses]
    cluster["load_assignment"]["endpoints"] = [{"lb_endpoints": endpoints}]


def _named(items: Sequence[Config], name: str) -> Config:
    for item in items:
        if item.get("name") == name:
            return item
    raise EnvoyConfigError(f"the configuration has nothing named {name!r}")
