"""docs/cli.md, made from the commands themselves.

    python -m ratelimitd.cli.reference docs/cli.md

`make gen` runs it; tests/architecture/test_reference.py sees whether the file is still what it
would write.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from ratelimitd.cli.program import program

_PREFACE = """\
<!-- Made by `make gen` from the commands; edit the docstrings and help texts in cli/ instead. -->

"""
_EPILOGUE = """
## What holds for every command

- Each flag has an environment variable: `--log-format` is `RATELIMITD_LOG_FORMAT`. The command
  line wins; an empty variable counts as not set. `RATELIMITD_LISTEN` takes several addresses, with
  commas or spaces between.
- Lengths of time are written `500ms`, `3s`, `2m`, `1h`; a bare number is seconds.
- Colour is for terminals, and `NO_COLOR` turns it off.
- Ctrl-C ends a command with status 130, and a reader that closes its pipe with 141. `serve` and
  `dev` are meant to be stopped so: for them Ctrl-C is 0. `serve` stopped by a second signal ends
  with 128 and the signal's number, because calls may have been cut off.
"""


def reference() -> str:
    """Return the reference as Markdown."""
    text = program().generate_docs()
    # The generator lists the commands twice, and a command's name twice where its usage is given.
    text = re.sub(r"## Table of Contents\n\n( *- .*\n)+\n", "", text)
    text = re.sub(r"^ratelimitd (\w+(?: \w+)?) \1\b", r"ratelimitd \1", text, flags=re.MULTILINE)
    return _PREFACE + text.rstrip() + "\n" + _EPILOGUE


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), "utf-8")
