"""Loading policies: a file or a folder of files becomes the policies of their domains.

The only module of the policy that touches files. Raises `PolicyError` with every fault of every
file, and nothing else for whatever a file may hold.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ratelimitd.policy.compile import compiled
from ratelimitd.policy.faults import Fault, Place, Report, Text, policy_error, whole_file
from ratelimitd.policy.freeing import free_part, free_text, free_tree
from ratelimitd.policy.mend import validated
from ratelimitd.policy.tree import Word, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ratelimitd.keys import Hasher
    from ratelimitd.policy.spec import Policy

LARGEST = 64 * 2**20
"""Bytes of a policy file; larger sets of keys belong into the registry."""
SUFFIXES = frozenset({".yaml", ".yml"})


class Loaded(NamedTuple):
    """Policies that can be served."""

    policies: Mapping[str, Policy]
    """By domain."""
    warnings: tuple[Fault, ...]


class _Read(NamedTuple):
    """One file, read."""

    policy: Policy | None
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    domain: Place | None = None


def load(path: Path | str, hasher: Hasher) -> Loaded:
    """Load a file, or each `*.yaml` and `*.yml` of a folder; raises `PolicyError`."""
    path = Path(path)
    try:
        folder = path.is_dir()
        files = _files(path) if folder else [path]
    except OSError as error:
        raise policy_error([_unreadable(path, error)]) from error
    if not files:
        text = "The folder holds no *.yaml and no *.yml; name a file, or put one there"
        raise policy_error([whole_file("no-policy", str(path), text)])
    return _together([_file(file, hasher) for file in files])


def load_text(text: str, name: str, hasher: Hasher) -> Loaded:
    """Load the text of one policy; `name` stands for its file in messages. Raises `PolicyError`."""
    return _together([_text(text, name, hasher)])


def _files(folder: Path) -> list[Path]:
    """Return a folder's policies. Kubernetes keeps what it mounts a second time below `..data`."""
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix in SUFFIXES and not file.name.startswith(".") and not file.is_dir()
    )


def _unreadable(path: Path, error: OSError) -> Fault:
    reason = error.strerror or type(error).__name__
    return whole_file("unreadable", str(path), f"It cannot be read ({reason})")


def _file(path: Path, hasher: Hasher) -> _Read:
    try:
        with path.open("rb") as file:
            sent = file.read(LARGEST + 1)
    except OSError as error:
        return _Read(None, (_unreadable(path, error),), ())
    if len(sent) > LARGEST:
        text = f"It is over {LARGEST // 2**20} MiB; keys by the thousand belong into the registry"
        return _Read(None, (whole_file("too-large", str(path), text),), ())
    try:
        text = sent.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        report = Report(Text(str(path), sent.decode("utf-8", "replace")))
        at = len(sent[: error.start].decode("utf-8", "replace"))
        report.fault("not-utf8", at, "This byte is not UTF-8; save the file as UTF-8")
        return _Read(None, report.faults, ())
    return _text(text, str(path), hasher)


def _text(text: str, name: str, hasher: Hasher) -> _Read:
    report = Report(Text(name, text))
    root = read(report)
    part = None if root is None else validated(root, report)
    if part is None:
        return _Read(None, report.faults, report.warnings)
    policy = compiled(part, report, hasher)
    place = report.text.place(part.domain.at) if isinstance(part.domain, Word) else None
    done = _Read(policy, report.faults, report.warnings, place)
    free_part(part)
    free_tree(root)
    free_text(report.text)  # last: faults quote lines without the keys that it hides
    return done


def _together(files: list[_Read]) -> Loaded:
    faults = [fault for file in files for fault in file.faults]
    policies: dict[str, Policy] = {}
    places: dict[str, Place | None] = {}
    for file in files:
        if file.policy is None:
            continue
        domain = file.policy.domain
        if domain in policies:
            faults.append(_same_domain(domain, file.domain, places[domain]))
        policies[domain] = file.policy
        places[domain] = file.domain
    if faults:
        raise policy_error(faults)
    return Loaded(policies, tuple(warning for file in files for warning in file.warnings))


def _same_domain(domain: str, place: Place | None, first: Place | None) -> Fault:
    assert place is not None
    return Fault(
        code="duplicate-domain",
        place=place,
        source="",
        width=len(domain),
        message=f"Two files have the domain `{domain}`; each has its own",
        other=first,
    )
