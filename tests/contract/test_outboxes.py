"""What every outbox promises: in memory, in a file, in Redis, Valkey and a cluster."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ratelimitd.accounts.alerts import Alert, AlertType
from ratelimitd.accounts.outbox import Added, Message, Outbox
from ratelimitd.accounts.redis_outbox import RedisOutbox
from ratelimitd.accounts.sqlite_outbox import SqliteOutbox
from ratelimitd.errors import StoreUnavailableError
from ratelimitd.model import Subject
from ratelimitd.stores.redis.opening import servers_of
from tests.contract.servers import KINDS, url_of
from tests.support.redis.server import Server
from tests.support.stores import PATIENT

ROOM, OF_KEY = 4, 3
SECOND = 1_000_000
NOW = 1_800_000_000 * SECOND
ANNA, BERT = Subject(b"a" * 16), Subject(b"b" * 16)
Open = Callable[[], Outbox]


def opener(kind: str, request: pytest.FixtureRequest, folder: Path) -> Open:
    """Return what opens one outbox, each time anew (that in memory is another then)."""
    if kind == "memory":
        return lambda: SqliteOutbox(room=ROOM, of_key=OF_KEY)
    if kind == "file":
        return lambda: SqliteOutbox(str(folder / "outbox.db"), room=ROOM, of_key=OF_KEY)
    url = url_of(kind, request)
    return lambda: RedisOutbox(servers_of(url, PATIENT), room=ROOM, of_key=OF_KEY)


@pytest.fixture(params=KINDS)
async def outbox(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Outbox]:
    """Each kind, empty and open."""
    made = opener(request.param, request, tmp_path)()
    await made.start()
    yield made
    await made.close()


def alert(number: int, subject: Subject = ANNA) -> Alert:
    """Return an alert of its own."""
    return Alert(
        id=f"alert_{number}",
        subject=subject,
        type=AlertType.RATE_LIMIT,
        limit="requests/hour",
        threshold=80,
        created=NOW + number,
        sealed=b"\x00sealed\xff",
    )


def message(number: int) -> Message:
    """Return a message of its own, due in its order."""
    return Message(f"msg_{number}", ANNA, "alert_1", '{"é": 1}', NOW + number)


async def test_alerts_are_kept_in_their_order(outbox: Outbox) -> None:
    """Each subject has its own, as they were put."""
    for each in (alert(1), alert(2), alert(3, BERT)):
        assert await outbox.put(each, 20)
    assert await outbox.alerts(ANNA) == [alert(1), alert(2)]
    assert await outbox.alerts(BERT) == [alert(3, BERT)]


async def test_a_subject_has_so_many_alerts(outbox: Outbox) -> None:
    """What is over the bound changes nothing; the same alert may be put again."""
    assert await outbox.put(alert(1), 2)
    assert await outbox.put(alert(2), 2)
    assert not await outbox.put(alert(3), 2)
    assert await outbox.alerts(ANNA) == [alert(1), alert(2)]
    assert await outbox.put(alert(4, BERT), 2)


async def test_only_its_owner_removes_an_alert(outbox: Outbox) -> None:
    """Another's alert is no alert."""
    await outbox.put(alert(1), 20)
    assert not await outbox.remove(BERT, "alert_1")
    assert await outbox.remove(ANNA, "alert_1")
    assert not await outbox.remove(ANNA, "alert_1")
    assert await outbox.alerts(ANNA) == []


async def test_changes_are_told_from_a_mark_on(outbox: Outbox) -> None:
    """None is missed: what was put, what was removed, and nothing of before the mark."""
    await outbox.put(alert(1), 20)
    mark, told = await outbox.changes(0)
    assert list(told) == [ANNA]
    assert await outbox.changes(mark) == (mark, [])
    await outbox.put(alert(2, BERT), 20)
    await outbox.remove(ANNA, "alert_1")
    assert list((await outbox.changes(mark))[1]) == [BERT, ANNA]


async def test_a_message_is_added_once(outbox: Outbox) -> None:
    """While it waits and after it was acknowledged its id is known."""
    far = NOW + 3600 * SECOND
    assert await outbox.add(message(1), far) is Added.ADDED
    assert await outbox.add(message(1), far) is Added.KNOWN
    (claimed,) = await outbox.claim(NOW + SECOND, NOW + 2 * SECOND, 10)
    await outbox.acknowledge(claimed, "")
    assert await outbox.add(message(1), far) is Added.KNOWN
    assert await outbox.waiting() == 0


async def test_there_is_room_for_so_many_messages(outbox: Outbox) -> None:
    """What is refused is not known: it can be added when there is room again."""
    far = NOW + 3600 * SECOND
    for number in range(ROOM):
        owned = message(number)._replace(subject=Subject(bytes([number]) * 16))
        assert await outbox.add(owned, far) is Added.ADDED
    assert await outbox.add(message(9), far) is Added.FULL
    (first,) = await outbox.claim(NOW, NOW + SECOND, 1)
    await outbox.acknowledge(first, "")
    assert await outbox.add(message(9), far) is Added.ADDED


async def test_one_key_s_messages_leave_room_for_others(outbox: Outbox) -> None:
    """Whoever's receivers are dead: others' messages are added, and its own again later."""
    far = NOW + 3600 * SECOND
    for number in range(OF_KEY):
        assert await outbox.add(message(number), far) is Added.ADDED
    assert await outbox.add(message(9), far) is Added.FULL
    (first,) = await outbox.claim(NOW, NOW + SECOND, 1)
    assert await outbox.add(message(9), far) is Added.FULL
    await outbox.put_off(first, NOW + SECOND, "")
    assert await outbox.add(message(9), far) is Added.FULL
    assert await outbox.add(message(8)._replace(subject=BERT), far) is Added.ADDED
    await outbox.acknowledge(first, "")
    await outbox.acknowledge(first, "")
    assert await outbox.add(message(9), far) is Added.ADDED
    assert await outbox.add(message(7), far) is Added.FULL


async def test_what_is_claimed_is_hidden_for_a_while(outbox: Outbox) -> None:
    """Who claims and dies delays a message, and loses none."""
    for number in range(OF_KEY):
        await outbox.add(message(number), NOW + 3600 * SECOND)
    assert await outbox.claim(NOW + 5, NOW + SECOND, 2) == [message(0), message(1)]
    assert await outbox.claim(NOW + 5, NOW + SECOND, 2) == [message(2)]
    assert await outbox.claim(NOW + SECOND - 1, NOW + 2 * SECOND, 10) == []
    assert len(await outbox.claim(NOW + SECOND, NOW + 2 * SECOND, 10)) == OF_KEY


async def test_a_message_is_put_off_with_its_attempts(outbox: Outbox) -> None:
    """It comes back when it is due, and tells how often it was tried."""
    await outbox.put(alert(1), 20)
    await outbox.add(message(1), NOW + 3600 * SECOND)
    (claimed,) = await outbox.claim(NOW + SECOND, NOW + 9 * SECOND, 10)
    tried = claimed._replace(attempts=1)
    await outbox.put_off(tried, NOW + 5 * SECOND, "failed")
    assert await outbox.claim(NOW + 4 * SECOND, NOW + 9 * SECOND, 10) == []
    assert await outbox.claim(NOW + 5 * SECOND, NOW + 9 * SECOND, 10) == [tried]
    assert await outbox.states(["alert_1", "alert_2"]) == ["failed", ""]
    await outbox.acknowledge(tried, "delivered")
    assert await outbox.states(["alert_1"]) == ["delivered"]


async def test_an_alert_that_was_removed_leaves_no_state(outbox: Outbox) -> None:
    """Nor does a delivery that ends afterwards."""
    await outbox.put(alert(1), 20)
    await outbox.add(message(1), NOW + 3600 * SECOND)
    (claimed,) = await outbox.claim(NOW + SECOND, NOW + 9 * SECOND, 10)
    await outbox.remove(ANNA, "alert_1")
    await outbox.acknowledge(claimed, "delivered")
    assert await outbox.states(["alert_1"]) == [""]


@pytest.mark.parametrize("kind", ["file", "redis"])
async def test_everything_outlives_the_process(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Alerts, messages and ids are there after a restart; what was claimed is due again."""
    make = opener(kind, request, tmp_path)
    first = make()
    await first.start()
    await first.put(alert(1), 20)
    await first.add(message(1), NOW + 3600 * SECOND)
    assert await first.claim(NOW + SECOND, NOW + 2 * SECOND, 10)
    await first.close()
    second = make()
    await second.start()
    assert await second.alerts(ANNA) == [alert(1)]
    assert await second.add(message(1), NOW + 3600 * SECOND) is Added.KNOWN
    assert await second.claim(NOW + 2 * SECOND, NOW + 3 * SECOND, 10) == [message(1)]
    await second.close()


async def test_a_redis_that_forgot_is_read_from_the_beginning(redis_server: Server) -> None:
    """A replica that knew less has taken over: its feed begins before the mark."""
    made = RedisOutbox(servers_of(redis_server.url, PATIENT))
    await made.start()
    for number in range(5):
        await made.put(alert(number), 20)
    mark, _ = await made.changes(0)
    redis_server.flush()
    assert await made.changes(mark) == (0, [])
    await made.put(alert(9, BERT), 20)
    mark, told = await made.changes(mark)
    assert list(told) == [BERT]
    assert await made.changes(mark) == (mark, [])
    await made.close()


async def test_more_changes_than_one_answer_holds(outbox: Outbox) -> None:
    """They are told page by page, and then no more."""
    subjects = {Subject(number.to_bytes(16, "big")) for number in range(1_500)}
    await asyncio.gather(
        *(outbox.put(alert(int.from_bytes(each, "big"), each), 20) for each in subjects)
    )
    found, mark, told = set[Subject](), *await outbox.changes(0)
    while told:
        found.update(told)
        mark, told = await outbox.changes(mark)
    assert found == subjects


async def test_nothing_but_ids_ends_by_itself(redis_server: Server) -> None:
    """Alerts and messages have no lifetime; an id has one, or Redis would fill up."""
    made = RedisOutbox(servers_of(redis_server.url, PATIENT))
    await made.start()
    await made.put(alert(1), 20)
    await made.add(message(1), NOW + 3600 * SECOND)
    await made.acknowledge(message(2), "delivered")
    with redis_server.client() as client:
        ending = {key for key in client.scan_iter("*") if client.ttl(key) > 0}
        assert ending == {b"rla1:{alerts}:id:msg_1"}
        assert all(key.startswith(b"rla1:{alerts}:") for key in client.scan_iter("*"))
    await made.close()


async def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Nothing is written into a database that is not an outbox."""
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (a)")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="not ours"):
        await SqliteOutbox(str(path)).start()
    assert path.read_bytes() == before
