"""docs/grpcurl.md is a transcript: each command is run, and must print what the page says."""

from __future__ import annotations

import base64
import json
import re
import shlex
from typing import NamedTuple

import pytest

from tests.architecture.source import ROOT
from tests.e2e.support.grpcurl import grpcurl
from tests.e2e.support.limiter import run_limiter
from tests.e2e.support.promised import MINUTE
from tests.e2e.support.waiting import room_in_window

PAGE = (ROOT / "docs/grpcurl.md").read_text("utf-8")
DOCUMENTED = "127.0.0.1:8081"
TIMES = re.compile(
    r'("duration_until_reset": "|"X-RateLimit-Reset(?:-After)?",\s+"value": "'
    r'|"Retry-After",\s+"value": "|"retry_after": |"(?:reset|expires|decided)_at": ")[\dTZ.:-]+'
    r'|("id": ")[^"]*'
)
BODY = re.compile(r'(?<="raw_body": ")[^"]*')


class Step(NamedTuple):
    """One command of the page, and what it printed there."""

    command: str
    printed: str


def steps(page: str) -> list[Step]:
    """The commands of all console blocks, in order; a command may go on over lines in quotes."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.splitlines()
            end = next(
                count
                for count in range(1, len(lines) + 1)
                if "\n".join(lines[:count]).count("'") % 2 == 0
            )
            found.append(Step("\n".join(lines[:end]), "\n".join(lines[end:]).strip()))
    return found


def without_times(printed: str) -> str:
    """What was printed, with the 429's body readable, and times and ids left out of both."""
    readable = BODY.sub(lambda match: base64.b64decode(match[0]).decode(), printed)
    return TIMES.sub(r"\1\2…", readable)


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_each_command_prints_what_the_page_says(transport: str) -> None:
    """In the page's order, against a limiter that has just started with the shipped policy."""
    async with run_limiter(transport=transport) as limiter:
        await room_in_window(MINUTE, 10)
        for command, printed in steps(PAGE):
            program, *arguments = shlex.split(command.replace(DOCUMENTED, limiter.address))
            assert program == "grpcurl"
            output, status = await grpcurl(arguments)
            assert without_times(output.strip()) == without_times(printed), command
            assert status == (67 if "InvalidArgument" in printed else 0)


def test_the_page_shows_each_kind_of_question() -> None:
    """Reflection, decisions, a denial, health and an error are all among the commands."""
    commands, printed = zip(*steps(PAGE), strict=True)
    assert len(commands) == 17
    for part in (" list", " describe ", "ShouldRateLimit", "/Decide", "/Release", "Health/Check"):
        assert any(part in command for command in commands)
    for part in ('"OVER_LIMIT"', "Retry-After", "SERVING", "InvalidArgument"):
        assert any(part in text for text in printed)


def test_the_body_that_the_page_spells_out_is_the_one_of_its_denial() -> None:
    """What base64 hides is shown as JSON below it."""
    (shown,) = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    denial = next(step.printed for step in steps(PAGE) if "OVER_LIMIT" in step.printed)
    assert base64.b64decode(json.loads(denial)["raw_body"]).decode() == shown


@pytest.mark.parametrize(
    ("said", "instead"),
    [
        ('"limit_remaining": 99', '"limit_remaining": 98'),
        ('"value": "999"', '"value": "99"'),
        ('"overall_code": "OVER_LIMIT"', '"overall_code": "OK"'),
        ("is_negative_hits = 4", "is_negative_hits = 5"),
        ('"key": "Retry-After"', '"key": "Retry"'),
        ('"used": "1"', '"used": "2"'),
        ('"field": "asks[0].meter"', '"field": "asks"'),
    ],
)
def test_a_wrong_page_would_be_found(said: str, instead: str) -> None:
    """The twin: only times are left out of the comparison."""
    assert said in PAGE
    assert without_times(PAGE.replace(said, instead)) != without_times(PAGE)
