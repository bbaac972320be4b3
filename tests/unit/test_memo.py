"""The bounded cache: what it keeps, what it forgets."""

from ratelimitd.memo import Memo


def look(memo: Memo[str, int], key: str) -> int | None:
    """Look a key up as its users do."""
    value = memo.get(key)
    return memo.recall(key) if value is None else value


def test_what_was_put_is_found() -> None:
    """A hit returns the value itself, a miss None."""
    memo: Memo[str, int] = Memo(2)
    memo.put("a", 1)
    assert look(memo, "a") == 1
    assert look(memo, "b") is None


def test_it_never_holds_more_than_two_generations() -> None:
    """A flood of keys costs bounded memory."""
    memo: Memo[str, int] = Memo(3)
    for number in range(100):
        memo.put(f"k{number}", number)
        assert len(memo) <= 6
    assert look(memo, "k99") == 99
    assert look(memo, "k0") is None


def test_what_is_asked_for_again_survives_a_flood() -> None:
    """One look per generation keeps a key alive."""
    memo: Memo[str, int] = Memo(4)
    memo.put("loved", 1)
    for number in range(100):
        memo.put(f"k{number}", number)
        if number % 3 == 0:
            assert look(memo, "loved") == 1


def test_what_is_not_asked_for_is_forgotten_first() -> None:
    """The least recently touched generation goes."""
    memo: Memo[str, int] = Memo(2)
    for key in "ab":
        memo.put(key, 1)
    for key in "cd":
        memo.put(key, 2)
    assert look(memo, "a") == 1
    memo.put("e", 3)
    assert [look(memo, key) for key in "b"] == [None]
    assert look(memo, "a") == 1


def test_a_value_put_again_replaces_the_old_one() -> None:
    """The last value counts, also where the key had aged."""
    memo: Memo[str, int] = Memo(1)
    memo.put("a", 1)
    memo.put("b", 2)
    memo.put("a", 3)
    assert look(memo, "a") == 3
    memo.put("c", 4)
    assert look(memo, "a") == 3
