"""Calls to a running limiter, for the commands that ask one.

Owns the connection and what its failures mean for a person. What is asked and answered is
`rpc.ask`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ratelimitd.errors import RateLimitdError, SettingsError, UnreachableError
from ratelimitd.tls import CERTIFICATE, PRIVATE

if TYPE_CHECKING:
    from pathlib import Path

    import grpc

    from ratelimitd.cli.values import Faults
    from ratelimitd.rpc.ask import Answer
    from ratelimitd.settings import Address

TIMEOUT = 5.0
"""Seconds. A decision takes a millisecond; who waits longer is not answered."""

TLS_HINT = "With --tls-cert it answers to --tls-ca only"

OPTIONS: tuple[tuple[str, Any], ...] = (
    # The limiter is where it was said to be: a proxy of the environment would not find it.
    ("grpc.enable_http_proxy", 0),
    # A channel of its own each time, not one shared with others of this process.
    ("grpc.use_local_subchannel_pool", 1),
)


class Pems(NamedTuple):
    """What a client of TLS trusts, and who it is itself."""

    ca: bytes
    key: bytes | None = None
    cert: bytes | None = None


def ask(target: Address, request: bytes, tls: Pems | None = None) -> Answer:
    """Ask one question. Raises `UnreachableError`, and `SettingsError` for what is no question."""
    import grpc

    from ratelimitd.rpc.ask import METHOD, decode

    with channel(target, tls) as connected:
        try:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = connected.unary_unary(METHOD)
            return decode(call(request, timeout=TIMEOUT))
        except grpc.RpcError as error:
            raise failure(target, error) from error


def channel(target: Address, tls: Pems | None) -> grpc.Channel:
    """Return a channel to a limiter; it connects when it is used."""
    import grpc

    if tls is None:
        return grpc.insecure_channel(grpc_target(target), options=OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.cert)
    return grpc.secure_channel(grpc_target(target), credentials, options=OPTIONS)


def grpc_target(target: Address) -> str:
    """Return the target as gRPC spells it."""
    return f"unix:{target.path}" if target.path else str(target)


def failure(target: Address, error: grpc.RpcError, hint: str = TLS_HINT) -> RateLimitdError:
    """Return what a failed call means for whoever made it. `hint`: why nobody may answer there."""
    import grpc

    code, details = error.code(), error.details() or ""
    if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        return SettingsError(f"the limiter refuses the question: {details}")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return UnreachableError(f"{target} answers, but it is no rate limiter")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnreachableError(f"{target} did not answer in time")
    if code is grpc.StatusCode.UNAVAILABLE:
        return UnreachableError(
            f"nobody answers at {target} ({details}); is `ratelimitd serve` running there? {hint}"
        )
    return UnreachableError(f"{target} failed with {code.name}: {details}")


def client_tls(
    faults: Faults, target: Address | None, *, ca: Path | None, cert: Path | None, key: Path | None
) -> Pems | None:
    """Return what the files of `--tls-ca`, `--tls-cert` and `--tls-key` hold; None without TLS."""
    if ca is None:
        if cert is not None or key is not None:
            faults.add("--tls-cert and --tls-key are for TLS: give --tls-ca FILE as well")
        return None
    if (cert is None) is not (key is None):
        faults.add("--tls-cert and --tls-key go together: give both, or neither")
    if target is not None and target.path:
        faults.add("--tls-ca does not go with a unix socket, which is never TLS")
    return Pems(
        _pem(faults, "--tls-ca", ca, CERTIFICATE) or b"",
        _pem(faults, "--tls-key", key, PRIVATE),
        _pem(faults, "--tls-cert", cert, CERTIFICATE),
    )


def _pem(faults: Faults, flag: str, path: Path | None, mark: bytes) -> bytes | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.add(f"{flag} {path}: {error.strerror}")
        return None
    if mark not in content:
        faults.add(f"{flag} {path}: it holds nothing of this kind in PEM form")
    return content
