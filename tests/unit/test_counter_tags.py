"""Which counters are kept together, so that a call of nested limits is decided on one server."""

from dataclasses import replace

from ratelimitd.policy.matcher import Matcher
from tests.support.ops import fixed
from tests.support.policies import HASHER, describe, record, records, with_tier


def tags(*entries: str) -> dict[tuple[str, ...], bytes]:
    """Return the tag of each limit's counter, by what the limit shares."""
    shares: tuple[tuple[str, ...], ...] = (
        ("subject",),
        ("org",),
        ("org", "subject"),
        ("model",),
        (),
    )
    limits = tuple(replace(fixed(9), per=per, name="/".join(per)) for per in shares)
    known = records(record("one", "free", attributes={"org": "acme"}), record("two", "free"))
    policy = with_tier(*limits, records=known, attributes=frozenset({"org"}))
    plan = Matcher(policy, HASHER).read(describe(*entries)).plan
    return {limit.per: counter.tag for limit, counter in plan.limits}


def test_a_key_of_an_org_is_kept_with_its_org() -> None:
    """Its own counters and the org's: nested limits are decided at once."""
    found = tags("api_key=one")
    assert found["subject",] == found["org",] == found["org", "subject"] != b""


def test_a_key_without_an_org_is_kept_by_itself() -> None:
    """The key is its own group, and no other's."""
    found = tags("api_key=two")
    assert found["subject",] == found["org", "subject"] == HASHER.key("two")


def test_who_shares_a_counter_finds_it_at_the_same_place() -> None:
    """A counter that does not tell callers apart is placed by what it is, whoever asks."""
    one, two = tags("api_key=one", "model=m"), tags("api_key=two", "model=m")
    assert one["model",] == two["model",] == one[()] == two[()] == b""
