"""What a task must do, its hints and its diagnoses.

Each check runs the learner's code on loops of its own.
"""

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
    CheckFailed,
    Feedback,
    Verdict,
)

__all__ = [
    "CheckFailed",
    "Feedback",
    "TaskCheck",
    "Verdict",
    "complete",
    "facts_of",
    "judge",
    "observe",
    "observed",
    "task_check",
]
