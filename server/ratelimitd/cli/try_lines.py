"""What `dev` prints: where everything is, and lines to paste into another terminal.

Pure: addresses in, lines out. The keys are those of the sample policy.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from ratelimitd import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_QUESTION = {
    "domain": "agent-api",
    "descriptors": [{"entries": [{"key": "api_key", "value": "demo-pro"}]}],
}
_METHOD = "envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"


def of(places: Mapping[str, str], policy: Path, program: str, store: str) -> Iterator[str]:
    """Yield the ready line, then what there is, then what to try.

    `places` has `grpc`, `http`, `admin` and `api`; with Envoy `edge` and `envoy-admin` too.
    `program` is what to type for `ratelimitd`; `store` is where counts are, without a password.
    """
    listed = ", ".join(f"{name} {address}" for name, address in places.items())
    yield f"ratelimitd {__version__} ready: {listed}"
    yield ""
    yield f"policy    {policy}"
    yield f"counts    {store}"
    yield f"limiter   {places['grpc']} (gRPC), http://{places['admin']}/metrics"
    yield f"stub API  http://{places['api']}"
    if "edge" in places:
        yield f"Envoy     http://{places['edge']}, http://{places['envoy-admin']}/stats"
        yield ""
        yield "Try, in another terminal:"
        yield from _through_envoy(f"http://{places['edge']}")
    else:
        yield f"Envoy     none: stop this and run `{program} dev --with-envoy`"
        yield ""
        yield "Nothing limits the stub API without Envoy. Ask the limiter, in another terminal:"
    yield from _past_envoy(places["grpc"], program)
    yield ""
    yield "Ctrl-C stops it all."


def _through_envoy(edge: str) -> Iterator[str]:
    invoke = f"-X POST {edge}/v1/agents/a1/invoke"
    bearer = "-H 'Authorization: Bearer {}'"
    yield ""
    yield "# a pro key: 200, and the headers that were promised"
    yield f"curl -i {invoke} {bearer.format('demo-pro')}"
    yield ""
    yield "# a free key has ten requests a minute: the eleventh is 429 (once more, should the"
    yield "# minute have turned in between)"
    code = "curl -s -o /dev/null -w '%{http_code}\\n'"
    yield f"for n in $(seq 11); do {code} {invoke} {bearer.format('demo-free')}; done"
    yield f"curl -i {invoke} {bearer.format('demo-free')}"
    yield ""
    yield "# the key in the other header that clients use"
    yield f"curl -i {invoke} -H 'x-api-key: demo-team'"
    yield ""
    yield "# no key: limited by address"
    yield f"curl -i {invoke}"
    yield ""
    yield "# never limited"
    yield f"curl -i {edge}/health"


def _past_envoy(grpc: str, program: str) -> Iterator[str]:
    target = shlex.quote(grpc)
    yield ""
    yield "# without Envoy: one decision, as a person would read it, and as any gRPC client asks"
    yield f"{program} decide --target {target} api_key=demo-pro route=invoke"
    question = shlex.quote(json.dumps(_QUESTION))
    yield f"grpcurl -plaintext -d {question} {target} {_METHOD}"
