"""The words of the project as frozen values with their invariants.

Knows nothing of policy files, stores, protobuf or clocks. Time is integer microseconds since the
Unix epoch; counts are integers that saturate at `MAX_COUNT`, the largest integer that a double (and
so Redis's Lua) holds exactly.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, NewType

from ratelimitd.meters import Meter, MeterKind
from ratelimitd.windows import Span, Unit, Window

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FOREVER",
    "MAX_COUNT",
    "MAX_UINT32",
    "NEVER",
    "OVERFLOW",
    "OWN",
    "Algorithm",
    "Counter",
    "Descriptor",
    "Kind",
    "Limit",
    "Meter",
    "MeterKind",
    "Op",
    "Override",
    "Question",
    "Span",
    "Standing",
    "Subject",
    "Unit",
    "Window",
    "make_op",
    "make_standing",
    "usual_algorithm",
    "usual_name",
]

OVERFLOW = b"~overflow"
"""Key of the counter that newcomers share where there is no room for counters of their own."""
MAX_COUNT = 2**53 - 1
"""Counts saturate here, in Python and in Lua alike."""
MAX_UINT32 = 2**32 - 1
"""What the wire's limit and remaining fields can hold."""
NEVER = -1
"""`Standing.retry_at` of a request that can never fit its limit."""
FOREVER = 2**62
"""A wait longer than any other, for comparing with `NEVER`."""
OWN = ("subject",)
"""`Limit.per` of a limit that each key has for itself."""

Subject = NewType("Subject", bytes)
"""Who is limited: the keyed hash of an API key (16 bytes), never the key."""


class Algorithm(enum.Enum):
    """How a limit counts; each has a module of the same name in `algorithms/`."""

    FIXED_WINDOW = "fixed_window"
    SLIDING_WINDOW = "sliding_window"
    TOKEN_BUCKET = "token_bucket"  # noqa: S105 - the field's name for it, not a password
    LEASE = "lease"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Limit:
    """A meter, an amount, a window, an algorithm. Compared by identity: one object, one limit."""

    name: str
    """Public name: `requests/hour`, `concurrent`, or the policy's own."""
    meter: Meter
    """What it counts."""
    amount: int
    """Hits allowed in a window, or leases held at once. 0 denies everything (no token bucket)."""
    window: Window | None
    """The window; None only for leases."""
    algorithm: Algorithm = Algorithm.FIXED_WINDOW
    """How it counts."""
    burst: int = 0
    """Token buckets: the bucket's size, hits. 0 elsewhere."""
    when: tuple[tuple[str, str], ...] = ()
    """Entries that must match for the limit to apply: (name, pattern with `*`)."""
    per: tuple[str, ...] = OWN
    """Whose values share a counter."""
    shadow: bool = False
    """Counted and reported, never denies, never shown in headers."""

    def __post_init__(self) -> None:
        lease = self.algorithm is Algorithm.LEASE
        if lease != (self.window is None) or lease != (self.meter.kind is MeterKind.LEASE):
            msg = f"limit {self.name}: leases, and only they, have no window"
            raise ValueError(msg)
        if not 0 <= self.amount <= MAX_COUNT:
            msg = f"limit {self.name}: amount {self.amount} is not within 0..{MAX_COUNT}"
            raise ValueError(msg)
        if (self.algorithm is Algorithm.TOKEN_BUCKET) != (self.burst > 0):
            msg = f"limit {self.name}: token buckets, and only they, have a positive burst"
            raise ValueError(msg)
        if self.burst and not self.amount:
            msg = f"limit {self.name}: a token bucket of 0 per window would let its burst pass"
            raise ValueError(msg)
        if not self.fits():
            msg = f"limit {self.name}: amount times window is over {MAX_COUNT}"
            raise ValueError(msg)

    @property
    def capacity(self) -> int:
        """The most hits that can be had at once: `burst` for token buckets, else `amount`."""
        return self.burst or self.amount

    def fits(self) -> bool:
        """Whether this limit's arithmetic stays exact in 53 bits."""
        if self.window is None or self.algorithm is Algorithm.FIXED_WINDOW:
            return True
        if self.algorithm is Algorithm.TOKEN_BUCKET and self.window.months:
            return False
        return (self.amount + self.burst) * self.window.longest_us <= MAX_COUNT


def usual_name(meter: Meter, window: Window | None) -> str:
    """Return the name of a limit that nobody gave one: `requests/hour`, `concurrent`."""
    return f"{meter.name}/{window.name}" if window else meter.name


def usual_algorithm(meter: Meter) -> Algorithm:
    """Return how a limit counts where nobody said how."""
    return Algorithm.LEASE if meter.kind is MeterKind.LEASE else Algorithm.FIXED_WINDOW


class Counter:
    """One count in a store: the identity of a limit, with the values that share it.

    Never the tier, the amount, or the limit's place in the file: an upgrade keeps what was used.
    """

    __slots__ = ("bounded", "family", "key", "overflow", "tag")

    def __init__(
        self,
        family: str,
        key: bytes,
        *,
        bounded: bool,
        overflow: bytes = OVERFLOW,
        tag: bytes = b"",
    ) -> None:
        self.family = family
        """Domain, meter, window, algorithm, `when` and the names in `per`, spelled canonically."""
        self.key = key
        """The values of `per`, escaped; a long one is a digest."""
        self.bounded = bounded
        """Whether callers can invent such counters at will, so that there must be a bound."""
        self.overflow = overflow
        """Key of the counter that stands in for it where it is new and the bound is reached."""
        self.tag = tag
        """Counters of one tag are kept together where a store has several servers; empty: by key.
        Never part of the identity."""


class Kind:
    """What an operation does to its counter. Those up to PEEK are judged, the rest always done.

    Plain integers: comparing members of an enum costs more than the arithmetic of a decision.
    """

    CHARGE: Final = 0
    """Use hits if they fit, together with the other charges of the call."""
    ACQUIRE: Final = 1
    """Hold one unit of a lease meter, together with the other charges of the call."""
    PEEK: Final = 2
    """Would that many hits fit? Takes part in the call's verdict, changes nothing."""
    REPORT: Final = 3
    """Hits that were already used: always applied, may pass the amount."""
    REFUND: Final = 4
    """Give back hits of the current window (see `Op.as_of`), not below 0."""
    RELEASE: Final = 5
    """Give back a lease by its id; once, however often it comes."""
    RENEW: Final = 6
    """Let a held lease live its lifetime from now on; one that is not held stays so."""


class Op(NamedTuple):
    """One operation on one counter."""

    kind: int
    """What to do: one of `Kind`."""
    counter: Counter
    """On what."""
    limit: Limit
    """The limit to judge by: amount, window, algorithm."""
    hits: int
    """How much; for a peek, how much must fit (at least 1)."""
    prior: int = 0
    """For CHARGE: hits of this call's earlier charges on the counter, which must fit as well (those
    of shadow limits come last: `stores.stacking`)."""
    lease: str = ""
    """The lease's id, for ACQUIRE, RELEASE and RENEW."""
    as_of: int = 0
    """For REFUND: when the hits were charged that it gives back. Nothing is given back of a window
    that is over. 0: they were charged in the present one."""


make_op: Callable[[tuple[int, Counter, Limit, int, int, str, int]], Op] = partial(tuple.__new__, Op)
"""Make an `Op` of its seven fields in their order: a third of `_replace`'s time."""


class Standing(NamedTuple):
    """How a limit stands for a call: the result of one operation."""

    limit: Limit
    """Which limit."""
    passes: bool
    """Whether this operation fits; for RENEW, whether the lease was held. True for reports,
    refunds and releases."""
    before: int
    """Hits used before the operation's call, rounded up. What the call tells has happened before
    it: reports, refunds, releases and renewals come first."""
    after: int
    """Hits used after it; equals `before` where nothing was charged."""
    retry_at: int
    """First instant at which the call would pass if nobody else called, or NEVER."""
    reset_at: int
    """First instant at which the limit is whole again."""

    @property
    def remaining(self) -> int:
        """Hits left, never negative."""
        left = self.limit.capacity - self.after
        return left if left > 0 else 0


make_standing: Callable[[tuple[Limit, bool, int, int, int, int]], Standing] = partial(
    tuple.__new__, Standing
)
"""Make a `Standing` of its six fields in their order: a third of the constructor's time."""


class Override(NamedTuple):
    """A limit that a descriptor brings along (Envoy's `limit` field)."""

    amount: int
    """`requests_per_unit`."""
    window: Window
    """`unit` times `unit_multiplier` (Envoy 1.40)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A list of key=value entries that Envoy sends, and how much it asks for."""

    entries: tuple[tuple[str, str], ...] = field(repr=False)
    """In the order sent. Bytes that are not UTF-8 stand as lone surrogates. May hold API keys."""
    hits: int | None = None
    """Its own `hits_addend`: 0 is a peek, None means the request's."""
    negative: bool = False
    """`is_negative_hits`: gives back instead of taking."""
    override: Override | None = None
    """Its own limit, honoured only where the policy says so."""
    subject: Subject | None = field(default=None, repr=False)
    """Who asks, where the caller is not named by an entry: a registered key's hash, or any."""
    kind: int | None = field(default=None, repr=False)
    """What to do with `hits`: one of `Kind`; None: what entries and hits say, as for Envoy."""


class Question:
    """One call: what `ShouldRateLimit` was asked. Immutable but for what the limiter keeps."""

    __slots__ = ("descriptors", "domain", "hits", "last", "plan")

    def __init__(self, domain: str, descriptors: tuple[Descriptor, ...], hits: int = 0) -> None:
        self.domain = domain
        """Namespace of limits."""
        self.descriptors = descriptors
        """What is asked, decided together."""
        self.hits = hits
        """Hits for descriptors without their own; 0 means 1."""
        self.plan: object = None
        """The limiter's own: what the question means under the policy of one generation."""
        self.last: object = None
        """The limiter's own: what came of that plan the last time, for when the store is away."""
