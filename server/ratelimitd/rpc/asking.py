"""What services ask, as questions: reads and checks the requests of LimiterService.

Every mistake is found at once and named by its field, before anything is counted. Unlike Envoy's
requests these are made by programs, so that a domain or a meter that no policy has is a mistake
and not a call without limits. What was sent is never repeated in a text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from google.protobuf.message import DecodeError

from ratelimitd._gen.ratelimitd.v1.limiter_pb2 import Ask, DecideRequest
from ratelimitd.errors import InvalidFieldsError
from ratelimitd.keys import read_subject
from ratelimitd.memo import Memo
from ratelimitd.model import MAX_COUNT, Descriptor, Kind, Meter, MeterKind, Question
from ratelimitd.policy.spec import CONTROL_ENTRIES, DEFAULT_METER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimitd._gen.ratelimitd.v1.limiter_pb2 import (
        Amount,
        ReleaseRequest,
        RenewRequest,
        ReserveRequest,
        SettleRequest,
    )
    from ratelimitd.model import Subject
    from ratelimitd.policy.matcher import Matcher

    Request = DecideRequest | ReleaseRequest | RenewRequest | ReserveRequest

MOST_ASKS = 64
"""Asks in one call."""
MOST_ENTRIES = 60
"""Entries in one call: what a descriptor may have, less our own."""
LARGEST_ENTRIES = 16_384
"""Characters of all entries of a call together: each ask reads them anew."""
LONGEST_KEY = 8_192
"""Bytes of an API key; no server takes a longer header."""
REMEMBERED = 4_096
"""Questions per generation of their cache; two generations."""
LONGEST_REMEMBERED = 1_024
"""Bytes of a request that is worth remembering."""
NO_REQUEST = ("", "the bytes are not the method's request")
"""The violation of bytes that cannot be read."""
LONGEST_LEASE = 256
"""Characters of a lease's id."""

_TOO_MUCH = f"at most {MAX_COUNT}"

Violation = tuple[str, str]


class Caller(NamedTuple):
    """Who asks, and what else the policy looks at."""

    matcher: Matcher
    entries: tuple[tuple[str, str], ...]
    subject: Subject | None

    def asking(self, meter: str, kind: int, hits: int, lease: str = "") -> Descriptor:
        """Return what does one thing on one meter."""
        control = (("meter", meter), ("lease", lease)) if lease else (("meter", meter),)
        return Descriptor(
            entries=control + self.entries, hits=hits, kind=kind, subject=self.subject
        )

    def question(self, descriptors: Iterable[Descriptor]) -> Question:
        """Return the call that asks all of this."""
        return Question(self.matcher.policy.domain, tuple(descriptors))


class Questions:
    """What `Decide` is asked, remembered by its bytes: as long as the policies are the same.

    Callers repeat themselves; and what a question's limits were last is known for an outage.
    """

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._matchers: Mapping[str, Matcher] = {}
        self._memo: Memo[bytes, Question] = Memo(remembered)

    def read(self, wire: bytes, matchers: Mapping[str, Matcher]) -> Question:
        """Return the question of a request's bytes. Raises `InvalidFieldsError`."""
        if matchers is not self._matchers:
            self._matchers, self._memo = matchers, Memo(self._remembered)
        found = self._memo.get(wire) or self._memo.recall(wire)
        if found is None:
            try:
                request = DecideRequest.FromString(wire)
            except DecodeError as error:
                raise InvalidFieldsError.of(NO_REQUEST) from error
            found = decide(request, matchers)
            if len(wire) <= LONGEST_REMEMBERED:
                self._memo.put(wire, found)
        return found


def decide(request: DecideRequest, matchers: Mapping[str, Matcher]) -> Question:
    """Return what is asked; nothing in particular is one of `requests`."""
    faults: list[Violation] = []
    caller = _caller(request, matchers, faults)
    if len(request.asks) > MOST_ASKS:
        faults.append(("asks", f"at most {MOST_ASKS} in one call"))
    elif caller is not None:
        asks = request.asks or (Ask(),)
        asked = [_asked(caller, at, ask, faults) for at, ask in enumerate(asks)]
        if not faults:
            return caller.question(caller.asking(each[0].name, *each[1:]) for each in asked if each)
    raise InvalidFieldsError.of(*faults)


def lease(
    request: ReleaseRequest | RenewRequest, kind: int, matchers: Mapping[str, Matcher]
) -> Question | None:
    """Return what releases or renews a lease on all meters that are held; None without such."""
    faults: list[Violation] = []
    caller = _caller(request, matchers, faults)
    if not request.lease_id:
        faults.append(("lease_id", "say which lease; the answer that granted it has its id"))
    elif len(request.lease_id) > LONGEST_LEASE:
        faults.append(("lease_id", "no lease has such an id"))
    if faults or caller is None:
        raise InvalidFieldsError.of(*faults)
    meters = caller.matcher.policy.meters.values()
    held = [meter.name for meter in meters if meter.kind is MeterKind.LEASE]
    if not held:
        return None
    return caller.question(caller.asking(name, kind, 1, request.lease_id) for name in held)


def reserve(request: ReserveRequest, matchers: Mapping[str, Matcher]) -> Question:
    """Return what charges an estimate, on whichever kind of meter."""
    faults: list[Violation] = []
    caller = _caller(request, matchers, faults)
    if not 1 <= len(request.estimates) <= MOST_ASKS:
        faults.append(("estimates", f"1 to {MOST_ASKS} in one call"))
    elif caller is not None:
        names = [_estimate(caller, *each, faults) for each in enumerate(request.estimates)]
        if len(set(names)) < len(names):
            faults.append(("estimates", "a meter stands twice; add the two up"))
        if not faults:
            pairs = zip(names, request.estimates, strict=True)
            return caller.question(caller.asking(n, Kind.CHARGE, e.amount) for n, e in pairs)
    raise InvalidFieldsError.of(*faults)


def actual(request: SettleRequest) -> dict[str, int]:
    """Return the real amounts by their meters; whether a reservation has them is not known here."""
    faults: list[Violation] = []
    if not request.reservation_id:
        text = "say which reservation; the answer that granted it has its id"
        faults.append(("reservation_id", text))
    found: dict[str, int] = {}
    for at, each in enumerate(request.actual[: MOST_ASKS + 1]):
        if each.amount > MAX_COUNT:
            faults.append((f"actual[{at}].amount", _TOO_MUCH))
        found[each.meter or DEFAULT_METER] = each.amount
    if len(request.actual) > MOST_ASKS:
        faults.append(("actual", f"at most {MOST_ASKS} in one call"))
    elif len(found) < len(request.actual):
        faults.append(("actual", "a meter stands twice; add the two up"))
    if faults:
        raise InvalidFieldsError.of(*faults)
    return found


def _caller(
    request: Request, matchers: Mapping[str, Matcher], faults: list[Violation]
) -> Caller | None:
    """Return who asks; None where there is a fault that leaves nothing to check further."""
    matcher = matchers.get(request.domain)
    if matcher is None:
        text = "no policy has this domain" if request.domain else "name the domain of a policy"
        faults.append(("domain", text))
        return None
    rule = matcher.policy.subject
    reserved = CONTROL_ENTRIES | {rule.entry}
    if len(request.entries) > MOST_ENTRIES:
        faults.append(("entries", f"at most {MOST_ENTRIES} in one call"))
    if sum(len(name) + len(value) for name, value in request.entries.items()) > LARGEST_ENTRIES:
        faults.append(("entries", f"at most {LARGEST_ENTRIES} characters in all"))
    faults += [
        (f"entries[{name}]", "the request has a field of its own for this; leave the entry out")
        for name in sorted(reserved.intersection(request.entries))
    ]
    entries = tuple(request.entries.items())
    which = request.WhichOneof("caller")
    if which == "subject":
        subject = read_subject(request.subject)
        if subject is not None:
            return Caller(matcher, entries, subject)
        faults.append(("subject", "a key's hash is 32 hexadecimal digits"))
    elif which == "api_key":
        entries = ((rule.entry, request.api_key), *entries)
        if len(request.api_key) > LONGEST_KEY:
            faults.append(("api_key", f"at most {LONGEST_KEY} characters"))
        elif not matcher.callers.api_key({rule.entry: request.api_key}):
            faults.append(("api_key", "this holds no key; callers without one leave it out"))
    return Caller(matcher, entries, None)


def _meter(caller: Caller, name: str, field: str, faults: list[Violation]) -> Meter | None:
    meter = caller.matcher.policy.meters.get(name or DEFAULT_METER)
    if meter is None:
        faults.append((field, "the domain's policy has no such meter"))
    return meter


def _asked(
    caller: Caller, at: int, ask: Ask, faults: list[Violation]
) -> tuple[Meter, int, int] | None:
    """Return what an ask does: its meter, a `Kind`, and how much."""
    meter = _meter(caller, ask.meter, f"asks[{at}].meter", faults)
    amount = ask.amount if ask.HasField("amount") else None
    if amount is not None and amount > MAX_COUNT:
        faults.append((f"asks[{at}].amount", _TOO_MUCH))
    elif meter is not None:
        if meter.kind is MeterKind.LEASE and amount is not None and amount > 1:
            text = "a lease is one unit; ask once for each"
            faults.append((f"asks[{at}].amount", text))
        return meter, *_act(meter, amount, peek=ask.peek)
    return None


def _act(meter: Meter, amount: int | None, *, peek: bool) -> tuple[int, int]:
    """Say what is done and how much of it."""
    if peek or amount == 0 or (amount is None and meter.kind is MeterKind.POSTPAID):
        return Kind.PEEK, amount or 1
    if meter.kind is MeterKind.LEASE:
        return Kind.ACQUIRE, 1
    return (Kind.REPORT if meter.kind is MeterKind.POSTPAID else Kind.CHARGE), amount or 1


def _estimate(caller: Caller, at: int, estimate: Amount, faults: list[Violation]) -> str:
    """Return the name of an estimate's meter."""
    meter = _meter(caller, estimate.meter, f"estimates[{at}].meter", faults)
    if meter is not None and meter.kind is MeterKind.LEASE:
        text = "this meter is held and not counted: `Decide` acquires a lease of it"
        faults.append((f"estimates[{at}].meter", text))
    if not 1 <= estimate.amount <= MAX_COUNT:
        text = _TOO_MUCH if estimate.amount else "estimate at least 1"
        faults.append((f"estimates[{at}].amount", text))
    return estimate.meter or DEFAULT_METER
