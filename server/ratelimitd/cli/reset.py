"""`reset`: what a key has used is forgotten, by a running limiter's admin listener."""

from __future__ import annotations

from ratelimitd.cli import flags, terminal


def reset(
    key: flags.Key, *, meter: flags.Meter = "", admin: flags.AdminTarget = flags.LOCAL_ADMIN
) -> int:
    """Forget what a key has used of its limits. What is held ends by itself.

    Example: `ratelimitd reset demo-free --meter tokens`
    """
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    request = pb.ResetRequest(key=_admin.key(key), meter=meter)
    told = _admin.Admin(admin).call("Reset", request)
    for limit in told.before:
        if meter in {"", limit.meter} and limit.window:
            print(f"{terminal.printable(limit.limit)}: {limit.used} forgotten")
    terminal.say("Try: `ratelimitd usage KEY`")
    return 0
