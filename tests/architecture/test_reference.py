"""docs/cli.md and the Dockerfile against the commands that there really are."""

import re

import pytest

from ratelimitd.cli.environment import variable
from ratelimitd.cli.program import COMMANDS, program
from ratelimitd.cli.reference import reference
from tests.architecture.source import ROOT

# Flags of issues to come, or of an earlier draft of the design.
ABSENT = ("ratelimitd top",)


def serve_variables() -> set[str]:
    """Return the environment variables of `serve`."""
    arguments = program()["serve"].assemble_argument_collection()
    return {variable(argument.name) for argument in arguments if argument.name.startswith("--")}


def test_the_reference_is_what_the_commands_say() -> None:
    """docs/cli.md is generated: `make gen` after a change of a command."""
    assert (ROOT / "docs/cli.md").read_text("utf-8") == reference()


def test_the_reference_has_every_command_with_an_example() -> None:
    """A command without an example is one that nobody can begin with."""
    sections = reference().split("\n## ")
    for command in COMMANDS:
        (section,) = [text for text in sections if text.startswith(f"ratelimitd {command}\n")]
        assert f"Example: `ratelimitd {command}" in section


@pytest.mark.parametrize("word", ABSENT)
def test_nothing_is_promised_that_does_not_work_yet(word: str) -> None:
    """A flag that does nothing is worse than none."""
    assert word not in reference()


def test_each_variable_of_the_dockerfile_is_a_flag_of_serve() -> None:
    """A misspelt variable would be ignored in silence."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    set_there = set(re.findall(r"^ +(RATELIMITD_\w+)=", text, re.MULTILINE))
    assert set_there
    assert set_there <= serve_variables()


def test_a_misspelt_variable_would_be_found() -> None:
    """The set that the Dockerfile is compared with is not simply everything."""
    assert "RATELIMITD_LISTEN" in serve_variables()
    assert "RATELIMITD_LISTENS" not in serve_variables()
