"""`on_store_failure`: what each mode answers to each kind of call, and what is made good later."""

import gc

import pytest

from ratelimitd import render
from ratelimitd.errors import StoreError
from ratelimitd.model import Descriptor
from ratelimitd.policy.spec import OnStoreFailure, Verdict
from tests.support.collector import no_collector
from tests.support.failing import AWAY, Outage, Way
from tests.support.ops import fixed, leases, shadow
from tests.support.policies import agent_api, describe, record, records, with_tier

LOCAL, ALLOW = OnStoreFailure.LOCAL, OnStoreFailure.ALLOW
DENY, ERROR = OnStoreFailure.DENY, OnStoreFailure.ERROR
MODES = (LOCAL, ALLOW, DENY, ERROR)

CHARGE = describe("api_key=a")
TOKENS = describe("api_key=a", "meter=tokens")
PEEK = describe("api_key=a", hits=0)
ACQUIRE = describe("api_key=a", "meter=concurrent")
REPORT = describe("api_key=a", "meter=tokens", "phase=done", hits=7)
REFUND = describe("api_key=a", hits=1, negative=True)
EXEMPT = describe("route=health")


def give_back(lease: str) -> Descriptor:
    """Return the release of a lease."""
    return describe("api_key=a", "meter=concurrent", "phase=done", f"lease={lease}")


RELEASE = give_back("somebody's")
JUDGED = {"charge": CHARGE, "peek": PEEK, "acquisition": ACQUIRE, "postpaid peek": TOKENS}
TOLD = {"report": REPORT, "refund": REFUND, "release": RELEASE}


async def answer(outage: Outage, *descriptors: Descriptor) -> str:
    """Ask, and say in a word what came of it."""
    try:
        decision = await outage.ask(*descriptors)
    except StoreError:
        return "error"
    return "allowed" if decision.allowed else "denied"


EXPECTED = {LOCAL: "allowed", ALLOW: "allowed", DENY: "denied", ERROR: "error"}


@pytest.mark.parametrize("way", AWAY)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", JUDGED)
async def test_each_mode_answers_each_question(mode: OnStoreFailure, kind: str, way: Way) -> None:
    """What a limit could deny gets what the policy says, however the store fails."""
    outage = Outage(agent_api(), mode)
    outage.store.way = way
    assert await answer(outage, JUDGED[kind]) == EXPECTED[mode]
    assert outage.counts["store_failures", mode.value] == 1
    assert not outage.failure.is_up
    await outage.failure.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("descriptors", [*[(each,) for each in TOLD.values()], (EXEMPT, REPORT)])
async def test_what_no_limit_can_deny_is_ok_in_every_mode(
    mode: OnStoreFailure, descriptors: tuple[Descriptor, ...]
) -> None:
    """A report is taken note of, and its caller has nothing to do."""
    outage = Outage(agent_api(), mode)
    outage.store.way = Way.LOST
    assert await answer(outage, *descriptors) == "allowed"
    assert outage.failure.figures()["store_replay_queue"] >= 1
    await outage.recover()


@pytest.mark.parametrize("mode", MODES)
async def test_limits_that_only_watch_deny_nothing(mode: OnStoreFailure) -> None:
    """A shadow limit cannot deny, so neither can its absence."""
    outage = Outage(with_tier(shadow(fixed(1))), mode)
    outage.store.way = Way.LOST
    assert await answer(outage, CHARGE) == "allowed"
    await outage.failure.close()


@pytest.mark.parametrize("mode", MODES)
async def test_a_refused_key_stays_refused(mode: OnStoreFailure) -> None:
    """That a key was revoked is known without counts: no outage opens the door for it."""
    revoked = record("gone", "free", refusal="revoked")
    outage = Outage(agent_api(records=records(revoked)), mode)
    outage.store.way = Way.LOST
    both = await outage.ask(describe("api_key=gone"), describe("api_key=gone", "meter=tokens"))
    assert (both.allowed, both.refusal) == (False, "API key is revoked")
    assert render.retry_after(both) is None
    mixed = await outage.ask(describe("api_key=gone"), CHARGE)
    assert not mixed.allowed
    assert not mixed.statuses[0].passes
    await outage.failure.close()


@pytest.mark.parametrize("mode", [ALLOW, DENY])
async def test_neither_allow_nor_deny_shows_a_limit(mode: OnStoreFailure) -> None:
    """Nobody knows how limits stand, so nothing is said of them; a denial says when to come."""
    outage = Outage(agent_api(), mode)
    outage.store.way = Way.LOST
    decision = await outage.ask(CHARGE, TOKENS, ACQUIRE, REPORT, EXEMPT)
    denied = [("Retry-After", "1"), ("content-type", "application/json")]
    assert render.headers(decision) == (denied if mode is DENY else [])
    assert [status.passes for status in decision.statuses] == [mode is ALLOW] * 3 + [True] * 2
    assert {status.standing for status in decision.statuses} == {None}
    assert decision.lease == ""
    await outage.failure.close()


async def test_local_goes_on_from_the_last_known_counts() -> None:
    """Six of ten were used: four pass in this process, with headers as ever, and not one more."""
    outage = Outage(with_tier(fixed(10)), LOCAL)
    for _ in range(6):
        await outage.ask(CHARGE)
    outage.store.way = Way.NOT_ASKED
    decisions = [await outage.ask(CHARGE) for _ in range(5)]
    assert [decision.allowed for decision in decisions] == [True] * 4 + [False]
    assert dict(render.headers(decisions[3]))["X-RateLimit-Remaining"] == "0"
    await outage.recover()
    assert (await outage.ask(PEEK)).statuses[0].standing.after == 6  # type: ignore[union-attr]
    outage.store.way = Way.NOT_ASKED
    assert await answer(outage, CHARGE) == "allowed", "the next outage begins with what is known"
    await outage.failure.close()


async def test_a_call_that_acquires_goes_on_from_what_it_saw_too() -> None:
    """Each such call has operations of its own, but asks about the same counters."""
    outage = Outage(with_tier(fixed(10), leases(3)), LOCAL)
    for _ in range(2):
        await outage.ask(CHARGE, ACQUIRE)
    outage.store.way = Way.NOT_ASKED
    assert await answer(outage, CHARGE, ACQUIRE) == "allowed"
    assert await answer(outage, CHARGE, ACQUIRE) == "denied"
    await outage.failure.close()


async def test_a_lease_of_an_outage_is_given_back_where_it_was_granted() -> None:
    """During the outage or after it; and the store never hears of it."""
    outage = Outage(with_tier(leases(1)), LOCAL)
    outage.store.way = Way.NOT_ASKED
    first = (await outage.ask(ACQUIRE)).lease
    assert first.startswith("local.")
    assert await answer(outage, ACQUIRE) == "denied"
    assert await answer(outage, give_back(first)) == "allowed"
    second = (await outage.ask(ACQUIRE)).lease
    assert second not in ("", first)
    assert outage.failure.figures()["store_replay_queue"] == 0
    await outage.recover()
    await outage.ask(give_back(second))
    outage.store.way = Way.NOT_ASKED
    assert await answer(outage, ACQUIRE) == "allowed"
    await outage.failure.close()


async def test_a_lease_of_the_store_is_given_back_to_it_afterwards() -> None:
    """Its place is free here at once, and there when the store is back."""
    outage = Outage(with_tier(leases(1)), LOCAL)
    lease = (await outage.ask(ACQUIRE)).lease
    outage.store.way = Way.LOST
    assert await answer(outage, ACQUIRE) == "denied"
    await outage.ask(give_back(lease))
    assert await answer(outage, ACQUIRE) == "allowed"
    await outage.recover()
    assert await answer(outage, ACQUIRE) == "allowed"


async def test_a_lease_that_nobody_was_told_of_is_given_back() -> None:
    """A silent store may have granted it all the same: no place stays taken for 15 minutes."""
    outage = Outage(with_tier(leases(1)), ALLOW)
    outage.store.way = Way.LATE
    assert (await outage.ask(ACQUIRE)).lease == ""
    await outage.recover()
    assert (await outage.ask(ACQUIRE)).lease != ""


async def test_an_unknown_key_that_is_denied_needs_no_store() -> None:
    """`deny` of the subject's rule is a refusal like any other."""
    subject = agent_api().subject
    closed = agent_api(subject=type(subject)(scheme="bearer", default_tier=Verdict.DENY))
    outage = Outage(closed, ALLOW)
    outage.store.way = Way.LOST
    assert await answer(outage, describe("api_key=nobody")) == "denied"
    await outage.failure.close()


@pytest.mark.parametrize("mode", MODES)
async def test_a_failure_leaves_no_cycle(mode: OnStoreFailure) -> None:
    """Thousands come in a second of an outage, and the collector would stop everybody."""
    outage = Outage(agent_api(), mode)
    outage.store.way = Way.REFUSED
    await answer(outage, CHARGE)
    with no_collector():
        for _ in range(200):
            await answer(outage, CHARGE)
        assert gc.collect() < 100
    await outage.failure.close()
