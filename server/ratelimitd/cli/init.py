"""`init`: the sample policy, to begin with."""

from __future__ import annotations

import sys

from ratelimitd.cli import flags, terminal
from ratelimitd.errors import SettingsError


def init(*, output: flags.Output = None) -> int:
    """Print a commented sample policy.

    Example: `ratelimitd init --output policy.yaml`
    """
    from ratelimitd.devkit.samples import samples_dir

    sample = (samples_dir() / "policy.yaml").read_text("utf-8")
    if output is None:
        print(sample, end="")
        if sys.stdout.isatty():
            terminal.say("Try: ratelimitd init --output policy.yaml")
        else:
            terminal.say("Try: ratelimitd check FILE, with the file that this went to")
        return 0
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(sample)
    except FileExistsError as error:
        raise SettingsError(f"--output {output}: it exists, and is left as it is") from error
    except OSError as error:
        raise SettingsError(f"--output {output}: {error.strerror}") from error
    terminal.say(f"Wrote {output}. Try: ratelimitd check {output}")
    return 0
