"""What docs/http-api.md says is what the code has: paths, errors, limits, members."""

import json
import re

from ratelimitd.accounts import alerts as domain
from ratelimitd.accounts import reads
from ratelimitd.http import alerts, problems, usage
from ratelimitd.http.door import LARGEST_BODY, SLOWEST_BODY
from tests.architecture.source import ROOT

TEXT = (ROOT / "docs/http-api.md").read_text("utf-8")


def test_each_error_is_in_the_table() -> None:
    """By its code, with its status."""
    rows = re.findall(r"^\| ([0-9, ]+) \| ((?:`[A-Z_]+`,? ?)+) \|", TEXT, re.MULTILINE)
    told = {
        int(status): code.strip("` ")
        for statuses, codes in rows
        for status, code in zip(statuses.split(","), codes.split(","), strict=True)
    }
    assert told == {status: code for status, (code, _) in problems._STATUS.items()}


def test_each_limit_is_told() -> None:
    """Of reading, of a body, and of alerts."""
    assert f"| requests of one key | {reads.PER_KEY} |" in TEXT
    assert f"| requests from one address | {reads.PER_ADDRESS} |" in TEXT
    assert f"bounded to {reads.ROOM:,} keys" in TEXT
    assert f"over {LARGEST_BODY >> 10} KiB" in TEXT
    assert f"longer than {SLOWEST_BODY:g} s" in TEXT
    assert f"At most {domain.MOST_ALERTS} a key" in TEXT


def test_the_example_is_an_answer() -> None:
    """With every member, in the order of the model."""
    (block,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    shown = json.loads(block)
    answer = usage.Usage.model_validate(shown)
    assert json.dumps(answer.model_dump()) == json.dumps(shown)


def test_the_documents_own_examples_are_sound() -> None:
    """Those that the OpenAPI document shows: an answer of usage, and the promised request."""
    shown = usage.Usage.model_validate(usage.EXAMPLE)
    assert shown.model_dump() == usage.EXAMPLE
    assert alerts.Wish.model_validate(alerts.WISH).threshold == 80
