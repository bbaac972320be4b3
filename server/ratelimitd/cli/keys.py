"""`keys`: who has which tier and limits, asked of and told to a running limiter's admin listener.

What was typed is never shown again: it may be an API key. Answers have its hash.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from cyclopts import App, Parameter

from ratelimitd.cli import _records, flags, terminal
from ratelimitd.cli._records import Given
from ratelimitd.errors import RateLimitdError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BATCH = 200
_HELP = """Register API keys: their tiers, limits and dates.

Example: `ratelimitd keys add sk-acme --tier pro`"""

keys = App(
    name="keys",
    help=_HELP,
    usage="Usage: ratelimitd keys COMMAND",
    default_parameter=Parameter(negative=()),
)


@keys.command(name="add", usage="Usage: ratelimitd keys add --tier TIER [OPTIONS] KEY")
def add(
    key: flags.Key,
    *,
    tier: flags.Tier,
    limit: flags.OwnLimits = None,
    attr: flags.Attributes = None,
    billing_day: flags.BillingDay = None,
    expires: flags.Expires = None,
    note: flags.Note = None,
    boost: flags.Boost = None,
    until: flags.Until = None,
    disabled: flags.Disabled = None,
    at: flags.AdminTarget = flags.HERE,
    as_json: flags.Json = False,
) -> int:
    """Register a key. Example: `ratelimitd keys add sk-acme --tier team --limit tokens=5M/day`."""
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    record = pb.KeyRecord(tier=tier)
    given = Given(limit, attr, billing_day, expires, note, disabled, boost, until)
    given.put(record)
    request = pb.AddKeyRequest(key=_admin.key(key), record=record)
    return _written(_admin.Admin(at).call("AddKey", request), as_json=as_json)


@keys.command(name="set", usage="Usage: ratelimitd keys set [OPTIONS] KEY")
def change(
    key: flags.Key,
    *,
    tier: flags.NewTier = None,
    limit: flags.OwnLimits = None,
    attr: flags.Attributes = None,
    billing_day: flags.BillingDay = None,
    expires: flags.Expires = None,
    note: flags.Note = None,
    boost: flags.Boost = None,
    until: flags.Until = None,
    disabled: flags.Disabled = None,
    at: flags.AdminTarget = flags.HERE,
    as_json: flags.Json = False,
) -> int:
    """Change what is given, leave the rest. Example: `ratelimitd keys set sk-acme --tier pro`."""
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    which, server = _admin.key(key), _admin.Admin(at)
    record = server.call("GetKey", pb.GetKeyRequest(key=which)).record
    record.tier = tier or record.tier
    given = Given(limit, attr, billing_day, expires, note, disabled, boost, until)
    given.put(record)
    request = pb.SetKeyRequest(key=which, record=record)
    return _written(server.call("SetKey", request), as_json=as_json)


@keys.command(name="show", usage="Usage: ratelimitd keys show [OPTIONS] KEY")
def show(key: flags.Key, *, at: flags.AdminTarget = flags.HERE, as_json: flags.Json = False) -> int:
    """Show the record of a key. Example: `ratelimitd keys show sk-acme`."""
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    request = pb.GetKeyRequest(key=_admin.key(key))
    _print([_admin.Admin(at).call("GetKey", request).record], as_json=as_json)
    return 0


@keys.command(name="revoke", usage="Usage: ratelimitd keys revoke [OPTIONS] KEY")
def revoke(key: flags.Key, *, at: flags.AdminTarget = flags.HERE) -> int:
    """Refuse a key from now on, for good. Example: `ratelimitd keys revoke sk-acme`."""
    from ratelimitd.cli import _admin
    from ratelimitd.rpc.admin_client import pb

    request = pb.RevokeKeyRequest(key=_admin.key(key))
    _print([_admin.Admin(at).call("RevokeKey", request).record], as_json=False)
    terminal.say("It is refused everywhere within a second")
    return 0


@keys.command(name="list", usage="Usage: ratelimitd keys list [OPTIONS]")
def listed(
    *,
    tier: flags.OfTier = "",
    at: flags.AdminTarget = flags.HERE,
    as_json: flags.Json = False,
) -> int:
    """List all keys, or those of a tier. Example: `ratelimitd keys list --tier pro`."""
    from ratelimitd.cli import _admin

    _print(_admin.Admin(at).pages(tier), as_json=as_json)
    return 0


@keys.command(name="export", usage="Usage: ratelimitd keys export [OPTIONS]")
def export(*, tier: flags.OfTier = "", at: flags.AdminTarget = flags.HERE) -> int:
    """Write all records as JSON lines, for `import`. Example: `ratelimitd keys export > keys`."""
    from ratelimitd.cli import _admin

    found = _admin.Admin(at).pages(tier)
    _print((record for record in found if not record.from_policy), as_json=True)
    return 0


@keys.command(name="import", usage="Usage: ratelimitd keys import [OPTIONS] FILE")
def load(file: flags.KeysFile, *, at: flags.AdminTarget = flags.HERE) -> int:
    """Write records of JSON lines, whatever was there. Example: `ratelimitd keys import keys`."""
    from ratelimitd.cli import _admin

    server, count = _admin.Admin(at), 0
    lines = _read(file)
    try:
        with terminal.working("importing …"):
            for first in range(0, len(lines), _BATCH):
                count += _admin.imported(server, lines[first : first + _BATCH])
    except RateLimitdError:
        terminal.say(f"{count} were written before this went wrong:")
        raise
    print(count)
    return 0


def _read(file: Path) -> list[tuple[int, dict[str, Any]]]:
    """Return what lines hold, each with its number."""
    found, place = [], f"{file}"
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        for number, line in enumerate(text.split("\n"), 1):
            place = f"{file}, line {number}"
            if line.strip():
                found.append((number, dict(json.loads(line).items())))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        why = "no object" if isinstance(error, AttributeError) else error
        msg = f"{place}: no JSON lines: {why}"
        raise SettingsError(msg) from error
    return found


def _written(answer: Any, *, as_json: bool) -> int:  # noqa: ANN401 - either answer
    _print([answer.record], as_json=as_json)
    if not answer.lasting:
        terminal.warn("the registry is in memory: this is gone when the limiter ends")
    terminal.say("Try: `ratelimitd usage KEY`")
    return 0


def _print(records: Iterable[Any], *, as_json: bool) -> None:
    """Print records, one a line."""
    from ratelimitd.rpc.admin_client import as_dict

    for record in records:
        if as_json:
            print(json.dumps(as_dict(record)))
            continue
        print(_records.line(record))
