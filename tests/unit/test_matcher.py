"""What a descriptor means: whose counters, by which limits, and what is looked at to know it."""

from dataclasses import replace

import pytest

from ratelimitd.model import Descriptor, Limit, Override, Window
from ratelimitd.policy.matcher import Fate, Matcher, Reading
from ratelimitd.policy.spec import Policy
from tests.support.ops import HOURLY, MINUTELY, TOKENS, S, fixed
from tests.support.policies import (
    HASHER,
    Service,
    agent_api,
    describe,
    record,
    records,
    with_tier,
)


def reading(policy: Policy, *entries: str) -> Reading:
    """Read one descriptor."""
    return Matcher(policy, HASHER).read(describe(*entries))


def names(policy: Policy, *entries: str) -> list[str]:
    """Return the names of the limits that apply."""
    return [limit.name for limit, _ in reading(policy, *entries).plan.limits]


def keys(policy: Policy, *entries: str) -> list[bytes]:
    """Return the keys of the counters that are counted on."""
    return [counter.key for _, counter in reading(policy, *entries).plan.limits]


def conditional(*when: tuple[str, str], per: tuple[str, ...] = ("subject",)) -> Limit:
    """Return a limit with conditions."""
    return replace(fixed(10), when=when, per=per)


def test_an_exemption_frees_only_the_descriptor_that_carries_it() -> None:
    """A call about the health route and another is judged by the other."""
    service = Service(agent_api())
    health, request = describe("api_key=k", "route=health"), describe("api_key=k")
    decision = service.times(11, lambda: service.ask(health, request))
    assert [status.passes for status in decision.statuses] == [True, False]
    assert not decision.allowed
    assert service.ask(health).allowed


@pytest.mark.parametrize(
    ("entries", "fate"),
    [
        (("route=health",), Fate.FREE),
        (("route=health", "api_key=demo-pro"), Fate.FREE),
        (("route=healthy",), Fate.LIMITED),
        (("route=",), Fate.LIMITED),
        (("meter=unheard-of",), Fate.UNKNOWN_METER),
        (("meter=",), Fate.UNKNOWN_METER),
        (("route=health", "meter=unheard-of"), Fate.FREE),
    ],
)
def test_the_fate_of_a_descriptor(entries: tuple[str, ...], fate: Fate) -> None:
    """Exempt comes first; a meter that the policy does not know is allowed."""
    assert reading(agent_api(), *entries).plan.fate is fate


def test_all_conditions_of_an_exemption_must_hold() -> None:
    """`{route: health, method: GET}` frees no POST; several exemptions stand beside each other."""
    policy = agent_api(
        exempt=((("route", "health"), ("method", "GET")), (("route", "docs*"),)),
    )
    assert names(policy, "api_key=k", "route=health", "method=GET") == []
    assert names(policy, "api_key=k", "route=docs/x") == []
    assert names(policy, "api_key=k", "route=health", "method=POST") != []


def test_unknown_domains_and_meters_are_events_each_time() -> None:
    """OK, and told to whoever counts."""
    service = Service(agent_api())
    for _ in range(2):
        assert service.say("api_key=k", "meter=unheard-of").allowed
    service.domain = "other"
    decision = service.say("api_key=k")
    assert (decision.allowed, decision.shown) == (True, None)
    assert service.events == ["unknown_meter", "unknown_meter", "unknown_domain"]


@pytest.mark.parametrize(
    ("entries", "applies"),
    [
        (("route=invoke", "model=gpt-4"), True),
        (("model=gpt-4", "route=invoke", "more=x"), True),
        (("route=invoke", "model=gpt-"), True),
        (("route=invoke", "model=claude"), False),
        (("route=invoke", "model="), False),
        (("route=invoke",), False),
        ((), False),
    ],
)
def test_a_condition_never_matches_an_absent_entry(entries: tuple[str, ...], applies: bool) -> None:
    """`when` wants all its entries, exact or with `*`; others do not matter."""
    policy = with_tier(conditional(("route", "invoke"), ("model", "gpt-*")))
    assert bool(names(policy, "api_key=k", *entries)) == applies


def test_not_even_a_star_matches_an_absent_entry() -> None:
    """`model: "*"` means: the entry is there, also empty."""
    policy = with_tier(conditional(("model", "*")))
    assert names(policy, "api_key=k") == []
    assert names(policy, "api_key=k", "model=") == ["requests/hour"]


def test_absent_empty_and_other_values_of_per_are_counted_apart() -> None:
    """An absent entry in `per` is a value of its own."""
    policy = with_tier(conditional(per=("model",)))
    found = [keys(policy, "api_key=k", *more)[0] for more in ((), ("model=",), ("model=~",))]
    assert found == [b"~", b"", b"%7E"]


def test_per_nothing_is_one_counter_for_the_domain() -> None:
    """`per: []` is shared by every caller."""
    policy = with_tier(conditional(per=()))
    assert keys(policy, "api_key=a") == keys(policy, "api_key=b") == keys(policy) == [b""]


def test_of_entries_of_one_name_the_first_counts() -> None:
    """What stands behind cannot talk the limiter out of it."""
    policy = agent_api()
    assert keys(policy, "api_key=a", "api_key=b") == keys(policy, "api_key=a")
    assert reading(policy, "route=x", "route=health").plan.fate is Fate.LIMITED


@pytest.mark.parametrize("name", ["path", ":path"])
def test_a_path_is_matched_without_its_query(name: str) -> None:
    """A query cannot dodge a rule, nor make a counter of its own."""
    policy = with_tier(conditional((name, "/v1/invoke"), per=("subject", name)))
    assert keys(policy, f"{name}=/v1/invoke?x=1") == keys(policy, f"{name}=/v1/invoke") != []


def test_other_values_keep_their_question_marks() -> None:
    """Only a path has a query."""
    policy = with_tier(conditional(("model", "a?b")))
    assert names(policy, "model=a?b") == ["requests/hour"]
    assert names(policy, "model=a") == []


ORG = records(record("mine", "free", attributes={"org": "acme"}))


def test_an_entry_with_the_name_of_an_attribute_is_ignored_and_counted() -> None:
    """Nobody pays from another organisation's counter by naming it."""
    policy = with_tier(
        conditional(per=("org",)), records=ORG, attributes=frozenset({"org", "project"})
    )
    assert keys(policy, "api_key=mine", "org=evil") == [b"acme"]
    assert keys(policy, "api_key=stranger", "org=acme") == [b"~"]
    service = Service(policy)
    for _ in range(2):
        service.say("api_key=mine", "org=evil", "project=x", "org=worse")
    assert service.events == ["untrusted_entry"] * 6


def test_attributes_of_the_record_match_conditions() -> None:
    """`when: {org: acme}` is about the key's record, never about the wire."""
    policy = with_tier(conditional(("org", "acme")), records=ORG, attributes=frozenset({"org"}))
    assert names(policy, "api_key=mine") == ["requests/hour"]
    assert names(policy, "api_key=stranger", "org=acme") == []


@pytest.mark.parametrize(
    ("per", "key", "bounded"),
    [
        (("subject",), "mine", False),
        (("subject",), "stranger", True),
        (("org",), "mine", False),
        (("org",), "stranger", False),
        (("subject", "model"), "mine", True),
        (("model",), "mine", True),
        ((), "stranger", False),
    ],
)
def test_counters_that_callers_can_invent_are_bounded(
    per: tuple[str, ...], key: str, bounded: bool
) -> None:
    """Unregistered subjects and values from the wire are; records and their attributes are not."""
    policy = with_tier(conditional(per=per), records=ORG, attributes=frozenset({"org"}))
    ((_, counter),) = reading(policy, f"api_key={key}", "model=m").plan.limits
    assert counter.bounded == bounded


def test_who_invents_entries_under_a_registered_key_crowds_only_itself() -> None:
    """Where there is no room, each registered key has a shared counter of its own."""
    known = records(record("mine", "free"), record("theirs", "free"))
    matcher = Matcher(with_tier(conditional(per=("subject", "model")), records=known), HASHER)

    def overflow(key: str, model: str) -> bytes:
        ((_, counter),) = matcher.read(describe(f"api_key={key}", f"model={model}")).plan.limits
        return counter.overflow

    mine, theirs, nobodys = (overflow(key, "m") for key in ("mine", "theirs", "stranger"))
    assert len({mine, theirs, nobodys}) == 3
    assert overflow("mine", "another") == mine
    assert overflow("another stranger", "m") == nobodys


HALF_MINUTE = Override(5, Window.lasting(30 * S))


def overridden(policy: Policy, *entries: str) -> list[tuple[str, int]]:
    """Return name and amount of the limits of a descriptor that brings its own."""
    descriptor: Descriptor = describe(*entries, override=HALF_MINUTE)
    plan = Matcher(policy, HASHER).read(descriptor).plan
    return [(limit.name, limit.amount) for limit, _ in plan.limits]


def test_a_descriptors_own_limit_counts_only_where_the_policy_says_so() -> None:
    """`overrides: true` puts it in place of the meter's limits; otherwise it is ignored."""
    ignored = [("requests/hour", 100), ("requests/minute", 10)]
    assert overridden(agent_api(), "api_key=k") == ignored
    assert overridden(agent_api(overrides=True), "api_key=k") == [("requests/30s", 5)]
    assert overridden(agent_api(overrides=True), "api_key=k", "meter=tokens") == [("tokens/30s", 5)]


def test_a_descriptors_own_limit_is_no_limit_of_leases() -> None:
    """Leases have no window."""
    found = overridden(agent_api(overrides=True), "api_key=k", "meter=concurrent")
    assert found == [("concurrent", 2)]


def test_own_limits_of_two_descriptors_do_not_share_a_plan() -> None:
    """5 per half minute and 6 per half minute are two questions on one counter."""
    matcher = Matcher(agent_api(overrides=True), HASHER)
    plans = [
        matcher.read(describe("api_key=k", override=HALF_MINUTE._replace(amount=amount))).plan
        for amount in (5, 6)
    ]
    assert [plan.limits[0][0].amount for plan in plans] == [5, 6]
    assert plans[0].limits[0][1].key == plans[1].limits[0][1].key
    assert plans[0].limits[0][1].family == plans[1].limits[0][1].family


def test_a_meter_selects_its_limits() -> None:
    """Without the entry it is `requests`."""
    policy = agent_api()
    assert names(policy, "api_key=k") == ["requests/hour", "requests/minute"]
    assert names(policy, "api_key=k", f"meter={TOKENS.name}") == ["tokens/month"]
    assert names(policy, "api_key=k", "meter=concurrent") == ["concurrent"]


def test_a_limit_of_two_windows_counts_both() -> None:
    """Hour and minute are two counters of the same caller."""
    policy = with_tier(fixed(10, HOURLY), fixed(10, MINUTELY))
    families = [counter.family for _, counter in reading(policy, "api_key=k").plan.limits]
    assert len(set(families)) == 2
