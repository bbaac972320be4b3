"""Laws of whole calls: several descriptors, several limits each, decided together.

Random policies and histories; the limiter is asked as the servicer asks it.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ratelimitd import render
from ratelimitd.decision import Decision
from ratelimitd.model import NEVER, Descriptor, Limit, Window
from ratelimitd.policy.spec import Policy
from tests.contract import lease_plants, plants
from tests.support.memory import contents
from tests.support.ops import (
    HOURLY,
    MINUTELY,
    SECONDLY,
    TOKENS,
    S,
    bucket,
    fixed,
    leases,
    shadow,
    sliding,
)
from tests.support.policies import Service, describe, with_tier

SEVEN = Window.lasting(7 * S)


def _per(limit: Limit, per: tuple[str, ...]) -> Limit:
    return replace(limit, name=f"{limit.name} by {'+'.join(per)}", per=per)


POOL: tuple[Limit, ...] = (
    fixed(5, HOURLY),
    fixed(3, MINUTELY),
    fixed(4, MINUTELY, TOKENS),
    sliding(4, SEVEN),
    sliding(6, MINUTELY),
    bucket(3, SECONDLY, burst=4),
    bucket(7, HOURLY, burst=3),
    _per(fixed(4, SEVEN), ("subject", "model")),
    _per(bucket(5, MINUTELY, burst=5), ("model",)),
    _per(fixed(9, SEVEN), ()),
    replace(fixed(2, SECONDLY), when=(("model", "m*"),)),
)
WINDOWED = st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True)
ASKING = st.builds(
    lambda key, meter, model, hits: describe(
        f"api_key={key}", f"meter={meter}", *([f"model={model}"] if model else []), hits=hits
    ),
    st.sampled_from("ab"),
    st.sampled_from(["requests", "requests", "tokens"]),
    st.sampled_from(["", "m1", "x"]),
    st.sampled_from([None, None, 0, 1, 2, 3]),
).filter(lambda asked: ("meter", "tokens") not in asked.entries or not asked.hits)
REPORTING = st.builds(
    lambda key, meter, hits, negative: describe(
        f"api_key={key}", f"meter={meter}", "phase=done", hits=hits, negative=negative
    ),
    st.sampled_from("ab"),
    st.sampled_from(["requests", "tokens"]),
    st.integers(1, 6),
    st.booleans(),
)


class Call(NamedTuple):
    """Descriptors, after so many microseconds."""

    wait: int
    descriptors: tuple[Descriptor, ...]


def calls(*kinds: st.SearchStrategy[Descriptor]) -> st.SearchStrategy[list[Call]]:
    """Return histories of such calls."""
    waits = st.sampled_from([0, 0, 0, 1, 333_333, S, 5 * S, 61 * S])
    several = st.lists(st.one_of(*kinds), min_size=1, max_size=4).map(tuple)
    return st.lists(st.builds(Call, waits, several), max_size=12)


def policy(limits: list[Limit]) -> Policy:
    """Return a policy of these limits for everybody."""
    return with_tier(*limits, report="requests/hour")


def assert_wait_is_true(service: Service, denied: Decision, call: Call) -> None:
    """Ask again one microsecond before the promised instant, and at it."""
    assert denied.shown is not None
    retry_at = denied.shown.retry_at
    if retry_at == NEVER:
        service.clock.advance(100 * 86_400 * S)
        assert not service.ask(*call.descriptors).allowed
        return
    service.clock.advance(retry_at - 1 - service.clock.now)
    assert not service.ask(*call.descriptors).allowed
    service.clock.advance(1)
    assert service.ask(*call.descriptors).allowed


@given(WINDOWED, calls(ASKING, REPORTING).map(lambda history: history[:8]), calls(ASKING))
def test_a_denied_call_passes_exactly_at_its_retry(
    limits: list[Limit], before: list[Call], history: list[Call]
) -> None:
    """Whatever was charged and reported: denied at retry - 1, allowed at retry, never is never."""
    service = Service(policy(limits))
    for call in before:
        service.ask(*call.descriptors)
    for call in history:
        service.clock.advance(call.wait)
        decision = service.ask(*call.descriptors)
        if not decision.allowed:
            assert_wait_is_true(service, decision, call)


@given(WINDOWED, calls(ASKING, REPORTING))
def test_a_denial_and_a_peek_change_nothing(limits: list[Limit], history: list[Call]) -> None:
    """The whole state of the store is the same before and after, at the same instant."""
    service = Service(policy([*limits, leases(9)]))
    held = describe("api_key=a", "meter=concurrent")
    for call in history:
        service.clock.advance(call.wait)
        descriptors = (*call.descriptors, held)
        looks = tuple(replace(each, hits=0) for each in descriptors if not _reports(each))
        service.ask(*looks)
        before = contents(service.counters)
        service.ask(*looks)
        assert contents(service.counters) == before
        denied = not service.ask(*descriptors).allowed
        if denied and not any(map(_reports, call.descriptors)):
            assert contents(service.counters) == before


def _reports(descriptor: Descriptor) -> bool:
    return ("phase", "done") in descriptor.entries


@given(WINDOWED, calls(ASKING), st.randoms(use_true_random=False))
def test_the_order_of_descriptors_changes_no_verdict(
    limits: list[Limit], history: list[Call], shuffler: random.Random
) -> None:
    """Nor what the call leaves behind, nor the limit that is shown and its numbers."""
    one, other = Service(policy(limits)), Service(policy(limits))
    for call in history:
        shuffled = list(call.descriptors)
        shuffler.shuffle(shuffled)
        one.clock.advance(call.wait)
        other.clock.advance(call.wait)
        first, second = one.ask(*call.descriptors), other.ask(*shuffled)
        assert first.allowed == second.allowed
        assert contents(one.counters) == contents(other.counters)
        if first.shown and second.shown:
            assert first.shown.retry_at == second.shown.retry_at


@given(WINDOWED, calls(ASKING), st.permutations(range(11)))
def test_the_order_of_limits_changes_no_verdict(
    limits: list[Limit], history: list[Call], order: list[int]
) -> None:
    """The place of a limit in the file is nothing to callers."""
    moved = sorted(limits, key=lambda limit: order[POOL.index(limit)])
    one, other = Service(policy(limits)), Service(policy(moved))
    for call in history:
        one.clock.advance(call.wait)
        other.clock.advance(call.wait)
        first, second = (service.ask(*call.descriptors) for service in (one, other))
        assert first.allowed == second.allowed
        assert render.retry_after(first) == render.retry_after(second)


@given(WINDOWED, calls(ASKING, REPORTING))
def test_every_answer_is_sound(limits: list[Limit], history: list[Call]) -> None:
    """Remaining within the capacity, waits in the future, statuses in line with the verdict."""
    service = Service(policy([*limits, shadow(fixed(1, SECONDLY))]))
    for call in history:
        service.clock.advance(call.wait)
        decision = service.ask(*call.descriptors)
        assert decision.now == service.clock.now
        assert len(decision.statuses) == len(call.descriptors)
        assert decision.allowed == all(status.passes for status in decision.statuses)
        shown = [status.standing for status in decision.statuses] + [decision.shown]
        for standing in filter(None, shown):
            assert 0 <= standing.remaining <= standing.limit.capacity
            assert not standing.limit.shadow
            assert standing.reset_at >= decision.now
            assert standing.retry_at == NEVER or standing.retry_at >= decision.now
        nothing = all(_shows_nothing(service, each) for each in call.descriptors)
        assert (decision.shown is None) == nothing
        if decision.shown is not None:
            assert decision.shown.passes == decision.allowed
        render.headers(decision)
        render.body(decision)


def _shows_nothing(service: Service, descriptor: Descriptor) -> bool:
    plan = service.matcher.read(descriptor).plan
    return _reports(descriptor) or all(limit.shadow for limit, _ in plan.limits)


@given(st.lists(st.sampled_from(["acquire", "release", "again", "wait"]), min_size=20, max_size=60))
def test_no_more_leases_are_held_than_there_are(history: list[str]) -> None:
    """Two at once, whatever comes and goes; each granted id is new."""
    service = Service(with_tier(leases(2)))
    held: list[tuple[str, int]] = []
    released = ""
    for step in history:
        held = [(name, end) for name, end in held if end > service.clock.now]
        if step == "acquire":
            decision = service.say("api_key=k", "meter=concurrent")
            assert decision.allowed == (len(held) < 2)
            if decision.allowed:
                assert decision.lease not in [name for name, _ in held]
                held.append((decision.lease, service.clock.now + 900 * S))
        elif step == "release" and held:
            released, _ = held.pop(0)
            service.say("api_key=k", "meter=concurrent", f"lease={released}", negative=True)
        elif step == "again" and released:
            service.say("api_key=k", "meter=concurrent", f"lease={released}", "phase=done")
        else:
            service.clock.advance(400 * S)


PLANTED = (
    (plants.telling_a_retry_one_too_soon, test_a_denied_call_passes_exactly_at_its_retry),
    (plants.telling_a_retry_one_too_late, test_a_denied_call_passes_exactly_at_its_retry),
    (plants.charging_what_passes_in_a_denied_call, test_a_denial_and_a_peek_change_nothing),
    (plants.charging_peeks, test_a_denial_and_a_peek_change_nothing),
    (plants.denying_by_shadow_limits, test_every_answer_is_sound),
    (lease_plants.giving_back_any_lease, test_no_more_leases_are_held_than_there_are),
)


@pytest.mark.parametrize(("plant", "law"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_bug_breaks_a_law(
    monkeypatch: pytest.MonkeyPatch, plant: plants.Plant, law: Callable[[], None]
) -> None:
    """The twins of this file; some bugs break the limiter itself before a law sees them."""
    unshrunk = settings(settings.default, phases=[Phase.generate])
    monkeypatch.setattr(law, "_hypothesis_internal_use_settings", unshrunk)
    plant(monkeypatch)
    with pytest.raises((AssertionError, ValueError)):
        law()
