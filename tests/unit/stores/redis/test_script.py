"""The script that decides, as it is put together."""

from ratelimitd.model import Kind
from ratelimitd.stores.redis.script import PARTS, Script


def test_the_script_tells_kinds_apart_as_python_does() -> None:
    """The script cannot ask Python, so that the numbers stand there once more."""
    names = ("ACQUIRE", "PEEK", "REPORT", "REFUND", "RELEASE", "RENEW")
    numbers = ", ".join(str(getattr(Kind, name)) for name in names)
    line = f"local {', '.join(names)}, REFUND_LAST = {numbers}, {Kind.RENEW + 1}\n"
    assert line.encode() in Script.load().text


def test_a_part_can_be_given_instead() -> None:
    """Tests give a clock of theirs; all else is the script as shipped."""
    shipped, changed = Script.load(), Script.load(clock="-- none")
    assert (b"call('TIME')" in shipped.text, b"call('TIME')" in changed.text) == (True, False)
    assert shipped.sha != changed.sha
    assert len(PARTS) == len(set(PARTS))
