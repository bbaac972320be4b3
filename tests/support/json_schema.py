"""A small reader of JSON Schema: those keywords that the policy's schema uses, and no others.

An unknown keyword is an error, so that nothing in the schema goes unchecked.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_REMARKS = {"$schema", "$defs", "title", "description", "default"}
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}

Schema = Mapping[str, Any]


def accepts(schema: Schema, value: object, root: Schema | None = None) -> bool:
    """Say whether the schema (draft 2020-12) accepts a JSON value."""
    top = schema if root is None else root
    return all(
        _KEYWORDS[word](told, value, schema, top)
        for word, told in schema.items()
        if word not in _REMARKS
    )


def _is(value: object, kind: str) -> bool:
    if kind != "boolean" and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES[kind])


def _ref(told: str, value: object, _: Schema, top: Schema) -> bool:
    return accepts(top["$defs"][told.removeprefix("#/$defs/")], value, top)


def _type(told: str | list[str], value: object, _: Schema, __: Schema) -> bool:
    return any(_is(value, kind) for kind in ([told] if isinstance(told, str) else told))


def _any_of(told: list[Schema], value: object, _: Schema, top: Schema) -> bool:
    return any(accepts(choice, value, top) for choice in told)


def _one_of(told: list[Schema], value: object, _: Schema, top: Schema) -> bool:
    return sum(accepts(choice, value, top) for choice in told) == 1


def _items(told: Schema, value: object, _: Schema, top: Schema) -> bool:
    return not isinstance(value, list) or all(accepts(told, item, top) for item in value)


def _properties(told: Schema, value: object, _: Schema, top: Schema) -> bool:
    return not isinstance(value, dict) or all(
        accepts(told[key], item, top) for key, item in value.items() if key in told
    )


def _pattern_properties(told: Schema, value: object, _: Schema, top: Schema) -> bool:
    return not isinstance(value, dict) or all(
        accepts(inner, item, top)
        for pattern, inner in told.items()
        for key, item in value.items()
        if re.search(pattern, key)
    )


def _additional(told: Schema | bool, value: object, schema: Schema, top: Schema) -> bool:
    if not isinstance(value, dict):
        return True
    known = schema.get("properties", {})
    rest = [item for key, item in value.items() if key not in known]
    return not rest if told is False else all(accepts(told, item, top) for item in rest)  # type: ignore[arg-type]


def _bounds(holds: Callable[[Any, Any], bool], *kinds: type) -> Callable[..., bool]:
    def check(told: object, value: object, _: Schema, __: Schema) -> bool:
        return not isinstance(value, kinds) or isinstance(value, bool) or holds(told, value)

    return check


_KEYWORDS: dict[str, Callable[..., bool]] = {
    "$ref": _ref,
    "type": _type,
    "enum": lambda told, value, *_: value in told,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "items": _items,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "pattern": _bounds(lambda told, value: re.search(told, value) is not None, str),
    "minimum": _bounds(lambda told, value: value >= told, int, float),
    "maximum": _bounds(lambda told, value: value <= told, int, float),
    "minItems": _bounds(lambda told, value: len(value) >= told, list),
    "required": _bounds(lambda told, value: set(told) <= set(value), dict),
}
