"""`reset`: what a key has used is forgotten, by a running limiter's admin listener."""

from __future__ import annotations

from typing import Any

from ratelimitd.cli import flags, terminal


def reset(key: flags.Key, *, meter: flags.Meter = "", at: flags.AdminTarget = flags.HERE) -> int:
    """Forget what a key has used of its limits, but for what it shares with other keys.

    Leases are left: they end by themselves.

    Example: `ratelimitd reset demo-free --meter tokens`
    """
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    request = pb.ResetRequest(key=_admin.key(key), meter=meter)
    told = _admin.Admin(at).call("Reset", request)
    for limit in told.forgotten:
        print(f"{terminal.printable(limit.limit)}: {limit.used:,} forgotten")
    for limit in told.before:
        if limit not in told.forgotten and meter in {"", limit.meter}:
            terminal.say(f"{terminal.printable(limit.limit)}: {_left(limit)}")
    terminal.say("Try: `ratelimitd usage KEY`")
    return 0


def _left(limit: Any) -> str:  # noqa: ANN401 - a message of `rpc.admin_client`
    """Say why a limit was not reset."""
    if limit.window:
        return "left as it is, for other keys count on it too"
    return f"{limit.used:,} held, and left: leases end by themselves (`ratelimitd leases KEY`)"
