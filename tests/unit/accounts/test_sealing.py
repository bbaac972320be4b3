"""What of an alert is encrypted at rest."""

import pytest

from ratelimitd.accounts.sealing import Hook, Sealer
from ratelimitd.model import Subject

ANNA, BERT = Subject(b"a" * 16), Subject(b"b" * 16)
HOOK = Hook("https://hooks.example/ünicode", "whsec_c2VjcmV0")
OLD, NEW = b"an old secret of tests", b"a new secret of tests!"


def test_what_is_sealed_is_opened_by_its_owner_alone() -> None:
    """Neither under another alert's id nor under another key."""
    sealer = Sealer([NEW])
    sealed = sealer.seal("alert_1", ANNA, HOOK)
    assert sealer.open("alert_1", ANNA, sealed) == HOOK
    assert sealer.open("alert_2", ANNA, sealed) is None
    assert sealer.open("alert_1", BERT, sealed) is None


def test_nothing_of_it_lies_open() -> None:
    """And the same hook is sealed to something else each time."""
    sealer = Sealer([NEW])
    one, two = (sealer.seal("alert_1", ANNA, HOOK) for _ in range(2))
    assert one != two
    assert b"hooks" not in one
    assert b"whsec" not in one
    assert "secret" not in repr(sealer)


def test_older_secrets_open_and_the_first_seals() -> None:
    """Until the older one is taken out of the file."""
    sealed = Sealer([OLD]).seal("alert_1", ANNA, HOOK)
    both = Sealer([NEW, OLD])
    assert both.open("alert_1", ANNA, sealed) == HOOK
    assert Sealer([NEW]).open("alert_1", ANNA, sealed) is None
    assert Sealer([NEW]).open("alert_1", ANNA, both.seal("alert_1", ANNA, HOOK)) == HOOK


@pytest.mark.parametrize("cut", [0, 1, 5, 13, 20])
def test_what_is_damaged_is_not_opened(cut: int) -> None:
    """Cut short, or with a bit turned: never an error."""
    sealer = Sealer([NEW])
    sealed = sealer.seal("alert_1", ANNA, HOOK)
    turned = sealed[:cut] + bytes([sealed[cut] ^ 1]) + sealed[cut + 1 :]
    assert sealer.open("alert_1", ANNA, sealed[:cut]) is None
    assert sealer.open("alert_1", ANNA, turned) is None
