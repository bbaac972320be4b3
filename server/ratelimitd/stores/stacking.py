"""How the charges of one call on one counter add up: the rule of `Op.prior`. Pure.

Calls are stacked when they are compiled; a store stacks anew where it sends newcomers to a counter
that they share.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

from ratelimitd.model import Kind, Op

if TYPE_CHECKING:
    from collections.abc import Sequence


def stacked(ops: Sequence[Op]) -> tuple[Op, ...]:
    """Tell each charge what the call charges to its counter before it.

    Charges of shadow limits stand behind all others of their counter, wherever the call has them:
    they may not fit, and then are not charged, so that nothing else may be denied for them. Peeks
    ask for themselves alone, so that their place in the call changes no verdict. So do
    acquisitions: all of one call on one counter are the same lease.
    """
    made = list(ops)
    seen: Tally[tuple[str, bytes]] = Tally()
    charges = [index for index, op in enumerate(ops) if op.kind == Kind.CHARGE]
    for index in sorted(charges, key=lambda index: ops[index].limit.shadow):
        op, identity = ops[index], identity_of(ops[index])
        if op.prior != seen[identity]:
            made[index] = op._replace(prior=seen[identity])
        seen[identity] += op.hits
    return tuple(made)


def identity_of(op: Op) -> tuple[str, bytes]:
    """Return what tells the operation's counter from all others."""
    return op.counter.family, op.counter.key
