"""docs/customers.md as what it promises: its tiers, its commands with their answers, its code.

A command's answer is compared line by line. Times differ from the page's, and nothing else does.
"""

from __future__ import annotations

import asyncio
import json
import re
from asyncio.subprocess import PIPE
from typing import Any, Final, NamedTuple

from tests.architecture.source import ROOT

PAGE: Final = (ROOT / "docs/customers.md").read_text("utf-8")
DOCUMENTED: Final = "https://api.example.com"
HOOKS: Final = "https://hooks.example.com"
"""Where the page's customer has its receiver."""
WITHIN: Final = 30.0
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_SECONDS: Final = {"x-ratelimit-reset", "x-ratelimit-reset-after", "retry-after", "retry_after"}
_FORECAST: Final = {"exceeds", "projected", "reached_at"}


class Tier(NamedTuple):
    """A row of the table of tiers."""

    name: str
    hour: int
    minute: int
    concurrent: int
    tokens: int


class Answer(NamedTuple):
    """What a command prints: with `curl -i` the head as well."""

    head: list[str]
    """The status, and headers; empty without them."""
    body: str


class Command(NamedTuple):
    """A command of the page, and what it prints there."""

    text: str
    answer: Answer


class Code(NamedTuple):
    """A block of Python, and what it prints there."""

    text: str
    printed: str


def tiers(page: str = PAGE) -> list[Tier]:
    """Return the tiers whose limits are numbers."""
    rows = re.findall(r"(?m)^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$", page)
    return [
        Tier(name, *(int(each.replace(",", "")) for each in numbers)) for name, *numbers in rows
    ]


def commands(page: str = PAGE) -> dict[str, Command]:
    """Return the commands by what they do."""
    found = {}
    for text, printed in re.findall(r"(?ms)^```console\n\$ ([^\n]*)\n(.*?)^```$", page):
        command = Command(text, _answer(text, printed))
        found[_name(command)] = command
    return found


def _name(command: Command) -> str:
    """Return the last word of the path, but for the 429, and for what changes alerts."""
    (word,) = re.findall(rf"{DOCUMENTED}[\w/]*?/(\w+)/?[ $]", command.text)
    if "429" in "".join(command.answer.head[:1]):
        return "denied"
    if word == "alerts" and "DELETE" in command.text:
        return "remove"
    return "make" if word == "alerts" and " -d " in command.text else str(word)


def event(page: str = PAGE) -> Answer:
    """Return the event that the page shows."""
    (text,) = re.findall(r"(?ms)^```json\n(.*?)^```$", page)
    return Answer([], text)


def codes(page: str = PAGE) -> list[Code]:
    """Return the blocks of Python; a text block right behind one is what it prints."""
    found = re.findall(r"(?ms)^```python\n(.*?)^```$(?:\n\n^```text\n(.*?)^```$)?", page)
    return [Code(*each) for each in found]


def _answer(command: str, printed: str) -> Answer:
    printed = printed.replace("\r", "")
    if " -si " not in command:
        return Answer([], printed)
    head, _, body = printed.partition("\n\n")
    return Answer(head.strip().splitlines(), body)


async def run(
    command: Command, edge: str, key: str, hooks: str = HOOKS, **variables: str
) -> Answer:
    """Run a command of the page in a shell, against this Envoy and this receiver."""
    text = command.text.replace(DOCUMENTED, f"http://{edge}").replace(HOOKS, hooks)
    assert text != command.text
    printed = await shell("bash", "-c", text, KEY=key, **variables)
    return _answer(text, printed.replace(hooks, HOOKS))


async def shell(*words: str, **variables: str) -> str:
    """Run a program to its good end; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *words, env={"PATH": "/usr/bin:/bin", **variables}, stdout=PIPE, stderr=PIPE
    )
    async with asyncio.timeout(WITHIN):
        output, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return output.decode()


def compare(promised: Answer, given: Answer) -> None:
    """Fail where an answer is not what the page says."""
    assert promised.head[:1] == given.head[:1]
    told = [tuple(line.split(": ", 1)) for line in given.head[1:]]
    for name, _, value in (line.partition(": ") for line in promised.head[1:]):
        (found,) = [each[1] for each in told if each[0] == name]
        if name in _SECONDS:
            assert found.isdigit(), name
        else:
            assert found == value, name
    if promised.body.startswith("{"):
        _compare_json("", json.loads(promised.body), json.loads(given.body))
    elif promised.body:
        assert given.body == promised.body


def _compare_json(name: str, promised: Any, given: Any) -> None:  # noqa: ANN401 - JSON
    if name == "forecast":
        assert given is None or given.keys() == _FORECAST
    elif isinstance(promised, dict):
        assert list(given) == list(promised), name
        for key, value in promised.items():
            _compare_json(key, value, given[key])
    elif isinstance(promised, list):
        assert len(given) == len(promised), name
        for value, other in zip(promised, given, strict=True):
            _compare_json(name, value, other)
    elif isinstance(promised, str) and promised.endswith("…"):
        assert given.startswith(promised.removesuffix("…")), name
    elif isinstance(promised, str) and _MOMENT.fullmatch(promised):
        assert _MOMENT.fullmatch(given), name
    elif name in _SECONDS:
        assert isinstance(given, int), name
    else:
        assert given == promised, name
