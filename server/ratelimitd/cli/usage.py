"""`usage`: how the limits of a key stand, asked of a running limiter's admin listener."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.text import Text

from ratelimitd.cli import flags, terminal


def usage(
    key: flags.Key, *, at: flags.AdminTarget = flags.HERE, as_json: flags.Json = False
) -> int:
    """Show what a key has used of each of its limits, and where its pace ends. Charges nothing.

    Example: `ratelimitd usage demo-free`
    """
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import as_dict, pb

    told = _admin.Admin(at).call("GetUsage", pb.GetUsageRequest(key=_admin.key(key)))
    if as_json:
        limits = [as_dict(limit) for limit in told.limits]
        print(json.dumps({"tier": told.tier, "refusal": told.refusal, "limits": limits}))
        return 0
    text = Text(told.tier or "not registered", "bold")
    if told.refusal:
        text.append(f"\n  {terminal.printable(told.refusal)}", "red")
    for limit in told.limits:
        text.append(f"\n  {_line(limit)}")
    terminal.console(sys.stdout).print(text, soft_wrap=True)
    terminal.say("Try: --json is for scripts")
    return 0


def _line(limit: Any) -> str:  # noqa: ANN401 - a message of `rpc.admin_client`
    name = terminal.printable(limit.limit)
    line = f"{name}: {limit.used:,} of {limit.amount:,} used, {limit.remaining:,} left"
    if limit.used:
        line += f", all of it again at {limit.reset.ToJsonString()}"
    return line + _outlook(limit.forecast) if limit.HasField("forecast") else line


def _outlook(forecast: Any) -> str:  # noqa: ANN401 - a message of `rpc.admin_client`
    pace = f"; at this pace {forecast.projected:,} a window"
    if not forecast.exceeds:
        return f"{pace}, within the limit"
    return f"{pace}, used up at {forecast.reached.ToJsonString()}"
