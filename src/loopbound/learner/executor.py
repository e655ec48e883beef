"""Checks a learner's own notebook as the grader does: in kernels of its own, behind the same walls,
forked from a warm process where that can be.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from loopbound.grading.grade import Facts, grade
from loopbound.grading.isolation.processes import House
from loopbound.grading.submission import read_submission
from loopbound.learner.feedback import Executor, Results

__all__ = ["kernels"]


@contextlib.contextmanager
def kernels() -> Iterator[Executor]:
    """An executor, as long as the block lasts; its processes end with it.

    Raises ``Problem`` where they cannot be started.
    """
    house = House()
    try:
        # An experiment that predictions are compared with is run once, however often one is
        # checked.
        facts = Facts(house)

        def run(path: Path, tasks: set[str] | None) -> Results:
            results = asyncio.run(grade(house, facts, read_submission(path), only=tasks))
            return {result.task: asdict(result) for result in results}

        yield run
    finally:
        house.close()
