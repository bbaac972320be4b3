"""Structural faults of a policy file, reported in its author's words and mended for the time being.

pydantic finds unknown and missing words, and tables where lists belong. Each is reported once, and
the tree is changed so that it can be read nevertheless: all other faults are then found as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from ratelimitd.policy.checks import ABSENT, wrong_type
from ratelimitd.policy.faults import nearest
from ratelimitd.policy.shape import HeadersPart, LimitPart, Part, PolicyPart, SubjectPart
from ratelimitd.policy.tree import Items, Node, Table, Word, printable, word

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from ratelimitd.policy.faults import Report

_ROUNDS = 12
"""A mended place can only be faulty again one level deeper."""
_LIKENESS = 0.75
"""Of a misspelt word that is taken for the missing one."""
_ADVICE = {
    "domain": "the namespace that Envoy sends, as `domain: agent-api`",
    "subject": "who is limited, as `subject: {default_tier: free}`",
    "default_tier": "the tier of keys that nobody registered, or `deny`",
    "tiers": "the named sets of limits, as `tiers: {free: {requests: 100/hour}}`",
    "meter": "what is counted, as `meter: requests`",
    "tier": "the key's tier",
}
_HOME: dict[str, str] = {
    **dict.fromkeys(SubjectPart.model_fields, "below `subject`"),
    **dict.fromkeys(HeadersPart.model_fields, "below `headers`"),
    **dict.fromkeys(LimitPart.model_fields, "in a limit's long form, below `limits`"),
    **dict.fromkeys(PolicyPart.model_fields, "at the left margin"),
}
_WANTED = {"list_type": "a list", "dict_type": "a table", "model_type": "a table"}

Location = tuple[int | str, ...]


def validated(root: Node, report: Report) -> PolicyPart | None:
    """Return the file's parts with None for what is faulty, or None if it is no policy at all."""
    if not isinstance(root, Table):
        wrong_type(report, root, "a table that begins as `domain: agent-api`")
        return None
    for _ in range(_ROUNDS):
        try:
            return PolicyPart.model_validate(root, context=report)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                _mend(root, detail, report)
    raise AssertionError  # pragma: no cover - the file's shape has fewer levels than _ROUNDS


def _mend(root: Table, detail: ErrorDetails, report: Report) -> None:
    location = _written(detail["loc"])
    parent = _at(root, location[:-1])
    last = location[-1]
    if detail["type"] == "extra_forbidden":
        assert isinstance(parent, Table)
        _unknown(parent, parent.word(str(last)), _model(location), report)
    elif detail["type"] == "missing":
        assert isinstance(parent, Table)
        _missing(parent, str(last), report)
    else:
        _wrong(parent, last, detail["type"], report)


def _written(location: Location) -> Location:
    """Return a location without the form that a key's own limits have, which no file names."""
    if location[:1] == ("keys",) and location[2:3] == ("limits",):
        return location[:3] + location[4:]
    return location


def _at(root: Node, location: Location) -> Node:
    node: object = root
    for part in location:
        if isinstance(node, Table):
            node = node[word(str(part))]
        else:
            assert isinstance(node, Items)
            node = node[int(part)]
    assert isinstance(node, Word | Table | Items)
    return node


def _model(location: Location) -> type[Part]:
    """Return the model of the table that a fault's location ends in."""
    if len(location) == 1:
        return PolicyPart
    tables: dict[str, type[Part]] = {"subject": SubjectPart, "headers": HeadersPart}
    return tables.get(str(location[0]), LimitPart)


def _unknown(table: Table, key: Word, model: type[Part], report: Report) -> None:
    if not table.made:
        home = f"; it stands {_HOME[key]}" if key in _HOME else "; remove it or mend its spelling"
        text = f"`{printable(key)}` means nothing here{home}"
        close = "" if key in _HOME else nearest(key, model.model_fields)
        report.fault("unknown-key", key.at, text, width=len(key), nearest=close)
    del table[key]


def _missing(table: Table, name: str, report: Report) -> None:
    near = next((key for key in table if key not in _HOME and _like(key, name)), None)
    text = f"`{name}` is missing: {_ADVICE[name]}"
    if near is not None and name == "tier":  # where any word may stand, as an attribute
        report.fault("missing-key", near.at, text, width=len(near), nearest=name)
    elif near is None and not table.made:  # else `_unknown` reports the misspelt word
        report.fault("missing-key", table.at, text)
    made = Table(table.at, made=True)
    table[word(name, table.at)] = made if name in {"subject", "tiers"} else ABSENT


def _like(key: Word, name: str) -> bool:
    return bool(nearest(key, (name,), likeness=_LIKENESS))


def _wrong(parent: Node, last: int | str, kind: str, report: Report) -> None:
    value = _at(parent, (last,))
    close = Items(value.at, made=True) if kind == "list_type" else Table(value.at, made=True)
    wanted = _WANTED.get(kind, "a table METER: RATE, or a list of limits")
    wrong_type(report, value, wanted)
    if isinstance(parent, Table):
        parent[word(str(last))] = close
    else:
        assert isinstance(parent, Items)
        parent[int(last)] = close
