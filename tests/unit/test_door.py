"""Whose request it is, whatever it says of itself."""

import subprocess
import sys
from ipaddress import ip_network

import pytest

from ratelimitd.http.door import address_of

POD = "10.1.2.3"
PODS = (ip_network("10.1.0.0/16"), ip_network("fd00::/64"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "whose"),
    [
        ("127.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
        ("::1", [b"6.6.6.6, 2001:db8::1"], "2001:db8::1"),
        ("::ffff:127.0.0.1", [b"203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", [b"6.6.6.6", b"203.0.113.7"], "203.0.113.7"),
        ("127.0.0.1", [b"203.0.113.7", b""], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.7, \xff"], "127.0.0.1"),
        ("127.0.0.1", [b"203.0.113.7:80"], "127.0.0.1"),
        ("127.0.0.1", [], "127.0.0.1"),
        (None, [b"203.0.113.7"], "203.0.113.7"),
        (None, [], ""),
        (POD, [b"203.0.113.7"], "203.0.113.7"),
        ("::ffff:10.1.2.3", [b"203.0.113.7"], "203.0.113.7"),
        ("fd00::5", [b"6.6.6.6,203.0.113.7"], "203.0.113.7"),
        ("10.2.0.1", [b"203.0.113.7"], "10.2.0.1"),
        ("198.51.100.1", [b"203.0.113.7"], "198.51.100.1"),
    ],
)
def test_only_a_proxy_is_believed(peer: str | None, forwarded: list[bytes], whose: str) -> None:
    """This machine's and those that are named; of what they say, the last that they wrote."""
    headers = [(b"x-forwarded-for", value) for value in forwarded]
    client = None if peer is None else (peer, 1)
    assert address_of({"headers": headers, "client": client}, PODS) == whose


def test_without_a_name_no_other_machine_is_believed() -> None:
    """The default: whoever reaches the listener from elsewhere speaks for themselves."""
    headers = [(b"x-forwarded-for", b"203.0.113.7")]
    assert address_of({"headers": headers, "client": (POD, 1)}) == POD


def test_only_who_serves_customers_imports_fastapi() -> None:
    """It costs a start 0.25 s and 7 MiB, which the other workers and the commands need not pay."""
    for module, expected in (("ratelimitd.app", "False"), ("ratelimitd.http.api", "True")):
        code = f"import sys, {module}; print('fastapi' in sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == expected, module
