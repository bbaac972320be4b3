"""A handler that waits: its deadline, its caller, the server's end, and the task it runs in."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from tests.rpc.support.asgi import HEADERS, Exchange, application, framed, method, run, scope
from tests.rpc.support.counting import tasks, until

OK, UNKNOWN, EXCEEDED, UNAVAILABLE = 0, 2, 4, 14
MESSAGE = framed(b"hello")
SOON = [(b"grpc-timeout", b"20m")]


class Waiting:
    """A servicer that waits until it is let go; it notes how its calls end."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.begun = 0
        self.ends: list[str] = []

    async def behavior(self, request: bytes, context: Any) -> bytes:  # noqa: ANN401
        """Wait, then echo."""
        context.add_done_callback(lambda _: self.ends.append("done"))
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.ends.append("cancelled")
            raise
        self.ends.append("answered")
        return request


@pytest.fixture
def waiting() -> Waiting:
    """A servicer whose calls wait."""
    return Waiting()


async def begin(app: Any, *parts: bytes) -> tuple[Exchange, asyncio.Task[None]]:  # noqa: ANN401
    """Begin a call; return it once its handler waits."""
    exchange = Exchange(*parts)
    task = asyncio.ensure_future(app(scope(HEADERS), exchange.receive, exchange.send))
    return exchange, task


async def test_what_waits_is_answered_when_it_can_be(waiting: Waiting) -> None:
    """A handler that suspends has the same answer as one that does not, and leaves no task."""
    before = tasks()
    exchange, call = await begin(application(method(waiting.behavior)), MESSAGE)
    await until(lambda: waiting.begun, "the handler waits")
    waiting.go.set()
    await call
    assert (exchange.reply.grpc, exchange.reply.body) == (OK, MESSAGE)
    assert waiting.ends == ["answered", "done"]
    await until(lambda: tasks() <= before, "the tasks end")


async def test_a_deadline_that_passes_cancels_the_handler(waiting: Waiting) -> None:
    """DEADLINE_EXCEEDED, the handler stopped, its callbacks run, no task left."""
    before = tasks()
    reply = await run(application(method(waiting.behavior)), MESSAGE, headers=SOON)
    assert reply.grpc == EXCEEDED
    assert waiting.ends == ["cancelled", "done"]
    await until(lambda: tasks() <= before, "the tasks end")


async def test_a_deadline_of_nothing_is_over_at_the_first_wait(waiting: Waiting) -> None:
    """Where no time is left a handler still decides what it can without waiting."""
    zero = [(b"grpc-timeout", b"0n")]
    reply = await run(application(method(waiting.behavior)), MESSAGE, headers=zero)
    assert reply.grpc == EXCEEDED


async def test_a_deadline_of_ten_thousand_years_is_no_deadline(waiting: Waiting) -> None:
    """The longest that a header can say overflows no timer."""
    waiting.go.set()

    async def behavior(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        await asyncio.sleep(0)
        return request

    far = [(b"grpc-timeout", b"99999999H")]
    assert (await run(application(method(behavior)), MESSAGE, headers=far)).grpc == OK


async def test_a_caller_that_goes_cancels_the_handler(waiting: Waiting) -> None:
    """Nobody waits for the answer: the handler stops, its callbacks run, nothing is sent."""
    before = tasks()
    exchange, call = await begin(application(method(waiting.behavior)), MESSAGE)
    await until(lambda: waiting.begun, "the handler waits")
    exchange.leave()
    await call
    assert waiting.ends == ["cancelled", "done"]
    assert not exchange.sent
    await until(lambda: tasks() <= before, "the tasks end")


@pytest.mark.parametrize("parts", [(), (MESSAGE[:3],), (b"", b"")], ids=["none", "some", "empty"])
async def test_a_caller_that_goes_before_its_message_is_complete(
    waiting: Waiting, parts: tuple[bytes, ...]
) -> None:
    """No handler runs for half a message."""
    exchange = Exchange(*parts, ends=False)
    exchange.leave()
    async with asyncio.timeout(5):
        app = application(method(waiting.behavior))
        await app(scope(HEADERS), exchange.receive, exchange.send)
    assert not waiting.begun
    assert not exchange.sent


@pytest.mark.parametrize("streams", [False, True], ids=["unary", "streaming"])
async def test_a_server_that_raises_oserror_has_lost_its_caller(
    waiting: Waiting, caplog: pytest.LogCaptureFixture, streams: bool
) -> None:
    """What ASGI raises on sending to nobody is no failure: callbacks run, nothing is logged."""

    class Lost(Exchange):
        async def send(self, message: Any) -> None:  # noqa: ANN401
            raise ConnectionResetError

    waiting.go.set()
    exchange = Lost(MESSAGE)
    app = application(method(waiting.behavior, requests=False, responses=streams))
    await app(scope(HEADERS), exchange.receive, exchange.send)
    assert waiting.ends == ["answered", "done"]
    assert not caplog.records


async def test_the_servers_own_cancellation_passes_through(waiting: Waiting) -> None:
    """A server that cancels the call's task is not told that the caller did."""
    exchange, call = await begin(application(method(waiting.behavior)), MESSAGE)
    await until(lambda: waiting.begun, "the handler waits")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert waiting.ends == ["cancelled", "done"]
    assert not exchange.sent


async def test_a_server_that_loses_patience_ends_what_waits(waiting: Waiting) -> None:
    """After the grace every waiting call ends in UNAVAILABLE, and the next one is served."""
    app = application(method(waiting.behavior))
    calls = [await begin(app, MESSAGE) for _ in range(3)]
    await until(lambda: waiting.begun == 3, "the handlers wait")
    app.lose_patience()
    for exchange, call in calls:
        await call
        assert exchange.reply.grpc == UNAVAILABLE
    waiting.go.set()
    assert (await run(app, MESSAGE)).grpc == OK


async def test_a_handler_goes_on_in_the_task_that_began_it() -> None:
    """What it opens in its first step is still its own after it has waited.

    `asyncio.timeout` and task groups belong to the task that opens them; their end in another one
    would cancel the call, and Envoy would let the request pass.
    """
    seen: list[object] = []

    async def behavior(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        seen.append(asyncio.current_task())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        seen.append(asyncio.current_task())
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        return request

    reply = await run(application(method(behavior)), MESSAGE)
    assert (reply.grpc, reply.body) == (OK, MESSAGE)
    assert seen[0] is seen[1]


async def test_what_a_handler_awaits_may_be_cancelled_by_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A cancelled future is a failure of ours: the call ends with a status, not with a reset."""

    async def shared(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        await future
        return request

    async def at_once(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        raise asyncio.CancelledError

    for behavior in (shared, at_once):
        assert (await run(application(method(behavior)), MESSAGE)).grpc == UNKNOWN
    errors = [record.__dict__["error"] for record in caplog.records]
    assert errors == ["RuntimeError from CancelledError"] * 2


async def test_a_handler_that_swallows_its_cancellation_is_over_all_the_same() -> None:
    """The deadline has passed, whatever the handler returns in the end."""

    async def behavior(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return request

    reply = await run(application(method(behavior)), MESSAGE, headers=SOON)
    assert reply.grpc == EXCEEDED


async def test_the_cancellation_of_a_handler_does_not_stay_with_its_task() -> None:
    """A done callback, and a server that goes on with the task, are not cancelled."""
    counts: list[int] = []

    async def behavior(request: bytes, _: Any) -> bytes:  # noqa: ANN401
        await asyncio.Event().wait()
        return request

    async def server() -> None:
        await run(application(method(behavior)), MESSAGE, headers=SOON)
        task = asyncio.current_task()
        assert task is not None
        counts.append(task.cancelling())
        await asyncio.sleep(0)

    await asyncio.ensure_future(server())
    assert counts == [0]


async def test_done_callbacks_run_once_each_also_when_one_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A servicer's clean-up is not lost because another one's failed."""
    called: list[int] = []

    async def behavior(request: bytes, context: Any) -> bytes:  # noqa: ANN401
        context.add_done_callback(lambda _: called.append(1))
        context.add_done_callback(lambda _: int("no number"))
        context.add_done_callback(lambda _: called.append(2))
        return request

    assert (await run(application(method(behavior)), MESSAGE)).grpc == OK
    assert called == [1, 2]
    assert [record.getMessage() for record in caplog.records] == ["a done callback failed"]


async def test_many_calls_that_come_and_go_leave_nothing(waiting: Waiting) -> None:
    """Deadlines, departures and answers in any mixture end all their tasks and timers."""
    before = tasks()
    app = application(method(waiting.behavior))
    calls = [await begin(app, MESSAGE) for _ in range(60)]
    late = [asyncio.ensure_future(run(app, MESSAGE, headers=SOON)) for _ in range(20)]
    await until(lambda: waiting.begun == 80, "the handlers wait")
    for exchange, _ in calls[:30]:
        exchange.leave()
    replies = await asyncio.gather(*late)
    await until(lambda: waiting.ends.count("cancelled") == 50, "departures are noticed")
    waiting.go.set()
    await asyncio.gather(*(call for _, call in calls))
    assert {reply.grpc for reply in replies} == {EXCEEDED}
    assert sorted(waiting.ends) == sorted(["cancelled"] * 50 + ["answered"] * 30 + ["done"] * 80)
    assert not app._patience.waiting
    await until(lambda: tasks() <= before, "the tasks end")


async def test_callers_are_watched_only_where_the_wait_is_long(waiting: Waiting) -> None:
    """A wait of a millisecond costs neither a task nor a timer; a long one is watched over."""
    before = tasks()
    app = application(method(waiting.behavior))
    first, call = await begin(app, MESSAGE)
    await until(lambda: waiting.begun == 1, "the handler waits")
    young = tasks()
    await until(lambda: len(tasks()) == len(young) + 1, "its caller is watched")
    first.leave()
    await call
    assert waiting.ends == ["cancelled", "done"]
    await until(lambda: tasks() <= before, "the tasks end")
