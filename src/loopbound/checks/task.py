"""What a task is made of: an observation, what it is compared with, a judgement, hints. And the one
way in which answers are judged.

Three stages, with plain data between them: `observe` runs the answers, `complete` adds what needs
no code of the learner's in its process, `judge` decides. In a notebook they follow each other; a
grader runs the last two in processes of its own.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from loopbound.checks.plain import as_text
from loopbound.checks.verdict import Verdict, failed
from loopbound.checks.watch import DID_NOT_END, RAISED_ERROR, RETURNED, STUB, Watch
from loopbound.course import manifest
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED
from loopbound.recorder import DIFFERENT, Event

__all__ = [
    "IMPORTS_RUN",
    "TaskCheck",
    "another_name",
    "complete",
    "facts_of",
    "judge",
    "namesake",
    "observe",
    "observed",
    "task_check",
]

Data = dict[str, Any]

# What Python 3.14 says in other words than those before it, which `explains` has.
_SINCE_3_14 = {
    r"'(\w+)' object can't be awaited": r"object \1 can't be used in 'await' expression",
    "An asyncio.Future, a coroutine or an awaitable is required": "a coroutine was expected",
}

IMPORTS_RUN = "Is the cell with the imports above run?"
"""What is asked where a name is not there."""


@dataclass(frozen=True)
class TaskCheck:
    """How one task is checked.

    Attributes:
        answers: The functions that the learner writes.
        given: Names that the notebook's own cells define and the check uses.
        observe: Runs the answers found in a namespace; returns plain data, nothing else. Where
            there is none, the answer is one plain function without arguments, and it is called.
        facts: What happens without any answer: an experiment that a prediction is compared with.
            From the given names to plain data that are laid over the observation. The same for
            every learner, so a grader asks once.
        settle: Carries out what the answers said, from the observation and the given names: a
            pytest run with the text that a learner wrote. Returns plain data that are laid over the
            observation.
        judge: From those data to a verdict. Pure: it may run in another process, on data that were
            stored.
        hints: Two or more, each saying more than the one before.
        explains: For errors that say little by themselves: a part of the error's text, the
            diagnosis, and what to tell. ``"did not end"`` in place of a text: for an answer that
            had to be stopped.
        show: From the data to a figure of the learner's own run, where loops are involved.
    """

    answers: tuple[str, ...]
    judge: Callable[[Data], Verdict]
    hints: tuple[str, ...]
    given: tuple[str, ...] = ()
    observe: Callable[[Mapping[str, Any]], Data] | None = None
    facts: Callable[[Mapping[str, Any]], Data] | None = None
    settle: Callable[[Data, Mapping[str, Any]], Data] | None = None
    explains: tuple[tuple[str, str, str], ...] = ()
    show: Callable[[Data], Any] | None = None


def task_check(identity: str) -> TaskCheck:
    """The check of a task.

    Raises:
        Problem: there is no such task.
    """
    known = manifest.task(identity)
    return import_module(f"loopbound.checks.lesson_{known.id[:2]}").CHECKS[known.id]


def observe(identity: str, names: Mapping[str, Any]) -> Data:
    """Run a task's answers and return what happened, as JSON would carry it. The first stage."""
    check = task_check(identity)
    if missing := [name for name in check.given if name not in names]:
        data: Data = {"missing": missing, "given": True}
    elif missing := [name for name in check.answers if name not in names]:
        data = {"missing": missing, "given": False, "near": _near(missing[0], names)}
    elif strange := [name for name in check.answers if not callable(names[name])]:
        data = {"no_function": strange[0], "type": type(names[strange[0]]).__name__}
    else:
        data = check.observe(names) if check.observe else _called(check.answers[0], names)
    # Through JSON and back, so that no judgement can come to rely on anything else.
    return json.loads(json.dumps(data))


def _near(wanted: str, names: Mapping[str, Any]) -> str:
    """The name that looks like the wanted one, and has a letter of another alphabet."""
    return namesake(wanted, [name for name in names if not name.isascii()])


def namesake(wanted: str, names: Iterable[str]) -> str:
    """The name among these that was most likely meant to be the wanted one; "" for none."""
    words = set(wanted.split("_"))
    # `fetch_all_reports` is `all_reports`, and `my_total` is `total`; `total_pages` is neither.
    longer = [
        name
        for name in names
        if words <= (found := set(name.split("_")))
        and (len(words) > 1 or all(len(word) <= 3 for word in found - words))
    ]
    return next(iter(longer or difflib.get_close_matches(wanted, list(names), 1, 0.82)), "")


def another_name(wanted: str, found: str) -> Verdict:
    """The verdict on a function that is there under another name."""
    words = f"You wrote `{found}`; the check looks for `{wanted}`."
    alike = [letter for letter in found if not letter.isascii()]
    if alike:
        called = unicodedata.name(alike[0], "of another alphabet").capitalize()
        words += f" The {alike[0]!r} in yours is another letter than it looks like: {called}."
    return failed("another name", words)


def _called(answer: str, names: Mapping[str, Any]) -> Data:
    with Watch(names) as watch:
        watch.plain_step(f"{answer}()", names[answer])
    return watch.data()


def complete(
    identity: str, data: Data, given: Mapping[str, Any], facts: Data | None = None
) -> Data:
    """Add to an observation what it is judged by. The second stage; it calls none of the learner's
    functions.

    ``given`` has the names that the notebook's own cells define; ``facts``, what an earlier call of
    `facts_of` returned.
    """
    check = task_check(identity)
    if any(step["outcome"] != RETURNED for step in data.get("steps", [{"outcome": STUB}])):
        return data
    if check.facts:
        data = data | (facts_of(identity, given) if facts is None else facts)
    if check.settle:
        data = data | json.loads(json.dumps(check.settle(data, given)))
    return data


def facts_of(identity: str, given: Mapping[str, Any]) -> Data:
    """What a task's answers are compared with, as JSON would carry it; empty where nothing has to
    be run for it.
    """
    facts = task_check(identity).facts
    return json.loads(json.dumps(facts(given))) if facts else {}


def observed(identity: str, names: Mapping[str, Any]) -> Data:
    """The first two stages in one process, as in a notebook."""
    return complete(identity, observe(identity, names), names)


def judge(identity: str, data: Data) -> Verdict:
    """The verdict on a completed observation.

    What never ran, never ended or left something behind is never right. Pure.
    """
    check = task_check(identity)
    if "missing" in data:
        name = data["missing"][0]
        if data["given"]:
            return Verdict(
                NOT_ATTEMPTED,
                f"There is no `{name}` here yet. Run the notebook's cells from the top.",
            )
        if data.get("near"):
            return another_name(name, data["near"])
        return Verdict(
            NOT_ATTEMPTED,
            f"There is no `{name}` yet. Write it in the cell above, run that cell, then this one.",
        )
    if "no_function" in data:
        return failed(
            "not a function",
            f"`{data['no_function']}` is of type {data['type']} here. The task asks for a function"
            " of that name.",
        )
    if any(step["outcome"] == STUB for step in data["steps"]):
        return Verdict(
            NOT_ATTEMPTED,
            f"`{check.answers[0]}` still raises NotImplementedError, as it was handed out.",
        )
    if raised := next((step for step in data["steps"] if step["outcome"] == RAISED_ERROR), None):
        return _raised(raised, check)
    if unfinished := next((step for step in data["steps"] if step["outcome"] == DID_NOT_END), None):
        return _unfinished(unfinished, check)
    verdict = check.judge(data)
    return verdict if verdict.outcome != PASSED else _left_behind(data) or verdict


def _left_behind(data: Data) -> Verdict | None:
    """The verdict on what makes any answer wrong; None where there is nothing of the kind."""
    if data["never_awaited"]:
        name = data["never_awaited"][0]
        return failed(
            "never awaited",
            f"The coroutine `{name}(…)` was made and never awaited, so nothing of it has run.",
        )
    for step in data["steps"]:
        if step["tasks"]:
            return failed(
                "left-over task",
                f"{at(step)} ended while the task `{step['tasks'][0]}` was still pending. Your"
                " code did not wait for it, so it was cancelled.",
            )
    if data["connections"]:
        count = data["connections"]
        return failed(
            "left-over connection",
            f"When your code had ended, the server still saw {count} open"
            f" {'connection' if count == 1 else 'connections'} of it.",
        )
    return None


def _unfinished(step: Data, check: TaskCheck) -> Verdict:
    """The verdict on a step that had to be ended."""
    words = f"{at(step)} did not end within the time of the check, and was stopped."
    if step.get("stuck"):
        words += " It could not be stopped cleanly: restart the kernel before you go on."
    diagnosis, told_so = next(
        (
            (diagnosis, f"\n{told_so}")
            for part, diagnosis, told_so in check.explains
            if part == DID_NOT_END
        ),
        (DID_NOT_END, ""),
    )
    return failed(diagnosis, words + told_so)


def _raised(step: Data, check: TaskCheck) -> Verdict:
    where = f", in line {step['line']} of the cell, in `{step['where']}`" if step["line"] else ""
    words = f"{at(step)} raised `{step['error']}`{where}."
    older = step["error"]
    for newer, instead in _SINCE_3_14.items():
        older = re.sub(newer, instead, older)
    for part, diagnosis, told_so in check.explains:
        if part in older:
            return Verdict(RAISED, f"{words}\n{told_so}", diagnosis)
    if step["symptom"] == DIFFERENT:
        words += f" It met something that belongs to another loop than {step['loop']}."
    elif step["error"].startswith("NameError"):
        words += f" {IMPORTS_RUN}"
    return Verdict(RAISED, words)


def at(step: Data) -> str:
    """A step's call and its loop, as a sentence begins: "`fetch_all(…)` on loop A"."""
    return f"`{step['called']}` on loop {step['loop']}" if step["loop"] else f"`{step['called']}`"


def value_of(data: Data, position: int = 0) -> Any:
    """What a step returned, as plain data; None where it returned nothing."""
    return data["steps"][position].get("value")


def is_thing(value: Any, kind: str | None = None) -> bool:
    """Whether a plain value stands for an object that has no JSON form (of this type)."""
    return isinstance(value, dict) and list(value) == ["type"] and kind in (None, value["type"])


def timeline_of(title: str, logged: bool = True) -> Callable[[Data], Any]:
    """A ``show`` that draws the events of a run on its loops; ``logged``: also what the pool
    logged.
    """

    def draw(data: Data) -> Any:
        from loopbound.figures import timeline

        events = [Event(**each) for each in data["events"]]
        return timeline([each for each in events if logged or each.kind != "logged"], title)

    return draw


def returned(data: Data, position: int = 0) -> str:
    """What a step returned, as feedback prints it."""
    return as_text(value_of(data, position))
