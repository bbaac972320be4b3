"""A fault as a person sees it: the caret stands under the word, whatever the line is made of."""

import pytest

from ratelimitd.policy.faults import Fault, Place
from ratelimitd.policy.show import WIDEST, columns, pieces, shown
from tests.support.policy_text import faults, whole


def _fault(source: str, column: int, width: int = 1) -> Fault:
    return Fault(
        code="unknown-key",
        place=Place("p.yaml", 7, column),
        source=source,
        width=width,
        message="It means nothing here",
    )


def _lines(fault: Fault) -> tuple[str, str]:
    _, line, caret, _ = shown([fault]).splitlines()
    return line, caret


def test_a_fault_reads_as_documented() -> None:
    """Code and place, the line, the caret, one sentence with the mend, the word meant."""
    found = faults(whole("tiers: {free: {requests: [1/hour,\n  2/huor, 3/60m]}}"))
    assert shown(found) == (
        "bad-window  policy.yaml:2:5\n"
        "  2 |   2/huor, 3/60m]}}\n"
        "    |     ^^^^\n"
        "  `huor` is no window: write second, minute, hour, day, week, month, year, or a length as"
        " `30s`. Did you mean `hour`?\n"
        "\n"
        "duplicate-limit  policy.yaml:2:11\n"
        "  2 |   2/huor, 3/60m]}}\n"
        "    |           ^^^^^\n"
        "  This limit would count on the same counters as another; remove one of them."
        " See policy.yaml:1:27.\n"
    )


@pytest.mark.parametrize(
    ("source", "column", "under"),
    [
        ("key: bad", 6, "bad"),
        ("\tkey:\tbad", 7, "bad"),
        ("名前: bad", 5, "bad"),
        ("e\u0301te\u0301: bad", 8, "bad"),
        ("a\x1b[31m: bad", 9, "bad"),
        ("x: 悪い", 4, "悪い"),
    ],
)
def test_the_caret_stands_under_the_word(source: str, column: int, under: str) -> None:
    """Tabs, wide and combining characters take the columns that a terminal gives them."""
    line, caret = _lines(_fault(source, column, len(under)))
    before = columns(line[: line.index(under)])
    assert caret.index("^") == before
    assert caret.count("^") == columns(under)


def test_a_long_line_is_cut_around_the_fault() -> None:
    """A policy on one line, as a program writes it, does not flood the terminal."""
    line, caret = _lines(_fault("a" * 5000 + " bad " + "b" * 5000, 5002, 3))
    assert columns(line) <= WIDEST + len("  7 | ")
    assert line[caret.index("^") : caret.index("^") + 3] == "bad"
    assert line.count("…") == 2


def test_a_terminal_obeys_nothing_that_stands_in_a_policy() -> None:
    """Escape sequences are shown as what they are: unprintable."""
    line, _ = _lines(_fault("a: \x1b]0;x\x07\x9b", 1))
    assert line == "  7 | a: �]0;x��"


def test_a_fault_of_a_whole_file_quotes_no_line() -> None:
    """A file that cannot be read has no line to show."""
    whole_file = Fault(
        code="unreadable", place=Place("p.yaml", 0, 0), source="", width=1, message="It is gone"
    )
    assert shown([whole_file]) == "unreadable  p.yaml\n  It is gone.\n"


def test_the_roles_of_pieces_are_the_callers_to_colour() -> None:
    """Nothing here knows colours."""
    (fault,) = faults(whole("overrides: yes"))
    assert [role for _, role in pieces(fault) if role] == [
        *("code", "place", "gutter", "source", "gutter", "caret", "message", "hint")
    ]
