"""docs/customers.md holds, line by line, behind a real Envoy: in memory, in a file and in Redis."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from tests.e2e.support import page
from tests.e2e.support.customer_promises import (
    PROMISES,
    places_and_tokens_are,
    requests_are,
    settled,
)
from tests.e2e.support.hooks import FLAGS, Hook, receiver, until_watched
from tests.e2e.support.promised import HOUR, MINUTE, shown
from tests.e2e.support.sites import Promise, Site, everywhere, run_sites
from tests.e2e.support.waiting import room_in_window, wait_for_instant, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIERS = page.tiers()
COMMANDS = page.commands()
WINDOW = 3
"""Seconds of the windows that are waited for."""
TRIES = 3
WITHIN = 30.0


@pytest.fixture(scope="module")
async def sites(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[Site]]:
    """The demo with each store; by Envoy's account every call of it was answered."""
    await room_in_window(HOUR, 40)
    async with run_sites(tmp_path_factory.mktemp("customers"), *FLAGS) as running:
        yield running
        for site in running:
            outcomes = await site.deployment.edge.outcomes()
            assert outcomes.keys() == {"ok", "over_limit"}, site.store


def test_the_page_has_what_was_promised() -> None:
    """Nothing here passes because there was nothing to read."""
    assert [tier.name for tier in TIERS] == ["free", "pro", "team"]
    assert TIERS[1] == page.Tier("pro", 1_000, 100, 10, 2_000_000)
    calls = {"invoke", "denied", "batch", "stream", "usage"}
    assert COMMANDS.keys() == {*calls, "make", "alerts", "remove"}
    assert len(page.codes()) == 2


@pytest.mark.parametrize("tier", TIERS, ids=lambda tier: tier.name)
async def test_a_row_of_the_table_is_in_force(sites: list[Site], tier: page.Tier) -> None:
    """Its requests, its requests at a time, and its tokens."""
    await room_in_window(MINUTE, 8)
    await everywhere(sites, partial(requests_are, tier=tier))
    await everywhere(sites, partial(places_and_tokens_are, tier=tier))


async def test_a_wrong_row_would_be_found(sites: list[Site]) -> None:
    """The twin: one more or one less of anything is noticed."""
    await room_in_window(MINUTE, 8)
    row, site = TIERS[0], sites[0]
    for check, fields in (
        (requests_are, ("hour", "minute", "concurrent", "tokens")),
        (places_and_tokens_are, ("concurrent", "tokens")),
    ):
        for name in fields:
            for more in (1, -1):
                wrong = row._replace(**{name: getattr(row, name) + more})
                with pytest.raises(AssertionError):
                    await check(site, wrong)


async def test_the_commands_print_what_the_page_says(sites: list[Site]) -> None:
    """A fresh pro key calls, sends a batch, reads a stream, and asks what that was: three calls."""
    await room_in_window(MINUTE, 8)

    async def promise(site: Site) -> None:
        key = await site.key("pro")
        for name in ("invoke", "batch", "stream"):
            page.compare(COMMANDS[name].answer, await page.run(COMMANDS[name], site.edge, key))
        await settled(site, key, 210)
        told = await page.run(COMMANDS["usage"], site.edge, key)
        page.compare(COMMANDS["usage"].answer, told)
        await site.use(key, "requests", 97)
        denied = await page.run(COMMANDS["denied"], site.edge, key)
        page.compare(COMMANDS["denied"].answer, denied)
        assert "retry-after" in "".join(denied.head)

    await everywhere(sites, promise)


async def test_a_wrong_page_would_be_found(sites: list[Site]) -> None:
    """The twin: another number, header or word than the answer's is noticed."""
    await room_in_window(MINUTE, 4)
    site = sites[0]
    key = await site.key("pro")
    given = await page.run(COMMANDS["invoke"], site.edge, key)
    for right, wrong in (("1000", "1001"), ("-remaining", "-left"), ("200 OK", "201 Created")):
        changed = page.commands(page.PAGE.replace(right, wrong))["invoke"].answer
        with pytest.raises((AssertionError, ValueError)):
            page.compare(changed, given)
    told = await page.run(COMMANDS["usage"], site.edge, key)
    with pytest.raises(AssertionError):
        page.compare(COMMANDS["usage"].answer, told)  # it has made one call, and the page's three


async def test_the_client_of_the_page_waits_as_long_as_it_is_told(sites: list[Site]) -> None:
    """It is refused, sleeps, and is served; and says so as the page says."""
    code = page.codes()[0]

    async def promise(site: Site) -> None:
        for _ in range(TRIES):
            await room_in_window(WINDOW, WINDOW - 0.1)
            key = await site.key("pro", f"requests=1/{WINDOW}s")
            before = await site.deployment.edge.outcomes()
            assert (await site.request(key)).status == 200
            text = code.text.replace(page.DOCUMENTED, f"http://{site.edge}")
            assert await page.shell(sys.executable, "-c", text, KEY=key) == code.printed
            after = await site.deployment.edge.outcomes()
            assert after["ok"] - before.get("ok", 0) == 2
            if after["over_limit"] > before.get("over_limit", 0):
                return
        pytest.fail("no window was long enough for this machine")

    await everywhere(sites, promise)


async def test_an_alert_comes_at_its_threshold_and_is_verified(sites: list[Site]) -> None:
    """Asked for, posted at the 800th of a thousand requests, told of, and removed, as shown."""
    await room_in_window(HOUR, 20)

    async def promise(site: Site) -> None:
        key = await site.key("pro", "requests=1_000/hour")
        async with receiver() as hooks:
            place = (site.edge, key, hooks.url(""))
            made = await page.run(COMMANDS["make"], *place)
            page.compare(COMMANDS["make"].answer, made)
            alert = json.loads(made.body)
            await until_watched([site.deployment.limiter], 1)
            await site.use(key, "requests", 799)
            assert not hooks.got
            assert shown(await site.request(key)).remaining == 200
            await wait_until(lambda: bool(hooks.got), description="the webhook came", within=WITHIN)
            (hook,) = hooks.got
            page.compare(page.event(), page.Answer([], hook.body.decode()))
            assert_verified(alert["secret"], hook)
            await wait_until(lambda: told(place), description="its owner reads of it")
            removed = await page.run(COMMANDS["remove"], *place, ALERT=alert["id"])
            page.compare(COMMANDS["remove"].answer, removed)

    async def told(place: tuple[str, str, str]) -> bool:
        try:
            page.compare(COMMANDS["alerts"].answer, await page.run(COMMANDS["alerts"], *place))
        except AssertionError:
            return False
        return True

    await everywhere(sites, promise)


def assert_verified(secret: str, hook: Hook) -> None:
    """The page's code takes the event once, and nothing that was tampered with."""
    code = page.codes()[1]
    names: dict[str, Any] = {}
    with mock.patch.dict("os.environ", {"WEBHOOK_SECRET": secret}):
        exec(compile(code.text, "docs/customers.md", "exec"), names)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for headers, body, status in (
            (hook.headers, hook.body, 204),
            (hook.headers, hook.body, 204),
            (hook.headers, hook.body.replace(b"800", b"801"), 401),
            (hook.headers | {"webhook-id": "msg_other"}, hook.body, 401),
            (hook.headers | {"webhook-timestamp": "1640995200"}, hook.body, 401),
            (hook.headers | {"webhook-signature": "v1,é"}, hook.body, 401),
            ({}, hook.body, 401),
        ):
            assert names["received"](headers, body) == status
    assert printed.getvalue() == code.printed


async def test_what_a_429_says_to_do_helps(sites: list[Site]) -> None:
    """Refused a second before Retry-After is over, served at it."""
    end = await room_in_window(WINDOW, WINDOW - 0.1)

    async def promise(site: Site) -> None:
        key = await site.key("pro", f"requests=1/{WINDOW}s")
        assert (await site.request(key)).status == 200
        denied = await site.request(key)
        (wait,) = map(int, denied.all("retry-after"))
        due = time.time() + wait
        assert end <= due <= end + 1
        await wait_for_instant(end - 1)
        assert (await site.request(key)).status == 429
        await wait_for_instant(due)
        assert (await site.request(key)).status == 200

    await everywhere(sites, promise)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_a_promise_holds(sites: list[Site], promise: Promise) -> None:
    """The promise's docstring is the rule."""
    await room_in_window(MINUTE, 8)
    await everywhere(sites, promise)
