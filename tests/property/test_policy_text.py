"""Whatever a policy file holds, it loads or has faults; and what loads can be served."""

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ratelimitd.errors import PolicyError
from ratelimitd.model import Descriptor
from ratelimitd.policy.explain import explained
from ratelimitd.policy.faults import faults_of
from ratelimitd.policy.load import load_text
from ratelimitd.policy.matcher import Matcher
from ratelimitd.policy.shape import json_schema
from ratelimitd.policy.show import shown
from tests.support.policy_text import FILE, HASHER

_SCHEMA = json_schema()
_WORDS = sorted(
    {word for table in (_SCHEMA, *_SCHEMA["$defs"].values()) for word in table["properties"]}
    | {"free", "pro", "requests", "tokens", "concurrent", "lease", "(by meter)", "<<", "org"}
)
_VALUES = (
    *(
        "100/hour",
        "10/minute",
        "5/7d",
        "1/month",
        "2",
        "1_000",
        "2M/week",
        "9/huor",
        "15m",
        "",
        "~",
    ),
    *("true", "no", "deny", "allow", "prepaid", "postpaid", "local", "ietf", "token_bucket", "k*"),
    *("sliding_window", "subject", "requests/hour", "0123456789abcdef0123456789abcdef", "31", "é"),
)

_words = st.sampled_from((*_WORDS, *_VALUES)) | st.text(max_size=4)
_trees = st.recursive(
    _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=5),
    max_leaves=40,
)


def _rows(*words: str) -> st.SearchStrategy[object]:
    """Return tables of mostly these words, each mostly with a single value."""
    likely = dict.fromkeys(words, _words)
    return st.fixed_dictionaries({}, optional=likely) | st.dictionaries(_words, _trees, max_size=3)


_limits = st.lists(_rows(*_SCHEMA["$defs"]["LimitPart"]["properties"]), max_size=3)
_tiers = st.dictionaries(
    _words, st.fixed_dictionaries({"requests": _words, "limits": _limits}) | _trees, max_size=3
)
_keys = st.lists(
    st.fixed_dictionaries(
        {"key": _words, "tier": _words},
        optional={"limits": _limits | _trees, "org": _words, "billing_day": _words},
    ),
    max_size=3,
)
_policies = st.fixed_dictionaries(
    {
        "domain": st.just("d") | _words,
        "subject": st.just({"default_tier": "deny"}) | _rows("default_tier", "missing", "scheme"),
        "tiers": _tiers | _trees,
    },
    optional={
        "keys": _keys | _trees,
        "meters": st.dictionaries(_words, _words, max_size=2) | _trees,
        **dict.fromkeys(("exempt", "headers", "overrides", "burst"), _trees),
    },
)


def _are_in(text: str, error: PolicyError) -> None:
    found = faults_of(error)
    assert found
    assert found == error.faults
    lines = text.split("\n")
    for fault in found:
        assert 1 <= fault.place.line <= len(lines)
        assert 1 <= fault.place.column <= len(lines[fault.place.line - 1]) + 1
    assert shown(found)


def _loads_or_has_faults(text: str) -> None:
    try:
        loaded = load_text(text, FILE, HASHER)
    except PolicyError as error:
        _are_in(text, error)
        return
    for policy in loaded.policies.values():
        explained(policy)
        Matcher(policy, HASHER).read(Descriptor(entries=(("api_key", "k"), ("meter", "tokens"))))


@given(st.text(max_size=200))
def test_any_text_loads_or_has_faults(text: str) -> None:
    """No text raises anything but `PolicyError`, and every place is one of the text's."""
    _loads_or_has_faults(text)


@given(st.lists(st.sampled_from("{}[]:,-?&*!|>'\"#%@` \n\tab1\u00e9\x00\ud800"), max_size=60))
def test_any_punctuation_loads_or_has_faults(chars: list[str]) -> None:
    """What YAML gives a meaning to, in any order."""
    _loads_or_has_faults("".join(chars))


@given(_policies, st.sampled_from([None, True, False]))
@settings(max_examples=300)
def test_any_tree_of_the_formats_own_words_loads_or_has_faults(
    tree: object,
    flow: bool | None,
) -> None:
    """The words of the format in places where they do and do not belong."""
    _loads_or_has_faults(yaml.safe_dump(tree, default_flow_style=flow, allow_unicode=True))
