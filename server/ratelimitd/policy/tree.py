"""YAML as text with positions: words, tables and lists that know where they stand.

Reads YAML's events (libyaml) and leaves every scalar as it was written: what a word means is
decided by the place it stands in, so no `no` turns into false, no `012` into an octal number and no
`1:30` into 90, and an unquoted key keeps its leading zeros. Bounded against hostile files. Knows
nothing of policies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from yaml import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    YAMLError,
)
from yaml._yaml import CParser

from ratelimitd.policy.hiding import hides_value, shows_name

if TYPE_CHECKING:
    from yaml import Event

    from ratelimitd.policy.faults import Report

DEEPEST = 32
"""Levels of nesting; a policy has 7."""
MOST_UNFOLDED = 100_000
"""Values that aliases may add, so that few lines cannot stand for billions."""

_TEXT_TAG = "tag:yaml.org,2002:str"
_TAGS = frozenset({None, "!", _TEXT_TAG, "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})


class Word(str):
    """A scalar as it was written."""

    __slots__ = ("at", "end", "plain", "secret")

    at: int
    """Index of its first character in the file."""
    end: int
    """Index behind its last one; with quotes, behind them."""
    secret: bool
    """It may be an API key, which no message repeats."""
    plain: bool
    """Written without quotes, so that it may be a number, true, false or nothing."""

    @property
    def nothing(self) -> bool:
        """Whether it is YAML's null: `key:` with nothing behind it, `~`, `null`."""
        return self.plain and self in _NOTHING


class Table(dict[Word, object]):
    """A mapping; its keys know where they stand."""

    __slots__ = ("at", "made")

    def __init__(self, at: int, *, made: bool = False) -> None:
        super().__init__()
        self.at = at
        self.made = made
        """Put in place of something faulty, so that its own faults are nobody's."""

    def word(self, name: str) -> Word:
        """Return a key as it stands in the file."""
        return next(word for word in self if word == name)


class Items(list[object]):
    """A sequence."""

    __slots__ = ("at", "made")

    def __init__(self, at: int, *, made: bool = False) -> None:
        super().__init__()
        self.at = at
        self.made = made


Node = Word | Table | Items


def word(text: str, at: int = 0, *, plain: bool = True) -> Word:
    """Return a word; for values that no file holds, the position does not matter."""
    made = Word(text)
    made.at = made.end = at
    made.plain = plain
    made.secret = False
    return made


_HINTS = {
    "mapping values are not allowed in this context": "put quotes around text with `: ` in it, and "
    "mind the indentation",
    "did not find expected ',' or ']'": "close the list with `]`",
    "did not find expected ',' or '}'": "close the table with `}`",
    "did not find expected key": "indent this line as the lines that it belongs to",
    "did not find expected '-' indicator": "begin each item of the list with `- `",
    "found unexpected end of stream": "close the quotes or brackets that were opened",
    "found character that cannot start any token": "put quotes around text that begins so",
    "could not find expected ':'": "write `word: value`",
    "control characters are not allowed": "remove the invisible character",
}
"""What to do about the commonest of libyaml's objections."""


class _StopError(Exception):
    """The fault was reported, and nothing after it can be read."""


def read(report: Report) -> Node | None:
    """Return the one document of a file, or None where faults keep it from being read."""
    try:
        return _Reader(report).document()
    except _StopError:
        return None
    except YAMLError as error:
        _syntax(report, error)
        return None
    except UnicodeEncodeError as error:
        report.fault("not-utf8", error.start, "A lone surrogate is no character; remove it")
        return None


def _start(event: Event) -> int:
    assert event.start_mark is not None
    return event.start_mark.index


def _end(event: Event) -> int:
    assert event.end_mark is not None
    return event.end_mark.index


class _Reader:
    def __init__(self, report: Report) -> None:
        self._report = report
        self._parser = CParser(report.text.text)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._count = 0
        """Values so far, aliases unfolded."""
        self._unfolded = 0
        self._secret = False
        """What is read now may be an API key."""

    def document(self) -> Node | None:
        report, event = self._report, self._next()
        while not isinstance(event, DocumentStartEvent | StreamEndEvent):
            event = self._next()
        if isinstance(event, StreamEndEvent):
            report.fault("empty", 0, "The file holds no policy; `ratelimitd init` prints one")
            return None
        root = self._node(self._next(), 0)
        while not isinstance(event, DocumentEndEvent):
            event = self._next()
        event = self._next()
        if isinstance(event, DocumentStartEvent):
            text = "A file holds one policy; put the second one into a file of its own"
            report.fault("many-documents", _start(event), text, width=3)
        return root

    def _next(self) -> Event:
        event = self._parser.get_event()
        assert event is not None
        return event

    def _stop(self, code: str, event: Event, message: str) -> _StopError:
        width = _end(event) - _start(event)
        self._report.fault(code, _start(event), message, width=width)
        return _StopError()

    def _node(self, event: Event, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._stop("too-deep", event, f"A policy is never nested {DEEPEST} levels deep")
        if isinstance(event, AliasEvent):
            return self._alias(event)
        before = self._count
        self._count += 1
        node: Node
        if isinstance(event, ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            self._tag(event)
            node = self._table(event, depth)
        else:
            assert isinstance(event, SequenceStartEvent)
            self._tag(event)
            node = self._items(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, self._count - before)
        return node

    def _alias(self, event: AliasEvent) -> Node:
        if event.anchor not in self._anchors:
            raise self._stop("bad-alias", event, f"No `&{event.anchor}` ends before this alias")
        node, size = self._anchors[event.anchor]
        self._count += size
        self._unfolded += size
        if self._unfolded > MOST_UNFOLDED:
            text = f"The aliases up to here unfold to over {MOST_UNFOLDED:,} values; write fewer"
            raise self._stop("alias-bomb", event, text)
        return node

    def _tag(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.tag not in _TAGS:
            text = f"The tag `{event.tag}` means nothing in a policy; remove it"
            self._report.fault("bad-tag", _start(event), text)

    def _scalar(self, event: ScalarEvent) -> Word:
        made = Word(event.value)
        made.at = _start(event)
        made.end = _end(event)
        made.plain = not event.style and event.tag is None
        made.secret = self._secret
        if self._secret:
            self._report.text.hide(made.at, made.end)
        if event.tag is not None:
            self._tag(event)
        return made

    def _items(self, event: Event, depth: int) -> Items:
        items = Items(_start(event))
        while not isinstance(item := self._next(), SequenceEndEvent):
            items.append(self._node(item, depth + 1))
        return items

    def _table(self, event: Event, depth: int) -> Table:
        table = Table(_start(event))
        while not isinstance(start := self._next(), MappingEndEvent):
            key, value = self._pair(start, depth + 1)
            if not isinstance(key, Word) or key.nothing:
                text = "Left of the colon stands one word; write it without brackets"
                self._report.fault("bad-key", _start(start), text)
                continue
            if key == "<<":
                text = "YAML 1.2 has no merge keys; write the words out"
                self._report.fault("merge-key", key.at, text, width=2)
            elif key in table:
                self._duplicate(key, table.word(key))
            else:
                table[key] = value
        return table

    def _pair(self, start: Event, depth: int) -> tuple[Node, Node]:
        """Read what stands on both sides of a colon."""
        secret = self._secret
        if secret and isinstance(start, ScalarEvent):
            self._secret = not shows_name(start.value)
        key = self._node(start, depth)
        if isinstance(key, Word):
            self._secret = hides_value(key, below_keys=secret, at_top=depth == 1)
        value = self._node(self._next(), depth)
        self._secret = secret
        return key, value

    def _duplicate(self, key: Word, first: Word) -> None:
        text = f"`{printable(key)}` stands twice in one table; remove one of the two"
        self._report.fault("duplicate-key", key.at, text, width=len(key), other=first.at)


def printable(text: str, most: int = 60) -> str:
    """Return text as a message may quote it: one line, no key, no control characters, not long."""
    if isinstance(text, Word) and text.secret:
        return "…"
    shown = "".join(char if char.isprintable() else "�" for char in text[: most + 1])
    return shown if len(shown) <= most else shown[:most] + "…"


def _syntax(report: Report, error: YAMLError) -> None:
    """Report libyaml's objection."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    at = mark.index if mark is not None else _offset(report, error)
    text = report.text.text
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    if text[at : at + 1] == "\t" or "'\\t'" in str(problem):
        report.fault("tab", at, "YAML is indented with spaces; replace the tab")
        return
    hint = f"; {_HINTS[problem]}" if problem in _HINTS else ""
    report.fault("bad-yaml", at, f"This is not YAML: {printable(str(problem), 200)}{hint}")


def _offset(report: Report, error: YAMLError) -> int:
    """Return where libyaml's reader stopped: it counts bytes, and tells no line."""
    position = getattr(error, "position", 0)
    sent = report.text.text.encode("utf-8", "surrogatepass")
    return len(sent[: max(position, 0)].decode("utf-8", "replace")) if position else 0
