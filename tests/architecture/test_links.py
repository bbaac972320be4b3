"""Links between the documents lead somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, assert_none

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
ELSEWHERE = ("https://", "http://", "mailto:")


def documents() -> list[Path]:
    """Return everything written to be read."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(text: str) -> set[str]:
    """Return the fragments that a document's headings can be linked by."""
    headings = HEADING.findall(FENCED.sub("", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(path: Path, text: str) -> Iterator[str]:
    """Yield each relative link to a file, or a heading of one, that is not there."""
    for link in LINK.findall(FENCED.sub("", text)):
        if link.startswith(ELSEWHERE):
            continue
        name, _, fragment = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists():
            yield f"{path}: {link}: no such file"
        elif fragment and fragment not in anchors(target.read_text("utf-8")):
            yield f"{path}: {link}: no such heading"


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    """Nobody is sent to a page that is not there."""
    texts = {path: path.read_text("utf-8") for path in documents()}
    assert sum(len(LINK.findall(text)) for text in texts.values()) > len(texts)
    assert_none(fault for path, text in texts.items() for fault in broken(path, text))


@pytest.mark.parametrize("link", ["none.md", "docs/none.md", "#none", "docs/envoy.md#none"])
def test_a_planted_link_is_found(link: str) -> None:
    """A missing file and a missing heading, here and elsewhere."""
    assert list(broken(ROOT / "README.md", f"# Some\n[x]({link}) [y](#some) [z](docs/envoy.md)"))
