"""What customers do with their alerts."""

import base64
import json
import logging
from typing import Any

import pytest

from ratelimitd.accounts.alerting import Delivery, Wish
from ratelimitd.accounts.alerts import MOST_ALERTS
from ratelimitd.accounts.outbox import Message
from ratelimitd.accounts.sealing import Sealer
from ratelimitd.errors import (
    InvalidFieldsError,
    KeyNotFoundError,
    KeyRefusedError,
    TooManyAlertsError,
)
from tests.support.alerts import world
from tests.support.policies import HASHER

PRO = (HASHER.key("demo-pro"),)
REGISTERED = (HASHER.key("sk-registered"),)
URL = "https://hooks.example/rate?token=hush"
WISH = Wish("rate_limit", 80, URL)


async def test_an_alert_is_made_told_and_removed() -> None:
    """Its secret is told once; decisions are watched at once."""
    async with world() as here:
        made = await here.alerting.create(PRO, WISH)
        assert here.watches()
        assert made.url == URL
        assert len(base64.b64decode(made.secret.removeprefix("whsec_"), validate=True)) == 32
        (told,) = await here.alerting.told(PRO)
        assert told == (made.alert, URL, None)
        assert not await here.alerting.remove(PRO, "alert_other")
        assert await here.alerting.remove(PRO, made.alert.id)
        assert not await here.alerting.remove(PRO, made.alert.id)
        assert await here.alerting.told(PRO) == []


async def test_registered_keys_have_alerts_too() -> None:
    """Nobody else sees or removes them."""
    async with world() as here:
        await here.register("sk-registered")
        made = await here.alerting.create(REGISTERED, WISH)
        assert await here.alerting.told(PRO) == []
        assert not await here.alerting.remove(PRO, made.alert.id)
        assert len(await here.alerting.told(REGISTERED)) == 1


async def test_a_key_of_an_older_secret_keeps_its_alerts() -> None:
    """The alert is its record's, whose hash an older secret made."""
    async with world() as here:
        await here.register("sk-registered")
        both = (HASHER.key("as the new secret hashes it"), *REGISTERED)
        made = await here.alerting.create(both, WISH)
        assert made.alert.subject == REGISTERED[0]
        assert [told.alert for told in await here.alerting.told(both)] == [made.alert]
        assert await here.alerting.remove(both, made.alert.id)


async def test_every_mistake_is_told_at_once() -> None:
    """Each with its field, and without what was sent."""
    async with world() as here:
        with pytest.raises(InvalidFieldsError) as caught:
            await here.alerting.create(PRO, Wish("evil-type", 0, "http://evil.example/"))
        assert [field for field, _ in caught.value.violations] == [
            "type",
            "threshold",
            "webhook_url",
        ]
        assert "evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "limit", "told"),
    [
        ("rate_limit", "tokens/month", "`requests/hour`, `requests/minute`"),
        ("rate_limit", "requests/day", "`requests/hour`, `requests/minute`"),
        ("token_quota", "requests/hour", "`tokens/month`"),
        ("concurrent", "tokens/month", "`concurrent`"),
    ],
)
async def test_the_limit_is_one_of_the_key_and_of_the_type(
    kind: str, limit: str, told: str
) -> None:
    """The right ones are named."""
    async with world() as here:
        with pytest.raises(InvalidFieldsError, match=f"limit: .*one of {told}"):
            await here.alerting.create(PRO, Wish(kind, 80, URL, limit))


@pytest.mark.parametrize("limit", ["", "requests/minute"])
async def test_the_limit_may_be_named_or_not(limit: str) -> None:
    """Where it is not, it is the one that headers report."""
    async with world() as here:
        made = await here.alerting.create(PRO, WISH._replace(limit=limit))
        assert made.alert.limit == limit


async def test_a_key_has_so_many_alerts() -> None:
    """One more is refused until one is removed."""
    async with world() as here:
        made = [await here.alerting.create(PRO, WISH) for _ in range(MOST_ALERTS)]
        with pytest.raises(TooManyAlertsError):
            await here.alerting.create(PRO, WISH)
        await here.alerting.remove(PRO, made[0].alert.id)
        await here.alerting.create(PRO, WISH)


async def test_keys_that_nobody_registered_have_none() -> None:
    """They could be invented at will."""
    async with world() as here:
        unknown = (HASHER.key("sk-invented"),)
        for asked in (
            here.alerting.create(unknown, WISH),
            here.alerting.told(unknown),
            here.alerting.remove(unknown, "alert_1"),
        ):
            with pytest.raises(KeyNotFoundError):
                await asked


@pytest.mark.parametrize("fields", [{"is_revoked": True}, {"is_disabled": True}, {"expires": 1}])
async def test_keys_that_may_not_call_have_none(fields: dict[str, Any]) -> None:
    """Revoked, disabled, expired."""
    async with world() as here:
        await here.register("sk-registered", **fields)
        with pytest.raises(KeyRefusedError, match="API key is"):
            await here.alerting.create(REGISTERED, WISH)


async def test_the_last_delivery_is_told() -> None:
    """As the courier has left it."""
    async with world() as here:
        made = await here.alerting.create(PRO, WISH)
        message = Message("msg_1", PRO[0], made.alert.id, "{}", 1)
        state = {"state": "failed", "at": 5, "attempts": 2, "status": None, "error": "timeout"}
        await here.outbox.acknowledge(message, json.dumps(state))
        (told,) = await here.alerting.told(PRO)
        assert told.delivery == Delivery("failed", 5, 2, None, "timeout")


async def test_an_alert_whose_secret_is_gone_says_so() -> None:
    """It is told, and can be removed."""
    async with world() as here:
        made = await here.alerting.create(PRO, WISH)
        here.alerting._sealer = Sealer([b"quite another secret"])
        (told,) = await here.alerting.told(PRO)
        assert told == (made.alert, "", Delivery("unreadable"))
        assert await here.alerting.remove(PRO, made.alert.id)


async def test_the_audit_log_is_told_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """One line each, with the host of the URL and no more of it."""
    caplog.set_level(logging.INFO, logger="ratelimitd.audit")
    async with world() as here:
        made = await here.alerting.create(PRO, WISH)
        await here.alerting.remove(PRO, made.alert.id)
    lines = [vars(record) for record in caplog.records]
    assert [line["what"] for line in lines] == ["alert add", "alert remove"]
    assert json.loads(lines[0]["after"])["host"] == "hooks.example"
    assert json.loads(lines[1]["before"]) == json.loads(lines[0]["after"])
    for line in lines:
        assert line["subject"] == PRO[0].hex()
        assert not [each for each in ("hush", made.secret, "demo-pro") if each in str(line)]


async def test_all_alerts_of_a_key_are_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    """By whom, is in the audit log; another's stay."""
    caplog.set_level(logging.INFO, logger="ratelimitd.audit")
    async with world() as here:
        await here.register("sk-registered")
        for subjects in (REGISTERED, REGISTERED, PRO):
            await here.alerting.create(subjects, WISH)
        await here.alerting.forget("anna", REGISTERED)
        assert await here.alerting.told(REGISTERED) == []
        assert len(await here.alerting.told(PRO)) == 1
    lines = [vars(record) for record in caplog.records[-2:]]
    assert [(line["who"], line["what"]) for line in lines] == [("anna", "alert remove")] * 2
