"""Answers from kept parts are the answers built from nothing, and say what `render` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ratelimitd import render
from ratelimitd._gen.envoy.service.ratelimit.v3.rls_pb2 import RateLimitResponse
from ratelimitd.decision import Decision
from ratelimitd.model import MAX_COUNT, MAX_UINT32, NEVER, Limit, Standing
from ratelimitd.policy.spec import Family
from ratelimitd.rpc import responses
from ratelimitd.rpc.response_wire import SMALL
from ratelimitd.rpc.responses import Responses
from tests.support.ops import MINUTELY, MONTHLY, NEW_YEAR, TOKENS, S, bucket, fixed, leases

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = (
    fixed(10),
    fixed(10),  # equal, and yet another limit
    fixed(5, MINUTELY),
    fixed(MAX_COUNT, MONTHLY, TOKENS),
    fixed(0),
    bucket(7, burst=20),
    leases(2),
)
FAMILIES = ((), (Family.X_RATELIMIT,), (Family.IETF,), (Family.X_RATELIMIT, Family.IETF))
INSTANTS = st.one_of(
    st.integers(0, 3).map(lambda second: NEW_YEAR + second * S),
    st.integers(0, 3 * S).map(lambda later: NEW_YEAR + later),
    st.sampled_from([-1, 1]).map(lambda step: NEW_YEAR + S + step),
)
RESETS = st.one_of(
    st.integers(0, 5).map(lambda second: NEW_YEAR + second * S),
    st.integers(0, 5 * S).map(lambda later: NEW_YEAR + later),
)


@st.composite
def standings(draw: st.DrawFn, passing: bool) -> Standing:
    """Draw how a limit stands."""
    limit: Limit = draw(st.sampled_from(LIMITS))
    used = draw(st.integers(0, limit.capacity + 2))
    passes = passing or draw(st.booleans())
    retry_at = draw(st.one_of(st.just(NEVER), RESETS))
    return Standing(limit, passes, used, used, retry_at, draw(RESETS))


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    """Draw a decision as the limiter makes them.

    Where all is allowed, every descriptor passes; a denial shows a limit that denies.
    """
    allowed = draw(st.booleans())
    maybe = st.one_of(st.none(), standings(allowed))
    told = [draw(maybe) for _ in range(draw(st.integers(1, 3)))]
    fails = draw(st.sets(st.sampled_from(range(len(told))))) if not allowed else set()
    families = draw(st.sampled_from(FAMILIES))
    shown = draw(maybe)
    shown = shown and shown._replace(passes=allowed)
    listed = [shown, *draw(st.lists(standings(allowed), max_size=2))] if shown else []
    lease = draw(st.sampled_from(["", "", "lease-1", "lease-2"])) if allowed else ""
    refusal = "" if allowed or shown else "API key is revoked"
    wanted = listed if Family.IETF in families else []
    answer = (allowed, told, shown, wanted, families, refusal, lease)
    return Decision(draw(INSTANTS), *answer, fails=fails)


def at(now: int, used: int = 1) -> Decision:
    """Return an allowed decision about one hourly limit."""
    standing = Standing(LIMITS[0], True, used - 1, used, now, NEW_YEAR + 3600 * S)
    return Decision(now, True, [standing], standing, (), FAMILIES[1], "", "")


def told(*limits: Limit, shown: bool) -> Decision:
    """Return an allowed decision: a descriptor of each limit, but the first's if that is shown."""
    first, *rest = (Standing(limit, True, 0, 1, NEW_YEAR, NEW_YEAR + 60 * S) for limit in limits)
    each = rest if shown else [first, *rest]
    return Decision(NEW_YEAR, True, each, first if shown else None, (), FAMILIES[1], "", "")


def whole(decision: Decision) -> RateLimitResponse:
    """Return the answer that is built from nothing, lease included."""
    response = responses._whole(decision)
    if decision.lease:
        response.dynamic_metadata["lease"] = decision.lease
    return response


sequences = given(st.lists(decisions(), min_size=2, max_size=12))


@sequences
@example([at(NEW_YEAR + 1), at(NEW_YEAR + S)])
@example([at(NEW_YEAR), at(NEW_YEAR + S - 1), at(NEW_YEAR + S)])
@example([at(NEW_YEAR, used) for used in range(1, 5)])
@example([told(*LIMITS[1:3], shown=False), told(*LIMITS[1:3], shown=True)])
def test_no_answer_holds_anything_of_an_earlier_one(sequence: list[Decision]) -> None:
    """Through one `Responses`, every decision has the answer that a new one would give it."""
    shared = Responses()
    for decision in sequence:
        assert shared.of(decision) == Responses().of(decision)


@sequences
def test_an_answer_is_what_would_be_built_from_nothing(sequence: list[Decision]) -> None:
    """Whether parts were kept, and whatever length the lease's id has, to the last field."""
    shared = Responses()
    for length, decision in enumerate(sequence):
        told = decision._replace(lease=decision.lease and "x" * (1 + 60 * length))
        assert RateLimitResponse.FromString(shared.of(told)) == whole(told)


@sequences
def test_caches_of_two_answer_alike(sequence: list[Decision]) -> None:
    """Forgetting parts changes no answer."""
    small = Responses(remembered=1)
    for decision in sequence:
        assert small.of(decision) == Responses().of(decision)


@sequences
def test_an_answer_says_what_the_rendering_says(sequence: list[Decision]) -> None:
    """Headers, body, codes and lease are the decision's; counts are cut to what the wire holds."""
    shared = Responses()
    for decision in sequence:
        answer = RateLimitResponse.FromString(shared.of(decision))
        headers = [(each.key, each.value) for each in answer.response_headers_to_add]
        assert headers == render.headers(decision)
        assert answer.raw_body.decode() == render.body(decision)
        assert answer.overall_code == (1 if decision.allowed else 2)
        lease = answer.dynamic_metadata.fields["lease"].string_value
        assert lease == decision.lease
        for message, status in zip(answer.statuses, decision.statuses, strict=True):
            assert message.code == (1 if status.passes else 2)
            assert message.HasField("current_limit") == (status.standing is not None)
            if status.standing is not None:
                left = min(status.standing.remaining, MAX_UINT32)
                assert message.limit_remaining == left
                assert message.current_limit.name == status.standing.limit.name
                wait = render.seconds_until(status.standing.reset_at, decision.now)
                assert message.duration_until_reset.seconds == wait


class Whenever(int):
    """A second by which every instant is the same one."""

    def __rfloordiv__(self, _: int) -> int:
        return 0


class Late(int):
    """A second that ends a microsecond too late: the bug that this file found."""

    def __rfloordiv__(self, now: int) -> int:
        return -(-now // int(self))


def forgetting_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a part for ever."""
    monkeypatch.setattr(responses, "_SECOND", Whenever(S))


def rounding_the_second_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a part into the first microsecond of the next second."""
    monkeypatch.setattr(responses, "_SECOND", Late(S))


def telling_what_was_left_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is left in the parts that are kept."""

    class Kept:
        first = b""

        def __getitem__(self, left: int) -> bytes:
            self.first = self.first or SMALL[left]
            return self.first

    monkeypatch.setattr(responses, "SMALL", Kept())


def taking_limits_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find the part of another limit with the same reset."""
    monkeypatch.setattr(Limit, "__hash__", lambda _: 1)
    monkeypatch.setattr(Limit, "__eq__", lambda *_: True)


PLANTS = (
    forgetting_the_second,
    rounding_the_second_up,
    telling_what_was_left_at_first,
    taking_limits_for_one_another,
)


@pytest.mark.parametrize("plant", PLANTS)
def test_a_part_that_leaks_is_found(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin: with each planted bug a sequence of decisions has a wrong answer."""
    other = Standing(LIMITS[2], True, 0, 1, NEW_YEAR, NEW_YEAR + 3600 * S)
    third = Decision(NEW_YEAR, True, [other], other, (), FAMILIES[1], "", "")
    sequence = [at(NEW_YEAR - 1), at(NEW_YEAR), at(NEW_YEAR, 2), third, at(NEW_YEAR + S)]
    expected = [Responses().of(decision) for decision in sequence]
    plant(monkeypatch)
    shared = Responses()
    assert [shared.of(decision) for decision in sequence] != expected


def test_a_denial_is_not_anothers_with_more_descriptors() -> None:
    """Though both tell of the same limits in the same order: one for a descriptor, or a header."""
    full, free = (
        Standing(limit, passes, used, used, NEW_YEAR, NEW_YEAR + 60 * S)
        for limit, passes, used in ((LIMITS[0], False, 10), (LIMITS[2], True, 1))
    )
    two = Decision(NEW_YEAR, False, [full, free], full, [full], FAMILIES[3], fails={0})
    one = Decision(NEW_YEAR, False, [full], full, [free, full], FAMILIES[3], fails={0})
    shared = Responses()
    for decision in (two, one):
        assert shared.of(decision) == responses._whole(decision).SerializeToString()


def test_the_parts_are_used_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this file is about happens: alike decisions of one second build each part once."""
    built: list[str] = []

    def note(name: str) -> None:
        original = getattr(responses, name)

        def noted(*told: object) -> object:
            built.append(name)
            return original(*told)

        monkeypatch.setattr(responses, name, noted)

    note("_head")
    note("_status")
    shared = Responses()
    for used in range(1, 6):
        shared.of(at(NEW_YEAR + used, used))
    assert sorted(built) == ["_head", "_status"]


EDGES = [edge for bits in (0, 7, 14, 21, 28, 32, 35, 53) for edge in (2**bits - 1, 2**bits)]


@pytest.mark.parametrize("left", EDGES)
def test_what_is_left_is_written_as_protobuf_writes_it(left: int) -> None:
    """No more than the field holds, and in as many bytes as protobuf's; in another order."""
    limit = fixed(MAX_COUNT)
    standing = Standing(limit, True, 0, MAX_COUNT - left, NEW_YEAR, NEW_YEAR + S)
    decision = Decision(NEW_YEAR, True, [standing], None, ())
    answer, expected = Responses().of(decision), responses._whole(decision)
    assert RateLimitResponse.FromString(answer) == expected
    assert len(answer) == expected.ByteSize()
