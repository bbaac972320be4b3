"""What the Dockerfile promises, read from its text: no engine is needed to keep these facts."""

import re
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT, assert_none

SECRET = re.compile(r"(SECRET|TOKEN|PASSWORD|_KEY)(?!_FILE)\w*=", re.IGNORECASE)


def instructions(text: str) -> list[tuple[str, str]]:
    """Return each instruction with its arguments on one line, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    pairs = (line.partition(" ") for line in joined.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in pairs]


def image_faults(text: str) -> Iterator[str]:
    """Yield each way in which a Dockerfile breaks a promise."""
    steps = instructions(text)
    last = dict(steps)
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", last.get("USER", "")):
        yield "it runs as root, or as a name that Kubernetes cannot check"
    if last.get("STOPSIGNAL") != "SIGTERM":
        yield "it is not stopped by the signal that drains it"
    if "/readyz" not in last.get("HEALTHCHECK", ""):
        yield "its health is not asked of the product"
    for word, rest in steps:
        yield from _step_faults(word, rest)


def _step_faults(word: str, rest: str) -> Iterator[str]:
    for install in re.findall(r"pip install[^&]*", rest):
        if not {"--require-hashes", "--no-deps"} & set(install.split()):
            yield f"`{install.strip()}` takes what no lock file names"
    if word in {"ENV", "ARG"} and SECRET.search(rest):
        yield f"`{word}` bakes a secret into a layer"
    if word == "ADD":
        yield "`ADD` fetches and unpacks; `COPY` does what it says"


def copied(text: str) -> Iterator[str]:
    """Yield what is copied from the checkout."""
    for word, rest in instructions(text):
        if word == "COPY" and not rest.startswith("--from"):
            yield from rest.split()[:-1]


def _dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text("utf-8")


def test_the_dockerfile_keeps_its_promises() -> None:
    """Not root, from hashes, drained by SIGTERM, asked for its readiness, without a secret."""
    assert_none(image_faults(_dockerfile()))


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    """.dockerignore lets nothing through but what the Dockerfile copies."""
    admitted = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    names = set(copied(_dockerfile()))
    assert names == {line[1:] for line in admitted if line.startswith("!")}
    assert_none(name for name in names if not (ROOT / name).exists())


def test_it_listens_on_every_address_and_names_a_secret() -> None:
    """A container is called from outside, where only a secret of the operator's own will do."""
    environment = " ".join(rest for word, rest in instructions(_dockerfile()) if word == "ENV")
    assert "RATELIMITD_LISTEN=0.0.0.0:8081" in environment
    assert "RATELIMITD_HTTP=0.0.0.0:8080" in environment
    assert "RATELIMITD_SECRET_FILE=/etc/ratelimitd/secret" in environment


PLANTED = (
    ("USER 10001:10001\n", ""),
    ("USER 10001:10001", "USER root"),
    ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"),
    ("/readyz", "/"),
    ("--require-hashes ", ""),
    ("--no-deps ", ""),
    ("PYTHONUNBUFFERED=1", "RATELIMITD_ADMIN_TOKEN=hunter2"),
    ("COPY envoy", "ADD envoy"),
)


@pytest.mark.parametrize(("kept", "broken"), PLANTED)
def test_a_broken_promise_is_found(kept: str, broken: str) -> None:
    """Each promise, taken out of the real file, is missed."""
    text = _dockerfile()
    assert kept in text
    assert list(image_faults(text.replace(kept, broken, 1)))
