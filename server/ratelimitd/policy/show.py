"""How a fault looks to a person: code and place, the line with a caret below it, what to do.

Pure: gives text in pieces with roles, and the caller decides what colour a role has. Columns are
those of a terminal, where some characters are two wide and some none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from unicodedata import category, east_asian_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ratelimitd.policy.faults import Fault

TAB: Final = 4
"""Columns of a tab. It is written as spaces, so that the caret meets its word everywhere."""
WIDEST: Final = 100
"""Columns of a source line that are shown."""
_BEFORE: Final = 40
"""Columns kept to the left of the caret where a line is too long."""
_CUT: Final = "…"

Piece = tuple[str, str]
"""Text and its role: code, warning, place, gutter, source, caret, message, hint; or empty."""


def shown(faults: Iterable[Fault]) -> str:
    """Return faults as plain text, a blank line between two."""
    return "\n".join("".join(text for text, _ in pieces(fault)) for fault in faults)


def pieces(fault: Fault) -> Iterator[Piece]:
    """Return a fault as pieces of text; the last one ends its last line."""
    yield (fault.code, "warning" if fault.warning else "code")
    yield ("  ", "")
    yield (str(fault.place), "place")
    yield ("\n", "")
    if fault.source:
        yield from _quoted(fault)
    yield ("  ", "")
    yield (fault.message + ".", "message")
    if fault.nearest:
        yield (f" Did you mean `{fault.nearest}`?", "hint")
    if fault.other:
        yield (f" See {fault.other}.", "hint")
    yield ("\n", "")


def _quoted(fault: Fault) -> Iterator[Piece]:
    number = str(fault.place.line)
    left, marked, right = _cells(fault)
    yield (f"  {number} | ", "gutter")
    yield (f"{left}{marked}{right}\n", "source")
    yield (f"  {' ' * len(number)} | ", "gutter")
    yield (" " * columns(left), "")
    yield ("^" * max(columns(marked), 1) + "\n", "caret")


def _cells(fault: Fault) -> tuple[str, str, str]:
    """Return the line before the fault, the faulty part and the rest, cut to a screen's width."""
    at = fault.place.column - 1
    end = at + fault.width
    # No more than a screen's width is looked at: a line may be the whole file.
    left = _plain(fault.source[max(0, at - WIDEST) : at])
    marked = _plain(fault.source[at : min(end, at + WIDEST)])
    right = _plain(fault.source[end : end + WIDEST])
    if at > WIDEST or (columns(left) > _BEFORE and columns(left + marked + right) > WIDEST):
        left = _CUT + _last(left, _BEFORE)
    marked = _first(marked, WIDEST - columns(left))
    return left, marked, _first(right, WIDEST - columns(left) - columns(marked))


def _plain(text: str) -> str:
    """Return text without what a terminal would obey, and with tabs as spaces."""
    text = text.replace("\t", " " * TAB)
    return "".join(
        char if char.isprintable() or _width(char) == 0 else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    if category(char) in {"Mn", "Me"} or char in "\u200b\u200d\ufe0f":
        return 0
    return 2 if east_asian_width(char) in {"W", "F"} else 1


def _first(text: str, most: int) -> str:
    """Return the beginning of a text, and that there is more where there is."""
    if columns(text) <= most:
        return text
    while text and columns(text) >= most:
        text = text[: min(len(text) - 1, max(most, 1))]
    return text + _CUT


def _last(text: str, most: int) -> str:
    text = text[-most:]
    while columns(text) > most:
        text = text[1:]
    return text
