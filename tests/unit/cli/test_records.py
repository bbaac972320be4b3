"""What flags make of a key's record, and how a record reads."""

from __future__ import annotations

import json

import pytest

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd.cli._records import Given, line
from ratelimitd.errors import SettingsError
from ratelimitd.rpc.admin_client import as_dict, record_of

UNTIL = "9000-01-01T12:00:00+02:00"


def boosted() -> pb.KeyRecord:
    """A record with a boost."""
    record = pb.KeyRecord(subject="00ff", tier="pro", note="a note")
    Given(boost=["2x", "requests=500/hour", "tokens=1M/day"], until=UNTIL).put(record)
    return record


def test_a_boost_is_a_factor_limits_or_both() -> None:
    """With its end, whose zone counts."""
    boost = boosted().boost
    assert boost.until.ToJsonString() == "9000-01-01T10:00:00Z"
    assert boost.factor == "2"
    told = [(limit.meter, limit.rate) for limit in boost.limits]
    assert told == [("requests", "500/hour"), ("tokens", "1M/day")]
    record = boosted()
    Given(boost=["1.5x"], until=UNTIL).put(record)
    assert (record.boost.factor, len(record.boost.limits)) == ("1.5", 0)


def test_what_is_not_given_stays() -> None:
    """A boost and a disabled key, too, until something is said of them."""
    record = boosted()
    Given(disabled=True).put(record)
    Given(note="another").put(record)
    assert (record.disabled, record.boost.factor, record.note) == (True, "2", "another")
    Given(disabled=False, boost=[]).put(record)
    assert (record.disabled, record.HasField("boost")) == (False, False)


def test_all_can_be_taken_away() -> None:
    """Limits, attributes and the expiry, each by itself."""
    record = boosted()
    Given(limits=["requests=5/day"], attributes=["org=a"], expires="2030-01-01").put(record)
    assert (len(record.limits), dict(record.attributes)) == (1, {"org": "a"})
    Given(limits=[], attributes=[], expires="never").put(record)
    assert record == boosted()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (Given(boost=["2x"]), "--boost needs its end"),
        (Given(until=UNTIL), "give --boost as well"),
        (Given(boost=[], until=UNTIL), "give --boost as well"),
        (Given(boost=["2x", "3x"], until=UNTIL), "one factor is enough"),
        (Given(boost=["twice"], until=UNTIL), "write it as 2x, or requests=500/hour"),
        (Given(boost=["2x"], until="2020-01-01"), "has passed already"),
        (Given(boost=["2x"], until="soon"), "is no date"),
        (Given(expires="9999-12-31T23:59-14:00"), "is no date"),
        (Given(billing_day=0), "--billing-day 0: write a day of the month, 1 to 31"),
        (Given(billing_day=-(2**40)), "a day of the month, 1 to 31"),
        (Given(expires="soon", limits=["5"]), "--limit 5: write it as requests=20_000/hour"),
    ],
)
def test_a_mistake_is_told_by_its_flag(given: Given, why: str) -> None:
    """Before anything is asked of a limiter."""
    with pytest.raises(SettingsError, match=why):
        given.put(pb.KeyRecord(tier="pro"))


def test_a_record_reads_as_one_line() -> None:
    """With all that is not as usual."""
    record = boosted()
    Given(limits=["requests=5/day"], expires="2030-01-01", disabled=True).put(record)
    assert line(record) == (
        "00ff  pro  requests=5/day  boost  2x  requests=500/hour  tokens=1M/day  "
        "until 9000-01-01T10:00:00Z  expires 2030-01-01T00:00:00Z  disabled  a note"
    )


def test_a_record_goes_out_as_json_and_comes_back() -> None:
    """In whole: counts are numbers, at any depth, and what is not there is null."""
    record = boosted()
    bucket = pb.OwnLimit(meter="requests", rate="5/day", burst=7, when={"route": "a"}, per=["org"])
    record.limits.append(bucket)
    record.attributes["org"] = "acme"
    told = json.loads(json.dumps(as_dict(record)))
    assert (told["limits"][0]["burst"], told["version"], told["expires"]) == (7, 0, None)
    assert record_of({**told, "api_key": "sk-1"}) == (record, "sk-1")
