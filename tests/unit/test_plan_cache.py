"""What is remembered of descriptors: everything that a rule names, nothing else, within bounds."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from ratelimitd.errors import InvalidRequestError, RequestTooLargeError
from ratelimitd.model import Question
from ratelimitd.policy.matcher import Matcher
from tests.support.ops import fixed
from tests.support.policies import HASHER, Service, agent_api, describe, with_tier


def remembered(matcher: Matcher, values: Iterable[str], entry: str) -> int:
    """Read one descriptor for each value, and return how many plans are kept."""
    for value in values:
        matcher.read(describe("api_key=demo-pro", f"{entry}={value}"))
    return len(matcher._memo)


def test_a_plan_hit_examines_no_rule() -> None:
    """Only the first descriptor of its kind costs rules; the next thousand cost none."""
    matcher = Matcher(agent_api(), HASHER)
    matcher.read(describe("api_key=demo-pro", "route=invoke"))
    examined = matcher.examined
    assert examined > 0
    for number in range(1000):
        matcher.read(describe("api_key=demo-pro", "route=invoke", f"path=/v1/{number}"))
    assert matcher.examined == examined


def test_a_question_asked_again_examines_nothing_at_all() -> None:
    """Its plan hangs on the question, until the policy changes."""
    service = Service(agent_api())
    question = Question("agent-api", (describe("api_key=demo-pro"),))
    service.decide(question)
    examined = service.matcher.examined
    service.decide(question)
    assert service.matcher.examined == examined


def test_a_new_policy_reads_every_question_anew_and_keeps_the_counts() -> None:
    """An upgrade keeps what was used: the identity of a counter is not the amount."""
    service = Service(with_tier(fixed(3)))
    question = Question("agent-api", (describe("api_key=k"),))
    left = [service.decide(question).statuses[0].standing for _ in range(2)]
    service.limiter.use(service.limiter.matchers_of([with_tier(fixed(30))]))
    left.append(service.decide(question).statuses[0].standing)
    assert [standing and standing.remaining for standing in left] == [2, 1, 27]


def test_what_no_rule_names_does_not_fill_the_cache() -> None:
    """Paths, ids and addresses of known keys are one plan."""
    matcher = Matcher(agent_api(), HASHER)
    ids = [str(number) for number in range(500)]
    assert remembered(matcher, ids, "path") == 1
    assert remembered(matcher, ids, "request_id") == 1


def test_what_a_rule_names_is_told_apart() -> None:
    """The twin: this cache does grow, by the values of an entry that some rule reads."""
    matcher = Matcher(with_tier(replace(fixed(1), when=(("path", "/v1/*"),))), HASHER)
    assert remembered(matcher, ["/a", "/b", "/v1/c", "/a?x", "/b?y"], "path") == 3


def test_the_cache_is_bounded_in_plans() -> None:
    """Invented keys push each other out; two generations are all that is kept."""
    matcher = Matcher(agent_api(), HASHER, plans=10)
    for number in range(1000):
        matcher.read(describe(f"api_key=invented-{number}"))
        assert len(matcher._memo) <= 20


def test_the_cache_is_bounded_in_bytes() -> None:
    """A value over 1 KiB is remembered by its digest: 90 KiB of header cost no memory."""
    matcher = Matcher(agent_api(), HASHER)
    matcher.read(describe("api_key=" + "x" * 90_000, "route=" + "é" * 600))
    kept = [value for key in matcher._memo._young for value in key if isinstance(value, str)]
    assert kept
    assert all(len(value.encode()) <= 1024 for value in kept)


def test_long_keys_are_cached_and_told_apart_and_hashed_whole() -> None:
    """A token of 2 KiB is a key like any other."""
    matcher = Matcher(agent_api(), HASHER)
    token = "t" * 2000
    subjects = [
        matcher.read(describe(f"api_key=Bearer {token}{last}")).plan.limits[0][1].key
        for last in ("1", "2", "1")
    ]
    assert subjects == [HASHER.key(token + last) for last in ("1", "2", "1")]
    assert len(matcher._memo) == 2


def test_a_value_over_one_kib_counts_on_its_digest() -> None:
    """It cannot be matched by a pattern of its text, and its counter's key is short."""
    limit = replace(fixed(1), when=(("model", "*"),), per=("model",))
    star = Matcher(with_tier(limit), HASHER)
    ((_, counter),) = star.read(describe("model=" + "m" * 1025)).plan.limits
    assert counter.key.startswith(b"digest:")
    exact = Matcher(with_tier(replace(limit, when=(("model", "m*"),))), HASHER)
    assert exact.read(describe("model=" + "m" * 1025)).plan.limits == ()
    assert exact.read(describe("model=" + "m" * 1024)).plan.limits != ()


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        (Question("", (describe("a=b"),)), "domain is empty"),
        (Question("agent-api", ()), "no descriptors"),
    ],
)
def test_what_only_an_operator_can_send_is_invalid(question: Question, fault: str) -> None:
    """An empty domain or list of descriptors is a mistake in a proxy's configuration."""
    with pytest.raises(InvalidRequestError, match=fault):
        Service(agent_api()).decide(question)


BIG = describe(*[f"e{number}=x" for number in range(64)])
TOO_BIG = describe(*[f"e{number}=x" for number in range(65)])


@pytest.mark.parametrize(
    ("question", "fault"),
    [
        (Question("agent-api", (BIG,) * 65), "65 descriptors in one call; at most 64"),
        (Question("agent-api", (BIG, TOO_BIG)), "65 entries in one descriptor; at most 64"),
    ],
)
def test_far_too_much_is_too_large(question: Question, fault: str) -> None:
    """Over 64 descriptors, or over 64 entries in any one of them."""
    with pytest.raises(RequestTooLargeError, match=fault):
        Service(agent_api()).decide(question)


def test_the_bounds_themselves_are_served() -> None:
    """64 descriptors of 64 entries each, an empty one among them."""
    decision = Service(agent_api()).ask(*[BIG] * 63, describe(hits=0))
    assert len(decision.statuses) == 64


def test_the_domain_of_a_call_may_hold_anything() -> None:
    """Not UTF-8, very long, unknown: a decision all the same."""
    service = Service(agent_api())
    for domain in ("\udcff", "x" * 100_000, "agent-api "):
        assert service.decide(Question(domain, (describe("a=b"),))).allowed


@pytest.mark.parametrize("text", ["\udcff\udc80", "\x00", "é" * 600, "a|b~c", "", "?", "*"])
def test_every_value_ends_in_a_decision(text: str) -> None:
    """Whatever a customer puts into a header or a path: an error would let it pass."""
    limit = replace(fixed(5), when=(("path", "*"),), per=("subject", "model", "path"))
    service = Service(with_tier(limit))
    entries = [f"{name}={text}" for name in ("api_key", "model", "path", "remote_address")]
    last = service.times(6, lambda: service.say(*entries))
    assert not last.allowed
