"""What can be wrong in a policy file, and where: faults, warnings, and the text they point into.

Owns positions (line and column are counted as editors do) and the hiding of API keys in quoted
lines. Knows neither YAML nor the policy's words; how a fault looks on a terminal is `show`.
"""

from __future__ import annotations

import re
from bisect import bisect_right, insort
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.errors import PolicyError
from ratelimitd.policy.codes import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEY_VALUE = re.compile(
    r"""(?i)(?<![\w.-])(?:\w*key|'\w*key'|"\w*key")[ \t]*:[ \t]+"""
    r"""("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}\]#][^,}\]#]*)"""
)
"""`key: …` or `api_key: …` in a line that may be no YAML at all."""
_HIDDEN = "*"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A position in a file."""

    file: str
    line: int
    """From 1; 0 where a fault concerns the whole file."""
    column: int
    """From 1, in characters."""

    def __str__(self) -> str:
        """Return `file:line:col`, which terminals and editors make a link of."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong, or (`warning`) that is probably not meant."""

    code: str
    """One of `codes.CODES`; stable."""
    place: Place
    source: str
    """The line that it is in, with API keys hidden."""
    width: int
    """How many characters it spans on that line, at least 1."""
    message: str
    """One sentence, with the mend."""
    nearest: str = ""
    """The valid word that was probably meant."""
    other: Place | None = None
    """The second place of a contradiction."""
    warning: bool = False

    def __str__(self) -> str:
        """Return the fault on one line, without the source line."""
        hint = f" (did you mean `{self.nearest}`?)" if self.nearest else ""
        other = f" (see {self.other})" if self.other else ""
        return f"{self.place}: {self.code}: {self.message}{hint}{other}"


class Text:
    """A policy file's text: finds the place of a character."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.hidden: list[tuple[int, int]] = []
        """Spans (begin, end) that no message may show: the API keys."""
        self._last = (0, "")
        self._starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def hide(self, begin: int, end: int) -> None:
        """Let no message show this span."""
        if self.hidden and self.hidden[-1][0] > begin:
            insort(self.hidden, (begin, end))
        else:
            self.hidden.append((begin, end))

    def place(self, at: int) -> Place:
        """Return the place of a character by its index."""
        line = bisect_right(self._starts, max(at, 0))
        return Place(self.name, line, max(at, 0) - self._starts[line - 1] + 1)

    def line(self, number: int) -> str:
        """Return a line, from 1, with every API key in it replaced by asterisks."""
        if self._last[0] != number:
            self._last = (number, self._line(number))
        return self._last[1]

    def _line(self, number: int) -> str:
        start, end = self._starts[number - 1], self._end(number)
        line = self.text[start:end]
        spans = [(begin - start, end - start) for begin, end in self._hidden_in(start, len(line))]
        spans += [match.span(1) for match in _KEY_VALUE.finditer(line)]
        chars = list(line)
        for begin, end in spans:
            first, last = max(begin, 0), min(end, len(line))
            chars[first:last] = _HIDDEN * (last - first)
        return "".join(chars).rstrip("\r")

    def _end(self, number: int) -> int:
        return self._starts[number] - 1 if number < len(self._starts) else len(self.text)

    def _hidden_in(self, start: int, length: int) -> list[tuple[int, int]]:
        first = max(bisect_right(self.hidden, (start, 0)) - 1, 0)
        spans = []
        for span in islice(self.hidden, first, None):
            if span[0] >= start + length:
                break
            if span[1] > start:
                spans.append(span)
        return spans


class _Found(NamedTuple):
    """A fault before it is shown: its line is read when all keys to hide are known."""

    code: str
    at: int
    message: str
    width: int
    nearest: str
    other: int | None
    warning: bool


class Report:
    """Collects the faults and warnings of one file, each once."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.failed = False
        """Whether there is a fault yet; warnings are none."""
        self._found: dict[tuple[str, int, str], _Found] = {}

    def fault(
        self,
        code: str,
        at: int,
        message: str,
        *,
        width: int = 1,
        nearest: str = "",
        other: int | None = None,
    ) -> None:
        """Note what is wrong at a character of the text."""
        self._note(_Found(code, at, message, width, nearest, other, warning=False))
        self.failed = True

    def warn(self, code: str, at: int, message: str, *, width: int = 1, nearest: str = "") -> None:
        """Note what is allowed but probably not meant."""
        self._note(_Found(code, at, message, width, nearest, None, warning=True))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What makes the file unusable, in the file's order."""
        return self._shown(warning=False)

    @property
    def warnings(self) -> tuple[Fault, ...]:
        """What does not, in the file's order."""
        return self._shown(warning=True)

    def _note(self, found: _Found) -> None:
        assert found.code in CODES
        self._found.setdefault((found.code, found.at, found.message), found)

    def _shown(self, *, warning: bool) -> tuple[Fault, ...]:
        wanted = (found for found in self._found.values() if found.warning is warning)
        return tuple(self._fault(found) for found in sorted(wanted, key=lambda found: found.at))

    def _fault(self, found: _Found) -> Fault:
        place = self.text.place(found.at)
        line = self.text.line(place.line)
        return Fault(
            code=found.code,
            place=place,
            source=line,
            width=max(1, min(found.width, len(line) - place.column + 1)),
            message=found.message,
            nearest=found.nearest,
            other=None if found.other is None else self.text.place(found.other),
            warning=found.warning,
        )


def whole_file(code: str, file: str, message: str) -> Fault:
    """Return a fault that is at no line: the file cannot be read, a folder is empty."""
    assert code in CODES
    return Fault(code=code, place=Place(file, 0, 0), source="", width=1, message=message)


def policy_error(faults: Sequence[Fault]) -> PolicyError:
    """Return the exception that carries these faults."""
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults, the first"
    return PolicyError(f"{count}: {faults[0]}", tuple(faults))


def faults_of(error: PolicyError) -> tuple[Fault, ...]:
    """Return the faults that a `PolicyError` carries."""
    return tuple(fault for fault in error.faults if isinstance(fault, Fault))


def nearest(word: str, words: Iterable[str], *, likeness: float = 0.6) -> str:
    """Return the valid word most like the one written, or nothing if none is."""
    by_fold = {valid.casefold(): valid for valid in words}
    found = get_close_matches(word[:64].casefold(), by_fold, n=1, cutoff=likeness)
    return by_fold[found[0]] if found else ""
