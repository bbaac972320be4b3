"""What a descriptor is: a charge, an acquisition, a peek, a report, a refund, a release."""

from typing import NamedTuple

import pytest

from ratelimitd.calls import Call, compile_call
from ratelimitd.clock import ManualClock
from ratelimitd.model import Descriptor, Kind, Question
from ratelimitd.policy.matcher import Matcher
from ratelimitd.policy.spec import Family
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.stacking import stacked
from tests.support.ops import NEW_YEAR, charge, fixed, shadow
from tests.support.policies import HASHER, agent_api, describe, with_tier

NOTHING = None


class Case(NamedTuple):
    """A descriptor of one meter, and what each of its operations does."""

    meter: str
    hits: int | None
    negative: bool
    phase: str
    lease: str
    default: int
    expected: tuple[int, int] | None


def case(
    meter: str,
    expected: tuple[int, int] | None,
    *,
    hits: int | None = None,
    negative: bool = False,
    phase: str = "",
    lease: str = "",
    default: int = 0,
) -> Case:
    """Return a row of the table; what is not told is absent from the descriptor."""
    return Case(meter, hits, negative, phase, lease, default, expected)


CHARGES = [
    case("requests", (Kind.CHARGE, 1)),
    case("requests", (Kind.CHARGE, 7), default=7),
    case("requests", (Kind.CHARGE, 3), hits=3, default=7),
    case("requests", (Kind.CHARGE, 1), phase="start"),
    case("requests", (Kind.CHARGE, 1), lease="x"),
    case("requests", (Kind.CHARGE, 2**64 - 1), hits=2**64 - 1),
]
PEEKS = [
    case("requests", (Kind.PEEK, 1), hits=0),
    case("requests", (Kind.PEEK, 1), hits=0, default=7),
    case("tokens", (Kind.PEEK, 1)),
    case("tokens", (Kind.PEEK, 1), hits=0),
    case("tokens", (Kind.PEEK, 1), default=7),
    case("concurrent", (Kind.PEEK, 1), hits=0),
    case("concurrent", (Kind.PEEK, 1), hits=0, lease="x"),
]
REPORTS = [
    case("requests", (Kind.REPORT, 1), phase="done"),
    case("requests", (Kind.REPORT, 5), phase="done", hits=5),
    case("requests", (Kind.REPORT, 7), phase="done", default=7),
    case("requests", NOTHING, phase="done", hits=0),
    case("tokens", (Kind.REPORT, 500), hits=500),
    case("tokens", (Kind.REPORT, 500), hits=500, phase="done"),
    case("tokens", (Kind.REPORT, 7), phase="done", default=7),
    case("tokens", NOTHING, phase="done"),
    case("tokens", NOTHING, phase="done", hits=0),
]
REFUNDS = [
    case("requests", (Kind.REFUND, 1), negative=True),
    case("requests", (Kind.REFUND, 4), negative=True, hits=4),
    case("requests", (Kind.REFUND, 7), negative=True, default=7),
    case("requests", (Kind.REFUND, 4), negative=True, hits=4, phase="done"),
    case("requests", NOTHING, negative=True, hits=0),
    case("tokens", (Kind.REFUND, 4), negative=True, hits=4),
    case("tokens", NOTHING, negative=True),
]
LEASES = [
    case("concurrent", (Kind.ACQUIRE, 1)),
    case("concurrent", (Kind.ACQUIRE, 1), hits=5),
    case("concurrent", (Kind.ACQUIRE, 1), default=5),
    case("concurrent", (Kind.RELEASE, 1), negative=True, lease="x"),
    case("concurrent", (Kind.RELEASE, 1), negative=True, lease="x", hits=5),
    case("concurrent", (Kind.RELEASE, 1), phase="done", lease="x"),
    case("concurrent", (Kind.RELEASE, 1), phase="done", lease="x", hits=0),
    case("concurrent", NOTHING, negative=True),
    case("concurrent", NOTHING, phase="done"),
]


def compiled(*descriptors: Descriptor, hits: int = 0, matcher: Matcher | None = None) -> Call:
    """Return what a call of these descriptors means under the agent API's policy."""
    matcher = matcher or Matcher(agent_api(), HASHER)
    return compile_call(Question("agent-api", descriptors, hits), matcher, object())


@pytest.mark.parametrize("row", [*CHARGES, *PEEKS, *REPORTS, *REFUNDS, *LEASES])
def test_what_a_descriptor_is(row: Case) -> None:
    """Meter, hits, sign, phase and lease decide together; the descriptor's hits come first."""
    entries = ["api_key=demo-pro", f"meter={row.meter}"]
    entries += [f"phase={row.phase}"] if row.phase else []
    entries += [f"lease={row.lease}"] if row.lease else []
    call = compiled(describe(*entries, hits=row.hits, negative=row.negative), hits=row.default)
    kinds = {(op.kind, op.hits) for op in call.ops}
    assert kinds == (set() if row.expected is None else {row.expected})
    assert {op.limit.meter.name for op in call.ops} <= {row.meter}
    assert bool(call.acquires) == (row.expected == (Kind.ACQUIRE, 1))


def test_only_a_release_carries_the_lease_that_the_caller_names() -> None:
    """Nobody chooses the id of a lease that is granted."""
    granted = compiled(describe("api_key=k", "meter=concurrent", "lease=mine"))
    given_back = compiled(describe("api_key=k", "meter=concurrent", "lease=mine", "phase=done"))
    assert [op.lease for op in granted.ops] == [""]
    assert [op.lease for op in given_back.ops] == ["mine"]


def test_charges_of_one_call_on_one_counter_add_up() -> None:
    """Each asks for what comes before it as well; other counters are not concerned."""
    matcher = Matcher(with_tier(fixed(10)), HASHER)
    mine, other = describe("api_key=a", hits=2), describe("api_key=b", hits=5)
    call = compiled(mine, other, mine, mine, matcher=matcher)
    assert [(op.hits, op.prior) for op in call.ops] == [(2, 0), (5, 0), (2, 2), (2, 4)]


def test_a_peek_asks_for_itself_wherever_it_stands() -> None:
    """Whether one hit would pass has one answer, before and behind the charges of the call."""
    matcher = Matcher(with_tier(fixed(10)), HASHER)
    charging, peek = describe("api_key=a", hits=2), describe("api_key=a", hits=0)
    call = compiled(peek, charging, peek, matcher=matcher)
    assert [(op.kind, op.prior) for op in call.ops] == [
        (Kind.PEEK, 0),
        (Kind.CHARGE, 0),
        (Kind.PEEK, 0),
    ]


def test_a_call_holds_one_lease_of_a_counter_however_often_it_asks() -> None:
    """One id per call, of weight 1: acquisitions of one counter do not add up."""
    held = describe("api_key=a", "meter=concurrent")
    assert [op.prior for op in compiled(held, held).ops] == [0, 0]


def test_reports_do_not_count_among_what_must_fit() -> None:
    """What has happened is no part of the question."""
    matcher = Matcher(with_tier(fixed(10)), HASHER)
    done, asked = describe("api_key=a", "phase=done", hits=3), describe("api_key=a")
    assert [op.prior for op in compiled(done, asked, asked, matcher=matcher).ops] == [0, 0, 1]


def test_a_shadow_limit_is_no_part_of_what_another_limit_must_fit() -> None:
    """Its hits may not be charged, so nothing is denied for them, wherever it stands."""
    watched, bound = charge(shadow(fixed(1)), 5), charge(fixed(3), 2)
    assert [op.prior for op in stacked([watched, bound, watched, bound])] == [4, 0, 9, 2]


async def test_a_shadow_limit_denies_no_other_limit_of_its_counter() -> None:
    """A tier that only watches and a tier that limits can share an organisation's counter."""
    taken = await MemoryCounters(ManualClock(NEW_YEAR)).take(
        stacked([charge(shadow(fixed(3)), 3), charge(fixed(3), 1)])
    )
    assert (taken.passed, taken.standings[1].after) == (True, 1)


def test_the_ietf_headers_list_each_limit_once_with_its_last_operation() -> None:
    """A name stands once in a header, and what remains is what the whole call leaves."""
    policy = with_tier(fixed(10), families=(Family.IETF,))
    mine, other = describe("api_key=a"), describe("api_key=b")
    call = compiled(mine, other, mine, matcher=Matcher(policy, HASHER))
    assert call.listed == (2,)


def test_an_unknown_domain_is_one_event_and_no_operations() -> None:
    """Everything is allowed there, and it is counted."""
    call = compile_call(Question("other", (describe("a=b"), describe()), 0), None, object())
    assert (call.ops, len(call.parts), call.events) == ((), 2, ("unknown_domain",))
