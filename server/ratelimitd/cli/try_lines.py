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
_ALERT = {"type": "rate_limit", "threshold": 80, "webhook_url": "https://example.com/limits"}
_CODE = "curl -s -o /dev/null -w '%{http_code}\\n'"
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
    yield f"for n in $(seq 11); do {_CODE} {invoke} {bearer.format('demo-free')}; done"
    yield f"curl -i {invoke} {bearer.format('demo-free')}"
    yield from _tokens_and_leases(edge)
    yield from _for_customers(edge, bearer.format("demo-pro"))
    yield ""
    yield "# the key in the other header that clients use"
    yield f"curl -i {invoke} -H 'x-api-key: demo-team'"
    yield ""
    yield "# no key: limited by address"
    yield f"curl -i {invoke}"
    yield ""
    yield "# never limited"
    yield f"curl -i {edge}/health"


def _tokens_and_leases(edge: str) -> Iterator[str]:
    """Yield what shows the two other limits, with keys of which nobody has heard yet."""
    agent = f"-X POST '{edge}/v1/agents/a1"
    yield ""
    yield "# 100,000 tokens a month for a key that nobody registered, hence a free one: they are"
    yield "# counted when the answer has ended, and the next call is 429 until the month turns"
    spends = f"{_CODE} {agent}/invoke?tokens=100000' -H 'x-api-key: my-tokens'"
    yield f"for n in 1 2; do {spends}; sleep 1; done"
    yield f"curl -i {agent}/invoke' -H 'x-api-key: my-tokens'"
    yield ""
    yield "# two requests at a time: of three that take two seconds each, one is 429"
    takes = f"{_CODE} {agent}/invoke?sleep=2' -H 'x-api-key: my-requests'"
    yield f"(for n in 1 2 3; do {takes} & done; wait)"
    yield ""
    yield "# a stream is one request; its tokens stand in its last event"
    yield f"curl -i -N {agent}/stream?events=5&gap=0.5' -H 'x-api-key: my-requests'"


def _for_customers(edge: str, key: str) -> Iterator[str]:
    """Yield what a customer asks about its own key; none of it is charged."""
    yield ""
    yield f"# what a key has used of each limit; {edge}/docs explains it to people"
    yield f"curl -i {edge}/v1/usage {key}"
    yield ""
    yield "# be told when 80 % of the hour's requests are used; `secret` verifies what comes"
    alert = shlex.quote(json.dumps(_ALERT))
    yield f"curl -i -X POST {edge}/v1/alerts {key} -H 'Content-Type: application/json' -d {alert}"


def _past_envoy(grpc: str, program: str) -> Iterator[str]:
    target = shlex.quote(grpc)
    yield ""
    yield "# without Envoy: one decision, as a person would read it, and as any gRPC client asks"
    yield f"{program} decide --target {target} api_key=demo-pro route=invoke"
    yield f"{program} decide --target {target} --peek api_key=demo-pro meter=tokens"
    question = shlex.quote(json.dumps(_QUESTION))
    yield f"grpcurl -plaintext -d {question} {target} {_METHOD}"
