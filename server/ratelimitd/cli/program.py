"""The command line as a whole: which commands there are, and what becomes of what they raise.

Owns the exit codes and the shape of an error: one line per fault on stderr, never a traceback for
what a person did. Knows of each command its name only. The modules of commands are cheap to import:
what a command needs to do its work, it imports when it is called.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from cyclopts import App, CoercionError, CycloptsError, Parameter, UnusedCliTokensError

from ratelimitd import __version__
from ratelimitd.cli import terminal
from ratelimitd.cli.environment import Environment
from ratelimitd.errors import (
    AccountError,
    PolicyError,
    RateLimitdError,
    SettingsError,
    StoreError,
    UnreachableError,
)
from ratelimitd.policy.faults import faults_of

if TYPE_CHECKING:
    from collections.abc import Sequence

OK = 0
FAULTS = 1
"""Faults were found, or the call was denied."""
USAGE = 2
"""A flag, a variable, a file or an address that cannot work."""
UNREACHABLE = 69
"""EX_UNAVAILABLE of sysexits.h: nobody answers."""
INTERRUPTED = 128 + signal.SIGINT
READER_GONE = 128 + signal.SIGPIPE

COMMANDS = {
    "serve": "--policy FILE|DIR [OPTIONS]",
    "dev": "[--with-envoy] [OPTIONS]",
    "init": "[--output FILE]",
    "schema": "",
    "check": "[--json] FILE|DIR|-",
    "decide": "[OPTIONS] KEY=VALUE...",
    "keys": "add|set|show|list|revoke|import|export",
    "usage": "[OPTIONS] KEY",
    "reset": "[OPTIONS] KEY",
    "leases": "[OPTIONS] KEY",
    "bench": "[OPTIONS] KEY=VALUE...",
}
"""Every command in the order of `--help`, with what follows it. Each is a function of its name, in
a module of its name."""

OF_KEYS = {"keys", "usage", "reset", "leases"}
"""Commands to which API keys are typed."""

_HELP = """An exact rate limiter for Envoy and for gRPC services.

Data goes to stdout, talk to stderr. Exit status: 0 well, or allowed; 1 faults found, or denied;
2 a flag or setting that cannot work; 69 nobody answers at the target.

Example: `ratelimitd dev --with-envoy`"""

_EXIT_CODES: tuple[tuple[type[RateLimitdError], int], ...] = (
    (UnreachableError, UNREACHABLE),
    (PolicyError, FAULTS),
    (AccountError, FAULTS),
    (SettingsError, USAGE),
    (StoreError, USAGE),
)


def program() -> App:
    """Return the command line, with consoles that fit the streams as they are now."""
    app = App(
        name="ratelimitd",
        help=_HELP,
        version=__version__,
        config=Environment(),
        console=terminal.console(sys.stdout),
        error_console=terminal.console(sys.stderr),
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        help_format="markdown",
        suppress_keyboard_interrupt=False,
        print_error=False,
        exit_on_error=False,
        verbose=False,
    )
    for order, (name, tail) in enumerate(COMMANDS.items()):
        module = importlib.import_module(f"ratelimitd.cli.{name}")
        command = getattr(module, name)
        if isinstance(command, App):  # which has commands of its own
            command.sort_key = order
            app.command(command)
            continue
        usage = f"Usage: ratelimitd {name} {tail}".rstrip()
        app.command(command, name=name, usage=usage, sort_key=order)
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    # grpcio's core writes to stderr by itself what we say better, as a port in use.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Whoever closes a stream (`>&-`) wants nothing on it; Python then has no object at all there.
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    try:
        status = _run(arguments)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader of a pipe has had enough. Without this, Python would complain once more when it
        # flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED


def _nowhere() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")  # open until the process ends


def _run(arguments: Sequence[str]) -> int:
    try:
        return program()(arguments) or OK
    except CycloptsError as error:
        terminal.complain(_told(error))
        command = " ".join(("ratelimitd", *(error.command_chain or ())))
        terminal.say(f"See: {command} --help")
        return USAGE
    except RateLimitdError as error:
        return tell(error)
    except UnicodeEncodeError as error:  # what was given has bytes that protobuf cannot hold
        if error.encoding != "utf-8":
            raise
        terminal.complain("something that was given is not UTF-8")
        return USAGE


def tell(error: RateLimitdError) -> int:
    """Say on stderr what a person can mend, fault by fault; return the exit status."""
    if isinstance(error, PolicyError):
        for fault in faults_of(error):
            terminal.console(sys.stderr).print(terminal.styled(fault), soft_wrap=True)
    else:
        for line in str(error).splitlines():
            terminal.complain(line)
    return exit_code(error)


def _told(error: CycloptsError) -> str:
    """Return cyclopts's sentence, or a plainer one. What may be an API key is not repeated."""
    typed, told = error.unused_tokens or [], str(error)
    takes_key = (error.command_chain or ("",))[0] in OF_KEYS
    if isinstance(error, UnusedCliTokensError):
        return f"unexpected: {'…' if takes_key else ' '.join(typed)}"
    if isinstance(error, CoercionError) and error.token is not None:
        typed = [error.token.value]
    for each in typed if takes_key else ():
        told = told.replace(f'"{each}"', '"…"')
    return told


def exit_code(error: RateLimitdError) -> int:
    """Return the exit status that an error stands for."""
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))
