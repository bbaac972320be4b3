"""What commands print: data on stdout, talk on stderr, shapes that stay."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from ratelimitd import __version__
from ratelimitd.cli import terminal, try_lines
from ratelimitd.cli.program import COMMANDS
from ratelimitd.devkit.samples import samples_dir

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Ran

SAMPLE = samples_dir() / "policy.yaml"
BAD = "domain: d\nsubject: {default_tier: free}\ntiers: {free: {request: 1/houre}}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(command: str, ratelimitd: Callable[..., Ran]) -> None:
    """Help is data: it goes to stdout, so that it can be paged."""
    ran = ratelimitd(command, "--help")
    assert ran.status == 0
    assert f"Usage: ratelimitd {command}" in ran.out
    assert f"Example: ratelimitd {command}" in ran.out
    assert ran.err == ""


def test_the_help_lists_every_command(ratelimitd: Callable[..., Ran]) -> None:
    """So does the bare word, which many type first."""
    for arguments in ((), ("--help",)):
        ran = ratelimitd(*arguments)
        assert ran.status == 0
        assert all(f" {command} " in ran.out for command in COMMANDS)


def test_the_version(ratelimitd: Callable[..., Ran]) -> None:
    """The version alone, for scripts."""
    assert ratelimitd("--version").out == f"{__version__}\n"


def test_init_prints_the_sample(ratelimitd: Callable[..., Ran]) -> None:
    """Byte by byte what the demo and the end-to-end tests run."""
    ran = ratelimitd("init")
    assert ran.status == 0
    assert ran.out == SAMPLE.read_text("utf-8")
    assert "Try: ratelimitd check FILE" in ran.err


def test_init_on_a_terminal_says_how_to_get_a_file(
    ratelimitd: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has sent it to a file already is not told to write one."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "Try: ratelimitd init --output policy.yaml" in ratelimitd("init").err


def test_what_to_type_is_where_the_program_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its name where PATH has it; else its path, from here if that is shorter; else by Python."""
    python = tmp_path / ".venv" / "bin" / "python"
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert terminal.program() == f"{python} -m ratelimitd"
    script = python.with_name("ratelimitd")
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    assert terminal.program() == str(script)
    monkeypatch.chdir(tmp_path)
    assert terminal.program() == ".venv/bin/ratelimitd"
    monkeypatch.setenv("PATH", str(script.parent))
    assert terminal.program() == "ratelimitd"


def test_init_writes_a_file_once(ratelimitd: Callable[..., Ran], tmp_path: Path) -> None:
    """A policy that somebody wrote is never lost."""
    file = tmp_path / "policy.yaml"
    ran = ratelimitd("init", "--output", file)
    assert (ran.status, ran.out) == (0, "")
    assert f"Try: ratelimitd check {file}" in ran.err
    file.write_text("mine")
    assert ratelimitd("init", "--output", file).status == 2
    assert file.read_text() == "mine"


def test_schema_prints_a_json_schema(ratelimitd: Callable[..., Ran]) -> None:
    """Editors read it as it comes."""
    ran = ratelimitd("schema")
    assert ran.status == 0
    assert "tiers" in json.loads(ran.out)["properties"]


def test_check_shows_what_applies_to_whom(ratelimitd: Callable[..., Ran]) -> None:
    """The promised table of the agent API can be read off it; no API key can."""
    ran = ratelimitd("check", SAMPLE)
    assert ran.status == 0
    rows = [line.split() for line in ran.out.splitlines()]
    pro = next(index for index, row in enumerate(rows) if row[:2] == ["tier", "pro"])
    assert rows[pro][2:6] == ["requests/hour", "1,000", "each", "hour"]
    assert rows[pro + 1][:2] == ["requests/minute", "100"]
    assert "demo-" not in ran.out + ran.err
    assert f"No faults. Try: ratelimitd serve --policy {SAMPLE}" in ran.err
    assert "\x1b" not in ran.out + ran.err


def test_check_lists_every_fault(ratelimitd: Callable[..., Ran], tmp_path: Path) -> None:
    """With its place, the line, a caret and the nearest word."""
    (tmp_path / "p.yaml").write_text(BAD)
    ran = ratelimitd("check", tmp_path / "p.yaml")
    assert ran.status == 1
    assert f"{tmp_path / 'p.yaml'}:3:16" in ran.out
    assert "^^^^^^^" in ran.out
    assert "Did you mean `requests`?" in ran.out
    assert "Did you mean `hour`?" in ran.out
    assert "2 faults" in ran.err


def test_check_reads_a_directory(ratelimitd: Callable[..., Ran], tmp_path: Path) -> None:
    """One file per domain; what is not YAML is left alone."""
    for domain in ("a", "b"):
        text = (
            f"domain: {domain}\nsubject: {{default_tier: t}}\ntiers: {{t: {{requests: 1/day}}}}\n"
        )
        (tmp_path / f"{domain}.yaml").write_text(text)
    (tmp_path / "README").write_text("no policy")
    out = json.loads(ratelimitd("check", tmp_path, "--json").out)
    assert [policy["domain"] for policy in out["policies"]] == ["a", "b"]


def test_check_in_json_has_one_shape(ratelimitd: Callable[..., Ran], tmp_path: Path) -> None:
    """A script reads the same words, whatever was found."""
    (tmp_path / "p.yaml").write_text(BAD)
    good, bad = (ratelimitd("check", path, "--json") for path in (SAMPLE, tmp_path / "p.yaml"))
    assert (good.status, bad.status) == (0, 1)
    assert set(json.loads(good.out)) == {"policies", "faults", "warnings"}
    assert set(json.loads(bad.out)) == {"policies", "faults", "warnings"}
    assert set(json.loads(bad.out)["faults"][0]) == {
        *("code", "file", "line", "column", "message", "nearest")
    }
    assert bad.err == ""


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)],
)
def test_colour_is_for_terminals(
    stream: io.StringIO, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not for those who set NO_COLOR; FORCE_COLOR does not make a file a terminal."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal.console(stream).print("text", style="bold red")
    assert ("\x1b[" in stream.getvalue()) is coloured


def test_what_comes_from_elsewhere_cannot_steer_the_terminal() -> None:
    """A limit's name or a header is shown, never obeyed."""
    assert terminal.printable("a\x1b[2Jb\n") == "a\N{REPLACEMENT CHARACTER}[2Jb" + "\ufffd"


PLACES = {"grpc": "127.0.0.1:1", "http": "127.0.0.1:2", "admin": "127.0.0.1:3"}


def test_dev_prints_lines_for_each_promise() -> None:
    """Healthy, limited, the other header, no key, never limited, and two ways past Envoy."""
    places = PLACES | {"api": "127.0.0.1:4", "edge": "127.0.0.1:5", "envoy-admin": "127.0.0.1:6"}
    lines = list(try_lines.of(places, SAMPLE, "ratelimitd", "memory"))
    listed = "grpc 127.0.0.1:1, http 127.0.0.1:2, admin 127.0.0.1:3, api 127.0.0.1:4"
    assert lines[0].startswith(f"ratelimitd {__version__} ready: {listed}, edge 127.0.0.1:5")
    curls = [line for line in lines if "curl" in line]
    for part in ("demo-pro", "seq 11", "x-api-key", "127.0.0.1:5/health", "grpcurl -plaintext"):
        assert any(part in line for line in curls), part
    assert any(line.startswith("ratelimitd decide --target 127.0.0.1:1 ") for line in lines)


def test_dev_without_envoy_says_so() -> None:
    """Nobody should wonder why nothing is limited."""
    text = "\n".join(try_lines.of(PLACES | {"api": "127.0.0.1:4"}, SAMPLE, "ratelimitd", "memory"))
    assert "ratelimitd dev --with-envoy" in text
    assert "curl -i" not in text
