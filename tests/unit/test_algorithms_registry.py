"""One algorithm, one module, one scenario table: all of one name."""

from pathlib import Path

from ratelimitd import algorithms
from ratelimitd.algorithms import REGISTRY
from ratelimitd.model import Algorithm
from ratelimitd.stores.memory.tables import TABLES
from tests.contract.scenarios import SCENARIOS


def test_registry_modules_and_scenarios_have_equal_names() -> None:
    """Whoever adds an algorithm adds all of them, or this fails."""
    folder = Path(algorithms.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    names = {algorithm.value for algorithm in Algorithm}
    assert names == modules == set(SCENARIOS)
    assert {algorithm.value for algorithm in REGISTRY} == names
    assert {algorithm.value for algorithm in TABLES} == names


def test_each_algorithm_is_the_module_of_its_name() -> None:
    """A policy's word, the enum's value and the module's name are one."""
    for algorithm, module in REGISTRY.items():
        assert module.__name__ == f"ratelimitd.algorithms.{algorithm.value}"


def test_each_scenario_is_of_the_algorithm_it_stands_under() -> None:
    """A table in the wrong place would prove the wrong module."""
    for name, scenarios in SCENARIOS.items():
        assert {scenario.limit.algorithm.value for scenario in scenarios} == {name}
