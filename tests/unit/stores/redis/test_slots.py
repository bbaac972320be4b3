"""What CLUSTER SLOTS says, in every spelling that servers use."""

import pytest

from ratelimitd.stores.redis.slots import Ranges, read

ID = b"0" * 40

TOLD: tuple[tuple[object, Ranges], ...] = (
    ([[0, 5, [b"10.0.0.1", 7000, ID]]], {("10.0.0.1", 7000): [(0, 5)]}),
    ([[0, 5, [b"a", 1, ID, []], [b"replica", 2, ID, []]]], {("a", 1): [(0, 5)]}),
    ([[0, 5, [b"a", 1, ID]], [9, 9, [b"a", 1, ID]]], {("a", 1): [(0, 5), (9, 9)]}),
    ([[0, 5, [b"", 1, ID]]], {("here", 1): [(0, 5)]}),
    ([[0, 5, [None, 1, ID, []]]], {("here", 1): [(0, 5)]}),
    ([[0, 5, [b"?", 1, ID, [b"ip", b"10.0.0.1"]]]], {("10.0.0.1", 1): [(0, 5)]}),
    ([[0, 16_383, [b"::1", 1, ID]]], {("::1", 1): [(0, 16_383)]}),
)


@pytest.mark.parametrize(("reply", "ranges"), TOLD)
def test_it_says_who_has_what(reply: object, ranges: Ranges) -> None:
    """Primaries by their addresses; one that does not know its own is where it was reached."""
    assert read(reply, "here") == ranges


@pytest.mark.parametrize(
    "reply",
    [
        *(None, b"OK", 7, [], [7], [[0, 5]], [[0, 5, [b"a"]]]),
        *([[5, 0, [b"a", 1, ID]]], [[0, 16_384, [b"a", 1, ID]]], [[-1, 0, [b"a", 1, ID]]]),
        *([[b"x", 5, [b"a", 1, ID]]], [[0, 5, [b"?", 1, ID, [b"ip"]]]], [[0, 5, 3]]),
    ],
    ids=repr,
)
def test_it_says_nothing(reply: object) -> None:
    """Whatever else comes is no map, and no exception."""
    assert read(reply, "here") == {}
