"""Limits from their short and long forms: defaults, names, and what contradicts itself.

Equal limits become one object, however many keys have them. Everything that `model.Limit` would
raise for is reported here first, where it stands.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd import keys
from ratelimitd.model import (
    MAX_COUNT,
    OWN,
    Algorithm,
    Limit,
    Meter,
    MeterKind,
    usual_algorithm,
    usual_name,
)
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.reach import Scope, check_limit
from ratelimitd.policy.spec import CONTROL_ENTRIES
from ratelimitd.policy.tree import Word, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ratelimitd.policy.checks import Measure
    from ratelimitd.policy.faults import Report
    from ratelimitd.policy.shape import LimitPart
    from ratelimitd.windows import Window

_PARTED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+/[0-9a-z]+")
"""`5,000/hour` where a comma parts the items of a list, so that it is read as 5 and as 000/hour."""


class Placed(NamedTuple):
    """A limit, and where it stands."""

    limit: Limit
    at: int
    width: int


class Meters(NamedTuple):
    """The meters of a policy."""

    known: Mapping[str, Meter]
    doubtful: frozenset[str]
    """Those whose rule is faulty; what uses them is not judged."""


class Draft(NamedTuple):
    """All that makes a limit: the fields of `model.Limit`, which is compared by identity."""

    name: str
    meter: Meter
    amount: int
    window: Window | None
    algorithm: Algorithm
    burst: int = 0
    when: tuple[tuple[str, str], ...] = ()
    per: tuple[str, ...] = OWN
    shadow: bool = False


class Limits:
    """Makes the limits of one policy."""

    def __init__(self, scope: Scope, meters: Meters) -> None:
        self.scope = scope
        self.doubtful = False
        """Whether some limit could not be made, so that what is missing may be that one."""
        self._meters = meters
        self._report = scope.report
        self._made: dict[Draft, Limit] = {}

    def short(self, by_meter: Mapping[Word, Sequence[Measure | None]]) -> list[Placed]:
        """Return the limits of METER: RATE and METER: [RATE, …]."""
        placed = []
        for word, measures in by_meter.items():
            meter = self._meter(word)
            if meter is not None:
                check_limit(self.scope, {}, word)
            for measure in measures:
                if meter is None or measure is None or not self._judge(meter, measure):
                    self.doubtful = True
                else:
                    placed.append(self._place(measure, _draft(meter, measure)))
        return placed

    def long(self, parts: Iterable[LimitPart]) -> list[Placed]:
        """Return the limits of the long form."""
        made = [self._long(part) for part in parts]
        self.doubtful = self.doubtful or None in made
        return [placed for placed in made if placed is not None]

    def _long(self, part: LimitPart) -> Placed | None:
        meter = None if part.meter is None else self._meter(part.meter)
        measure = self._given(part)
        when = {name: said for name, said in part.when.items() if said is not None}
        if part.meter is not None and meter is not None:
            check_limit(self.scope, when, part.meter)
        per = self._per(part.per)
        if meter is None or measure is None or not self._judge(meter, measure):
            return None
        algorithm = self._algorithm(part, meter, measure)
        if algorithm is None or (burst := self._burst(part, algorithm, measure)) is None:
            return None
        if not self._fits(measure, algorithm, burst):
            return None
        draft = _draft(meter, measure)._replace(
            algorithm=algorithm,
            burst=burst,
            when=tuple(sorted((str(name), str(said)) for name, said in when.items())),
            per=per,
            shadow=bool(part.shadow),
        )
        if part.name is not None:
            draft = draft._replace(name=str(part.name))
        return self._place(measure, draft)

    def _meter(self, word: Word) -> Meter | None:
        meter = self._meters.known.get(word)
        if meter is None and word not in self._meters.doubtful:
            text = f"`{printable(word)}` is no meter; name it under `meters`, or mend its spelling"
            close = nearest(word, self._meters.known)
            self._report.fault("unknown-meter", word.at, text, width=len(word), nearest=close)
        return meter

    def _given(self, part: LimitPart) -> Measure | None:
        """Return what stands as `rate` or as `amount`, which must be one of the two."""
        given = part.model_fields_set & {"rate", "amount"}
        if len(given) == 1:
            if part.rate is not None and part.rate.window is None:
                text = "A rate has a window, as `100/hour`; what is held has an `amount`"
                self._report.fault("needs-window", part.rate.at, text, width=part.rate.width)
                return None
            return part.rate or part.amount
        if part.meter is not None:
            which = "either, not both" if given else "one of the two"
            text = f"A limit has a `rate`, or an `amount` if it is held: write {which}"
            self._report.fault("rate-or-amount", part.meter.at, text, width=len(part.meter))
        return None

    def _judge(self, meter: Meter, measure: Measure) -> bool:
        """Say whether the meter and the window go together."""
        held = meter.kind is MeterKind.LEASE
        if held == (measure.window is None):
            return True
        if held:
            text = f"`{meter.name}` is held, not counted in windows; write the amount alone"
            code, close = "needs-amount", str(measure.amount)
        else:
            text = f"`{meter.name}` is counted in windows; write AMOUNT/WINDOW"
            parted = _PARTED.match(self._report.text.text, measure.at)
            code = "needs-window"
            close = parted[0].replace(",", "_") if parted else f"{measure.amount}/hour"
        self._report.fault(code, measure.at, text, width=measure.width, nearest=close)
        return False

    def _algorithm(self, part: LimitPart, meter: Meter, measure: Measure) -> Algorithm | None:
        word = part.algorithm
        if word is None:
            return None if "algorithm" in part.model_fields_set else usual_algorithm(meter)
        algorithm = Algorithm(word)
        text = ""
        if (meter.kind is MeterKind.LEASE) != (algorithm is Algorithm.LEASE):
            text = f"`{meter.name}` cannot be counted so; leave `algorithm` out"
        elif algorithm is Algorithm.TOKEN_BUCKET and measure.window and measure.window.months:
            text = "A token bucket refills evenly, and months do not last evenly; write `30d`"
        elif algorithm is Algorithm.TOKEN_BUCKET and not measure.amount:
            text = "A bucket that never refills is no bucket; leave `algorithm` out"
        if text:
            self._report.fault("bad-algorithm", word.at, text, width=len(word))
        return None if text else algorithm

    def _burst(self, part: LimitPart, algorithm: Algorithm, measure: Measure) -> int | None:
        """Return the bucket's size, 0 where there is no bucket, None if it is faulty."""
        bucket, burst = algorithm is Algorithm.TOKEN_BUCKET, part.burst
        if burst is None:
            default = measure.amount if bucket else 0
            return None if "burst" in part.model_fields_set else default
        text = "" if bucket else "Only token buckets have a burst; add `algorithm: token_bucket`"
        if bucket and not burst.amount:
            text = "A bucket holds at least 1; write a larger burst, or leave it out"
        if text:
            self._report.fault("bad-burst", burst.at, text, width=burst.width)
        return None if text else burst.amount

    def _fits(self, measure: Measure, algorithm: Algorithm, burst: int) -> bool:
        """Say whether counting stays exact; only long windows with large amounts are too big."""
        window = measure.window
        if window is None or algorithm is Algorithm.FIXED_WINDOW:
            return True
        most = MAX_COUNT // window.longest_us
        if measure.amount + burst <= most:
            return True
        what = "amount and burst together" if burst else "the amount"
        text = f"As `{algorithm.value}` over `{window.name}` {what} may be {most:_} at most"
        self._report.fault("too-big", measure.at, text, width=measure.width)
        return False

    def _per(self, names: Sequence[Word | None]) -> tuple[str, ...]:
        """Return the names in canonical order, for their order is no difference."""
        seen: dict[str, Word] = {}
        for name in names:
            if name is None:
                continue
            if name in seen:
                text = f"`{printable(name)}` stands twice; remove one"
                self._report.fault("duplicate-per", name.at, text, width=len(name))
            elif name == self.scope.entry:
                text = "This would write API keys into the store; `subject` is the key's hash"
                self._report.fault("key-in-per", name.at, text, width=len(name), nearest="subject")
            elif name in CONTROL_ENTRIES:
                text = f"`{name}` steers the limiter; counters are better shared by other entries"
                self._report.warn("control-entry", name.at, text, width=len(name))
            seen.setdefault(str(name), name)
        return tuple(sorted(seen, key=lambda name: (name != "subject", name)))

    def _place(self, measure: Measure, draft: Draft) -> Placed:
        limit = self._made.get(draft)
        if limit is None:
            limit = self._made[draft] = Limit(**draft._asdict())
        return Placed(limit, measure.at, measure.width)


def _draft(meter: Meter, measure: Measure) -> Draft:
    """Return what the short form says."""
    window = measure.window
    return Draft(
        name=usual_name(meter, window),
        meter=meter,
        amount=measure.amount,
        window=window,
        algorithm=usual_algorithm(meter),
    )


def distinct(report: Report, placed: Iterable[Placed]) -> None:
    """Report limits of one caller that would share their counters, or their name."""
    families: dict[str, Placed] = {}
    names: dict[str, Placed] = {}
    for one in placed:
        first = families.setdefault(keys.family("", one.limit), one)
        namesake = names.setdefault(one.limit.name, one)
        if first is not one:
            text = "This limit would count on the same counters as another; remove one of them"
            report.fault("duplicate-limit", one.at, text, width=one.width, other=first.at)
        elif namesake is not one:
            text = f"Two limits are named `{one.limit.name}`; give one a `name` of its own"
            report.fault("duplicate-name", one.at, text, width=one.width, other=namesake.at)
