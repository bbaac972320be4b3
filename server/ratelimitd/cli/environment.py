"""The environment as a source of flags: `RATELIMITD_<FLAG>`, where the command line is silent.

Reads exactly the names that flags have. Kubernetes puts variables of its own into every container,
such as RATELIMITD_PORT_8081_TCP for a service named `ratelimitd`: nothing may be guessed from a
prefix. An empty variable counts as not set, as compose files write it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cyclopts import Token
from cyclopts.config import Env

if TYPE_CHECKING:
    from cyclopts import App
    from cyclopts.argument import ArgumentCollection

PREFIX = "RATELIMITD_"


def variable(flag: str) -> str:
    """Return the variable of a flag: `--log-format` is RATELIMITD_LOG_FORMAT."""
    return PREFIX + flag.removeprefix("--").upper().replace("-", "_")


class Environment(Env):
    """Fills flags that were not given; `--help` names the variables."""

    def __init__(self) -> None:
        super().__init__(PREFIX, command=False)

    def __call__(self, app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        """Add the value of each flag's variable where the command line gave none."""
        del app, commands
        for argument in arguments:
            if argument.tokens or not argument.name.startswith("--"):
                continue
            name = variable(argument.name)
            value = os.environ.get(name, "").strip()
            if not value:
                continue
            for index, part in enumerate(argument.env_var_split(value)):
                argument.append(Token(keyword=name, value=part, source="env", index=index))
