"""`schema`: what policy files may hold, for editors."""

from __future__ import annotations

import json

from ratelimitd.cli import terminal


def schema() -> int:
    """Print the JSON Schema of policy files, for editors.

    An editor that reads it completes words and marks faults while one types. `check` finds more:
    what a schema cannot say.

    Example: `ratelimitd schema > policy.schema.json`
    """
    from ratelimitd.policy.shape import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    terminal.say(
        "To use it, begin a policy with: # yaml-language-server: $schema=policy.schema.json"
    )
    return 0
