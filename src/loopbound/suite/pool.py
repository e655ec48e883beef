"""What stands in the connection pools before each test, read off a run's trace."""

from __future__ import annotations

from loopbound.suite.results import SuiteRun


def pool_steps(run: SuiteRun) -> list[tuple[str, list[str], int, str]]:
    """What each test found in the pool and took from it: the rows of `figures.pool_queue`.

    Args:
        run: of `run_suite(..., trace=True)`, with one engine; without a trace no test takes
            anything.

    Returns:
        For each test, in the order run: its name; the queue before it, the head first, as the names
        of the tests that made each connection ("" for a place without one); how many records it
        took; its symptom, or "no database" where it took none.
    """
    owner: dict[str, str] = {}  # the first test on a loop
    birth: dict[int, str] = {}
    queue: list[int] = []
    steps = []
    for test in run.tests:
        before, used = [birth[record] for record in queue], set()
        for event in (event for event in run.trace if event.test == test.id):
            if event.kind in ("checkout", "invalidate"):
                queue = [record for record in queue if record != event.record]
                used.add(event.record)
            elif event.kind == "checkin":
                queue.append(event.record)
            elif event.kind == "dispose":
                queue = []
            owner.setdefault(event.loop, test.id.split("::")[-1])
            birth[event.record] = owner.get(event.born_on, "")
        steps.append(
            (test.id.split("::")[-1], before, len(used), test.symptom if used else "no database")
        )
    return steps
