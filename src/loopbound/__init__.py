"""What the notebooks import.

Each name is loaded when first asked for, so that the command line stays quick.
"""

from importlib import import_module

_HOME = {
    "scratch_database": "loopbound.database",
    "NamedLoop": "loopbound.loops",
    "name_of": "loopbound.loops",
    "outcome_on": "loopbound.experiments",
    "through_loops": "loopbound.experiments",
    "Recorder": "loopbound.recorder",
    "symptom_of": "loopbound.recorder",
    "incident": "loopbound.suite",
    "run_suite": "loopbound.suite",
    "run_suites": "loopbound.suite",
    "BACKEND": "loopbound.suite",
    "check": "loopbound.learner.cells",
    "hint": "loopbound.learner.cells",
    "show": "loopbound.learner.cells",
    "solution": "loopbound.learner.cells",
    "cure_lines": "loopbound.learner.first_aid",
    "messages": "loopbound.learner.first_aid",
    "explain": "loopbound.faults.explain",
    "predict": "loopbound.learner.predict",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'loopbound' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
