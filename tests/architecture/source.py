"""Reads the sources of this repository for the architecture tests.

Owns how a file becomes a `Source`, and how names in it are traced to what they were imported as.
It knows no rule: those stand in the tests beside it, which also feed it made-up sources.
"""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = "ratelimitd._gen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One Python file, real or made up."""

    name: str
    """As it is imported: `ratelimitd.stores.memory`; a package has the name of its folder."""
    text: str

    @property
    def tree(self) -> ast.Module:
        """The parsed text."""
        return _parse(self.text)

    @property
    def area(self) -> str:
        """The part below the top package: `stores` of `ratelimitd.stores.memory`."""
        return area_of(self.name) or "__init__"


@cache
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def area_of(dotted: str) -> str:
    """Return the second part of a dotted name, or nothing."""
    return [*dotted.split("."), ""][1]


def is_in(dotted: str, *packages: str) -> bool:
    """Tell whether a dotted name is one of the packages or lies in one."""
    return any(dotted == package or dotted.startswith(f"{package}.") for package in packages)


@cache
def sources(folder: str, base: str = ".") -> tuple[Source, ...]:
    """Return every hand-written source below a folder; names are relative to `base`."""
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        parts = path.relative_to(ROOT / base).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if not is_in(name, GENERATED):
            found.append(Source(name=name, text=path.read_text("utf-8")))
    return tuple(found)


def server() -> tuple[Source, ...]:
    """Return the sources of the package, without the generated stubs."""
    return sources("server/ratelimitd", "server")


def everything() -> tuple[Source, ...]:
    """Return the sources of the package, the tests and the benchmark."""
    return server() + sources("tests") + sources("bench")


def imports(source: Source) -> Iterator[tuple[str, int]]:
    """Yield what a source imports, down to the imported name, with the line; types count too."""
    for node in ast.walk(source.tree):
        match node:
            case ast.Import(names=names):
                yield from ((alias.name, node.lineno) for alias in names)
            case ast.ImportFrom(module=module, names=names):
                prefix = "." * node.level + (module or "")
                yield from ((f"{prefix}.{alias.name}", node.lineno) for alias in names)
            case ast.Call(
                func=ast.Name(id="__import__" | "import_module")
                | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module, node.lineno


def references(source: Source) -> Iterator[tuple[str, int]]:
    """Yield each dotted name that a source uses, traced through its imports, with the line.

    After `from time import monotonic as now`, the name `now` is yielded as `time.monotonic`, called
    or not. What hangs on a call keeps the call's name: `get_running_loop().time` is
    `asyncio.get_running_loop.time`. What no import explains keeps its own name: `loop.time`.
    """
    origins = dict(_origins(source.tree))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
            first, _, rest = dotted.partition(".")
            origin = origins.get(first, first)
            yield f"{origin}.{rest}" if rest else origin, node.lineno


def _origins(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.asname:
                        yield alias.asname, alias.name
            case ast.ImportFrom(module=str(module), names=names):
                for alias in names:
                    yield alias.asname or alias.name, f"{module}.{alias.name}"


def _dotted(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=attr):
            base = _dotted(value)
            return f"{base}.{attr}" if base else ""
        case ast.Call(func=func):
            return _dotted(func)
        case _:
            return ""


def assert_none(faults: Iterable[str]) -> None:
    """Fail with every fault on a line of its own, uncut."""
    if listed := list(faults):
        pytest.fail("\n".join(["", *listed]), pytrace=False)


def committed() -> Iterator[tuple[str, str]]:
    """Yield path and text of each text file that git tracks or would offer to track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.is_file() and b"\0" not in (content := path.read_bytes()):
            yield name, content.decode("utf-8")
