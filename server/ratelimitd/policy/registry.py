"""The port to keys that are registered outside the policy file: what is known of a subject now.

What is known is asked without waiting, because a decision has no time for it: a key that has not
been looked up yet is *cold*, and whoever decides fetches it first. The registry itself, its cache
and its feed of changes are `accounts`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ratelimitd.model import Subject
    from ratelimitd.policy.spec import Policy, Record


class Known:
    """What is known of one subject. Whatever was concluded from it holds while it is `current`."""

    __slots__ = ("__weakref__", "current", "is_doubtful")

    def __init__(self, *, current: bool = True, is_doubtful: bool = False) -> None:
        self.current = current
        """Whether nothing has changed since."""
        self.is_doubtful = is_doubtful
        """Whether the registry could not be asked, so that nobody knows."""

    def under(self, policy: Policy) -> Record | None:
        """Return the key's record as this policy understands it; None: it is not registered."""
        del policy
        return None


ALWAYS = Known()
"""For what depends on no registry."""
NEVER_LONG = Known(current=False)
"""For what depends on so much that it is made anew each time."""


def joint(knowns: Iterable[Known]) -> Known:
    """Return what holds as long as all of these: calls for several registered keys are rare."""
    several = set(knowns) - {ALWAYS}
    return several.pop() if len(several) == 1 else NEVER_LONG if several else ALWAYS


class Registry(Protocol):
    """Keys that are registered."""

    def known(self, subject: Subject) -> Known | None:
        """Return what is known; None: nobody has looked yet, or it has changed (`fetch`)."""
        ...

    async def fetch(self, subjects: Iterable[Subject]) -> None:
        """Look keys up, so that `known` tells something of each. Never raises.

        Those that cannot be looked up are as they were last known, else doubtful.
        """
        ...
