"""What a good policy means: defaults, limits, records, and which of them are one object."""

import pytest

from ratelimitd.meters import OnExpiry
from ratelimitd.model import Algorithm, Limit, MeterKind, Unit
from ratelimitd.policy.effective import effective_limits
from ratelimitd.policy.spec import Family, OnStoreFailure, Policy, Record, Verdict
from tests.support.policy_text import HASHER, faults, loaded, policy, whole

MINUTE = 60_000_000


def _limits(text: str) -> tuple[Limit, ...]:
    return policy(f"tiers: {{free: {{{text}}}}}").tiers["free"].limits


def _record(found: Policy, key: str) -> Record:
    return found.records[HASHER.key(key)]


def _effective(found: Policy, key: str) -> list[tuple[str, int]]:
    return [(limit.name, limit.amount) for limit in effective_limits(found, _record(found, key))]


def test_the_shortest_policy_has_the_documented_defaults() -> None:
    """Three lines are a policy."""
    found = policy("domain: d")
    assert (found.subject.entry, found.subject.scheme) == ("api_key", "")
    assert (found.subject.default_tier, found.subject.missing) == ("free", "free")
    assert [(name, meter.kind, meter.lease_us) for name, meter in found.meters.items()] == [
        ("requests", MeterKind.PREPAID, 0),
        ("tokens", MeterKind.POSTPAID, 0),
        ("concurrent", MeterKind.LEASE, 15 * MINUTE),
    ]
    assert found.families == (Family.X_RATELIMIT,)
    assert (found.report, found.overrides, found.exempt) == ("", False, ())
    assert found.on_store_failure is OnStoreFailure.LOCAL


def test_meters_are_added_to_those_that_are_there_already() -> None:
    """A policy names only what it changes or adds."""
    found = policy("meters: {concurrent: {lease: 2m}, gpu: postpaid}").meters
    assert {name: (meter.kind, meter.lease_us) for name, meter in found.items()} == {
        "requests": (MeterKind.PREPAID, 0),
        "tokens": (MeterKind.POSTPAID, 0),
        "concurrent": (MeterKind.LEASE, 2 * MINUTE),
        "gpu": (MeterKind.POSTPAID, 0),
    }


def test_reservations_live_a_quarter_of_an_hour_and_are_kept_unless_the_meter_says_otherwise() -> (
    None
):
    """Both words may stand alone beside `kind`."""
    text = "meters: {a: {kind: prepaid, reservation: 2h}, b: {kind: postpaid, on_expiry: release}}"
    found = policy(text).meters
    told = {name: (m.kind, m.reservation_us, m.on_expiry) for name, m in found.items()}
    assert told["requests"] == (MeterKind.PREPAID, 15 * MINUTE, OnExpiry.KEEP)
    assert told["a"] == (MeterKind.PREPAID, 120 * MINUTE, OnExpiry.KEEP)
    assert told["b"] == (MeterKind.POSTPAID, 15 * MINUTE, OnExpiry.RELEASE)


def test_callers_without_a_record_can_be_refused_or_let_through() -> None:
    """`deny` for both; `allow` only for those who send no key."""
    refusing = policy("subject: {default_tier: deny}").subject
    assert (refusing.default_tier, refusing.missing) == (Verdict.DENY, Verdict.DENY)
    letting = policy("subject: {default_tier: free, missing: allow}").subject
    assert letting.missing is Verdict.ALLOW


def test_a_scheme_is_compared_in_lower_case() -> None:
    """HTTP's authentication schemes know no case."""
    assert policy("subject: {default_tier: free, scheme: Bearer}").subject.scheme == "bearer"


def test_the_short_form_keeps_the_order_of_the_file() -> None:
    """Limits come as written, the short form before the long one."""
    limits = _limits("tokens: 5/day, limits: [{meter: tokens, rate: 1/hour}], requests: [2/day]")
    assert [limit.name for limit in limits] == ["tokens/day", "requests/day", "tokens/hour"]


def test_the_long_form_says_everything() -> None:
    """Conditions and the names in `per` stand in canonical order: theirs is no difference."""
    (limit,) = _limits(
        "limits: [{meter: requests, rate: 10/second, algorithm: token_bucket, burst: 20,"
        " when: {route: invoke, model: 'gpt-*'}, per: [org, subject, model],"
        " name: b, shadow: true}]"
    )
    assert (limit.name, limit.amount, limit.algorithm) == ("b", 10, Algorithm.TOKEN_BUCKET)
    assert limit.window is not None
    assert (limit.window.unit, limit.burst, limit.shadow) == (Unit.SECOND, 20, True)
    assert limit.when == (("model", "gpt-*"), ("route", "invoke"))
    assert limit.per == ("subject", "model", "org")


@pytest.mark.parametrize(
    ("text", "algorithm", "burst", "per"),
    [
        ("meter: requests, rate: 9/hour", Algorithm.FIXED_WINDOW, 0, ("subject",)),
        ("meter: tokens, rate: 9/day, algorithm: sliding_window", Algorithm.SLIDING_WINDOW, 0, ()),
        ("meter: requests, rate: 9/hour, algorithm: token_bucket", Algorithm.TOKEN_BUCKET, 9, ()),
        ("meter: concurrent, amount: 3, per: []", Algorithm.LEASE, 0, ()),
        ("meter: concurrent, amount: 3, algorithm: lease", Algorithm.LEASE, 0, ("subject",)),
    ],
)
def test_the_long_form_has_defaults(
    text: str, algorithm: Algorithm, burst: int, per: tuple[str, ...]
) -> None:
    """A fixed window, a bucket as large as its amount, a counter for each key."""
    (limit,) = _limits(f"limits: [{{{text}}}]")
    assert (limit.algorithm, limit.burst) == (algorithm, burst)
    assert limit.per == (per or (() if "per: []" in text else ("subject",)))


def test_a_key_replaces_its_tiers_limits_of_the_meters_it_names() -> None:
    """Both hour and minute go where the key has an hour of its own; other meters stay."""
    found = policy(
        "tiers: {free: {requests: [100/hour, 10/minute], concurrent: 2}}\n"
        "keys: [{key: plain, tier: free}, {key: own, tier: free, limits: {requests: 7/hour}}]"
    )
    assert _effective(found, "plain") == [
        ("requests/hour", 100),
        ("requests/minute", 10),
        ("concurrent", 2),
    ]
    assert _effective(found, "own") == [("concurrent", 2), ("requests/hour", 7)]


def test_a_keys_limits_may_stand_in_the_long_form() -> None:
    """A key can have what a tier can have."""
    found = policy(
        "keys: [{key: k, tier: free, org: acme, limits: [{meter: requests, rate: 9/hour,"
        " when: {org: 'ac*'}, name: ours}]}]"
    )
    assert _effective(found, "k") == [("ours", 9)]


def test_a_billing_day_moves_calendar_windows_only() -> None:
    """Of the tier's limits and of the key's own; the names that headers show stay."""
    found = policy(
        "tiers: {free: {requests: [9/hour, 99/month]}}\n"
        "keys: [{key: k, tier: free, billing_day: 15, limits: {tokens: 5/year}}]"
    )
    windows = [
        (limit.name, limit.window.name, limit.window.anchor_day)
        for limit in effective_limits(found, _record(found, "k"))
        if limit.window
    ]
    assert windows == [
        ("requests/hour", "hour", 1),
        ("requests/month", "month@15", 15),
        ("tokens/year", "year@15", 15),
    ]


def test_equal_limits_are_one_object() -> None:
    """What is cached by limit stays small, however many keys have the same."""
    rows = ", ".join(
        f"{{key: k{number}, tier: free, billing_day: 9, limits: {{tokens: 5/month}}}}"
        for number in range(50)
    )
    found = policy(f"tiers: {{free: {{requests: 1/month}}}}\nkeys: [{rows}]")
    effective = [effective_limits(found, record) for record in found.records.values()]
    assert len({limit for limits in effective for limit in limits}) == 2
    assert len({id(record.limits) for record in found.records.values()}) == 1


def test_attributes_are_reserved_for_records() -> None:
    """Any word that the format does not know is an attribute of the key."""
    found = policy("keys: [{key: k, tier: free, org: acme, cost_center: x}]")
    assert _record(found, "k").attributes == {"org": "acme", "cost_center": "x"}
    assert found.attributes == {"org", "cost_center"}


def test_a_tier_that_no_key_has_is_fine() -> None:
    """Keys may be registered later; so may a tier without limits."""
    assert not faults(whole("tiers: {free: {}, unused: {requests: 1/hour}, none: {}}"))


def test_limits_that_differ_in_one_part_of_their_identity_are_two() -> None:
    """Window, algorithm, condition and sharing tell counters apart; amounts do not."""
    text = (
        "limits: [{meter: requests, rate: 1/day}, {meter: requests, rate: 1/hour},"
        " {meter: requests, rate: 1/hour, algorithm: sliding_window, name: a},"
        " {meter: requests, rate: 1/hour, when: {m: x}, name: b},"
        " {meter: requests, rate: 1/hour, when: {m: y}, name: c},"
        " {meter: requests, rate: 1/hour, per: [], name: d}]"
    )
    assert len(_limits(text)) == 6


@pytest.mark.parametrize(
    "text",
    [
        "exempt: [{route: health}]\ntiers: {free: {limits: [{RATE, when: {route: '*'}}]}}",
        "exempt: [{route: x, method: GET}]\ntiers: {free: {limits: [{RATE, when: {route: x}}]}}",
        "exempt: [{route: 'a*b'}]\ntiers: {free: {limits: [{RATE, when: {route: 'a*'}}]}}",
        "keys: [{key: k, tier: free, org: a}]\ntiers: {free: {limits: [{RATE, when: {org: b}}]}}",
        "exempt: [{path: '/health*'}]",
        (
            "subject: {default_tier: free, missing: deny}\n"
            "tiers: {free: {requests: 1/hour, limits: [{RATE, per: [remote_address], name: a}]}}"
        ),
        "tiers: {free: {limits: [{RATE, per: [remote_address]}]}}",
    ],
)
def test_a_rule_that_some_request_meets_is_fine(text: str) -> None:
    """Only what is certain to be idle is a fault; a registered key may have any attribute."""
    text = text.replace("RATE", "meter: requests, rate: 1/day")
    assert not faults(whole(text))
    assert not loaded(text).warnings
