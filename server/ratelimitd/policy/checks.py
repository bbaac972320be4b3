"""Checks of single values in a policy file, each with what it says to the file's author.

A faulty value is reported where it stands and becomes None, so that one pass finds all faults.
Knows no relation between values; `compile` does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pydantic import ValidationInfo

from ratelimitd.keys import LONGEST_VALUE, read_subject, too_long
from ratelimitd.policy import rates
from ratelimitd.policy.faults import Report, nearest
from ratelimitd.policy.tree import Items, Table, Word, printable
from ratelimitd.policy.tree import word as made
from ratelimitd.windows import Window  # noqa: TC001 - pydantic resolves what Measure is made of

Check = Callable[[object, ValidationInfo], Word | None]

LAST_DAY = 31
"""Of the longest month."""
NAME_PATTERN = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
"""Of meters, tiers and attributes: fit for URLs, metrics and entries."""
LIMIT_PATTERN = r"[!#-\[\]-~]([ !#-\[\]-~]{0,62}[!#-\[\]-~])?"
"""Of limits' names: fit for a quoted string in a header."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][+-]?[0-9]+)?")
_TRUE, _FALSE = frozenset({"true", "True", "TRUE"}), frozenset({"false", "False", "FALSE"})
_LAX = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}

ABSENT = made("")
"""Stands where a required word is missing, which was reported."""


class Measure(NamedTuple):
    """A rate or an amount, where it stands."""

    amount: int
    window: Window | None
    at: int
    width: int


def report_of(info: ValidationInfo) -> Report:
    """Return the report that this validation writes its faults to."""
    assert isinstance(info.context, Report)
    return info.context


def kind_of(value: object) -> str:
    """Say what was written, in the words of its author."""
    if isinstance(value, Table):
        return "a table"
    if isinstance(value, Items):
        return "a list"
    assert isinstance(value, Word)
    if value.nothing:
        return "nothing"
    if value.plain and value in _TRUE | _FALSE:
        return "true or false"
    return "a number" if value.plain and _NUMBER.fullmatch(value) else "text"


def width_of(value: object) -> int:
    """Return how many characters to underline."""
    return len(value) + 2 * (not value.plain) if isinstance(value, Word) else 1


def wrong_type(report: Report, value: object, wanted: str, close: str = "") -> None:
    """Report a value of the wrong type."""
    assert isinstance(value, Word | Table | Items)
    text = f"This is {kind_of(value)}; {wanted} belongs here"
    report.fault("wrong-type", value.at, text, width=width_of(value), nearest=close)


def misread(report: Report, word: Word, error: rates.MisreadError) -> None:
    """Report text that is no rate, amount or length."""
    at = word.at + (not word.plain) + error.offset
    report.fault(error.code, at, str(error), width=error.width, nearest=error.nearest)


def any_text(value: object, info: ValidationInfo) -> Word | None:
    """Return any scalar, as it was written; the other checks return None for a faulty value."""
    if value is ABSENT:
        return None
    if isinstance(value, Word) and not value.nothing:
        return value
    wrong_type(report_of(info), value, "text")
    return None


def entry(value: object, info: ValidationInfo) -> Word | None:
    """Return the name of an entry."""
    word = any_text(value, info)
    if word == "":
        report_of(info).fault("bad-name", word.at, "An entry has a name; write it", width=2)
    return word


def attribute(value: object, info: ValidationInfo) -> Word | None:
    """Return an attribute's value."""
    word = any_text(value, info)
    if word is not None and too_long(word):
        text = f"This is over {LONGEST_VALUE} bytes; no attribute is that long"
        report_of(info).fault("too-long", word.at, text, width=len(word))
    return word


def named(pattern: str, advice: str) -> Check:
    """Return a check for names; a faulty one is reported and kept, for others refer to it."""
    fits = re.compile(pattern).fullmatch

    def check(value: object, info: ValidationInfo) -> Word | None:
        word = any_text(value, info)
        if word is not None and not fits(word):
            text = f"`{printable(word)}` is no name: {advice}"
            report_of(info).fault("bad-name", word.at, text, width=width_of(word))
        return word

    return check


def one_of(report: Report, word: Word, choices: tuple[str, ...]) -> Word | None:
    """Return a word that is among the choices, or report it."""
    if word in choices:
        return word
    listed = ", ".join(f"`{choice}`" for choice in choices)
    text = f"`{printable(word)}` cannot stand here: choose among {listed}"
    close = nearest(word, choices)
    report.fault("unknown-value", word.at, text, width=width_of(word), nearest=close)
    return None


def chosen(choices: tuple[str, ...]) -> Check:
    """Return a check for one of a few words."""

    def check(value: object, info: ValidationInfo) -> Word | None:
        word = any_text(value, info)
        return None if word is None else one_of(report_of(info), word, choices)

    return check


def flag(value: object, info: ValidationInfo) -> bool | None:
    """Return true or false, as YAML 1.2 spells them."""
    if isinstance(value, Word) and value.plain and value in _TRUE | _FALSE:
        return value in _TRUE
    close = _LAX.get(value.lower(), "") if isinstance(value, Word) else ""
    wrong_type(report_of(info), value, "true or false", close)
    return None


def day(value: object, info: ValidationInfo) -> int | None:
    """Return a day of the month."""
    if not isinstance(value, Word) or not value.plain or not _INTEGER.fullmatch(value):
        wrong_type(report_of(info), value, "a day of the month, 1 to 31")
        return None
    day = int(value[:9])
    if 1 <= day <= LAST_DAY and len(value) < 9:  # noqa: PLR2004 - far more digits than a day has
        return day
    text = f"No month has a day {printable(value, 9)}; write 1 to 31"
    report_of(info).fault("bad-number", value.at, text, width=len(value))
    return None


def measure(value: object, info: ValidationInfo) -> Measure | None:
    """Return a rate, or an amount alone."""
    report = report_of(info)
    if not isinstance(value, Word) or value.nothing:
        wrong_type(report, value, "a rate as `100/hour`, or an amount")
        return None
    try:
        rate = rates.read_rate(value)
    except rates.MisreadError as error:
        misread(report, value, error)
        return None
    return Measure(rate.amount, rate.window, value.at, width_of(value))


def amount(value: object, info: ValidationInfo) -> Measure | None:
    """Return an amount, which has no window."""
    found = measure(value, info)
    if found is None or found.window is None:
        return found
    text = "This is a rate; an amount alone belongs here, and a window goes with `rate`"
    report_of(info).fault("bad-amount", found.at, text, width=found.width)
    return None


def key_hash(value: object, info: ValidationInfo) -> Word | None:
    """Return a subject in hexadecimal digits."""
    word = any_text(value, info)
    if word is None or read_subject(word) is not None:
        return word
    text = "A key's hash is 32 hexadecimal digits"
    report_of(info).fault("bad-key-hash", word.at, text, width=width_of(word))
    return None
