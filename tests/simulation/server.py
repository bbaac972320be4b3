"""A Redis that answers TIME, EVALSHA and EVAL, under a clock of its own, and fails when told."""

from collections.abc import Callable, Iterator
from struct import unpack_from

from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from ratelimitd.stores.redis.script import Script
from ratelimitd.stores.redis.wire import REPEATED
from tests.simulation.keyspace import Keyspace
from tests.simulation.script import TAG, Decider, Deed


class FakeServer:
    """One server. `deeds`: every decision that it made."""

    def __init__(self, name: str, elapsed: Callable[[], int], epoch: int, script: Script) -> None:
        self.name = name
        self._elapsed = elapsed
        self._script = script
        self._loaded = False
        self.offset = epoch
        """Its TIME less what has elapsed."""
        self.peak = epoch
        """The most that ever was: nobody may decide in its future."""
        self.refuses: ResponseError | None = None
        self.keys = Keyspace(self.time)
        self.deeds: list[Deed] = []
        self._writes: list[tuple[int, int]] = []

    def time(self) -> int:
        """Return its TIME, microseconds."""
        return self._elapsed() + self.offset

    def step(self, microseconds: int) -> None:
        """Set the clock ahead, or back."""
        self.offset += microseconds
        self.peak = max(self.peak, self.offset)

    def flush_scripts(self) -> None:
        """SCRIPT FLUSH."""
        self._loaded = False

    def fail_over(self, writes: int) -> int:
        """Become a replica that lacks the last calls of the script; return how many decisions."""
        self._loaded = False
        if not writes or not self._writes:
            return 0
        mark, first = self._writes[-min(writes, len(self._writes))]
        self.keys.lose(mark)
        del self._writes[-min(writes, len(self._writes)) :]
        lost = [deed for deed in self.deeds[first:] if not deed.lost]
        for deed in lost:
            deed.lost = True
        return len(lost)

    def answer(self, words: list[bytes]) -> object:
        """Do one command."""
        if words[0] == b"TIME":
            now = self.time()
            return [b"%d" % (now // 1_000_000), b"%d" % (now % 1_000_000)]
        if words[0] == b"EVALSHA" and not self._loaded:
            return NoScriptError("No matching script. Please use EVAL.")
        assert words[1] == (self._script.sha if words[0] == b"EVALSHA" else self._script.text)
        self._loaded = True
        if self.refuses is not None:
            return self.refuses
        self._writes.append((self.keys.mark(), len(self.deeds)))
        count = int(words[2])
        return self._batch(words[3 : 3 + count], words[3 + count :])

    def _batch(self, keys: list[bytes], arguments: list[bytes]) -> list[int]:
        now = max(self.time(), int(arguments[0]))
        out, at = [now], 3
        while at < len(arguments):
            blob, at = arguments[at], at + 1
            end = next(i for i in range(at, len(arguments)) if arguments[i].startswith(TAG))
            deed = Deed(arguments[end].removeprefix(TAG).decode(), now, self._elapsed())
            self.deeds.append(deed)
            own = int(unpack_from("<7d", blob)[5])
            Decider(self.keys, now, deed).decide(blob, keys[:own], arguments[at:end])
            keys = keys[own:]
            out += [deed.status + REPEATED * deed.repeated, *deed.numbers]
            at = end + 1
        return out


READ_ONLY = ReadOnlyError("You can't write against a read only replica.")
OUT_OF_MEMORY = ResponseError("OOM command not allowed when used memory > 'maxmemory'.")


def commands(data: bytes) -> Iterator[list[bytes]]:
    """Read what was written at once: one command or several."""
    while data:
        head, _, data = data.partition(b"\r\n")
        words = []
        for _ in range(int(head[1:])):
            size, _, data = data.partition(b"\r\n")
            words.append(data[: int(size[1:])])
            data = data[int(size[1:]) + 2 :]
        yield words
