"""How commands talk: data on stdout, everything else on stderr, colour for people only.

Owns the consoles. Knows no command.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from ratelimitd.policy.show import pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ratelimitd.policy.faults import Fault

_WIDE = 160
"""Columns where nobody looks: what is piped is not folded for a screen."""

_CREDENTIALS = re.compile(r"(?<=://)\S*@")
"""What a URL has before its host: what a person typed comes back in complaints."""

_STYLES = {
    "": "",
    "code": "bold red",
    "warning": "bold yellow",
    "place": "bold",
    "gutter": "dim",
    "source": "",
    "caret": "red",
    "message": "",
    "hint": "green",
}
"""The colour of each role that `policy.show` gives."""


def console(stream: TextIO) -> Console:
    """Return a console on a stream: colour on a terminal only, and not with NO_COLOR."""
    is_terminal = stream.isatty()
    plain = not is_terminal or bool(os.environ.get("NO_COLOR"))
    return Console(
        file=stream,
        force_terminal=is_terminal,
        color_system=None if plain else "auto",
        width=None if is_terminal or os.environ.get("COLUMNS") else _WIDE,
        highlight=False,
        emoji=False,
        markup=False,
    )


def printable(text: str) -> str:
    """Return text that came from elsewhere without what a terminal would obey."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def program() -> str:
    """Return what to type for `ratelimitd`: where it is, for those who have it not on PATH."""
    if shutil.which("ratelimitd"):
        return "ratelimitd"
    script = Path(sys.executable).with_name("ratelimitd")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m ratelimitd"
    here = Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def say(message: str) -> None:
    """Tell the person at the terminal something that is no data."""
    _talk(Text(message))


def complain(message: str) -> None:
    """Say that something is wrong."""
    _talk(Text.assemble(("error: ", "bold red"), message))


def warn(message: str) -> None:
    """Say that something is probably not meant."""
    _talk(Text.assemble(("warning: ", "bold yellow"), message))


@contextlib.contextmanager
def working(message: str, *, always: bool = False) -> Iterator[None]:
    """Show on a terminal that something goes on; elsewhere say so once, if `always`."""
    screen = console(sys.stderr)
    if screen.is_terminal:
        with screen.status(Text(message)):
            yield
        return
    if always:
        say(message)
    yield


def _talk(text: Text) -> None:
    for match in reversed([*_CREDENTIALS.finditer(text.plain)]):
        text = text[: match.start()] + Text("…@") + text[match.end() :]
    console(sys.stderr).print(text, soft_wrap=True)


def styled(fault: Fault) -> Text:
    """Return a fault of a policy as text with colours."""
    return Text.assemble(*((text, _STYLES[role]) for text, role in pieces(fault)))
