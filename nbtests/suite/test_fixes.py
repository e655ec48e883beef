"""Every cure cures: 33 of 33 tests, in the default order, in reverse and in ten random ones,
without a leftover.
"""

from __future__ import annotations

import pytest

from loopbound.suite import incident, run_suites
from loopbound.suite.incident import BACKEND, fixes, incident_job

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
def test_with_explicit_loops_the_pool_ends_with_each_loop_of_a_wider_scope(scope):
    options = [
        word
        for name in ("fixture", "test")
        for word in ("-o", f"asyncio_default_{name}_loop_scope={scope}")
    ]
    run = incident("explicit-loop", options=options, trace=True)
    assert len(run.passed) == 33 and not run.leftovers and not run.warnings
    # Fewer loops than tests with a connection: the scope was in force.
    assert len({event.loop for event in run.trace}) < 13 or scope == "class"


SYNC_TEST_FIRST = """
    import pytest_asyncio
    from app.db.session import engine

    @pytest_asyncio.fixture(scope="{scope}")
    async def rows():
        async with engine.connect() as connection:
            await connection.exec_driver_sql("select 1")
        yield 1

    def test_that_is_sync(rows):
        assert rows == 1

    async def test_on_a_loop_of_its_own():
        async with engine.connect() as connection:
            await connection.exec_driver_sql("select 1")
"""


@pytest.mark.parametrize("scope", ["function", "module"])
def test_explicit_loops_miss_the_loop_of_an_async_fixture_for_a_sync_test(scope):
    """pytest-asyncio 1.5 makes that loop without the factory, so its connections stay pooled."""
    options = ["-o", f"asyncio_default_fixture_loop_scope={scope}"]
    cures = ("explicit-loop", "dispose", "null-pool", "session-loop")
    runs = run_suites(
        [
            {
                "project": BACKEND,
                "overlay": {
                    path.relative_to(BACKEND / "fixes" / cure).as_posix(): path.read_text("utf-8")
                    for path in (BACKEND / "fixes" / cure).rglob("*")
                    if path.suffix in (".py", ".toml")
                }
                | {"tests/test_sync.py": SYNC_TEST_FIRST.format(scope=scope)},
                "tests": ["tests/test_sync.py"],
                "options": [] if cure == "session-loop" else options,
            }
            for cure in cures
        ]
    )
    missed = {"tests/test_sync.py::test_on_a_loop_of_its_own": "different loop"}
    assert {cure: run.failed for cure, run in zip(cures, runs, strict=True)} == {
        cure: missed if cure == "explicit-loop" else {} for cure in cures
    }
    assert not any(run.errors for run in runs)
