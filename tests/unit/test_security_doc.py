"""The bounds in docs/security.md are those of the code."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimitd.settings import Address
from ratelimitd.transports import grpcio, pyvoy, pyvoy_tls
from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE
from ratelimitd.transports.h2corn import grpc_config
from ratelimitd.transports.pyvoy_config import bootstrap
from tests.architecture.source import ROOT

NONE, OWN = "no bound", "its own"


def size(number: int) -> str:
    """Return bytes as the table has them."""
    return f"{number >> 20} MiB" if number >= 1 << 20 else f"{number >> 10} KiB"


def seconds(number: float | str) -> str:
    """Return a time as the table has it; 0 is none."""
    length = float(str(number).removesuffix("s"))
    return f"{length:g} s" if length else NONE


def of_h2corn() -> list[str]:
    """Return h2corn's column."""
    config = grpc_config(("127.0.0.1:0",), ("a.B",))
    (policy,) = config.request_policies
    assert policy.timeout_request_body_idle == config.timeout_request_body_idle
    return [
        f"{config.limit_connections:,}",
        f"{config.max_concurrent_streams:,}",
        f"{config.limit_concurrency:,}",
        size(config.h2_max_header_list_size),
        str(config.limit_request_fields),
        size(LARGEST_MESSAGE),
        size(config.h2_initial_stream_window_size),
        size(config.h2_initial_connection_window_size),
        seconds(config.timeout_handshake),
        seconds(config.timeout_request_header),
        seconds(config.timeout_request_body_idle),
        seconds(config.timeout_keep_alive),
    ]


def of_grpcio() -> list[str]:
    """Return grpcio's column."""
    options: dict[str, int] = dict(grpcio._OPTIONS)
    assert options["grpc.max_connection_idle_ms"] == 2**31 - 1
    return [
        NONE,
        f"{options['grpc.max_concurrent_streams']:,}",
        NONE,
        size(options["grpc.max_metadata_size"]),
        NONE,
        size(options["grpc.max_receive_message_length"]),
        OWN,
        OWN,
        seconds(options["grpc.server_handshake_timeout_ms"] / 1000),
        *[NONE] * 3,
    ]


def of_pyvoy() -> list[str]:
    """Return pyvoy's column."""
    names = dict.fromkeys(("admin", "module", "application"), "x")
    config: Any = bootstrap([Address("127.0.0.1", 0)], **names, paths=(), log_format="text", tls={})
    (monitor,) = config["overload_manager"]["resource_monitors"]
    (chain,) = config["static_resources"]["listeners"][0]["filter_chains"]
    http = chain["filters"][0]["typed_config"]
    http2, common = http["http2_protocol_options"], http["common_http_protocol_options"]
    assert chain["transport_socket_connect_timeout"] == f"{pyvoy_tls.HANDSHAKE}s"
    assert http["request_timeout"] == http["stream_idle_timeout"]
    return [
        f"{monitor['typed_config']['max_active_downstream_connections']:,}",
        f"{http2['max_concurrent_streams']:,}",
        f"{pyvoy.CALLS:,}",
        f"{http['max_request_headers_kb']} KiB",
        str(common["max_headers_count"]),
        size(LARGEST_MESSAGE),
        size(http2["initial_stream_window_size"]),
        size(http2["initial_connection_window_size"]),
        seconds(chain["transport_socket_connect_timeout"]),
        seconds(http["request_headers_timeout"]),
        seconds(http["stream_idle_timeout"]),
        seconds(common["idle_timeout"]),
    ]


def table() -> dict[str, list[str]]:
    """Return the documented columns by transport."""
    text = (ROOT / "docs/security.md").read_text("utf-8")
    lines = text.partition("| | h2corn | grpcio | pyvoy |\n")[2].partition("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]
    columns = zip(*rows, strict=True)
    next(columns)
    return dict(zip(("h2corn", "grpcio", "pyvoy"), map(list, columns), strict=True))


@pytest.mark.parametrize("column", [of_h2corn, of_grpcio, of_pyvoy], ids=lambda f: f.__name__)
def test_the_documented_bounds_are_those_of_the_code(column: Any) -> None:  # noqa: ANN401
    """Every row of the table, for each transport."""
    assert table()[column.__name__.removeprefix("of_")] == column()
