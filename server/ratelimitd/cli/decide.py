"""`decide`: one question to a running limiter, and its answer as a person would read it.

What was typed is not repeated and never logged: it may be an API key.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ratelimitd.cli import flags, terminal, values

if TYPE_CHECKING:
    from ratelimitd.rpc.ask import Answer, Said


def decide(
    *entries: flags.Entries,
    target: flags.Target = "127.0.0.1:8081",
    domain: flags.Domain = "agent-api",
    hits: flags.Hits = None,
    peek: flags.Peek = False,
    as_json: flags.Json = False,
    tls_ca: flags.TlsCa = None,
    tls_cert: flags.TlsOwnCert = None,
    tls_key: flags.TlsKey = None,
) -> int:
    """Ask a running limiter for one decision.

    Exit status: 0 allowed, 1 denied, 69 nobody answers there.

    Example: `ratelimitd decide --peek api_key=demo-free route=invoke`
    """
    from ratelimitd.cli._client import ask, client_tls
    from ratelimitd.rpc.ask import encode

    faults = values.Faults()
    address = faults.of("--target", values.target, target)
    faults.of("--domain", values.domain, domain)
    pairs = values.entries(entries, faults)
    if hits is not None and not 0 <= hits <= values.MOST_HITS:
        faults.add(f"--hits {hits}: a number from 0 to {values.MOST_HITS}")
    if peek and hits:
        faults.add("--peek charges nothing, so it does not go with --hits")
    tls = client_tls(faults, address, ca=tls_ca, cert=tls_cert, key=tls_key)
    faults.settle()
    assert address is not None
    with terminal.working(f"asking {address} …"):
        answer = ask(address, encode(domain, pairs, 0 if peek else hits), tls)
    if as_json:
        print(json.dumps(as_dict(answer)))
    else:
        terminal.console(sys.stdout).print(as_text(answer), soft_wrap=True)
        terminal.say(_next_step(answer, domain))
    return 0 if answer.allowed else 1


def _next_step(answer: Answer, domain: str) -> str:
    """Return what to do after an answer."""
    limits = [said.limit for said in answer.statuses if said.limit]
    if not answer.allowed:
        wait = dict(answer.headers).get("Retry-After", "")
        if wait.isdecimal():
            return f"Try again in {values.span(int(wait))}"
        return "Waiting does not help: the key is refused, or the hits never fit its limit"
    if not limits:
        return (
            "No limit applies: exempt, unlimited, or not named by the policy (--domain "
            f"{domain}, or the entries)"
        )
    return "Try: --peek asks without charging, --json is for scripts"


def as_dict(answer: Answer) -> dict[str, Any]:
    """Return an answer as the shape of `--json`."""
    return {
        "allowed": answer.allowed,
        "statuses": [
            {
                "passes": said.passes,
                "limit": {"name": said.limit, "amount": said.amount, "unit": said.unit or None}
                if said.limit
                else None,
                "remaining": said.remaining,
                "reset_after": said.reset_after,
            }
            for said in answer.statuses
        ],
        "headers": dict(answer.headers),
        "body": _body(answer.body),
        "lease": answer.lease or None,
    }


def _body(text: str) -> object:
    """Return the body of a denial parsed; as it came where it is no JSON; None without one."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def as_text(answer: Answer) -> Text:
    """Return an answer for reading."""
    text = Text()
    verdict, style = ("allowed", "bold green") if answer.allowed else ("denied", "bold red")
    text.append(verdict, style)
    for said in answer.statuses:
        text.append(f"\n  {_told(said)}")
    if answer.lease:
        text.append(f"\n  lease {answer.lease}")
    if answer.headers:
        text.append("\n")
    for name, value in answer.headers:
        text.append(f"\n{name}: {terminal.printable(value)}")
    if answer.body:
        text.append(f"\n\n{terminal.printable(answer.body)}")
    return text


def _told(said: Said) -> str:
    if not said.limit:
        return "no limit applies" if said.passes else "the key is refused"
    name = terminal.printable(said.limit)
    left = f"{name}: {said.remaining:,} of {said.amount:,} left"
    wait = values.span(said.reset_after)
    return f"{left}, all of it again in {wait}" if said.reset_after else left
