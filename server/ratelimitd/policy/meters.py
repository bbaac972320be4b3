"""How a policy file says what a meter is: one word, or a table of a few.

    requests: prepaid
    tokens: {kind: postpaid, reservation: 15m, on_expiry: release}
    concurrent: {lease: 15m}

A faulty rule is reported where it stands and becomes None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.meters import RESERVED_US, MeterKind, OnExpiry
from ratelimitd.policy import rates
from ratelimitd.policy.checks import any_text, misread, one_of, report_of, width_of, wrong_type
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.tree import Table, Word, printable

if TYPE_CHECKING:
    from pydantic import ValidationInfo

    from ratelimitd.policy.faults import Report

CHARGED = (MeterKind.PREPAID.value, MeterKind.POSTPAID.value)
EXPIRIES = tuple(each.value for each in OnExpiry)
DEFAULT_LEASE_US = 15 * 60 * 1_000_000
"""How long a lease lives unless the meter says otherwise, microseconds."""

_HELD = ("lease",)
_COUNTED = ("kind", "reservation", "on_expiry")
_FOR_HOW_LONG = "A meter that is held says for how long: `{lease: 15m}`"


class MeterRule(NamedTuple):
    """How a meter is charged."""

    kind: MeterKind
    lease_us: int = 0
    reservation_us: int = RESERVED_US
    on_expiry: OnExpiry = OnExpiry.KEEP


def meter_rule(value: object, info: ValidationInfo) -> MeterRule | None:
    """Return how a meter is charged."""
    report = report_of(info)
    if isinstance(value, Table):
        counted = not value.keys().isdisjoint(_COUNTED) and "lease" not in value
        return _counted(value, report, info) if counted else _held(value, report)
    word = any_text(value, info)
    if word == MeterKind.LEASE.value:
        report.fault("unknown-value", word.at, _FOR_HOW_LONG, width=width_of(word))
        return None
    chosen = None if word is None else one_of(report, word, CHARGED)
    return None if chosen is None else MeterRule(MeterKind(chosen))


def _held(value: Table, report: Report) -> MeterRule | None:
    _only(value, _HELD, "a meter that is held has `lease` only", report)
    said = _said(value, "lease")
    if said is None:
        report.fault("missing-key", value.at, _FOR_HOW_LONG)
        return None
    length = _length(said, "A lease", report)
    return None if length is None else MeterRule(MeterKind.LEASE, length)


def _counted(value: Table, report: Report, info: ValidationInfo) -> MeterRule | None:
    names = "a meter that is counted has `kind`, `reservation` and `on_expiry`"
    _only(value, _COUNTED, names, report)
    kind, lasts, expiry = (_said(value, name) for name in _COUNTED)
    if kind is None:
        text = "Say how the meter is charged: `kind: prepaid` or `kind: postpaid`"
        report.fault("missing-key", value.at, text)
    rule = MeterRule(MeterKind.PREPAID)
    faulty = kind is None
    if kind is not None:
        word = any_text(kind, info)
        chosen = None if word is None else one_of(report, word, CHARGED)
        faulty = chosen is None
        rule = rule._replace(kind=MeterKind(chosen or CHARGED[0]))
    if lasts is not None:
        length = _length(lasts, "A reservation", report)
        faulty = faulty or length is None
        rule = rule._replace(reservation_us=length or RESERVED_US)
    if expiry is not None:
        word = any_text(expiry, info)
        chosen = None if word is None else one_of(report, word, EXPIRIES)
        faulty = faulty or chosen is None
        rule = rule._replace(on_expiry=OnExpiry(chosen or OnExpiry.KEEP.value))
    return None if faulty else rule


def _said(value: Table, wanted: str) -> object | None:
    return next((item for name, item in value.items() if name == wanted), None)


def _only(value: Table, known: tuple[str, ...], names: str, report: Report) -> None:
    """Report each word that means nothing in a table."""
    for name in value:
        if name not in known:
            text = f"`{printable(name)}` means nothing here; {names}"
            close = nearest(name, known)
            report.fault("unknown-key", name.at, text, width=len(name), nearest=close)


def _length(said: object, what: str, report: Report) -> int | None:
    if not isinstance(said, Word) or said.nothing:
        wrong_type(report, said, "a length of time as `15m`")
        return None
    try:
        return rates.read_lasting(said, what)
    except rates.MisreadError as error:
        misread(report, said, error)
        return None
