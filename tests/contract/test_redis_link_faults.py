"""Faults at random, by seed: each command has one reply, its own, whatever the network does."""

import asyncio
import random

import pytest

from ratelimitd.errors import StoreError, StoreNotAskedError, StoreTimeoutError
from ratelimitd.stores.redis.link import Link
from tests.support.redis.proxy import Proxy
from tests.support.redis.server import Server
from tests.support.replies import command, linked, until

TURNS = 60
SILENCE = 0.02
GIVE_UP = 0.1


class Ledger:
    """What was sent, and what came of it."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.told: dict[int, list[object]] = {}

    def send(self) -> None:
        """Send the next command, which counts under its own number."""
        number = len(self.told)
        self.told[number] = []
        self._link.send(command("EVAL", COUNT, 1, number, number), self.told[number].append)

    @property
    def is_complete(self) -> bool:
        """Whether each command has come to its end."""
        return all(self.told.values())


COUNT = "return {redis.cal" + "l('INCR', KEYS[1]), tonumber(ARGV[1])}"


async def play(rng: random.Random, proxy: Proxy, ledger: Ledger) -> None:
    """Do something bad or good to the way, and count meanwhile."""
    for _ in range(TURNS):
        fault = rng.choice(("none", "none", "cut", "late", "deaf", "refuse", "hole"))
        if fault == "cut":
            proxy.cut()
        elif fault == "refuse":
            await proxy.refuse()
            proxy.cut()
        proxy.delay_replies = rng.choice((0.005, 0.03, 0.06)) if fault == "late" else 0.0
        proxy.lose_replies = fault == "deaf"
        proxy.black_hole = fault == "hole"
        for _ in range(rng.randrange(20)):
            ledger.send()
            if rng.random() < 0.3:
                pause = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(rng.random() / 100, pause.set_result, None)
                await pause
        await proxy.accept()
    proxy.delay_replies = 0.0
    proxy.lose_replies = proxy.black_hole = False


@pytest.mark.parametrize("seed", range(3))
async def test_each_command_has_one_reply_and_its_own(seed: int, any_server: Server) -> None:
    """None runs twice, none that was not sent runs, none gets another's reply."""
    async with Proxy(any_server) as proxy, linked(proxy.url, SILENCE, GIVE_UP) as link:
        ledger = Ledger(link)
        proxy.lose_replies = True  # on a busy machine those by chance may all meet no connection
        ledger.send()
        await until(lambda: ledger.is_complete, "it was not answered")
        await play(random.Random(seed), proxy, ledger)
        await until(lambda: ledger.is_complete, "each has come to its end")
        while not isinstance(ledger.told[len(ledger.told) - 1][0], list):
            ledger.send()
            await until(lambda: ledger.is_complete, "each has come to its end")
        await until(lambda: link.unanswered == 0, "late replies have come")
    kinds = {type(told[0]) for told in ledger.told.values()}
    assert kinds >= {list, StoreNotAskedError, StoreTimeoutError}, "the faults were none"
    counted = any_server.client().mget([str(number) for number in ledger.told])
    for (number, told), count in zip(ledger.told.items(), counted, strict=True):
        assert len(told) == 1
        if isinstance(told[0], StoreNotAskedError):
            assert count is None
        elif isinstance(told[0], StoreError):
            assert count in {None, b"1"}
        else:
            assert told[0] == [1, number]
            assert count == b"1"
