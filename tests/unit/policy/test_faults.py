"""Every fault is found, told apart by a code, shown where it is, and said in one sentence."""

import pytest

from ratelimitd.policy import codes
from ratelimitd.policy.faults import Fault
from tests.support.policy_text import faults, loaded, marked, whole
from tests.unit.policy.bad_meaning import NEVER, RULES, WARNINGS
from tests.unit.policy.bad_snippets import NOTATION, SHAPE, Bad
from tests.unit.policy.test_load import FILE_FAULTS

BAD = (*NOTATION, *SHAPE, *RULES, *NEVER)


def _ids(rows: tuple[Bad, ...]) -> list[str]:
    return [f"{row.code}-{number}" for number, row in enumerate(rows)]


def _agrees(fault: Fault, row: Bad) -> None:
    place = marked(row.policy).place
    assert (fault.code, fault.place, fault.nearest) == (row.code, place, row.nearest)
    assert row.words in fault.message


@pytest.mark.parametrize("row", BAD, ids=_ids(BAD))
def test_a_fault_is_found_where_it_stands(row: Bad) -> None:
    """A bad snippet has exactly one fault: its code, its place, the mend, the word meant."""
    found = faults(marked(row.policy).text)
    assert [str(fault) for fault in found] == [str(found[0])]
    _agrees(found[0], row)
    assert not found[0].warning


@pytest.mark.parametrize("row", WARNINGS, ids=_ids(WARNINGS))
def test_a_warning_does_not_keep_a_policy_from_loading(row: Bad) -> None:
    """What is allowed but probably not meant is said, and served."""
    found = loaded(marked(row.policy).text).warnings
    assert [str(fault) for fault in found] == [str(found[0])]
    _agrees(found[0], row)
    assert found[0].warning


def test_every_code_has_a_row() -> None:
    """A code that no test provokes may be one that cannot be provoked."""
    rows = {row.code for row in (*BAD, *WARNINGS)}
    assert rows | set(FILE_FAULTS) == set(codes.CODES)
    assert {row.code for row in WARNINGS} == set(codes.WARNINGS)


def test_all_faults_are_found_at_once() -> None:
    """A faulty part is left out and the rest is judged: nobody mends a file fault by fault."""
    found = faults(
        "domian: d\n"
        "subject: {default_tier: fre}\n"
        "tiers: {free: {requests: [100/huor, 5/hour, 6/60m], burst: 3}}\n"
        "keys:\n"
        "  - {key: k, teir: free, billing_day: 99}\n"
        "  - {key: k, tier: gold}\n"
        "overrides: on\n"
    )
    assert [(fault.code, fault.place.line) for fault in found] == [
        ("unknown-key", 1),
        ("unknown-tier", 2),
        ("bad-window", 3),
        ("duplicate-limit", 3),
        ("unknown-meter", 3),
        ("missing-key", 5),
        ("bad-number", 5),
        ("duplicate-subject", 6),
        ("unknown-tier", 6),
        ("wrong-type", 7),
    ]


def test_what_follows_from_a_fault_is_not_reported() -> None:
    """A limit that could not be read is not missing elsewhere, nor a meter, nor a whole table."""
    texts = [
        "headers: {report: requests/hour}\ntiers: {free: {requests: 100/huor}}",
        "meters: {gpu: prepay}\ntiers: {free: {gpu: 1/hour}}",
        "tiers: [free]",
        "tiers: {free: {}, own: {custom: true}}\nkeys: [{key: k, tier: own, limits: {gpu: 1}}]",
    ]
    codes_found = [[fault.code for fault in faults(whole(text))] for text in texts]
    assert codes_found == [["bad-window"], ["unknown-value"], ["wrong-type"], ["unknown-meter"]]


def test_a_contradiction_names_both_places() -> None:
    """Of two things that cannot both stand, the author chooses which goes."""
    (twice,) = faults(whole("tiers:\n  free:\n    requests: [1/hour, 2/60m]"))
    assert str(twice.other) == "policy.yaml:3:16"
    (again,) = faults(whole("overrides: true\noverrides: true"))
    assert str(again.other) == "policy.yaml:1:1"
