"""The configuration of pyvoy's Envoy: what is bounded, and what there is one of."""

from __future__ import annotations

from typing import Any

import pytest

from ratelimitd.settings import Address
from ratelimitd.transports.grpc_asgi import LARGEST_MESSAGE
from ratelimitd.transports.pyvoy_config import bootstrap

LISTEN = (Address("127.0.0.1", 8081), Address("::1", 0), Address(path="/run/grpc.sock"))


def config(log_format: str = "text") -> dict[str, Any]:
    """Return a whole configuration."""
    return bootstrap(
        LISTEN,
        admin="/run/admin",
        module="/lib/_pyvoy.so",
        application="a:b",
        paths=("/a.B/C", "/d.E/F"),
        log_format=log_format,
    )


def manager() -> dict[str, Any]:
    """Return the part about HTTP."""
    (listener,) = config()["static_resources"]["listeners"]
    (chain,) = listener["filter_chains"]
    (found,) = chain["filters"]
    typed: dict[str, Any] = found["typed_config"]
    return typed


def test_all_addresses_are_one_listener() -> None:
    """A second listener would load a second application, with counts of its own."""
    (listener,) = config()["static_resources"]["listeners"]
    assert listener["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 8081}}
    assert [each["address"] for each in listener["additional_addresses"]] == [
        {"socket_address": {"address": "::1", "port_value": 0}},
        {"pipe": {"path": "/run/grpc.sock"}},
    ]
    assert listener["enable_reuse_port"] is False


def test_what_a_peer_can_take_is_bounded() -> None:
    """Connections, streams, headers, bodies, and the time for each; none of them by default."""
    (monitor,) = config()["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 1024
    http = manager()
    assert http["http2_protocol_options"]["max_concurrent_streams"] == 1024
    assert http["max_request_headers_kb"] == 128
    assert http["common_http_protocol_options"]["max_headers_count"] == 256
    times = ("request_headers_timeout", "request_timeout", "stream_idle_timeout")
    assert [http[name] for name in times] == ["5s", "10s", "10s"]
    # The application answers to a message that is too long, so Envoy has to let it see one.
    assert http["http2_protocol_options"]["initial_stream_window_size"] > LARGEST_MESSAGE


def test_nothing_but_grpc_is_served_and_nothing_is_logged_of_it() -> None:
    """No HTTP/1, no access log, and an admin interface that is no port."""
    assert manager()["codec_type"] == "HTTP2"
    assert "access_log" not in manager()
    assert config()["admin"]["address"] == {"pipe": {"path": "/run/admin", "mode": 0o600}}


@pytest.mark.parametrize(("style", "kind"), [("text", "text_format"), ("json", "json_format")])
def test_envoys_log_lines_look_like_ours(style: str, kind: str) -> None:
    """Time, level, event; and nothing that Envoy quotes can end a line or a string."""
    found = config(style)["application_log_config"]["log_format"]
    assert list(found) == [kind]
    assert "%j" in str(found[kind])


def test_connections_take_turns() -> None:
    """Whoever sends many calls at once does not hold up who sends one."""
    (layer,) = config()["layered_runtime"]["layers"]
    assert layer["static_layer"]["http.max_requests_per_io_cycle"] == 1


def test_only_served_methods_reach_python() -> None:
    """Whatever else is asked for is refused before, by exact paths."""
    refusal, application = manager()["http_filters"]
    policy = refusal["typed_config"]["rules"]["policies"]["paths"]
    (permission,) = policy["permissions"]
    served = [each["url_path"]["path"] for each in permission["not_rule"]["or_rules"]["rules"]]
    assert served == [{"exact": "/a.B/C"}, {"exact": "/d.E/F"}]
    assert application["name"] == "pyvoy"
