"""The admin listener's door: who may come in, and whether they speak gRPC or plain HTTP.

With tokens everybody shows one (`Authorization: Bearer`), which is compared in constant time; where
certificates are demanded, the listener has refused whoever has none before. Whom it let in, it
tells the services in a header that no caller can set.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING, Any

import grpc

from ratelimitd.transports import grpc_wire as wire
from ratelimitd.transports.grpc_asgi import end, is_grpc

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Application = Callable[[Scope, Any, Any], Awaitable[None]]

WHO = b"ratelimitd-who"
_REFUSAL = "this listener wants a token: Authorization: Bearer …"
_SCHEME = b"bearer "


class AdminApplication:
    """An ASGI application of two: gRPC on its content type, plain HTTP on all others."""

    def __init__(self, rpc: Application, http: Application, tokens: tuple[bytes, ...] = ()) -> None:
        self._rpc = rpc
        self._http = http
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: object, send: Any) -> None:  # noqa: ANN401
        """Answer one request."""
        headers = [(name, value) for name, value in scope["headers"] if name != WHO]
        given = dict(headers)
        speaks_grpc = is_grpc(given.get(b"content-type"))
        who = self._admitted(given.get(b"authorization", b""))
        if who is None:
            await _refuse(send, speaks_grpc=speaks_grpc)
            return
        client = scope.get("client") or ("a unix socket",)
        told = f"{', '.join((*who, *_certified(scope))) or 'local'} at {client[0]}".encode()
        application = self._rpc if speaks_grpc else self._http
        await application({**scope, "headers": [*headers, (WHO, told)]}, receive, send)

    def _admitted(self, authorization: bytes) -> tuple[str, ...] | None:
        """Say which token this is; None: none of ours. Takes as long for whatever is given."""
        if not self._tokens:
            return ()
        is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
        shown = authorization[len(_SCHEME) :].strip() if is_bearer else b""
        matches = [compare_digest(shown, token) for token in self._tokens]
        return (f"token {matches.index(True) + 1}",) if any(matches) else None


def _certified(scope: Scope) -> tuple[str, ...]:
    """Say whose certificate the listener has verified: by its subject, in ASCII on one line."""
    tls = scope.get("extensions", {}).get("tls")
    if tls is None or not tls["client_cert_chain"]:
        return ()
    subject = tls["client_cert_name"] or "without a subject"
    return (f"certificate {subject.encode('unicode_escape').decode()}",)


async def _refuse(send: Any, *, speaks_grpc: bool) -> None:  # noqa: ANN401
    if speaks_grpc:
        await end(send, wire.status_pairs(grpc.StatusCode.UNAUTHENTICATED, _REFUSAL))
        return
    headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 401, "headers": headers})
    await send({"type": "http.response.body", "body": f"{_REFUSAL}\n".encode()})
