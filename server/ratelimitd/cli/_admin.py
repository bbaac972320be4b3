"""Calls to the admin listener of a running limiter, for the commands that administer.

Owns the connection, the token, and what failures mean for a person.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

from ratelimitd.cli import values
from ratelimitd.cli._client import channel, client_tls, failure
from ratelimitd.errors import AccountError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.cli import flags

TOKEN = "RATELIMITD_ADMIN_TOKEN"  # noqa: S105 - the variable's name
TIMEOUT = 30.0
HASH = "hash:"
"""What a key's hash begins with, where a command takes a key."""
HINT = (
    "This asks its --admin listener, not the one for calls; away from loopback that one answers to "
    "--tls-ca only where there is --tls-cert, and to --tls-cert only where there is --tls-client-ca"
)
_REFUSALS = {"NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"}
"""The statuses of what the key's state does not allow; by name, for gRPC is imported late."""


class Admin:
    """A connection to an admin listener."""

    def __init__(self, at: flags.AdminTarget) -> None:
        """Connect to a listener. Raises `SettingsError` with every fault."""
        from ratelimitd.rpc.admin_client import stub

        faults = values.Faults()
        target = faults.of("--admin", values.target, at.admin)
        # Without an authority to trust it is plaintext: RATELIMITD_TLS_CERT and _KEY are `serve`'s
        # as well, and stand in the environment of whoever asks on the same machine.
        cert, key = (at.tls_cert, at.tls_key) if at.tls_ca else (None, None)
        tls = client_tls(faults, target, ca=at.tls_ca, cert=cert, key=key)
        faults.settle()
        assert target is not None
        self._target = target
        self._stub = stub(channel(target, tls))

    def call(self, method: str, request: object) -> Any:  # noqa: ANN401 - the method's answer
        """Call a method. Raises `UnreachableError`, `SettingsError` and `AccountError`."""
        import grpc

        token = os.environ.get(TOKEN, "").strip()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        try:
            return getattr(self._stub, method)(request, timeout=TIMEOUT, metadata=metadata)
        except grpc.RpcError as error:
            code, told = error.code(), error.details() or ""
            if code is grpc.StatusCode.UNAUTHENTICATED:
                msg = f"{self._target} wants a token: set {TOKEN}"
                raise SettingsError(msg) from error
            if code.name in _REFUSALS:
                raise AccountError(told) from error
            raise failure(self._target, error, HINT) from error

    def pages(self, tier: str) -> Iterator[Any]:
        """Yield all records, a page at a time."""
        from ratelimitd.rpc.admin_client import pb

        token = ""
        while True:
            request = pb.ListKeysRequest(page_size=1_000, page_token=token, tier=tier)
            page = self.call("ListKeys", request)
            yield from page.records
            token = page.next_page_token
            if not token:
                return


def key(text: str) -> Any:  # noqa: ANN401 - a message of `rpc.admin_client`
    """Return the key that an argument names; `-` reads it from stdin. Raises `SettingsError`."""
    from ratelimitd.rpc.admin_client import pb

    said = sys.stdin.readline().strip() if text == "-" else text
    if not said:
        msg = "no key: name it, or write `-` and put it on stdin"
        raise SettingsError(msg)
    if said.startswith(HASH):
        return pb.Key(subject=said.removeprefix(HASH))
    return pb.Key(api_key=said)


def imported(server: Admin, lines: list[tuple[int, dict[str, Any]]]) -> int:
    """Write records as `as_dict` told them, or with `api_key` beside; return how many.

    Each has its line, by which a fault is told.
    """
    from ratelimitd.rpc.admin_client import pb, record_of

    request = pb.ImportKeysRequest()
    for number, said in lines:
        record, api_key = record_of(said, f"line {number}")
        which = pb.Key(api_key=api_key) if api_key else pb.Key(subject=record.subject)
        request.keys.add(key=which, record=record)
    try:
        written: int = server.call("ImportKeys", request).written
    except (AccountError, SettingsError) as error:
        told = re.sub(r"keys\[(\d+)\]", lambda at: f"line {lines[int(at[1])][0]}", str(error))
        raise type(error)(told) from error
    return written
