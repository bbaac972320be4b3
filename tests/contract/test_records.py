"""What every registry of keys promises: in memory, in a file, in Redis, Valkey and a cluster."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ratelimitd.accounts.file_records import FileRecords
from ratelimitd.accounts.memory_records import MemoryRecords
from ratelimitd.accounts.record import Boost, OwnLimit, Record
from ratelimitd.accounts.records import CONFLICT, Mark, Records
from ratelimitd.accounts.redis_records import RedisRecords
from ratelimitd.model import Subject
from ratelimitd.stores.redis.opening import servers_of
from tests.contract.servers import KINDS, url_of
from tests.support.stores import PATIENT

Open = Callable[[], Records]


def opener(kind: str, request: pytest.FixtureRequest, folder: Path) -> Open:
    """Return what opens one registry, each time anew."""
    if kind == "memory":
        same = MemoryRecords()
        return lambda: same
    if kind == "file":
        return lambda: FileRecords(folder / "keys.db")
    url = url_of(kind, request)
    return lambda: RedisRecords(servers_of(url, PATIENT))


@pytest.fixture(params=KINDS)
async def both(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Records, Records]]:
    """Two processes' views of one empty registry."""
    make = opener(request.param, request, tmp_path)
    pair = (make(), make())
    for each in pair:
        await each.start()
    yield pair
    for each in pair:
        await each.close()


def subject(number: int) -> Subject:
    """Return a subject; those of larger numbers come later."""
    return Subject(number.to_bytes(16, "big"))


def record(number: int, **fields: Any) -> Record:  # noqa: ANN401 - the record's own fields
    """Return a record that nobody has put yet."""
    return Record(subject=subject(number), **{"tier": "free", **fields})


FULL = record(
    7,
    tier="enterprise",
    limits=(
        OwnLimit(meter="requests", rate="20_000/hour"),
        OwnLimit(
            meter="requests",
            rate="10/second",
            algorithm="token_bucket",
            burst=20,
            when=(("route", "inv*"),),
            per=("org",),
            name="burst",
            shadow=True,
        ),
        OwnLimit(meter="tokens", rate="5/day", per=()),
    ),
    attributes={"org": "acme", "project": "ü\n"},
    billing_day=31,
    note="speaks to\r\nnobody",
    expires=1_700_000_000_000_000,
    is_disabled=True,
    is_revoked=True,
    boost=Boost(until=9, factor="1.5", limits=(OwnLimit(meter="concurrent", rate="9"),)),
)


async def test_what_was_never_put_is_not_there(both: tuple[Records, Records]) -> None:
    """Missing records are None, in the order of the question; no question, no answer."""
    one, _ = both
    await one.put([record(2)])
    found = await one.get([subject(1), subject(2), subject(3)])
    assert [each and each.subject for each in found] == [None, subject(2), None]
    assert await one.get([]) == []


async def test_a_record_comes_back_whole(both: tuple[Records, Records]) -> None:
    """Every field, in every process, with the version that putting it gave."""
    one, other = both
    (version,) = await one.put([FULL])
    assert await other.get([FULL.subject]) == [replace(FULL, version=version)]


async def test_only_who_knows_the_version_may_change(both: tuple[Records, Records]) -> None:
    """Of two who change one version the first wins, and the other changes nothing."""
    one, other = both
    (first,) = await one.put([record(1)])
    (second,) = await other.put([record(1, tier="pro", version=first)])
    assert second > first
    assert await one.put([record(1, tier="team", version=first)]) == [CONFLICT]
    assert await one.put([record(1, tier="team")]) == [CONFLICT]
    assert await one.put([record(9, version=second)]) == [CONFLICT]
    assert await one.get([subject(1), subject(9)]) == [
        record(1, tier="pro", version=second),
        None,
    ]


async def test_records_are_put_each_by_itself(both: tuple[Records, Records]) -> None:
    """One that does not fit keeps no other from being written."""
    one, _ = both
    told = await one.put([record(1), record(1), record(2)])
    assert told[1] == CONFLICT
    assert 0 < told[0] < told[2]


async def paged(records: Records, most: int, *tier: str) -> list[Subject]:
    """Return who is on all pages of that length, in their order."""
    seen: list[Subject] = []
    after = b""
    while True:
        page = await records.page(after, most, *tier)
        assert len(page.records) <= most
        seen += [each.subject for each in page.records]
        after = page.after
        if not after:
            return seen


async def test_pages_have_each_record_once_in_order(both: tuple[Records, Records]) -> None:
    """Whatever their length; the last one says that it is."""
    one, other = both
    await one.put([record(number) for number in (5, 3, 9, 1, 7)])
    for most in (1, 2, 5, 1000):
        assert await paged(other, most) == [subject(number) for number in (1, 3, 5, 7, 9)]


async def test_pages_of_a_tier_have_no_other(both: tuple[Records, Records]) -> None:
    """And miss none of that tier, although a page may be short."""
    one, _ = both
    await one.put([record(n, tier="pro" if n % 3 == 0 else "free") for n in range(1, 10)])
    assert await paged(one, 2, "pro") == [subject(3), subject(6), subject(9)]


async def test_who_changes_tier_is_on_the_pages_of_one(both: tuple[Records, Records]) -> None:
    """The new one's; whatever else changes, and whatever other tiers are called."""
    one, other = both
    names = ("pro", "pro2", "p", "free", "pro", "\u00fc")
    versions = await one.put([record(n, tier=name) for n, name in enumerate(names, 1)])
    await other.put([record(1, tier="team", version=versions[0])])
    await other.put([record(5, tier="pro", note="as before", version=versions[4])])
    assert await other.put([record(2, tier="team", version=versions[0])]) == [CONFLICT]
    found = {tier: await paged(one, 1, tier) for tier in ("pro", "pro2", "p", "team", "\u00fc")}
    there = {"pro": [5], "pro2": [2], "p": [3], "team": [1], "\u00fc": [6]}
    assert found == {tier: [subject(n) for n in each] for tier, each in there.items()}


async def test_an_empty_registry_has_one_empty_page(both: tuple[Records, Records]) -> None:
    """Which is the last."""
    page = await both[0].page(b"", 10)
    assert (list(page.records), page.after) == ([], b"")


async def settled(records: Records) -> Mark:
    """Return a mark from which nothing has changed yet."""
    changes = await records.watch(Mark())
    assert changes.lost
    changes = await records.watch(changes.mark)
    return (await records.watch(changes.mark)).mark


async def test_a_change_is_told_to_every_process(both: tuple[Records, Records]) -> None:
    """Since the mark, each subject once, the latest last; and nothing twice."""
    one, other = both
    await one.put([record(number) for number in (1, 2, 3)])
    mark = await settled(other)
    told = await one.get([subject(2), subject(1)])
    await one.put([replace(each, note="new") for each in told if each])
    (latest,) = await one.get([subject(2)])
    assert latest
    await one.put([replace(latest, note="newer")])
    changes = await other.watch(mark)
    assert (list(changes.subjects), changes.lost) == ([subject(1), subject(2)], False)
    assert list((await other.watch(changes.mark)).subjects) == []


async def test_many_changes_come_in_several_tellings(both: tuple[Records, Records]) -> None:
    """None is lost between them."""
    one, other = both
    await one.put([record(1)])
    mark = await settled(other)
    await one.put([record(number) for number in range(2, 1_502)])
    seen: list[Subject] = []
    while True:
        changes = await other.watch(mark)
        assert not changes.lost
        if not changes.subjects:
            break
        mark = changes.mark
        seen += changes.subjects
    assert seen == [subject(number) for number in range(2, 1_502)]
