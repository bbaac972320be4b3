"""What the results of a call's operations say: statuses, and the limit that headers show. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd.decision import Decision, longest_wait, make_decision, tightest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.calls import Call, Part
    from ratelimitd.model import Standing
    from ratelimitd.stores.ports import Taken

STORE_UNAVAILABLE = "store_unavailable"
"""`Decision.reason` of a call that is denied because the store cannot be asked."""


def settle(call: Call, taken: Taken, lease: str) -> Decision:
    """Read the results of a call's operations: statuses, and the limit that headers show."""
    now, passed, standings, _ = taken
    if not passed or call.refusal:
        return _denied(call, taken)
    firsts, listed, showable = call.firsts, call.listed, call.showable
    shown: Standing | None = None
    if len(showable) == 1:
        shown = standings[showable[0]]
    elif showable:
        shown = tightest([standings[index] for index in showable])
    told: list[Standing | None]
    told = [standings[index] for index in firsts] if standings else [None] * len(firsts)
    for at, visible in call.others:
        told[at] = tightest([standings[index] for index in visible]) if visible else None
    every = [standings[index] for index in listed] if listed else ()
    return make_decision(
        (now, True, told, shown, every, call.families, "", lease, "", standings, call.ops, True, ())
    )


def settle_unasked(call: Call, *, allowed: bool) -> Decision:
    """Answer a call without counts: no limit is shown, because nobody knows how it stands.

    A refused key stays refused. Otherwise, where it is not allowed, those descriptors are denied
    that a limit of their own could deny; without any the call is allowed all the same.
    """
    judged = set(call.judged)
    allowed = allowed or not judged
    fails = {
        at
        for at, part in enumerate(call.parts)
        if part.refused or not (allowed or judged.isdisjoint(part.visible))
    }
    reason = "" if call.refusal or allowed else STORE_UNAVAILABLE
    allowed = allowed and not call.refusal
    told = [None] * len(call.parts)
    answer = (allowed, told, None, (), (), call.refusal, "", reason)
    return Decision(0, *answer, ops=call.ops, counted=False, fails=fails)


def _denied(call: Call, taken: Taken) -> Decision:
    now, passed, standings, _ = taken
    told = [_shown_of(part, standings) for part in call.parts]
    fails = {
        at
        for at, (part, one) in enumerate(zip(call.parts, told, strict=True))
        if part.refused or (one is not None and not one.passes)
    }
    shown = None
    if not call.refusal:
        assert not passed
        failing = [standings[index] for index in call.judged if not standings[index].passes]
        shown = longest_wait(failing)
    listed = [standings[index] for index in call.listed]
    answer = (False, told, shown, listed, call.families, call.refusal)
    return Decision(now, *answer, every=standings, ops=call.ops, fails=fails)


def _shown_of(part: Part, standings: Sequence[Standing]) -> Standing | None:
    """Return the limit that denies a part, else its tightest."""
    if part.refused or not part.visible:
        return None
    own = [standings[index] for index in part.visible]
    failing = [standing for standing in own if not standing.passes]
    return longest_wait(failing) if failing else tightest(own)
