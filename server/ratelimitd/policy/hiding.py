"""Which words below `keys` a message may show: what is there by mistake may be an API key.

Pure. Whatever is not known to be harmless is hidden.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import lru_cache

_OPEN = frozenset({"tier", "limits", "billing_day"})
"""Of a key's fields, those whose values are shown."""
_FIELDS = (*sorted(_OPEN), "key", "key_hash")
_LIKENESS = 0.7
_LONGEST = 16
"""Characters of a word that may be a misspelt field; comparing is slow, and keys are longer."""


@lru_cache(256)
def shows_name(name: str) -> bool:
    """Say whether a word left of a colon is a field of a key, or one misspelt."""
    return name in _FIELDS or _like(name, _FIELDS)


def hides_value(name: str, *, below_keys: bool, at_top: bool) -> bool:
    """Say whether what stands right of the colon may be a key, or hold some."""
    if name == "key":
        return True
    return name not in _OPEN if below_keys else at_top and _like(name, ("keys",))


def _like(name: str, words: tuple[str, ...]) -> bool:
    if len(name) > _LONGEST:
        return False
    return bool(get_close_matches(name.casefold(), words, n=1, cutoff=_LIKENESS))
