"""What a task must do, its hints and its diagnoses.

Each check runs the learner's code on loops of its own.
"""

from loopbound.checks.cells import check, hint, show, solution
from loopbound.checks.task import (
    TaskCheck,
    complete,
    facts_of,
    judge,
    observe,
    observed,
    task_check,
)
from loopbound.checks.verdict import (
    NOT_ATTEMPTED,
    PASSED,
    RAISED,
    WRONG,
    CheckFailed,
    Feedback,
    Verdict,
)

__all__ = [
    "NOT_ATTEMPTED",
    "PASSED",
    "RAISED",
    "WRONG",
    "CheckFailed",
    "Feedback",
    "TaskCheck",
    "Verdict",
    "check",
    "complete",
    "facts_of",
    "hint",
    "judge",
    "observe",
    "observed",
    "show",
    "solution",
    "task_check",
]
