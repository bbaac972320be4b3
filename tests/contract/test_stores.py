"""Every store keeps every promise of its port."""

from inspect import isfunction, signature

import pytest

from tests.contract.store_contract import CHECKS, bounds, charging, held, holding, reports, waits
from tests.support.bench import Bench, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_store_keeps_the_promise(bench: Bench, check: Check) -> None:
    """The check's docstring is the rule."""
    await check(bench)


def test_no_check_was_left_out() -> None:
    """A promise that nobody runs is none; a helper of promises asks for more than the bench."""
    for module in (charging, reports, waits, held, holding, bounds):
        written = {
            name
            for name, value in vars(module).items()
            if isfunction(value)
            and value.__module__ == module.__name__
            and list(signature(value).parameters) == ["bench"]
        }
        assert written == {check.__name__ for check in module.CHECKS}
