"""The model of the pool in notebook 05d names the failing tests of orders that it has not seen.

It is read from the notebook's cell.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopbound.suite import incident, ordered, run_suites
from loopbound.suite.incident import incident_job

ORDERS = [f"random:{seed}" for seed in range(1, 21)]


@pytest.fixture(scope="module")
def model(repository: Path) -> Callable[..., set[str]]:
    """`failing_tests`, as the reader sees it."""
    notebook = json.loads(
        (repository / "notebooks" / "05d-naming-the-failing-tests.ipynb").read_text(
            encoding="utf-8"
        )
    )
    source = next(cell["source"] for cell in notebook["cells"] if cell["id"] == "pool-model")
    names: dict[str, Any] = {}
    exec("".join(source), names)
    return names["failing_tests"]


@pytest.fixture(scope="module")
def moves() -> dict[str, list[tuple[str, int]]]:
    """What each test takes from an empty pool and gives back: the model's input, by id in the
    default order.
    """
    sound = incident("dispose", trace=True)
    assert len(sound.passed) == 33
    steps: dict[str, list[tuple[str, int]]] = {test.id: [] for test in sound.tests}
    for event in sound.trace:
        if event.kind in ("checkout", "checkin"):
            steps[event.test].append((event.kind, event.record))
    return steps


@pytest.mark.parametrize("pre_ping", [True, False], ids=["with pool_pre_ping", "without"])
def test_the_model_names_the_failing_tests_of_twenty_random_orders(model, moves, pre_ping):
    named = [model(ordered(list(moves), order), moves, pre_ping) for order in ORDERS]
    environment = {"SIGNAL_SCANNER_POOL_PRE_PING": str(int(pre_ping))}
    runs = run_suites([incident_job(order=order, environment=environment) for order in ORDERS])
    assert [sorted(run.failed) for run in runs] == [sorted(tests) for tests in named]
    assert not any(run.errors or run.hung for run in runs)
    assert len({frozenset(tests) for tests in named}) > 5  # the orders do differ


def test_a_model_without_its_rules_is_wrong(model, moves):
    """The orders can tell a wrong model from the right one: one without the dispose, one with
    pre-ping's rule turned round.
    """
    right = [model(ordered(list(moves), order), moves) for order in ORDERS]
    undisposed = {
        test.replace("test_auth.py", "test_accounts.py"): steps for test, steps in moves.items()
    }
    assert right != [
        {
            test.replace("test_accounts.py", "test_auth.py")
            for test in model(ordered(list(undisposed), order), undisposed)
        }
        for order in ORDERS
    ]
    assert right != [model(ordered(list(moves), order), moves, pre_ping=False) for order in ORDERS]
