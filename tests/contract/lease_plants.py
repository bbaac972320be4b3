"""Bugs about leases and ids that can be planted into the memory store; as `plants`."""

from typing import Any

from ratelimitd.model import Counter, Kind
from ratelimitd.stores import ports
from ratelimitd.stores.memory import held, leases, paged, remembered
from tests.contract.plants import Patch, wrap


def giving_back_any_lease(patch: Patch) -> None:
    """A release that comes twice frees somebody else's."""

    def free(self: Any, lease: str) -> bool:  # noqa: ANN401
        kind = next(iter(self._kinds.values()), None)
        if kind and not original(self, lease):
            kind.popitem()
            self.size -= 1
        return True

    original = held.Held.free
    patch.setattr(held.Held, "free", free)
    patch.setattr(
        leases.LeaseTable, "holder", lambda _, op, __: op.kind > Kind.PEEK and op.counter.key
    )


def holding_leases_one_too_long(patch: Patch) -> None:
    """An off-by-one at expiry."""
    for name in ("extend", "hold"):
        wrap(patch, held.Held, name, lambda hold, self, *one: hold(self, *one[:2], one[2] + 1))


def renewing_what_is_not_held(patch: Patch) -> None:
    """Whoever makes up an id gets a lease by renewing it."""
    patch.setattr(leases.LeaseTable, "holder", lambda _, op, __: op.counter.key)


def renewing_for_nothing(patch: Patch) -> None:
    """A renewed lease ends as if it had not been."""

    def hold(original: Any, self: Any, lease: str, *when: int) -> None:  # noqa: ANN401
        if not any(lease in kind for kind in self._kinds.values()):
            original(self, lease, *when)

    wrap(patch, held.Held, "hold", hold)


def ending_leases_in_the_order_of_their_beginning(patch: Patch) -> None:
    """As if all leases lived as long as each other."""
    wrap(
        patch,
        held.Held,
        "hold",
        lambda hold, self, lease, _, ends: hold(self, lease, 1, ends),
    )


def forgetting_ids(patch: Patch) -> None:
    """A reservation is settled as often as somebody asks."""
    patch.setattr(remembered.Remembered, "knows", lambda *_: False)


def giving_back_only_from_ones_own(patch: Patch) -> None:
    """A lease of the shared counter stays taken once its holder has a counter."""

    def holder(original: Any, self: Any, op: Any, now: int) -> Any:  # noqa: ANN401
        own = Counter(op.counter.family, op.counter.key, bounded=False)
        return original(self, op._replace(counter=own), now)

    wrap(patch, leases.LeaseTable, "holder", holder)


def refunding_into_later_windows(patch: Patch) -> None:
    """What was charged last month comes back this month."""
    for table in (paged.FixedTable, paged.SlidingTable):
        wrap(
            patch,
            table,
            "take_back",
            lambda take_back, self, op, now: take_back(self, op._replace(as_of=0), now),
        )


def telling_what_has_ended(patch: Patch) -> None:
    """What a counter holds is told as it once was."""

    def held(self: Any, counter: Counter, most: int, now: int) -> ports.Holding:  # noqa: ANN401
        state = self._states.get(counter.key)
        rows = [each for kind in state._kinds.values() for each in kind.items()] if state else []
        told = [ports.HeldLease(*each) for each in sorted(rows, key=lambda row: row[1])]
        return ports.Holding(len(told), told[:most])

    patch.setattr(leases.LeaseTable, "held", held)


def telling_in_any_order(patch: Patch) -> None:
    """Each kind's leases by themselves, so that those that end next may not be told."""
    patch.setattr(
        held,
        "merge",
        lambda *kinds: [each for kind in kinds for each in kind],
    )


def telling_all(patch: Patch) -> None:
    """However few were asked for."""
    patch.setattr(held, "islice", lambda rows, _: rows)


def telling_of_the_shared_counter(patch: Patch) -> None:
    """A newcomer is told what others hold."""
    wrap(
        patch,
        leases.LeaseTable,
        "held",
        lambda told, self, counter, *asked: told(
            self,
            Counter(counter.family, self._states.find(counter), bounded=False),
            *asked,
        ),
    )


def looking_at_every_lease(patch: Patch) -> None:
    """Right, and slow: what has ended is looked for among all that is held."""

    def judge(original: Any, self: Any, *asked: Any) -> Any:  # noqa: ANN401
        for each in self._states.young.values():
            for kind in each._kinds.values():
                assert not [name for name, ends in kind.items() if ends <= 0]
        return original(self, *asked)

    wrap(patch, leases.LeaseTable, "judge", judge)


def naming_all_as_the_call_does(patch: Patch) -> None:
    """An acquisition that names its lease gets the call's."""
    wrap(
        patch,
        leases.LeaseTable,
        "charge",
        lambda charge, self, op, now, lease: charge(
            self, op._replace(lease="") if lease else op, now, lease
        ),
    )
