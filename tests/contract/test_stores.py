"""Every store keeps every promise of its port."""

import pytest

from tests.contract.store_contract import CHECKS, bounds, charging, held, reports, waits
from tests.support.bench import Bench, Check


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_store_keeps_the_promise(bench: Bench, check: Check) -> None:
    """The check's docstring is the rule."""
    await check(bench)


def test_no_check_was_left_out() -> None:
    """A promise that nobody runs is none."""
    for module in (charging, reports, waits, held, bounds):
        written = {
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
            and (value.__doc__ and not name.startswith(("used", "crowded")))
        }
        assert written == {check.__name__ for check in module.CHECKS}
