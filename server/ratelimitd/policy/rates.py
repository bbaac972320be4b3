"""How amounts, windows and rates are written: `100_000/month`, `10/30s`, `2M`, `15m`.

One spelling for policy files and for `ratelimitd keys set --limit`. Knows no files and no positions
beyond the offset inside the text it was given.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from ratelimitd.model import MAX_COUNT
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.tree import printable
from ratelimitd.windows import LONGEST_US, Unit, Window

AMOUNT_PATTERN: Final = r"[0-9]+(_[0-9]+)*[kM]?"
LENGTH_PATTERN: Final = r"[0-9]+[smhd]"
UNITS: Final = tuple(unit.value for unit in Unit)
RATE_PATTERN: Final = f"{AMOUNT_PATTERN}/({'|'.join(UNITS)}|{LENGTH_PATTERN})"

LONGEST_WINDOW: Final = LONGEST_US // 1_000_000
"""Of a window given by its length, seconds."""
LONGEST_LEASE: Final = 86_400
"""Of a lease or a reservation, seconds."""

_AMOUNT = re.compile(r"([0-9]+(?:_[0-9]+)*)([kM]?)")
_LENGTH = re.compile(r"([0-9]{1,12})([smhd])")
_SCALES = {"": 1, "k": 1_000, "M": 1_000_000}
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SECOND_US = 1_000_000
_MEANT = {
    **dict.fromkeys(("s", "sec", "secs"), "second"),
    **dict.fromkeys(("m", "min", "mins"), "minute"),
    **dict.fromkeys(("h", "hr", "hrs"), "hour"),
    **dict.fromkeys(("d", "daily"), "day"),
    **dict.fromkeys(("w", "wk"), "week"),
    **dict.fromkeys(("mo", "mon", "mth"), "month"),
    **dict.fromkeys(("y", "yr"), "year"),
}
_DIGITS = 20


class MisreadError(ValueError):
    """Expected: text that is no amount, window or rate. Carries the mend for whoever wrote it."""

    def __init__(
        self, code: str, message: str, *, offset: int = 0, width: int, nearest: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        """One of the codes of faults."""
        self.offset = offset
        """Where in the text it went wrong, characters."""
        self.width = width
        self.nearest = nearest
        """What was probably meant."""


class Rate(NamedTuple):
    """An amount in a window; no window for what is held."""

    amount: int
    window: Window | None


@lru_cache(4096)
def read_rate(text: str) -> Rate:
    """Read `AMOUNT/WINDOW`, or an amount alone; raises `MisreadError`."""
    amount, slash, window = text.partition("/")
    if not slash:
        return Rate(read_amount(text), None)
    if amount.endswith(" ") or window.startswith(" "):
        close = f"{amount.strip()}/{window.strip()}"
        raise MisreadError("bad-rate", "A rate has no spaces", width=len(text), nearest=close)
    return Rate(read_amount(amount), read_window(window, len(amount) + 1))


def read_amount(text: str) -> int:
    """Read a whole number with `_`, `k` or `M`; raises `MisreadError`."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise _no_amount(text)
    digits = match[1].replace("_", "").lstrip("0")
    amount = int(digits[:_DIGITS] or "0") * _SCALES[match[2]]
    if amount > MAX_COUNT or len(digits) > _DIGITS:
        said = f"No count goes beyond {MAX_COUNT:_}; write a smaller amount"
        raise MisreadError("too-big", said, width=len(text))
    return amount


def _no_amount(text: str) -> MisreadError:
    said = f"`{printable(text)}` is no amount: write a whole number from 0, as `100_000` or `100k`"
    words = re.fullmatch(r"([0-9_]+) *(?:per|an?|/) *([a-z]+)", text)
    if words:
        return MisreadError(
            "bad-rate",
            f"`{printable(text)}` is no rate: write AMOUNT/WINDOW",
            width=len(text),
            nearest=f"{words[1]}/{_unit_meant(words[2]) or words[2]}",
        )
    plain = re.sub(r"[, ']", "_", text.strip()).replace("K", "k").replace("m", "M")
    close = plain if _AMOUNT.fullmatch(plain) else ""
    return MisreadError("bad-amount", said, width=max(len(text), 1), nearest=close)


def read_window(text: str, offset: int = 0) -> Window:
    """Read `hour`, `month`, `30s`, `7d`; raises `MisreadError`, counting from `offset`."""
    if text in UNITS:
        return Window.of(Unit(text))
    match = _LENGTH.fullmatch(text)
    if match is None:
        said = f"`{printable(text)}` is no window: write {', '.join(UNITS)}, or a length as `30s`"
        meant = _unit_meant(text)
        raise MisreadError(
            "bad-window", said, offset=offset, width=max(len(text), 1), nearest=meant
        )
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 1 <= seconds <= LONGEST_WINDOW:
        said = "A window lasts from 1s to 366d; `year` is the calendar's"
        raise MisreadError("bad-window", said, offset=offset, width=len(text))
    return Window.lasting(seconds * _SECOND_US)


def _unit_meant(text: str) -> str:
    word = text.strip().lower()
    single = word.removesuffix("s") if len(word) > 1 else word
    return _MEANT.get(word) or _MEANT.get(single) or nearest(word, UNITS)


def read_lasting(text: str, what: str) -> int:
    """Read how long a lease or a reservation (`what`) lives, in microseconds.

    Raises `MisreadError`.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        said = f"`{printable(text)}` is no length of time: write a number and s, m, h or d"
        close = f"{text}s" if text.isascii() and text.isdigit() else ""
        raise MisreadError("bad-duration", said, width=max(len(text), 1), nearest=close)
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 1 <= seconds <= LONGEST_LEASE:
        raise MisreadError("bad-duration", f"{what} lasts from 1s to 1d", width=len(text))
    return seconds * _SECOND_US
