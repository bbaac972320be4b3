"""`check`: a policy explained, or every fault in it.

Owns how both look on a terminal; what they say is `policy.explain`'s and `policy.show`'s.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ratelimitd.cli import flags, terminal, values
from ratelimitd.errors import PolicyError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ratelimitd.policy.explain import LimitWords, PolicyWords
    from ratelimitd.policy.faults import Fault
    from ratelimitd.policy.load import Loaded

MOST_KEYS = 50
"""Keys with limits of their own that the table shows; `--json` has all."""


def check(policy: flags.PolicyFile, /, *, as_json: flags.Json = False) -> int:
    """Read a policy and show what applies to whom, or every fault in it.

    Exit status: 0, also with warnings; 1 with faults; 2 when there is no such file.

    Example: `ratelimitd check policy.yaml`
    """
    from ratelimitd.policy.explain import as_json as words_as_json
    from ratelimitd.policy.explain import explained

    try:
        with terminal.working(f"reading {policy} …"):
            loaded = _load(policy)
    except PolicyError as error:
        _show_faults(error, as_json=as_json)
        return 1
    words = [explained(each) for each in loaded.policies.values()]
    if as_json:
        _print_json(policies=[words_as_json(each) for each in words], warnings=loaded.warnings)
        return 0
    stdout, stderr = terminal.console(sys.stdout), terminal.console(sys.stderr)
    for each in words:
        for part in _parts(each):
            stdout.print(part)
    for warning in loaded.warnings:
        stderr.print(terminal.styled(warning), soft_wrap=True)
    name = "FILE" if str(policy) == "-" else str(policy)
    terminal.say(f"No faults. Try: ratelimitd serve --policy {name}")
    return 0


def _load(policy: Path) -> Loaded:
    from ratelimitd.keys import DEVELOPMENT_SECRET, Hasher
    from ratelimitd.policy.load import LARGEST, load, load_text

    hasher = Hasher(DEVELOPMENT_SECRET)
    if str(policy) != "-":
        return load(values.readable(policy), hasher)
    text = sys.stdin.buffer.read(LARGEST + 1)
    if len(text) > LARGEST:
        raise SettingsError(f"stdin: over {LARGEST >> 20} MiB is no policy")
    try:
        return load_text(text.decode("utf-8-sig"), "stdin", hasher)
    except UnicodeDecodeError as error:
        raise SettingsError(f"stdin: byte {error.start} is not UTF-8") from error


def _show_faults(error: PolicyError, *, as_json: bool) -> None:
    from ratelimitd.policy.faults import faults_of

    faults = faults_of(error)
    if as_json:
        _print_json(faults=faults)
        return
    for fault in faults:
        terminal.console(sys.stdout).print(terminal.styled(fault), soft_wrap=True)
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    terminal.complain(f"{count}; a policy with faults is not served")


def _print_json(
    *,
    policies: Iterable[dict[str, Any]] = (),
    faults: Iterable[Fault] = (),
    warnings: Iterable[Fault] = (),
) -> None:
    """Print the shape of `--json`, the same whatever was found."""
    shape = {
        "policies": list(policies),
        "faults": [_as_dict(fault) for fault in faults],
        "warnings": [_as_dict(warning) for warning in warnings],
    }
    print(json.dumps(shape))


def _as_dict(fault: Fault) -> dict[str, Any]:
    return {
        "code": fault.code,
        "file": fault.place.file,
        "line": fault.place.line,
        "column": fault.place.column,
        "message": fault.message,
        "nearest": fault.nearest or None,
    }


def _parts(words: PolicyWords) -> Iterator[Table | Text]:
    """Yield what is shown of one domain."""
    yield Text(f"domain {words.domain}", style="bold")
    yield _facts(words)
    rows = [
        (f"tier {tier.name}", limit, index)
        for tier in words.tiers
        for index, limit in enumerate(tier.limits)
    ]
    rows += [
        (f"key {key.key}…, tier {key.tier}", limit, index)
        for key in words.keys[:MOST_KEYS]
        for index, limit in enumerate(key.limits)
    ]
    yield _limits(rows)
    if len(words.keys) > MOST_KEYS:
        yield Text(f"… and {len(words.keys) - MOST_KEYS:,} more keys with limits of their own")


def _facts(words: PolicyWords) -> Table:
    table = Table.grid(padding=(0, 2))
    facts = {
        "caller": words.subject,
        "unknown key": words.unregistered,
        "no key": words.missing,
        "never limited": "; ".join(words.exempt) or "nothing",
        "headers": ", ".join(words.families) + f" of {words.report or 'the tightest limit'}",
        "reservations": _reservations(words),
        "store fails": words.on_store_failure,
        "custom tiers": ", ".join(tier.name for tier in words.tiers if tier.custom) or "none",
        "keys": ", ".join(f"{tier.keys:,} in {tier.name}" for tier in words.tiers if tier.keys)
        or "none in the file",
    }
    for name, fact in facts.items():
        table.add_row(Text(f"  {name}", style="dim"), Text(fact))
    return table


def _reservations(words: PolicyWords) -> str:
    """Say how long reservations can be settled and what then: alike ones in one breath."""
    alike: dict[str, list[str]] = {}
    for meter, said in words.reservations.items():
        alike.setdefault(said, []).append(meter)
    return "; ".join(f"{', '.join(meters)}: {said}" for said, meters in alike.items())


def _limits(rows: Iterable[tuple[str, LimitWords, int]]) -> Table:
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("who", overflow="fold")
    # A name or a number cut short is a wrong one.
    table.add_column("limit", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("window")
    table.add_column("counter for", overflow="fold")
    noted = any(map(_notes, (limit for _, limit, _ in rows)))
    if noted:
        table.add_column("notes", overflow="fold")
    for who, limit, index in rows:
        cells = [limit.name, f"{limit.amount:,}", limit.window, limit.shared_by]
        if noted:
            cells.append(_notes(limit))
        table.add_row(Text("" if index else who, style="bold"), *map(Text, cells))
    return table


def _notes(limit: LimitWords) -> str:
    notes = [f"when {' and '.join(limit.when)}"] if limit.when else []
    if limit.burst:
        notes.append(f"{limit.burst:,} at once")
    if limit.shadow:
        notes.append("shadow: never denies")
    return "; ".join(notes)
