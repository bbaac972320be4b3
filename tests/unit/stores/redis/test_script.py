"""The script that decides, as it is put together."""

from ratelimitd.stores.ports import ID_LIFETIME
from ratelimitd.stores.redis.script import PARTS, Script


def test_ids_are_remembered_as_long_as_the_port_promises() -> None:
    """The script cannot ask Python, so that the number stands there once more."""
    assert b"'NX', 'PX', %d)" % (ID_LIFETIME // 1000) in Script.load().text


def test_a_part_can_be_given_instead() -> None:
    """Tests give a clock of theirs; all else is the script as shipped."""
    shipped, changed = Script.load(), Script.load(clock="-- none")
    assert (b"call('TIME')" in shipped.text, b"call('TIME')" in changed.text) == (True, False)
    assert shipped.sha != changed.sha
    assert len(PARTS) == len(set(PARTS))
