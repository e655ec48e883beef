"""Every cure cures: 33 of 33 tests, in the default order, in reverse and in ten random ones,
without a leftover.
"""

from __future__ import annotations

import pytest

from loopbound.suite import incident, run_suites
from loopbound.suite.incident import fixes, incident_job

CURES = (
    "dispose",
    "explicit-loop",
    "function-engine",
    "null-pool",
    "session-loop",
    "session-loop-rollback",
)
ORDERS = ("default", "reverse", *(f"random:{seed}" for seed in range(1, 11)))


def test_every_fix_is_a_cure_or_a_quoted_recipe():
    assert set(fixes()) == {*CURES, *(name for name in fixes() if name.startswith("recipe-"))}


@pytest.mark.parametrize("fix", CURES)
def test_a_cure_gives_33_of_33_in_twelve_orders(fix):
    runs = run_suites([incident_job(fix, order) for order in ORDERS])
    assert [run.as_json() | {"seconds": 0, "passed": len(run.passed)} for run in runs] == [
        {"passed": 33, "failed": {}, "errors": {}, "hung": False, "seconds": 0}
    ] * len(ORDERS)
    assert {run.exit_code for run in runs} == {0}
    assert len({tuple(run.passed) for run in runs}) == len(ORDERS)  # the orders were different ones


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_with_explicit_loops_the_pool_ends_with_the_loop_whatever_its_scope(scope):
    options = [
        word
        for name in ("fixture", "test")
        for word in ("-o", f"asyncio_default_{name}_loop_scope={scope}")
    ]
    run = incident("explicit-loop", options=options, trace=True)
    assert len(run.passed) == 33 and not run.leftovers and not run.warnings
    # Fewer loops than tests with a connection: the scope was in force.
    assert len({event.loop for event in run.trace}) < 13 or scope == "class"
