"""The shape of a policy file: its tables and their words, checked and drawn into the JSON Schema.

The models validate and describe; there is no second list of words. They say nothing about
relations between values: `compile` does. What is wrong is reported by `mend`, which also puts
something in its place, so that the rest of the file can be read in the same pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ratelimitd.policy import words
from ratelimitd.policy.tree import Items, Table, Word, word

if TYPE_CHECKING:
    from pydantic_core import core_schema

BY_METER = "(by meter)"
IN_FULL = "(in full)"


class Part(BaseModel):
    """A table of the file; words that it does not know are faults."""

    model_config = ConfigDict(extra="forbid", strict=True)


class SubjectPart(Part):
    """Who is limited, and what becomes of callers that nobody knows."""

    entry: words.Entry = Field(
        word("api_key"), description="The descriptor entry that names the caller."
    )
    scheme: words.Scheme = Field(
        None, description="`bearer` takes the key out of an Authorization value."
    )
    default_tier: words.Name = Field(
        description="The tier of keys that nobody registered; `deny` refuses them."
    )
    missing: words.Name = Field(
        None,
        description="What a descriptor without the entry gets: a tier (one counter for each "
        "`remote_address`), `allow` or `deny`. As default_tier unless given.",
    )


class LimitPart(Part):
    """The long form of a limit."""

    meter: words.Name = Field(description="What is counted.")
    rate: words.Rate = Field(None, description="AMOUNT/WINDOW, as `100/hour`.")
    amount: words.Amount = Field(None, description="For meters that are held: how many at once.")
    algorithm: words.AlgorithmWord = Field(
        None, description="How it counts; `fixed_window` unless given, `lease` for what is held."
    )
    burst: words.Amount = Field(
        None, description="Token buckets: how much at once; as the amount unless given."
    )
    when: dict[words.EntryKey, words.Text] = Field(
        {}, description="Entries or attributes that must match: exact, or with `*`."
    )
    per: list[words.Entry] = Field(
        [word("subject")],
        description="Whose values share a counter: `subject`, entries, attributes; [] the domain.",
    )
    name: words.LimitName = Field(None, description="What headers call it; METER/WINDOW if absent.")
    shadow: words.Flag = Field(False, description="Counted and reported, but never denies.")


class TierPart(Part):
    """A named set of limits: METER: RATE, or METER: [RATE, …], and the long form."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[words.Key, words.Rates] = Field(init=False)  # type: ignore[assignment]

    custom: words.Flag = Field(
        False, description="Its keys bring limits of their own; meters without one are unlimited."
    )
    limits: list[LimitPart] = Field([], description="Limits in their long form.")


def _form(value: object) -> str | None:
    if isinstance(value, Table):
        return BY_METER
    return IN_FULL if isinstance(value, Items) else None


OwnLimits = Annotated[
    Annotated[dict[words.Key, words.Rates], Tag(BY_METER)]
    | Annotated[list[LimitPart], Tag(IN_FULL)],
    Discriminator(_form),
]
"""A key's own limits, in the short form or in the long one."""


class KeyPart(Part):
    """A key and what it may do. Words that are not listed here are its attributes."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"oneOf": [{"required": ["key"]}, {"required": ["key_hash"]}]},
    )
    __pydantic_extra__: dict[words.Key, words.Value] = Field(init=False)  # type: ignore[assignment]

    key: words.Text = Field(None, description="The API key itself.")
    key_hash: words.KeyHash = Field(None, description="Its keyed hash, 32 hexadecimal digits.")
    tier: words.Name = Field(description="Its tier.")
    limits: OwnLimits = Field(
        {}, description="Its own limits; they replace the tier's limits of the meters they name."
    )
    billing_day: words.Day = Field(
        1, description="Day of the month on which its calendar windows begin."
    )


class HeadersPart(Part):
    """What responses tell."""

    families: list[words.FamilyWord] = Field(
        [word("x-ratelimit")], description="Which headers: `x-ratelimit`, `ietf`, both or none."
    )
    report: words.LimitName = Field(
        None, description="The limit that is shown while nothing denies; the tightest if absent."
    )


class PolicyPart(Part):
    """A policy of ratelimitd: the limits of one domain."""

    domain: words.Domain = Field(description="The namespace of these limits; Envoy sends it.")
    subject: SubjectPart = Field(description="Who is limited.")
    meters: dict[words.Key, words.MeterWord] = Field(
        {},
        description="What is counted. `requests: prepaid`, `tokens: postpaid` and `concurrent: "
        "{lease: 15m}` are there already.",
    )
    tiers: dict[words.Key, TierPart] = Field(description="Named sets of limits.")
    keys: list[KeyPart] = Field([], description="Keys that the file itself knows.")
    attributes: list[words.Entry] = Field(
        [],
        description="Names of attributes that registered keys may have, as `org`; an entry of such "
        "a name is never taken from the wire. Those of `keys` need no mention.",
    )
    exempt: list[words.Exemption] = Field(
        [], description="Descriptors that match all entries of one of these are never limited."
    )
    headers: HeadersPart = Field(HeadersPart.model_construct(), description="What responses tell.")
    overrides: words.Flag = Field(
        False, description="Whether a descriptor's own `limit` field counts."
    )
    on_store_failure: words.FailureWord = Field(
        word("local"), description="What calls get while the store cannot be asked."
    )


class _Drawing(GenerateJsonSchema):
    """A JSON Schema without titles and without defaults that nobody can write."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - pydantic's signature
        del schema
        return False

    def encode_default(self, dft: object) -> object:
        return super().encode_default(str(dft) if isinstance(dft, Word) else dft)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        drawn = super().default_schema(schema)
        if drawn.get("default", ...) is None:
            del drawn["default"]
        return drawn


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a policy file."""
    drawn = PolicyPart.model_json_schema(schema_generator=_Drawing)
    drawn["title"] = "ratelimitd policy"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **drawn}
