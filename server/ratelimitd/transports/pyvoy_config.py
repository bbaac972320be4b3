"""The configuration of the Envoy that the pyvoy transport runs in. It is ours, not pyvoy's.

Every bound is set on purpose and stands here. Envoy's own guards against floods (queues of control
frames, empty frames, PRIORITY, WINDOW_UPDATE) stay as they come: they only close connections that
no gRPC client makes. Knows no process and no file; `pyvoy_launch` starts what this describes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE
from ratelimitd.transports.ports import FIELDS, HEADERS
from ratelimitd.transports.pyvoy_tls import HANDSHAKE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ratelimitd.settings import Address

Config = dict[str, Any]

STAT_PREFIX = "grpc"
CONNECTIONS = 1024
DRAIN = 0.5
"""Seconds between the two GOAWAYs of a connection that carries calls."""
LISTENING = 1
"""Seconds in which a draining Envoy still takes new connections; whole ones only."""

_TYPE = "type.googleapis.com/"
_RESETS = 100_000
"""Streams of a connection after which Envoy closes it if half of them were reset unanswered.

An Envoy in front resets a stream whenever its own client goes away: with the default of 500, a
storm of such clients costs bystanders their connection. Whoever floods gains nothing by it: a reset
stream costs no more than a call, and calls are not limited per connection either.
"""
_STREAMING = "/grpc."
"""Health's Watch and reflection: streams that may be silent for as long as they like."""


def bootstrap(
    addresses: Sequence[Address],
    *,
    admin: str,
    module: str,
    application: str,
    paths: Iterable[str],
    log_format: str,
    tls: Config | None = None,
) -> Config:
    """Return the whole configuration, ready for Envoy's `--config-yaml`.

    `admin` is the path of a unix socket, `module` pyvoy's library, `application` what pyvoy loads,
    `paths` those of its methods, `tls` the listeners' transport socket; None for plaintext.
    """
    filters = [_unknown(paths), _application(module, application)]
    return {
        "admin": {
            "address": {"pipe": {"path": admin, "mode": 0o600}},
            "ignore_global_conn_limit": True,
        },
        "application_log_config": {"log_format": _log_format(log_format)},
        "layered_runtime": {"layers": [{"name": "ours", "static_layer": _runtime()}]},
        "overload_manager": {"resource_monitors": [_connections()]},
        "node": {"id": "ratelimitd", "cluster": "ratelimitd"},  # it takes no secrets without
        "static_resources": {"listeners": [_listener(addresses, filters, tls)]},
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {"patterns": [{"prefix": f"http.{STAT_PREFIX}.downstream_"}]}
            }
        },
    }


def _connections() -> Config:
    return _typed(
        "envoy.resource_monitors.global_downstream_max_connections",
        "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=CONNECTIONS,
    )


def _log_format(style: str) -> Config:
    """Return our own lines, as `telemetry.configure_logging` writes them."""
    time = "%Y-%m-%dT%T.%f%z"
    if style == "json":
        return {"json_format": {"time": time, "level": "%l", "event": "envoy: %j"}}
    return {"text_format": f'time={time} level=%l event="envoy: %j"'}


def _runtime() -> Config:
    return {
        "overload.premature_reset_total_stream_count": _RESETS,
        # In each turn one call of each connection: a flood of calls waits for itself, not others.
        "http.max_requests_per_io_cycle": 1,
        # The other codec, nghttp2, closes a connection at some 1,000 resets, whatever is set.
        "envoy.reloadable_features.http2_use_oghttp2": True,
    }


def _listener(addresses: Sequence[Address], filters: list[Config], tls: Config | None) -> Config:
    """Return one listener for all addresses: each listener would load an application of its own."""
    first, *others = [{"address": address_message(address)} for address in addresses]
    return {
        "name": STAT_PREFIX,
        **first,
        "additional_addresses": others,
        "enable_reuse_port": False,  # or two processes would share a port without a complaint
        "per_connection_buffer_limit_bytes": 64 << 10,
        "filter_chains": [_filter_chain(filters) | _secured(tls)],
    }


def address_message(address: Address) -> Config:
    """Return Envoy's message for an address."""
    if address.path:
        return {"pipe": {"path": address.path}}
    return {"socket_address": {"address": address.host, "port_value": address.port}}


def _secured(tls: Config | None) -> Config:
    if tls is None:
        return {}
    return {"transport_socket": tls, "transport_socket_connect_timeout": f"{HANDSHAKE}s"}


def _filter_chain(filters: list[Config]) -> Config:
    """Return what happens to a connection."""
    manager = _typed(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=STAT_PREFIX,
        codec_type="HTTP2",
        http2_protocol_options=_http2(),
        common_http_protocol_options={
            "idle_timeout": "0s",  # Envoy decides when an idle connection ends, and never races us
            "max_headers_count": FIELDS,
        },
        max_request_headers_kb=HEADERS >> 10,
        request_headers_timeout="5s",
        request_timeout="10s",  # for all of a request; a response that has begun ends it
        stream_idle_timeout="10s",
        drain_timeout=f"{DRAIN}s",
        delayed_close_timeout="1s",
        generate_request_id=False,
        server_header_transformation="PASS_THROUGH",
        http_filters=filters,
        local_reply_config={"mappers": [_as_unknown()]},
        route_config=_routes(),
    )
    return {"filters": [manager]}


def _http2() -> Config:
    return {
        "max_concurrent_streams": 1024,
        # A whole message fits, so that Envoy does not refuse what the application has yet to read.
        "initial_stream_window_size": 2 * LARGEST_MESSAGE,
        "initial_connection_window_size": 4 * LARGEST_MESSAGE,
        "connection_keepalive": {"interval": "30s", "timeout": "20s"},
    }


def _unknown(paths: Iterable[str]) -> Config:
    """Return the refusal of all other paths, before they cost Python anything.

    Those with `%` among them: pyvoy never answers a path that is no UTF-8 once it is decoded.
    """
    served = [{"url_path": {"path": {"exact": path}}} for path in paths]
    policy = {
        "permissions": [{"not_rule": {"or_rules": {"rules": served}}}],
        "principals": [{"any": True}],
    }
    return _typed(
        "envoy.filters.http.rbac",
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        rules={"action": "DENY", "policies": {"paths": policy}},
    )


def _as_unknown() -> Config:
    """Return the answer to a refused path: 404, which is UNIMPLEMENTED to a gRPC client."""
    code = {"op": "EQ", "value": {"default_value": 403, "runtime_key": "unused"}}
    return {
        "filter": {"status_code_filter": {"comparison": code}},
        "status_code": 404,
        "body": {"inline_string": "unknown method"},
    }


def _application(module: str, application: str) -> Config:
    settings = {"app": application, "interface": "asgi", "lifespan": True}
    return _typed(
        "pyvoy",
        "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        dynamic_module_config={"module": {"local": {"filename": module}}},
        filter_name="pyvoy",
        terminal_filter=True,
        filter_config={
            "@type": f"{_TYPE}google.protobuf.StringValue",
            "value": json.dumps(settings),
        },
    )


def _routes() -> Config:
    """Return routes that lead nowhere (the application answers before) but know their idle time."""
    streaming = {
        "match": {"prefix": _STREAMING},
        "route": {"cluster": "none", "timeout": "0s", "idle_timeout": "0s"},
    }
    return {
        "validate_clusters": False,
        "virtual_hosts": [{"name": STAT_PREFIX, "domains": ["*"], "routes": [streaming]}],
    }


def _typed(name: str, kind: str, **fields: object) -> Config:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}{kind}", **fields}}
