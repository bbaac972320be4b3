"""Keys that may not call: refused whatever the counts are, while what has happened is counted."""

import pytest

from ratelimitd.policy.spec import SubjectRule, Verdict
from tests.support.policies import Service, agent_api, describe, record, records

REVOKED = records(
    record("gone", "pro", refusal="revoked"),
    record("old", "pro", refusal="expired"),
    record("demo-pro", "pro"),
)


def service() -> Service:
    """Return a limiter that knows a revoked and an expired key."""
    return Service(agent_api(records=REVOKED))


@pytest.mark.parametrize(("key", "why"), [("gone", "revoked"), ("old", "expired")])
def test_a_refused_key_is_over_limit_with_a_message_of_its_own(key: str, why: str) -> None:
    """No limit speaks of it: no current_limit, nothing to show, nothing to wait for."""
    decision = service().say(f"api_key=Bearer {key}")
    assert not decision.allowed
    assert decision.refusal == f"API key is {why}"
    assert (decision.shown, list(decision.standings)) == (None, [])
    assert decision.statuses[0] == (False, None)


def test_a_refused_key_refuses_the_whole_call_and_nobody_pays() -> None:
    """The others' descriptors are OK and uncharged; no lease is granted."""
    limiter = service()
    good, held = describe("api_key=demo-pro"), describe("api_key=demo-pro", "meter=concurrent")
    decision = limiter.ask(good, describe("api_key=gone"), held)
    assert not decision.allowed
    assert [status.passes for status in decision.statuses] == [True, False, True]
    assert (decision.lease, limiter.leases) == ("", 0)
    left = limiter.ask(good).shown
    assert left is not None
    assert left.remaining == 999


def test_beside_a_refused_key_a_limit_may_deny_as_well() -> None:
    """Each status tells its own truth; the call is refused, not limited."""
    limiter = service()
    limiter.times(100, lambda: limiter.say("api_key=demo-pro"))
    decision = limiter.ask(describe("api_key=demo-pro"), describe("api_key=gone"))
    assert [status.passes for status in decision.statuses] == [False, False]
    assert decision.statuses[0].standing is not None
    assert (decision.refusal, decision.shown) == ("API key is revoked", None)


def test_the_first_refusal_is_the_one_told() -> None:
    """Two bad keys in one call: one message."""
    decision = service().ask(describe("api_key=old"), describe("api_key=gone"))
    assert decision.refusal == "API key is expired"


def test_a_refused_key_on_an_exempt_route_is_free() -> None:
    """Health checks answer, whoever asks."""
    assert service().say("api_key=gone", "route=health").allowed


def test_a_peek_of_a_refused_key_is_refused() -> None:
    """To ask is to ask."""
    assert not service().say("api_key=gone", hits=0).allowed
    assert not service().say("api_key=gone", "meter=tokens").allowed


def test_an_unknown_meter_does_not_help_a_refused_key() -> None:
    """The key is looked at first."""
    limiter = service()
    assert not limiter.say("api_key=gone", "meter=unheard-of").allowed
    assert limiter.events == []


@pytest.mark.parametrize(
    ("entries", "hits", "negative"),
    [
        (("phase=done",), 1, False),
        (("meter=tokens",), 500, False),
        (("meter=tokens", "phase=done"), 500, False),
        ((), 1, True),
        (("meter=concurrent", "lease=x"), None, True),
        (("meter=concurrent", "lease=x", "phase=done"), None, False),
        (("meter=unheard-of", "phase=done"), 1, False),
    ],
)
def test_a_report_of_a_refused_key_never_denies(
    entries: tuple[str, ...], hits: int | None, negative: bool
) -> None:
    """Reports have status OK and never set the overall code, whoever they are about."""
    for key in ("gone", "nobody"):
        rule = SubjectRule(default_tier=Verdict.DENY, missing=Verdict.DENY)
        limiter = Service(agent_api(records=REVOKED, subject=rule))
        decision = limiter.say(f"api_key={key}", *entries, hits=hits, negative=negative)
        assert decision.allowed
        assert decision.statuses[0].passes


def test_tokens_of_a_key_revoked_meanwhile_are_counted() -> None:
    """The response that was under way when its key was revoked has used what it used."""
    status = service().say("api_key=gone", "meter=tokens", hits=500).statuses[0]
    assert status.standing is not None
    assert status.standing.after == 500


def test_a_lease_of_a_key_revoked_meanwhile_is_given_back() -> None:
    """A counter shared with others (an organisation's) must not stay taken until expiry."""
    limiter = Service(agent_api(records=records(record("gone", "pro"))))
    lease = limiter.say("api_key=gone", "meter=concurrent").lease
    limiter.limiter.use(limiter.limiter.matchers_of([agent_api(records=REVOKED)]))
    limiter.say("api_key=gone", "meter=concurrent", f"lease={lease}", "phase=done")
    good = [agent_api(records=records(record("gone", "pro")))]
    limiter.limiter.use(limiter.limiter.matchers_of(good))
    look = limiter.say("api_key=gone", "meter=concurrent", hits=0)
    assert look.shown is not None
    assert look.shown.remaining == 10


@pytest.mark.parametrize(
    ("rule", "entry", "why"),
    [
        (SubjectRule(default_tier=Verdict.DENY), "api_key=stranger", "not registered"),
        (SubjectRule(missing=Verdict.DENY), "route=invoke", "missing"),
        (SubjectRule(missing=Verdict.DENY), "api_key=", "missing"),
        (SubjectRule(missing=Verdict.DENY, scheme="bearer"), "api_key=Bearer ", "missing"),
    ],
)
def test_deny_refuses_strangers_and_the_keyless(rule: SubjectRule, entry: str, why: str) -> None:
    """`default_tier: deny` is for keys without a record, `missing: deny` for none at all."""
    decision = Service(agent_api(subject=rule)).say(entry)
    assert (decision.allowed, decision.refusal) == (False, f"API key is {why}")


ADDRESS = describe("meter=requests", "remote_address=10.0.0.1")


def test_a_descriptor_without_the_key_is_fine_beside_one_with_it() -> None:
    """Whether a key is missing is the call's matter: Envoy sends the address again by itself."""
    limiter = Service(agent_api(subject=SubjectRule(default_tier="free", missing=Verdict.DENY)))
    decision = limiter.ask(describe("api_key=demo-pro"), ADDRESS)
    assert (decision.allowed, decision.refusal) == (True, "")
    assert [status.passes for status in decision.statuses] == [True, True]
    assert decision.statuses[1].standing is None
    free = limiter.ask(describe("api_key=k", "route=health"), ADDRESS)
    assert free.allowed


@pytest.mark.parametrize("entry", ["route=invoke", "api_key=", "phase=start"])
def test_a_call_that_names_no_key_at_all_is_refused(entry: str) -> None:
    """`missing: deny`: none of its descriptors names the subject, an empty entry included."""
    limiter = Service(agent_api(subject=SubjectRule(default_tier="free", missing=Verdict.DENY)))
    decision = limiter.ask(describe(entry), ADDRESS)
    assert (decision.allowed, decision.refusal) == (False, "API key is missing")
    assert [status.passes for status in decision.statuses] == [False, False]


def test_a_refused_key_is_refused_whatever_stands_beside_it() -> None:
    """`default_tier: deny` without `missing`: only the stranger's descriptor is refused."""
    rule = SubjectRule(default_tier=Verdict.DENY, missing=Verdict.DENY)
    decision = Service(agent_api(subject=rule)).ask(describe("api_key=stranger"), ADDRESS)
    assert decision.refusal == "API key is not registered"
    assert [status.passes for status in decision.statuses] == [False, True]


@pytest.mark.parametrize("entry", ["api_key=stranger", "route=invoke"])
def test_allow_frees_strangers_and_the_keyless(entry: str) -> None:
    """They have no limits: nothing is counted, nothing is shown."""
    rule = SubjectRule(default_tier=Verdict.ALLOW, missing=Verdict.ALLOW)
    decision = Service(agent_api(subject=rule)).say(entry)
    assert (decision.allowed, decision.shown, decision.refusal) == (True, None, "")
