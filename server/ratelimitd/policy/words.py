"""The types of single values in a policy file: a check and what it looks like in the JSON Schema.

Both stand side by side and share their patterns, so that they cannot drift apart.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, PlainValidator, ValidationInfo, WithJsonSchema

from ratelimitd.keys import HASH_PATTERN
from ratelimitd.model import Algorithm
from ratelimitd.policy import checks, meters, rates
from ratelimitd.policy.checks import Measure
from ratelimitd.policy.meters import MeterRule
from ratelimitd.policy.spec import Family, OnStoreFailure
from ratelimitd.policy.tree import Items, Table, Word


def _whole(pattern: str) -> str:
    return f"^({pattern})$"


_SCALAR = {"type": ["string", "number", "boolean"]}
_AMOUNT_TEXT = {"type": "string", "pattern": _whole(rates.AMOUNT_PATTERN)}
_RATE_TEXT = {"type": "string", "pattern": _whole(rates.RATE_PATTERN)}
_NUMBER_FROM_0 = {"type": "integer", "minimum": 0}
_CHARGED_SCHEMA = {"enum": list(meters.CHARGED)}
_LASTING = {"type": "string", "pattern": _whole(rates.LENGTH_PATTERN)}
_LEASE_SCHEMA = {
    "type": "object",
    "properties": {"lease": _LASTING},
    "required": ["lease"],
    "additionalProperties": False,
}
_COUNTED_SCHEMA = {
    "type": "object",
    "properties": {
        "kind": _CHARGED_SCHEMA,
        "reservation": _LASTING,
        "on_expiry": {"enum": list(meters.EXPIRIES)},
    },
    "required": ["kind"],
    "additionalProperties": False,
}
_ALGORITHMS = tuple(algorithm.value for algorithm in Algorithm)
_FAMILIES = tuple(family.value for family in Family)
_FAILURES = tuple(failure.value for failure in OnStoreFailure)
_NAME_ADVICE = "letters, digits, `_`, `.` and `-`, at most 64, not `.` or `-` first"
_LIMIT_ADVICE = 'up to 64 printable ASCII characters without `"` and `\\`, no space at the ends'
_DOMAIN = r"[!-~]{1,255}"
_DOMAIN_ADVICE = "up to 255 printable ASCII characters without spaces"
_SCHEME = r"[A-Za-z][A-Za-z0-9_-]{0,31}"
_SCHEME_ADVICE = "the scheme of an Authorization value is one word, as `bearer`"


def _text_schema(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({**_SCALAR, "pattern": _whole(pattern)})


Entry = Annotated[Word | None, PlainValidator(checks.entry), WithJsonSchema(_SCALAR)]
"""The name of an entry or an attribute."""
Text = Annotated[Word | None, PlainValidator(checks.any_text), WithJsonSchema(_SCALAR)]
"""A pattern, or an API key."""
Value = Annotated[Word | None, PlainValidator(checks.attribute), WithJsonSchema(_SCALAR)]
"""An attribute's value."""
Name = Annotated[
    Word | None,
    PlainValidator(checks.named(checks.NAME_PATTERN, _NAME_ADVICE)),
    _text_schema(checks.NAME_PATTERN),
]
"""Of a meter, a tier or an attribute."""
Key = Annotated[
    Word,
    PlainValidator(checks.named(checks.NAME_PATTERN, _NAME_ADVICE)),
    _text_schema(checks.NAME_PATTERN),
]
"""A `Name` on the left of a colon."""
EntryKey = Annotated[Word, PlainValidator(checks.entry), WithJsonSchema(_SCALAR)]
"""An `Entry` on the left of a colon."""
LimitName = Annotated[
    Word | None,
    PlainValidator(checks.named(checks.LIMIT_PATTERN, _LIMIT_ADVICE)),
    _text_schema(checks.LIMIT_PATTERN),
]
Domain = Annotated[
    Word | None, PlainValidator(checks.named(_DOMAIN, _DOMAIN_ADVICE)), _text_schema(_DOMAIN)
]
Scheme = Annotated[
    Word | None, PlainValidator(checks.named(_SCHEME, _SCHEME_ADVICE)), _text_schema(_SCHEME)
]
KeyHash = Annotated[Word | None, PlainValidator(checks.key_hash), _text_schema(HASH_PATTERN)]
AlgorithmWord = Annotated[
    Word | None,
    PlainValidator(checks.chosen(_ALGORITHMS)),
    WithJsonSchema({"enum": list(_ALGORITHMS)}),
]
FamilyWord = Annotated[
    Word | None, PlainValidator(checks.chosen(_FAMILIES)), WithJsonSchema({"enum": list(_FAMILIES)})
]
FailureWord = Annotated[
    Word | None, PlainValidator(checks.chosen(_FAILURES)), WithJsonSchema({"enum": list(_FAILURES)})
]
Flag = Annotated[bool | None, PlainValidator(checks.flag), WithJsonSchema({"type": "boolean"})]
Day = Annotated[
    int | None,
    PlainValidator(checks.day),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": checks.LAST_DAY}),
]
Amount = Annotated[
    Measure | None,
    PlainValidator(checks.amount),
    WithJsonSchema({"anyOf": [_NUMBER_FROM_0, _AMOUNT_TEXT]}),
]
Rate = Annotated[Measure | None, PlainValidator(checks.measure), WithJsonSchema(_RATE_TEXT)]
"""A rate; whether it has a window is `limits`' to say, who knows the meter."""
MeterWord = Annotated[
    MeterRule | None,
    PlainValidator(meters.meter_rule),
    WithJsonSchema({"anyOf": [_CHARGED_SCHEMA, _LEASE_SCHEMA, _COUNTED_SCHEMA]}),
]


def _not_empty(value: object, info: ValidationInfo) -> object:
    """Refuse an exemption without conditions."""
    if isinstance(value, Table) and not value and not value.made:
        text = "An exemption without conditions frees everything; name an entry"
        checks.report_of(info).fault("empty-rule", value.at, text, width=2)
    return value


Exemption = Annotated[dict[EntryKey, Text], BeforeValidator(_not_empty)]
"""Conditions that free a descriptor."""


def _listed(value: object, info: ValidationInfo) -> object:
    """Take a single rate for a list of one."""
    if not isinstance(value, Items):
        return [value]
    if not value:
        text = "The list is empty; write a rate, or leave the meter out"
        checks.report_of(info).fault("missing-key", value.at, text, width=2)
    return value


_RATE_SCHEMA = {"anyOf": [_NUMBER_FROM_0, _AMOUNT_TEXT, _RATE_TEXT]}
Rates = Annotated[
    list[Annotated[Measure | None, PlainValidator(checks.measure)]],
    BeforeValidator(_listed),
    WithJsonSchema(
        {"anyOf": [*_RATE_SCHEMA["anyOf"], {"type": "array", "items": _RATE_SCHEMA, "minItems": 1}]}
    ),
]
"""The short form of a meter's limits: one rate or a list of them, an amount for what is held."""
