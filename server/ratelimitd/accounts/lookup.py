"""Who a key is, in each domain: read of what is known, and looked up first where nobody has yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ratelimitd.accounts.alerts import Reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimitd.model import Subject
    from ratelimitd.policy.callers import Caller
    from ratelimitd.policy.matcher import Matcher
    from ratelimitd.policy.registry import Registry


class Policies(Protocol):
    """Where the present policies are (`limiter.Limiter`)."""

    matchers: dict[str, Matcher]


def present(policies: Policies, subjects: Sequence[Subject]) -> dict[str, Caller]:
    """Return the caller in each domain, by what is known now; some may be cold."""
    return {
        domain: matcher.callers.known(*subjects) for domain, matcher in policies.matchers.items()
    }


async def callers(
    policies: Policies, registry: Registry, subjects: Sequence[Subject]
) -> dict[str, Caller]:
    """Return the caller in each domain; `subjects`: the hashes that its key may be known by."""
    while any(caller.cold for caller in present(policies, subjects).values()):
        await registry.fetch(subjects)
    return present(policies, subjects)


def reported(matcher: Matcher) -> Reported:
    """Return what headers of a domain report."""
    return Reported(matcher.policy.report, matcher.report_meter)
