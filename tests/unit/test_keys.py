"""Identities, spelled out: subjects, families, counter keys. Expected strings are literal."""

from dataclasses import replace
from hashlib import blake2b

import pytest

from ratelimitd.keys import LONGEST_VALUE, Hasher, escape, family, to_bytes
from ratelimitd.model import Limit, Unit, Window
from tests.support.ops import MONTHLY, TOKENS, S, bucket, fixed, leases, sliding

HASHER = Hasher(b"secret")


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (b"", b""),
        (b"gpt-4o_mini.v2:x/y", b"gpt-4o_mini.v2:x/y"),
        (b"a b", b"a%20b"),
        (b"%|,=~#@*", b"%25%7C%2C%3D%7E%23%40%2A"),
        (b"%25", b"%2525"),
        (b"\x00\n\x7f\xff", b"%00%0A%7F%FF"),
        ("é".encode(), b"%C3%A9"),
    ],
)
def test_escaped_text_is_printable_and_holds_no_separator(value: bytes, spelled: bytes) -> None:
    """Separators, spaces, control characters and what is not ASCII are spelled in hexadecimal."""
    assert escape(value) == spelled


def test_bytes_that_are_not_utf8_keep_their_value() -> None:
    """Lone surrogates stand for the bytes that were sent."""
    assert to_bytes(b"k\xff\xfe".decode("utf-8", "surrogateescape")) == b"k\xff\xfe"


def test_absent_empty_and_a_tilde_are_three_values() -> None:
    """An absent entry is a value of its own, which nobody can send."""
    spelled = [HASHER.counter_key([value, "x"]) for value in (None, "", "~")]
    assert spelled == [b"~|x", b"|x", b"%7E|x"]


@pytest.mark.parametrize(
    ("values", "spelled"),
    [
        ([], b""),
        ([""], b""),
        (["a", "b"], b"a|b"),
        (["a|b", ""], b"a%7Cb|"),
        (["", "a|b"], b"|a%7Cb"),
        ([None, None], b"~|~"),
        ([b"\x01\xab", "gpt-4"], b"@01ab|gpt-4"),
        (["@01ab", "gpt-4"], b"%4001ab|gpt-4"),
    ],
)
def test_a_counters_key_spells_its_values_in_order(
    values: list[str | bytes | None], spelled: bytes
) -> None:
    """Parts are joined by `|`, which no part holds; a subject is `@` and its hexadecimal."""
    assert HASHER.counter_key(values) == spelled


def test_a_subject_alone_is_its_own_key() -> None:
    """The commonest key costs nothing to spell."""
    subject = HASHER.key("demo")
    assert HASHER.counter_key([subject]) == subject


def test_a_long_key_is_a_digest_that_no_short_one_equals() -> None:
    """Keys are bounded, whatever is sent; `#` begins no spelled key."""
    kept, long = ["x" * 96], ["x" * 97]
    assert HASHER.counter_key(kept) == b"x" * 96
    digest = HASHER.counter_key(long)
    assert digest[:1] == b"#"
    assert len(digest) == 17
    assert digest != HASHER.counter_key(["x" * 96 + "y"])


@pytest.mark.parametrize(
    ("limit", "spelled"),
    [
        (fixed(5), "api|requests|hour|fixed_window||subject"),
        (fixed(5, meter=TOKENS, window=MONTHLY), "api|tokens|month|fixed_window||subject"),
        (
            fixed(5, Window.of(Unit.MONTH, anchor_day=9)),
            "api|requests|month%409|fixed_window||subject",
        ),
        (fixed(5, Window.lasting(86_400 * S)), "api|requests|day|fixed_window||subject"),
        (sliding(5), "api|requests|hour|sliding_window||subject"),
        (bucket(5, burst=9), "api|requests|second|token_bucket||subject"),
        (leases(5), "api|concurrent||lease||subject"),
        (replace(fixed(5), per=()), "api|requests|hour|fixed_window||"),
        (replace(fixed(5), per=("org", "model")), "api|requests|hour|fixed_window||org,model"),
        (
            replace(fixed(5), when=(("route", "invoke"), ("model", "gpt-*"))),
            "api|requests|hour|fixed_window|model=gpt-%2A,route=invoke|subject",
        ),
        (
            replace(fixed(5), when=(("a=b", "c,d"),)),
            "api|requests|hour|fixed_window|a%3Db=c%2Cd|subject",
        ),
    ],
)
def test_a_family_is_spelled_canonically(limit: Limit, spelled: str) -> None:
    """Domain, meter, canonical window, algorithm, conditions, names in `per`; each escaped."""
    assert family("api", limit) == spelled


def test_the_domain_is_part_of_a_family() -> None:
    """Domains are namespaces, also where their names hold separators."""
    assert family("a|b", fixed(1)) == "a%7Cb|requests|hour|fixed_window||subject"
    assert family("b\udcff", fixed(1)).startswith("b%FF|")


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": 6},
        {"name": "renamed"},
        {"shadow": True},
        {"when": (("model", "x"), ("route", "y"))},
    ],
)
def test_an_upgrade_keeps_what_was_used(changes: dict[str, object]) -> None:
    """Amount, name, shadow and the order of conditions are no part of the identity."""
    plain = replace(fixed(5), when=(("route", "y"), ("model", "x")))
    assert family("api", replace(plain, **changes)) == family("api", plain)  # type: ignore[arg-type]


def test_a_bucket_of_another_size_is_the_same_counter() -> None:
    """The burst is as little identity as the amount."""
    assert family("api", bucket(5, burst=9)) == family("api", bucket(50, burst=1))


def test_subjects_depend_on_the_secret_and_on_what_they_are_of() -> None:
    """A key, an address of the same text and nobody are three subjects; two secrets share none."""
    subjects = {
        HASHER.key("10.0.0.1"),
        HASHER.address("10.0.0.1"),
        HASHER.address(""),
        HASHER.address(None),
        Hasher(b"other").key("10.0.0.1"),
        Hasher(b"other").address(None),
    }
    assert len(subjects) == 6
    assert {len(subject) for subject in subjects} == {16}


def test_a_subject_is_what_anybody_with_the_secret_can_compute() -> None:
    """BLAKE2b of RFC 7693, 128 bits, keyed, personalised: `keys import` must give the same."""
    expected = blake2b(b"demo", digest_size=16, key=b"secret", person=b"key").digest()
    assert HASHER.key("demo") == expected


def test_a_secret_longer_than_the_hash_takes_counts_whole() -> None:
    """Secrets that differ after their 64th byte are different secrets."""
    long = b"s" * 64
    assert Hasher(long + b"1").key("k") != Hasher(long + b"2").key("k")


def test_keys_hashed_with_older_secrets_are_known() -> None:
    """Secrets rotate: the first hashes, all of them find."""
    rotated = Hasher(b"new", b"secret", b"oldest")
    assert rotated.older("demo") == (HASHER.key("demo"), Hasher(b"oldest").key("demo"))
    assert rotated.key("demo") == Hasher(b"new").key("demo")
    assert HASHER.older("demo") == ()


@pytest.mark.parametrize("secrets", [(b"",), (b"new", b"")])
def test_an_empty_secret_is_refused(secrets: tuple[bytes, ...]) -> None:
    """An empty secret protects nothing."""
    with pytest.raises(ValueError, match="secret is empty"):
        Hasher(*secrets)


def test_a_hasher_never_shows_its_secret() -> None:
    """Logs and tracebacks print values."""
    assert "secret1" not in repr(Hasher(b"secret1"))


def test_values_up_to_one_kib_stand_as_they_are() -> None:
    """The bound is counted in the bytes that were sent."""
    assert HASHER.bounded_value("x" * LONGEST_VALUE) == "x" * 1024
    assert HASHER.bounded_value("é" * 512) == "é" * 512


@pytest.mark.parametrize("value", ["x" * 1025, "é" * 512 + "x", "\udcff" * 1025])
def test_a_longer_value_is_replaced_by_a_keyed_digest(value: str) -> None:
    """What a customer sends is bounded, and nobody without the secret can name its counter."""
    digest = HASHER.bounded_value(value)
    assert digest.startswith("digest:")
    assert len(digest) == 39
    assert digest != HASHER.bounded_value(value + "y")
    assert digest != Hasher(b"other").bounded_value(value)
