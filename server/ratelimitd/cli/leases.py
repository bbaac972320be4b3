"""`leases`: what a key holds, asked of a running limiter's admin listener."""

from __future__ import annotations

import json
import sys

from rich.text import Text

from ratelimitd.cli import flags, terminal


def leases(
    key: flags.Key, *, at: flags.AdminTarget = flags.HERE, as_json: flags.Json = False
) -> int:
    """Show which leases a key holds of its concurrency limits, and when each ends.

    A lease is told by a mark of its own; its id stays its holder's. Changes nothing.

    Example: `ratelimitd leases demo-free`
    """
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import as_dict, pb

    told = _admin.Admin(at).call("ListLeases", pb.ListLeasesRequest(key=_admin.key(key)))
    if as_json:
        print(json.dumps({"limits": [as_dict(limit) for limit in told.limits]}))
        return 0
    lines = []
    for limit in told.limits:
        lines.append(f"{terminal.printable(limit.limit)}: {limit.held:,} of {limit.amount:,} held")
        lines += [f"  {each.mark} ends {each.ends.ToJsonString()}" for each in limit.leases]
        if limit.held > len(limit.leases):
            lines.append(f"  and {limit.held - len(limit.leases):,} that end later")
    text = "\n".join(lines or ["no limit of this key is one of leases"])
    terminal.console(sys.stdout).print(Text(text), soft_wrap=True)
    terminal.say("Try: `ratelimitd usage KEY`")
    return 0
