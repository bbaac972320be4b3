"""What a person may get wrong, each with its exit status and a sentence that helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.cli.conftest import Ran

SERVE = ("serve", "--policy", "{policy}")
ADMIN = ("--admin", "unix:{folder}/none")
DECIDE = ("decide", "--target", "unix:{folder}/none")
BENCH = ("bench", "--target", "unix:{folder}/none")

MISTAKES = (
    (("serv",), 2, 'Unknown command "serv". Did you mean "serve"?'),
    (("--polic",), 2, "Unknown command"),
    (("serve",), 2, "--policy requires an argument"),
    (("serve", "--polic", "x"), 2, "Did you mean --policy instead of --polic?"),
    ((*SERVE, "--transprt", "grpcio"), 2, "Did you mean --transport?"),
    ((*SERVE, "extra"), 2, "unexpected: extra"),
    ((*SERVE, "redis://u:pw@h"), 2, "unexpected: redis://…@h"),
    ((*SERVE, "--workers", "redis://:pw@h"), 2, 'unable to convert "redis://…@h" into int'),
    ((*SERVE, "--transport", "uvicorn"), 2, 'Choose from: "auto", "pyvoy"'),
    ((*SERVE, "--log-format", "xml"), 2, 'Choose from: "text", "json"'),
    ((*SERVE, "--listen", "8081"), 2, "--listen: '8081' is no address; write HOST:PORT"),
    ((*SERVE, "--listen", "unix:"), 2, "--listen: 'unix:': a unix socket needs a path"),
    ((*SERVE, "--listen", "0.0.0.0:1"), 2, "give --secret-file FILE"),
    ((*SERVE, "--http", "[::]:1"), 2, "give --secret-file FILE"),
    ((*SERVE, "--admin", "0.0.0.0:1"), 2, "keep it on loopback"),
    ((*SERVE, "--store", "file:"), 2, "--store file:: write memory, file:PATH or redis://"),
    ((*SERVE, "--store", "redis"), 2, "--store redis: write memory, file:PATH or redis://"),
    ((*SERVE, "--store", "rdis://u:pw@h"), 2, "--store rdis:…: write memory, file:PATH or"),
    ((*SERVE, "--store-timeout", "12 ms"), 2, "--store-timeout: '12 ms' is no length of time"),
    ((*SERVE, "--store-timeout", "0s"), 2, "--store-timeout 0s: write 1ms to 10s"),
    ((*SERVE, "--store-timeout", "12"), 2, "--store-timeout 12s: write 1ms to 10s"),
    ((*SERVE, "--workers", "2"), 2, "--workers 2: processes can share their counts through Redis"),
    ((*SERVE, "--workers", "0"), 2, "--workers 0: write 1 to 64"),
    ((*SERVE, "--workers", "65"), 2, "--workers 65: write 1 to 64"),
    ((*SERVE, "--workers", "two"), 2, 'unable to convert "two" into int'),
    ((*SERVE, "--secret-file", "{folder}"), 2, "--secret-file {folder}: Is a directory"),
    ((*SERVE, "--secret-file", "{folder}/none"), 2, "No such file or directory"),
    ((*SERVE, "--secret-file", "{empty}"), 2, "the file is empty; write one secret per line"),
    ((*SERVE, "--secret-file", "{short}"), 2, "is too short; at least 16"),
    ((*SERVE, "--tls-cert", "{empty}"), 2, "--tls-cert needs --tls-key FILE beside it"),
    ((*SERVE, "--tls-key", "{empty}"), 2, "--tls-key needs --tls-cert FILE beside it"),
    ((*SERVE, "--tls-client-ca", "{empty}"), 2, "--tls-client-ca needs --tls-cert FILE"),
    ((*SERVE, "--tls-cert", "{folder}/none", "--tls-key", "{empty}"), 2, "No such file"),
    ((*SERVE, "--tls-cert", "{empty}", "--tls-key", "{short}"), 2, "no certificate in PEM form"),
    ((*SERVE, "--drain", "soon"), 2, "no length of time"),
    ((*SERVE, "--drain=-1s"), 2, "no length of time"),
    (("serve", "--policy", "{folder}/none"), 2, "{folder}/none: No such file or directory"),
    (("dev", "--edge", "10000"), 2, "--edge: '10000' is no address"),
    (("dev", "--listen", "0.0.0.0:0"), 2, "`dev` stays on loopback"),
    (("dev", "--with-envy"), 2, "Did you mean --with-envoy?"),
    (("dev", "--policy", "{folder}/none"), 2, "No such file or directory"),
    (("init", "--output", "{policy}"), 2, "it exists, and is left as it is"),
    (("init", "--output", "{folder}/none/p.yaml"), 2, "No such file or directory"),
    (("init", "policy.yaml"), 2, "unexpected: policy.yaml"),
    (("check",), 2, "FILE requires an argument"),
    (("check", "{folder}/none"), 2, "{folder}/none: No such file or directory"),
    (("check", "{policy}", "{policy}"), 2, "unexpected: "),
    (("decide",), 2, "give at least one KEY=VALUE"),
    ((*DECIDE, "demo-free"), 2, "an entry is KEY=VALUE"),
    ((*DECIDE, "a=b", "--hits", "-1"), 2, "--hits"),
    ((*DECIDE, "a=b", "--hits", str(2**53)), 2, "a number from 0 to 9007199254740991"),
    ((*DECIDE, "a=b", "--hits", "2", "--peek"), 2, "does not go with --hits"),
    ((*DECIDE, "a=b", "--hit", "2"), 2, "Did you mean --hits?"),
    ((*DECIDE, "a=\udcff"), 2, "the value of 'a' is not UTF-8"),
    ((*DECIDE, "a=b", "--domain", "\udcff"), 2, "--domain: not UTF-8"),
    ((*DECIDE, "a=b", "--tls-cert", "{empty}"), 2, "give --tls-ca FILE as well"),
    ((*DECIDE, "a=b", "--tls-ca", "{folder}/none"), 2, "--tls-ca {folder}/none: No such file"),
    ((*DECIDE, "a=b", "--tls-ca", "{empty}"), 2, "nothing of this kind in PEM form"),
    ((*DECIDE, "a=b", "--tls-ca", "{empty}", "--tls-key", "{empty}"), 2, "give both, or neither"),
    ((*DECIDE, "a=b", "--tls-ca", "{short}"), 2, "a unix socket, which is never TLS"),
    (("decide", "--target", "localhost", "a=b"), 2, "--target: 'localhost' is no address"),
    (("decide", "--target", "localhost:0", "a=b"), 2, "names no port"),
    ((*DECIDE, "a=b"), 69, "nobody answers at unix:{folder}/none"),
    ((*DECIDE, "a=b", "--json"), 69, "is `ratelimitd serve` running there?"),
    (("leases", "k", *ADMIN), 69, "This asks its --admin listener"),
    (("keys", "add", "k", "--tier", "pro", "--boost", "2x"), 2, "--boost needs its end"),
    (("bench", "--target", "198.51.100.1:8081", "a=b"), 2, "say --allow-remote"),
    ((*BENCH,), 2, "give at least one KEY=VALUE"),
    ((*BENCH, "a=b", "--domain", "\udcff"), 2, "--domain: not UTF-8"),
    ((*BENCH, "a=b", "--duration", "1s", "--requests", "1"), 2, "give one of them"),
    ((*BENCH, "a=b", "--duration", "0s"), 2, "more than 0s, and 300s at most"),
    ((*BENCH, "a=b", "--duration", "1h"), 2, "more than 0s, and 300s at most"),
    ((*BENCH, "a=b", "--requests", "0"), 2, "--requests 0: a number from 1 to"),
    ((*BENCH, "a=b", "--streams", "1001"), 2, "--streams 1001: a number from 1 to 1000"),
    ((*BENCH, "a=b", "--connections", "65"), 2, "--connections 65: a number from 1 to 64"),
    ((*BENCH, "a=b", "--generator", "wrk"), 2, "choose one of h2load, grpcio"),
    ((*BENCH, "a=b"), 69, "nobody answers at unix:{folder}/none"),
)


def _name(mistake: tuple[tuple[str, ...], int, str]) -> str:
    return " ".join(mistake[0]).encode("ascii", "backslashreplace").decode()


@pytest.mark.parametrize("mistake", MISTAKES, ids=_name)
def test_a_mistake_is_told_in_a_sentence(
    mistake: tuple[tuple[str, ...], int, str], ratelimitd: Callable[..., Ran], tmp_path: Path
) -> None:
    """One line on stderr, nothing on stdout, and no traceback (an exception would end the test)."""
    arguments, status, sentence = mistake
    places = {name: str(tmp_path / name) for name in ("policy", "empty", "short")}
    places["folder"] = str(tmp_path)
    (tmp_path / "policy").write_text("domain: d\n")
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "short").write_text("a long secret, but not in its second line\nhunter2\n")
    ran = ratelimitd(*(argument.format(**places) for argument in arguments))
    assert ran.status == status
    assert ran.out == ""
    assert ran.err.startswith("error: ")
    assert sentence.format(**places) in ran.err
    assert "hunter2" not in ran.err


KEYS = (
    ("keys", "sk-1"),
    ("keys", "show", "k", "sk-1"),
    ("keys", "set", "k", "--billing-day", "sk-1"),
    ("usage", "k", "sk-1"),
    ("reset", "k", "--json=sk-1"),
    ("leases", "k", "--json=sk-1"),
    ("usage", "sk-1\udcff"),
    ("keys", "add", "sk-1", "--tier", "\udcff"),
    ("reset", "k", "--meter", "sk-1\udcff"),
)


@pytest.mark.parametrize("arguments", KEYS, ids=ascii)
def test_what_may_be_a_key_is_not_repeated(
    arguments: tuple[str, ...], ratelimitd: Callable[..., Ran]
) -> None:
    """Whatever is wrong where a key is typed: logs of scripts keep what stderr had."""
    ran = ratelimitd(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert "sk-1" not in ran.err


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("[1]", "line 3: no JSON lines: no object"),
        ('"sk-1"', "line 3: no JSON lines: no object"),
        ('{"api_key": "sk-1"', "line 3: no JSON lines: Expecting"),
        (5_000 * "[", "line 3: no JSON lines: "),
        ('{"api_key": "sk-1", "expires": 5}', "line 3 is no record as `keys export` writes it"),
        ('{"api_key": "sk-1\\ud800"}', "not UTF-8"),
    ],
)
def test_a_line_that_is_no_record_is_told_by_its_number(
    line: str, why: str, ratelimitd: Callable[..., Ran], tmp_path: Path
) -> None:
    """And not by what it holds."""
    file = tmp_path / "keys"
    file.write_text(f'{{"api_key": "k", "tier": "pro"}}\n\n{line}\n')
    ran = ratelimitd("keys", "import", str(file), "--admin", f"unix:{tmp_path}/none")
    assert (ran.status, ran.out) == (2, "")
    assert why in ran.err
    assert "sk-1" not in ran.err


def test_unreadable_files_are_told(ratelimitd: Callable[..., Ran], tmp_path: Path) -> None:
    """A file that is there but cannot be opened: here, a link to itself, for root reads all."""
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)
    for arguments in (("check", loop), ("serve", "--policy", loop)):
        ran = ratelimitd(*arguments)
        assert ran.status == 2
        assert "loop.yaml: Too many levels of symbolic links" in ran.err
