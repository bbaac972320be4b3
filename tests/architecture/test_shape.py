"""How large anything may grow, and what must be said about it."""

import ast
from collections.abc import Callable, Iterator

import pytest

from tests.architecture.source import ROOT, Source, assert_none, everything

FILE_LINES = 300
FUNCTION_LINES = 40

Function = ast.FunctionDef | ast.AsyncFunctionDef
Check = Callable[[Source], Iterator[str]]


def _functions(source: Source) -> Iterator[Function]:
    return (node for node in ast.walk(source.tree) if isinstance(node, Function))


def long_file(source: Source) -> Iterator[str]:
    """Yield a file that no longer fits in a head."""
    if (lines := len(source.text.splitlines())) > FILE_LINES:
        yield f"{source.name}: {lines} lines, over {FILE_LINES}"


def long_function(source: Source) -> Iterator[str]:
    """Yield each function over the limit, from its `def` to its end, docstring and all."""
    for node in _functions(source):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > FUNCTION_LINES:
            yield f"{source.name}:{node.lineno}: `{node.name}` has {lines} lines"


def no_header(source: Source) -> Iterator[str]:
    """Yield a module that does not say what it owns."""
    if not ast.get_docstring(source.tree):
        yield f"{source.name}: no docstring at the top"


def untold_test(source: Source) -> Iterator[str]:
    """Yield each test that does not say the rule that it proves."""
    if source.name.startswith("tests."):
        for node in _functions(source):
            if node.name.startswith("test_") and not ast.get_docstring(node):
                yield f"{source.name}:{node.lineno}: `{node.name}` has no docstring"


def busy_init(source: Source) -> Iterator[str]:
    """Yield what a package's `__init__` holds beyond imports, names and tables of names."""
    for node in source.tree.body:
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.Import() | ast.ImportFrom() | ast.Expr() | ast.Assign() | ast.AnnAssign() if (
                not any(isinstance(part, ast.Call) for part in ast.walk(node))
            ):
                continue
            case _:
                yield f"{source.name}:{node.lineno}: a package's __init__ has no logic"


CHECKS: tuple[Check, ...] = (long_file, long_function, no_header, untold_test)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_everything_keeps_the_rule(check: Check) -> None:
    """The limits hold for the package, the tests and the benchmark, without exception."""
    assert_none(fault for source in everything() for fault in check(source))


def test_packages_of_the_server_have_no_logic_of_their_own() -> None:
    """Importing a package runs nothing but imports."""
    files = sorted((ROOT / "server/ratelimitd").rglob("__init__.py"))
    packages = [
        Source(name=str(path.relative_to(ROOT)), text=path.read_text("utf-8")) for path in files
    ]
    assert packages
    assert_none(fault for package in packages for fault in busy_init(package))


PLANTED = (
    (long_file, "ratelimitd.limiter", "x = 1\n" * (FILE_LINES + 1)),
    (long_function, "bench.run", "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
    (long_function, "tests.unit.test_x", "class T:\n async def f():\n" + "  x = 1\n" * 40),
    (no_header, "ratelimitd.limiter", "# a comment is no docstring\nimport enum"),
    (untold_test, "tests.unit.test_x", "async def test_x(): ..."),
    (untold_test, "tests.unit.test_x", "class TestX:\n    def test_x(self): pass"),
    (busy_init, "ratelimitd", "registry = build()"),
    (busy_init, "ratelimitd", "configure()"),
    (busy_init, "ratelimitd", "def load(): ..."),
)


@pytest.mark.parametrize(("check", "name", "text"), PLANTED)
def test_a_planted_fault_is_found(check: Check, name: str, text: str) -> None:
    """A check that finds nothing must be one that could have found something."""
    assert list(check(Source(name=name, text=text)))


def test_an_init_of_imports_and_names_is_left_alone() -> None:
    """A package may gather its names."""
    text = (
        '"""Stores."""\n'
        "from typing import TYPE_CHECKING\n"
        "from ratelimitd.stores import memory\n"
        "if TYPE_CHECKING:\n    import enum\n"
        '__all__ = ["ALL"]\n'
        'ALL: dict[str, object] = {"memory": memory}\n'
    )
    assert_none(busy_init(Source(name="ratelimitd.stores", text=text)))


def test_what_just_fits_is_left_alone() -> None:
    """The limits are the last size that is allowed."""
    body = "    x = 1\n" * (FUNCTION_LINES - 1)
    text = '"""Owns x."""\n' + f"def f():\n{body}" + "y = 1\n" * (FILE_LINES - FUNCTION_LINES - 1)
    source = Source(name="ratelimitd.limiter", text=text)
    assert_none(fault for check in CHECKS for fault in check(source))
