"""What must hold after any run, by comparing what servers did with what clients asked and heard."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterator

from ratelimitd.model import Kind
from ratelimitd.stores.redis.wire import DENIED, PASSED, STALE
from tests.simulation.ledger import Asked, Ledger, statuses
from tests.simulation.script import Act, Deed
from tests.simulation.server import FakeServer
from tests.simulation.traffic import HELD, POUR

LONGEST = 3.0
"""Seconds that any call may take, however bad the servers are."""
_BUCKET, _LEASE = 3, 4
_DECIDED = (PASSED, DENIED)


class Audit:
    """One run's facts, joined."""

    def __init__(self, ledger: Ledger, servers: list[FakeServer]) -> None:
        self._book = ledger
        self._servers = servers
        self._deeds = [(server, deed) for server in servers for deed in server.deeds]
        self._by_tag = {deed.tag: deed for _, deed in self._deeds}
        self._owner = {tag: call for call in ledger.calls.values() for tag in call.tags}
        returned = [deed for _, deed in self._deeds if deed.tag in ledger.back]
        self._returns: dict[bytes, list[Deed]] = defaultdict(list)
        for deed in returned:
            if deed.status != STALE and not deed.repeated:
                self._returns[ledger.back[deed.tag]].append(deed)
        self._undone = {
            tag
            for identity, (name, slot) in ledger.debts.items()
            if any(not deed.lost for deed in self._returns[identity])
            for tag in ledger.calls[name].slots[slot]
        }

        self._counts = {deed.tag for _, deed in self._deeds if self._gives(deed)}

    def _gives(self, deed: Deed) -> bool:
        """Say whether a deed counts by itself: also a give-back whose charge a failover lost."""
        identity = self._book.back.get(deed.tag)
        if identity is None:
            return True
        name, slot = self._book.debts[identity]
        tags = self._book.calls[name].slots[slot]
        return any(self._by_tag[tag].lost for tag in tags if tag in self._by_tag)

    def faults(self) -> Iterator[str]:
        """Yield everything that is wrong."""
        yield from self._book.faults
        yield from self._answers()
        yield from self._once()
        yield from self._debts()
        yield from self._told()
        yield from self._amounts()
        yield from self._buckets()
        yield from self._leases()
        yield from self._values()

    def _answers(self) -> Iterator[str]:
        """Every call ends in time, with what was decided of it."""
        for call in self._book.calls.values():
            if call.outcome == "open" or call.ended - call.begun > LONGEST:
                yield f"{call.name}: took from {call.begun} to {call.ended}, {call.outcome}"
            heard = statuses(call, self._book.heard)
            whole = all(each is not None and each.status == PASSED for each in heard.values())
            if (
                call.tags
                and call.outcome in {"passed", "denied"}
                and whole != (call.outcome == "passed")
            ):
                yield f"{call.name}: {call.outcome}, but {heard}"
        for tag, verdict in self._book.heard.items():
            deed = self._by_tag.get(tag)
            if deed is None or (deed.now, deed.status) != verdict[:2]:
                yield f"{tag}: heard {verdict}, but {deed}"
            elif deed.status != STALE and list(verdict.numbers) != deed.numbers:
                yield f"{tag}: heard the numbers of another: {verdict}, {deed}"

    def _once(self) -> Iterator[str]:
        """No call is decided twice, and none in the future of all servers' clocks."""
        ahead = max(server.peak for server in self._servers)
        for tag, count in Tally(deed.tag for _, deed in self._deeds).items():
            if count > 1:
                yield f"{tag}: executed {count} times"
        for call in self._book.calls.values():
            for slot, tags in call.slots.items():
                deeds = [self._by_tag[tag] for tag in tags if tag in self._by_tag]
                if sum(deed.status in _DECIDED for deed in deeds) > 1:
                    yield f"{call.name}: decided more than once for slot {slot}: {deeds}"
        for _, deed in self._deeds:
            if deed.now - deed.elapsed > ahead:
                yield f"{deed.tag}: decided {deed.now - deed.elapsed - ahead} µs in the future"

    def _debts(self) -> Iterator[str]:
        """What a part charged while another part did not pass is given back, once."""
        owed = {debt: identity for identity, debt in self._book.debts.items()}
        for call in self._book.calls.values():
            heard = statuses(call, self._book.heard)
            passed = [slot for slot, each in heard.items() if each and each.status == PASSED]
            if len(passed) == len(heard):
                continue
            for slot in passed:
                identity = owed.get((call.name, slot))
                if identity is None:
                    yield f"{call.name}: slot {slot} charged, and nobody means to give it back"
                elif not self._returns[identity]:
                    yield f"{call.name}: slot {slot} was never given back"
        for identity, deeds in self._returns.items():
            if sum(not deed.lost for deed in deeds) > 1:
                yield f"{self._book.debts[identity]}: given back more than once"

    def _told(self) -> Iterator[str]:
        """A report counts once if it is answered, and at most once if not."""
        counted: Tally[int] = Tally()
        lost: Tally[int] = Tally()
        answered: set[int] = set()
        names: dict[int, str] = {}
        for call in self._book.calls.values():
            told = [op for op in call.ops if op.kind in {Kind.REPORT, Kind.REFUND} and op.hits]
            for op in told:
                names.setdefault(id(op), call.name)
                if call.outcome in {"passed", "denied"}:
                    answered.add(id(op))
                deeds = [self._by_tag[tag] for tag in call.tags if tag in self._by_tag]
                for deed in deeds:
                    if deed.status in _DECIDED and not deed.repeated:
                        (lost if deed.lost else counted)[id(op)] += 1
        for op_id, name in names.items():
            if counted[op_id] > 1:
                yield f"{name}: its report was counted {counted[op_id]} times"
            if op_id in answered and not counted[op_id] + lost[op_id]:
                yield f"{name}: its report was answered, but not counted"

    def _charges(self, algorithms: set[int]) -> Iterator[tuple[Deed, Act, Asked]]:
        """Yield what passing calls charged, as their clients were told."""
        for _, deed in self._deeds:
            call = self._owner.get(deed.tag)
            if call is not None and call.outcome == "passed" and deed.status == PASSED:
                for act in deed.acts:
                    if act.kind <= Kind.ACQUIRE and act.algorithm in algorithms:
                        yield deed, act, call

    def _amounts(self) -> Iterator[str]:
        """No window admits more than its amount, what was given back and what a failover lost."""
        admitted: Tally[bytes] = Tally()
        more: Tally[bytes] = Tally()
        amounts: dict[bytes, int] = {}
        for deed, act, _ in self._charges({1, 2}):
            admitted[act.key] += act.hits
            amounts[act.key] = act.amount
            if deed.lost:
                more[act.key] += act.hits
        for _, deed in self._deeds:
            for act in deed.acts:
                if act.kind == Kind.REFUND and deed.tag in self._counts:
                    more[act.key] += act.hits
        for key, hits in admitted.items():
            if hits > amounts[key] + more[key]:
                yield f"{key!r}: admitted {hits} of {amounts[key]}, {more[key]} given back or lost"

    def _buckets(self) -> Iterator[str]:
        """A bucket lets through its burst and what it refills, in any time."""
        rows: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        for deed, act, _ in self._charges({_BUCKET}):
            if not deed.lost:
                rows[act.key].append((deed.now, act.hits))
        assert POUR.window is not None
        for key, row in rows.items():
            for first, (begin, _) in enumerate(row):
                hits, latest = 0, begin
                for now, more in row[first:]:
                    hits, latest = hits + more, max(latest, now)
                    refilled = (latest - begin) * POUR.amount // POUR.window.length_us
                    if hits > POUR.burst + refilled:
                        yield f"{key!r}: {hits} passed from {begin} to {latest}"

    def _leases(self) -> Iterator[str]:
        """No more leases are held at once than there are, and none stays that was let go."""
        held: dict[bytes, dict[str, int]] = defaultdict(dict)
        for server in self._servers:
            for deed in (each for each in server.deeds if not each.lost):
                call = self._owner.get(deed.tag)
                for act in deed.acts if deed.status == PASSED else ():
                    if act.kind == Kind.RELEASE:
                        held[act.key].pop(act.lease, None)
                    elif act.kind == Kind.RENEW and act.held:
                        held[act.key][act.lease] = deed.now + HELD.meter.lease_us
                    elif act.kind == Kind.ACQUIRE and call and call.outcome == "passed":
                        held[act.key][act.lease] = deed.now + HELD.meter.lease_us
                        live = sum(ends > deed.now for ends in held[act.key].values())
                        if live > HELD.amount:
                            yield f"{act.key!r}: {live} leases held at once"

    def _values(self) -> Iterator[str]:
        """At last the servers hold what was admitted or may have been, and what was told.

        A refund of what nobody had charged changes nothing; but where it meets what a call on
        several servers has charged for a moment, it takes that, and the give-back takes another's.
        """
        for server in self._servers:
            clean: Tally[bytes] = Tally()
            met: Tally[bytes] = Tally()
            for deed in (each for each in server.deeds if not each.lost):
                undone = deed.tag in self._undone or deed.tag in self._book.back
                for act in deed.acts:
                    if not act.before:
                        clean[act.key] = met[act.key] = 0
                    if act.kind == Kind.REPORT or (
                        act.kind == Kind.CHARGE and deed.status == PASSED and not undone
                    ):
                        clean[act.key] += act.hits
                    elif act.kind == Kind.REFUND and deed.tag in self._counts:
                        met[act.key] += max(0, min(act.hits, act.before) - clean[act.key])
                        clean[act.key] = max(0, clean[act.key] - act.hits)
            for key, value in server.keys.live().items():
                if not isinstance(value, int) or b":id:" in key:
                    continue
                if not clean[key] - met[key] <= value <= clean[key]:
                    yield f"{server.name}: {key!r} is {value}, not {clean[key]}"
