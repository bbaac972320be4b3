"""What docs/envoy.md says of tokens beyond the shipped configuration, applied to it and tried."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.architecture.source import ROOT
from tests.e2e.support.counting import BACKENDS, backend_of, settles
from tests.e2e.support.deployment import (
    Config,
    Deployment,
    add_filter_before,
    deploy,
    patient_config,
)
from tests.e2e.support.edge import manager_of, run_edge
from tests.e2e.support.fake_rls import FakeRls, serve_fake_rls
from tests.e2e.support.fleet import free_row
from tests.e2e.support.promised import bearer, shown
from tests.e2e.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.e2e.support.raw_http import Response

INVOKE, STREAM = "/v1/agents/a1/invoke", "/v1/agents/a1/stream"
RICH = 1_000_000


def in_docs(title: str) -> Any:  # noqa: ANN401 - whatever the YAML is
    """Return the block of docs/envoy.md that begins with this comment."""
    text = (ROOT / "docs/envoy.md").read_text("utf-8")
    (block,) = re.findall(rf"```yaml\n# {re.escape(title)}.*?\n(.*?)```", text, re.DOTALL)
    return yaml.safe_load(block)


def filters(config: Config) -> list[Config]:
    """Return the HTTP filters within `config`."""
    found: list[Config] = manager_of(config)["http_filters"]
    return found


def replace_tokens(limits: list[Config], others: list[Config]) -> None:
    """Put others in the place of the descriptor of tokens."""
    tokens = {"descriptor_key": "meter", "descriptor_value": "tokens"}
    (old,) = (each for each in limits if {"generic_key": tokens} in each["actions"])
    index = limits.index(old)
    limits[index : index + 1] = others


def by_model() -> Config:
    """The shipped configuration with all that docs/envoy.md has of input, output and models."""
    config = patient_config()
    asks, done, from_json, from_events, *_ = filters(config)
    limits = in_docs("Tokens by model: what comes in the place of each descriptor of tokens.")
    replace_tokens(asks["typed_config"]["rate_limits"], limits["asks"])
    replace_tokens(done["typed_config"]["rate_limits"], limits["done"])
    rules = in_docs("Tokens by model: what is read in a response")["rules"]
    from_json["typed_config"]["response_rules"]["rules"] = rules
    parser = from_events["typed_config"]["response_rules"]["content_parser"]
    parser["typed_config"]["rules"] = [{"rule": rule} for rule in rules]
    filters(config).insert(0, in_docs("Tokens by model: one more filter, before all others.")[0])
    return config


@pytest.fixture(scope="module", params=BACKENDS)
async def models(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    """The variant and the policy beside it."""
    policy = {"domain": "agent-api", "subject": {"scheme": "bearer", "default_tier": "free"}}
    policy |= in_docs("Tokens by model: the policy.")
    text = json.dumps(policy)
    with backend_of(request.param) as backend:
        async with backend.serves(text, by_model()) as deployment:
            yield deployment
            assert (await deployment.edge.outcomes()).keys() <= {"ok", "over_limit"}


async def ask(
    deployment: Deployment, key: str, model: str, target: str = INVOKE, kind: str = "json"
) -> Response:
    """Make one request that names a model in its body."""
    headers = [*bearer(key), ("content-type", f"application/{kind}".encode())]
    body = json.dumps({"model": model}).encode()
    return await deployment.edge.request(target=target, headers=headers, body=body)


@pytest.mark.parametrize("target", [INVOKE, STREAM])
async def test_input_and_output_are_counted_apart_and_for_each_model(
    models: Deployment, target: str
) -> None:
    """30 in and 12 out, of the model that the request's body names; each model has its own."""
    key = f"apart-{target[-6:]}"
    for model in ("small", "other", "small"):
        assert (await ask(models, key, model, f"{target}?tokens=42&output=12")).status == 200
    for model, times in (("small", 2), ("other", 1), ("none", 0)):
        for meter, amount, each in (
            ("input_tokens", 1_000_000, 30),
            ("output_tokens", 200_000, 12),
        ):
            at = amount - times * each
            await settles(models.limiter, meter, key, at, f"model={model}")


@pytest.mark.parametrize("kind", ["json", "json; charset=utf-8", "octet-stream"])
async def test_a_limit_for_some_models_binds_these_alone(models: Deployment, kind: str) -> None:
    """And nobody gets around it by another content type, where the API reads the body anyway."""
    key = f"some-{len(kind)}"
    answer = await ask(models, key, "big-1", f"{INVOKE}?tokens=30000&output=20000", kind)
    assert answer.status == 200
    await settles(models.limiter, "output_tokens", key, 0, "model=big-1")
    denied = await ask(models, key, "big-1", kind=kind)
    assert (denied.status, shown(denied).limit) == (429, 20_000)
    assert (await ask(models, key, "big-2", kind=kind)).status == 429, "they share it"
    assert (await ask(models, key, "small", kind=kind)).status == 200


LIMITED = f"""
domain: agent-api
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
tiers: {{free: {{tokens: {RICH}/month, concurrent: 5}}}}
"""


def impatient() -> Config:
    """The shipped configuration, where the end of a request is told as a request is asked about."""
    config = patient_config()
    asks, done = (each["typed_config"] for each in filters(config)[:2])
    done["timeout"] = "0.1s"
    done["rate_limit_service"] = copy.deepcopy(asks["rate_limit_service"])
    return config


@pytest.mark.parametrize(
    ("config", "sign", "told"),
    [
        pytest.param(patient_config(), "retry", [7, 1], id="as shipped"),
        pytest.param(impatient(), "retry_limit_exceeded", [1], id="the twin, as the filter asks"),
    ],
)
async def test_a_limiter_that_restarts_misses_no_report(
    config: Config, sign: str, told: list[int]
) -> None:
    """Nobody waits for the last call of a request, so that it has time for another try."""
    address = str(free_row(1))
    async with run_edge(address, config=config) as edge:
        async with serve_fake_rls(address=address):
            target = f"{STREAM}?tokens=7&gap=0.3"
            request = asyncio.create_task(edge.request(target=target, headers=bearer("k")))
            await wait_until(lambda: bool(edge.arrivals), description="it is at the API")
        assert (await request).status == 200
        counter = f"cluster.limiter.upstream_rq_{sign}"

        async def tried() -> bool:
            return (await edge.envoy.stats(f"^{counter}$"))[counter] > 0

        await wait_until(tried, description="it was tried, and nobody was there")
        async with serve_fake_rls(address=address) as rls:
            await wait_until(lambda: _told(rls) == told[:-1], description="the report")
            await edge.request(target=f"{INVOKE}?tokens=1", headers=bearer("k"))
            await wait_until(lambda: _told(rls) == told, description="the next report")


def _told(rls: FakeRls) -> list[int]:
    return [each.hits_addend.value for report in rls.reports for each in report.descriptors]


COMPRESSOR = {
    "name": "envoy.filters.http.compressor",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor",
        "compressor_library": {
            "name": "gzip",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip"
            },
        },
    },
}


async def test_envoy_may_compress_what_it_has_read() -> None:
    """Before all other filters: the client has its compressed answer, and its tokens count."""
    config = patient_config()
    add_filter_before(config, COMPRESSOR)
    async with deploy(LIMITED, config=config) as deployment:
        headers = [*bearer("k"), ("accept-encoding", b"gzip")]
        target = f"{INVOKE}?tokens=7&pad=1000"
        answer = await deployment.edge.request(target=target, headers=headers)
        assert answer.all("content-encoding") == ["gzip"]
        assert json.loads(gzip.decompress(answer.body))["usage"]["total_tokens"] == 7
        await settles(deployment.limiter, "tokens", "k", RICH - 7)


CONCURRENT = """
domain: {domain}
subject: {{entry: api_key, scheme: bearer, default_tier: free}}
tiers: {{free: {{concurrent: 2}}}}
"""


def two_limiters(namespace: str) -> Config:
    """The shipped configuration and the other filter of docs/envoy.md, with this namespace."""
    config = patient_config()
    (other,) = in_docs("A second limiter: one more filter, behind the first two.")
    text = json.dumps(other)
    assert text.count("limits.gpu") == 2
    other = json.loads(text.replace("limits.gpu", namespace))
    first = filters(config)[0]["typed_config"]
    other["typed_config"] |= {name: first[name] for name in ("timeout", "rate_limit_service")}
    filters(config).insert(2, other)
    return config


@pytest.mark.parametrize(
    ("namespace", "back"),
    [
        pytest.param("limits.gpu", 2, id="its own"),
        pytest.param("envoy.filters.http.ratelimit", 1, id="the same: the twin"),
    ],
)
async def test_a_second_limiter_keeps_its_leases_in_a_namespace_of_its_own(
    namespace: str, back: int, tmp_path: Path
) -> None:
    """In the same one, its lease takes the place of the first's, which nobody gives back then."""
    for domain in ("agent-api", "gpu"):
        text = CONCURRENT.format(domain=domain)
        (tmp_path / f"{domain}.yaml").write_text(text, "utf-8")
    async with deploy(tmp_path, config=two_limiters(namespace)) as deployment:
        for _ in range(2):
            target = f"{INVOKE}?usage=none"
            answer = await deployment.edge.request(target=target, headers=bearer("k"))
            assert answer.status == 200
            await settles(deployment.limiter, "concurrent", "k", 2, domain="gpu")
            await settles(deployment.limiter, "concurrent", "k", back)
            back -= back < 2
