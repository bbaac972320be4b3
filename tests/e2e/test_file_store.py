"""The file store in real processes: killed, stopped, doubled, out of room."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.stores.file import INTERVAL
from tests.e2e.support.counts_child import BATCH, COUNTERS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).parents[2]
PROMISED = 1.0
"""Seconds of counts that a killed process may lose."""
NEVER = 3600.0


class Process:
    """A child that counts."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> list[str]:
        """Return its next line."""
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 60)).decode().split()

    async def tell(self, *words: object) -> list[str]:
        """Give it a line, and return its answer."""
        self.say(*words)
        return await self.line()

    def say(self, *words: object) -> None:
        """Give it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")

    async def end(self, signum: int) -> tuple[str, str]:
        """End it by a signal; return all that it still had to say."""
        self._process.send_signal(signum)
        output, errors = await asyncio.wait_for(self._process.communicate(), 60)
        return output.decode(), errors.decode()


@contextlib.asynccontextmanager
async def counting(path: Path, interval: float = INTERVAL) -> AsyncIterator[Process]:
    """A child on that file."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.e2e.support.counts_child", str(path), str(interval)),
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "server"), "PATH": os.defpath},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield Process(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def at_rest(path: Path) -> int:
    """Return what a new process finds in the file."""
    async with counting(path) as child:
        assert await child.line() == ["ready"]
        found = int((await child.tell("read"))[1])
        await child.end(signal.SIGTERM)
        return found


async def run_and_kill(path: Path, seconds: float, interval: float = INTERVAL) -> tuple[int, int]:
    """Let a child count as fast as it can, and kill it.

    Return the least that must be found then, and the most that can be.
    """
    async with counting(path, interval) as child:
        assert await child.line() == ["ready"]
        child.say("run")
        told = [await child.line()]
        # Read as it goes, so that the child never waits for a full pipe.
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            told.append(await child.line())
        killed = time.monotonic()
        output, _ = await child.end(signal.SIGKILL)
    told += [line.split() for line in output.split("\n")[:-1]]
    least = max((int(total) for at, total in told if float(at) < killed - PROMISED), default=0)
    return least, int(told[-1][1]) + BATCH


async def test_a_killed_process_loses_at_most_a_second_of_counts(tmp_path: Path) -> None:
    """At any moment, and never is more found than was counted: counts may be lost, not made up."""
    seconds = random.Random(7)
    for path in (tmp_path / f"{index}.db" for index in range(4)):
        least, most = await run_and_kill(path, 1.2 + seconds.random() * 1.5)
        assert least > 1000, "the test must lose something to lose"
        assert least <= await at_rest(path) <= most


async def test_the_test_of_the_killed_process_finds_a_store_that_does_not_write(
    tmp_path: Path,
) -> None:
    """The twin that must fail: written only when closed."""
    least, _ = await run_and_kill(tmp_path / "counts.db", 1.5, interval=NEVER)
    assert await at_rest(tmp_path / "counts.db") < least


async def test_counts_add_up_over_many_kills(tmp_path: Path) -> None:
    """Each start goes on from what was at rest."""
    path, found = tmp_path / "counts.db", 0
    for _ in range(3):
        least, most = await run_and_kill(path, 1.2)
        before, found = found, await at_rest(path)
        assert before + least <= found <= before + most


async def test_a_stopped_process_loses_nothing(tmp_path: Path) -> None:
    """SIGTERM while counting: all that was counted is found, to the last hit."""
    path = tmp_path / "counts.db"
    async with counting(path, NEVER) as child:
        assert await child.line() == ["ready"]
        child.say("run")
        for _ in range(200):
            await child.line()
        output, errors = await child.end(signal.SIGTERM)
    closed, total = output.splitlines()[-1].split()
    assert (closed, errors) == ("closed", "")
    assert await at_rest(path) == int(total) > 0
    assert not path.with_name("counts.db-wal").exists(), "folded into the file"


async def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    """One clear line that names the file and the holder; a kill frees it, whatever is left over."""
    path = tmp_path / "counts.db"
    async with counting(path) as first:
        assert await first.line() == ["ready"]
        async with counting(path) as second:
            refusal = " ".join(await second.line())
        assert refusal.startswith(f"refused --store file:{path}: in use by process ")
        assert refusal.endswith("; stop that one, or give this one a file of its own")
        assert await first.tell("take", 3) == ["took", "3"], "the first is not disturbed"
        await first.tell("write")
        await first.end(signal.SIGKILL)
    assert await at_rest(path) == 3


async def test_one_file_has_one_lock_by_whatever_name(tmp_path: Path) -> None:
    """A symbolic link is no second file."""
    path, link = tmp_path / "counts.db", tmp_path / "link.db"
    link.symlink_to(path)
    async with counting(link) as first:
        assert await first.line() == ["ready"]
        async with counting(path) as second:
            assert (await second.line())[0] == "refused"


async def test_a_log_cut_short_or_scribbled_on_costs_only_what_it_held(tmp_path: Path) -> None:
    """The start works, and finds no more than was counted."""
    for index, hurt in enumerate((_cut, _scribble)):
        path = tmp_path / f"{index}.db"
        async with counting(path, NEVER) as child:
            assert await child.line() == ["ready"]
            for _ in range(4):
                await child.tell("take", COUNTERS)
                await child.tell("write")
            await child.end(signal.SIGKILL)
        hurt(path.with_name(f"{path.name}-wal"))
        found = await at_rest(path)
        assert found % COUNTERS == 0, "each writing is there, or not"
        assert 0 < found < 4 * COUNTERS


def _cut(log: Path) -> None:
    os.truncate(log, log.stat().st_size * 2 // 3)


def _scribble(log: Path) -> None:
    with log.open("r+b") as file:
        file.seek(log.stat().st_size * 2 // 3)
        file.write(os.urandom(500))


async def test_a_full_disk_is_told_once_and_costs_nothing_once_there_is_room(
    tmp_path: Path,
) -> None:
    """Counting goes on in memory; each failed writing is counted; the next one brings it all."""
    path = tmp_path / "counts.db"
    async with counting(path, NEVER) as child:
        assert await child.line() == ["ready"]
        await child.tell("limit", 8192)
        for errors in (1, 2):
            await child.tell("take", COUNTERS)
            assert await child.tell("write") == ["wrote", "False", str(errors), str(COUNTERS)]
        assert await child.tell("read") == ["read", str(2 * COUNTERS)]
        await child.tell("limit", 0)
        assert await child.tell("write") == ["wrote", "True", "2", "0"]
        _, talk = await child.end(signal.SIGTERM)
    told = talk.splitlines()
    assert [line.split()[0] for line in told] == ["ERROR", "WARNING"]
    assert f"counts cannot be written to {path} (" in told[0]
    assert told[1].endswith(f"counts are written to {path} again")
    assert await at_rest(path) == 2 * COUNTERS


async def test_a_process_ends_although_the_disk_is_full(tmp_path: Path) -> None:
    """It says how much is lost, does not wait for room, and leaves the file as good as it was."""
    path = tmp_path / "counts.db"
    async with counting(path, NEVER) as child:
        assert await child.line() == ["ready"]
        await child.tell("take", COUNTERS)
        await child.tell("write")
        await child.tell("limit", 8192)
        await child.tell("take", COUNTERS)
        output, talk = await child.end(signal.SIGTERM)
    assert output.split() == ["closed", str(2 * COUNTERS)]
    assert f"closed without writing {COUNTERS} counters to {path}" in talk
    assert await at_rest(path) == COUNTERS
