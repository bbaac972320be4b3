"""Every code that a fault or warning in a policy can have, and what it stands for.

Codes are stable: scripts may look for them. docs/policy.md lists them from here.
"""

from __future__ import annotations

from typing import Final

FILE: Final = {
    "unreadable": "the file or folder cannot be read",
    "no-policy": "the folder holds no *.yaml or *.yml file",
    "too-large": "the file is larger than 64 MiB",
    "not-utf8": "the file is not UTF-8",
    "empty": "the file holds no policy",
    "duplicate-domain": "two files of one folder have the same domain",
}
"""Faults of a file as a whole."""

YAML: Final = {
    "bad-yaml": "the text is not YAML",
    "tab": "a tab where YAML wants spaces",
    "many-documents": "more than one YAML document",
    "duplicate-key": "a word stands twice in one table",
    "bad-key": "the left side of a colon is not plain text",
    "bad-tag": "a YAML tag (`!name`) that means nothing here",
    "bad-alias": "an alias (`*name`) without an anchor (`&name`) before it",
    "merge-key": "`<<`, which YAML 1.2 does not have",
    "too-deep": "lists and tables nested more than 32 deep",
    "alias-bomb": "aliases that unfold to more than 100,000 values",
}
"""Faults of the notation."""

SHAPE: Final = {
    "unknown-key": "a word that has no meaning there",
    "missing-key": "a word that must be there is not",
    "wrong-type": "text, number, list, table or true/false where another is needed",
    "unknown-value": "not one of the words that can stand there",
    "bad-name": "a name with characters that headers, metrics or URLs cannot carry",
    "bad-rate": "not AMOUNT/WINDOW",
    "bad-amount": "not a whole number from 0",
    "bad-window": "no such window",
    "bad-duration": "not a length of time",
    "bad-number": "a number out of its range",
    "bad-key-hash": "not 32 hexadecimal digits",
    "too-long": "a value that no entry or attribute can have",
}
"""Faults of single values and of words."""

MEANING: Final = {
    "unknown-meter": "a meter that is not defined",
    "unknown-tier": "a tier that is not defined",
    "unknown-limit": "`report` names a limit that nobody has",
    "reserved-name": "a name that means something else already",
    "needs-window": "an amount without a window, for a meter that is not held",
    "needs-amount": "a window, for a meter that is held",
    "rate-or-amount": "both `rate` and `amount`, or neither",
    "bad-algorithm": "an algorithm that cannot count this meter or window",
    "bad-burst": "`burst` without a token bucket, or a burst of 0",
    "too-big": "numbers that would not be counted exactly",
    "duplicate-limit": "two limits that would share their counters",
    "duplicate-name": "two limits of one caller with the same name",
    "duplicate-per": "a word stands twice in `per`",
    "never-matches": "a rule that no request can meet",
    "empty-rule": "an exemption without conditions, which would free everything",
    "key-in-per": "the caller's key in `per`, which would write it into the store",
    "key-in-rule": "the caller's key in `when` or `exempt`, which would write it into the store",
    "key-or-hash": "both `key` and `key_hash`, or neither",
    "duplicate-subject": "the same API key twice",
    "no-own-limits": "a key of a `custom` tier without limits of its own",
    "custom-default": "a `custom` tier for callers who cannot have limits of their own",
}
"""Contradictions."""

WARNINGS: Final = {
    "control-entry": "a rule looks at an entry that steers the limiter",
    "keyless-limit": "a limit for addresses, which no descriptor without a key meets",
    "likely-typo": "an attribute whose name is nearly a word of the policy",
    "scheme-in-key": "a key that begins with the subject's scheme",
    "covered-rule": "an exemption that an earlier one already covers",
}
"""What is allowed but probably not meant."""

CODES: Final = FILE | YAML | SHAPE | MEANING | WARNINGS
