"""Flags as values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ratelimitd.cli import values
from ratelimitd.errors import SettingsError
from ratelimitd.settings import duration

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("3s", 3.0), ("2m", 120.0), ("1h", 3600.0), ("1.5", 1.5), (" 0s ", 0.0)],
)
def test_a_length_of_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """A bare number is seconds."""
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "1 s", "1d", "1e3", "inf", "nan", "١s"])
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(SettingsError, match="is no length of time; write 500ms, 3s or 2m"):
        duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.2, "1 s"),
        (59.001, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3661, "1 h 1 min"),
        (90_061, "1 d 1 h"),
    ],
)
def test_a_wait_is_told_in_two_units_rounded_up(seconds: float, text: str) -> None:
    """Who waits as long as is said has waited long enough, but for the units left out."""
    assert values.span(seconds) == text


def test_a_variable_of_several_values_is_split_at_commas_and_spaces() -> None:
    """Both are written in practice, and no address holds either."""
    assert values.split(list[str], "127.0.0.1:1,127.0.0.1:2  unix:/a") == [
        "127.0.0.1:1",
        "127.0.0.1:2",
        "unix:/a",
    ]


def test_an_entry_is_split_at_its_first_equals_sign() -> None:
    """Values may hold the sign, and may be empty: an empty key is a key that Envoy sends."""
    faults = values.Faults()
    assert values.entries(["a=b=c", "d="], faults) == [("a", "b=c"), ("d", "")]
    faults.settle()


@pytest.mark.parametrize("text", ["sk-live-123", "=x", ""])
def test_what_is_no_entry_is_refused_without_being_repeated(text: str) -> None:
    """Who forgets the name has typed an API key."""
    faults = values.Faults()
    values.entries([text], faults)
    with pytest.raises(SettingsError) as refused:
        faults.settle()
    assert "KEY=VALUE" in str(refused.value)
    assert "sk-live" not in str(refused.value)


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """Who mends one and meets the next is served badly."""
    with pytest.raises(SettingsError) as refused:
        values.settings(
            policy=tmp_path / "absent.yaml",
            store="memory",
            listen=["x", "127.0.0.1:99999"],
            http="127.0.0.1:0",
            trusted_proxy=["10.0.0.0/8", "10.0.0.1/8", "envoy"],
            admin="",
            secret_file=tmp_path,
            drain="soon",
        )
    flags = [line.split(" ")[0].rstrip(":") for line in str(refused.value).splitlines()]
    proxies = ["--trusted-proxy", "--trusted-proxy"]
    files = ["--secret-file", "--policy"]
    assert flags == ["--listen", "--listen", *proxies, "--admin", "--drain", *files]
