"""An alert as its customer has it: asked for, told and read about, through the shipped Envoy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from tests.e2e.support.deployment import deploy
from tests.e2e.support.hooks import DAY, FLAGS, policy_text, receiver, until_watched
from tests.e2e.support.promised import bearer, ours
from tests.e2e.support.waiting import room_in_window, wait_until

if TYPE_CHECKING:
    from tests.e2e.support.edge import Edge

POLICY: Final = policy_text(1).replace("api_key,", "api_key, scheme: bearer,")
KEY: Final = bearer("key-0")
WITHIN: Final = 60.0


async def call(edge: Edge, method: str, target: str, **body: object) -> tuple[int, Any]:
    """Ask the customers' API; return status and answer."""
    headers = [*KEY, ("content-type", b"application/json")]
    sent = json.dumps(body).encode() if body else b""
    answer = await edge.request(method, target, headers, sent)
    assert not ours(answer)
    return answer.status, json.loads(answer.body) if answer.body else None


async def test_an_alert_is_made_told_and_removed() -> None:
    """The promised request; eight requests of ten; a signed webhook; its state; its end."""
    async with deploy(POLICY, flags=FLAGS) as running, receiver() as hooks:
        edge = running.edge
        await room_in_window(DAY, WITHIN)
        status, made = await call(
            edge,
            "POST",
            "/v1/alerts",
            type="rate_limit",
            threshold=80,
            webhook_url=hooks.url("/limits"),
        )
        assert status == 201
        hooks.secrets["/limits"] = made["secret"]
        await until_watched([running.limiter], 1)
        for _ in range(8):
            assert not hooks.got
            assert (await edge.request(headers=KEY)).status == 200
        await wait_until(lambda: bool(hooks.got), description="it is told", within=WITHIN)
        (hook,) = hooks.got
        assert hook.is_genuine
        data = json.loads(hook.body)["data"]
        assert (data["threshold"], data["used"], data["limit"], data["remaining"]) == (80, 8, 10, 2)

        async def delivered() -> bool:
            _, told = await call(edge, "GET", "/v1/alerts")
            state = told["alerts"][0]["delivery"]
            return bool(state) and state["state"] == "delivered" and state["status"] == 204

        await wait_until(delivered, description="its owner reads of it", within=WITHIN)
        usage = (await call(edge, "GET", "/v1/usage"))[1]["requests"]
        assert usage == {"used": 8, "limit": 10, "remaining": 2}
        assert (await call(edge, "DELETE", f"/v1/alerts/{made['id']}"))[0] == 204
        assert (await call(edge, "GET", "/v1/alerts"))[1] == {"alerts": []}
        log = running.limiter.log.read_text("utf-8")
        assert "key-0" not in log
        assert made["secret"] not in log
