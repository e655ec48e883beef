"""From graded submissions to what the pages show: who stands where, and where people got stuck.

Plain data, no HTML.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loopbound.authoring.proof import wrong_answers
from loopbound.checks import task_check
from loopbound.course.manifest import Task, assignment, assignments, task
from loopbound.grading.counting import BEST, Counted, alike, counted
from loopbound.grading.results import Graded, TaskResult
from loopbound.outcomes import OUTCOMES, PASSED, RAISED, WRONG
from loopbound.problem import Problem
from loopbound.report.naming import Naming

__all__ = [
    "Cohort",
    "Counted",
    "Diagnosis",
    "Learner",
    "Phrase",
    "Stuck",
    "cohort",
    "known_task",
    "phrases",
    "title_of",
]

_TELLING = 12  # characters


@dataclass(frozen=True)
class Learner:
    """A learner's results: by assignment, in teaching order, and the submissions that could not be
    read, or were refused. An assignment that came back as it was given out is ``untouched``, and
    has failed nothing.
    """

    label: str
    page: str
    counted: Mapping[str, Counted]
    ungraded: tuple[Graded, ...] = ()
    untouched: tuple[str, ...] = ()

    @property
    def points(self) -> float:
        return sum(each.graded.points for each in self.counted.values())

    @property
    def of(self) -> int:
        return sum(each.graded.of for each in self.counted.values())

    def absent(self, assignment: str) -> str:
        """Why there is no result of an assignment, in words."""
        if assignment in self.untouched:
            return "not begun"
        read = {graded.assignment for graded in self.ungraded}
        if assignment in read:
            return "not graded"
        return "nothing that could be read" if "" in read else "nothing handed in"

    def result(self, assignment: str, task: str) -> TaskResult | None:
        """The learner's result in a task; None where the assignment was not begun."""
        return self.counted[assignment].result(task) if assignment in self.counted else None


@dataclass(frozen=True)
class Stuck:
    """How a task went: ``counts`` by outcome, over those who have begun the assignment."""

    task: str
    counts: Mapping[str, int]

    @property
    def people(self) -> int:
        return sum(self.counts.values())

    @property
    def not_passed(self) -> int:
        return self.people - self.counts[PASSED]

    @property
    def share(self) -> float:
        """The share of people who did not pass, 0 to 1."""
        return self.not_passed / self.people if self.people else 0.0


@dataclass(frozen=True)
class Diagnosis:
    """A mistake that was made in a task: its ``name`` ("" where the check has none), the
    ``learners`` who made it, and what the check ``said`` to the first.
    """

    task: str
    outcome: str
    name: str
    learners: tuple[Learner, ...]
    said: str


@dataclass(frozen=True)
class Phrase:
    """What a facilitator knows of a mistake beforehand: the typical ``answers`` by name, and words
    that feedback on it contains (``says``).
    """

    answers: tuple[str, ...]
    says: tuple[str, ...]


@dataclass(frozen=True)
class Cohort:
    """The results of all learners.

    Attributes:
        tasks: for each assignment that was begun, its tasks' ids; both in teaching order.
        untouched: the assignments that were handed in, and that not one learner has begun.
        missing: the names of the class list that handed in nothing.
        alike: who handed in the very same file, by assignment.
    """

    learners: tuple[Learner, ...]
    tasks: Mapping[str, tuple[str, ...]]
    untouched: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    alike: tuple[tuple[str, tuple[Learner, ...]], ...] = ()

    def not_started(self) -> list[Learner]:
        """Who handed in nothing but exercises as they were given out."""
        return [each for each in self.learners if not each.counted and not each.ungraded]

    def stuck(self) -> dict[str, list[Learner]]:
        """For each task whose answer was tried and has not passed, the learners; the most first."""
        found = {
            task: [
                learner
                for learner in self.learners
                if (result := learner.result(name, task)) and result.outcome in (WRONG, RAISED)
            ]
            for name, tasks in self.tasks.items()
            for task in tasks
        }
        return dict(
            sorted(
                ((task, people) for task, people in found.items() if people),
                key=lambda pair: -len(pair[1]),
            )
        )

    def went(self) -> dict[str, Stuck]:
        """How each task went, in teaching order."""
        return {
            each: Stuck(each, self._counts(name, each))
            for name, tasks in self.tasks.items()
            for each in tasks
        }

    def _counts(self, assignment: str, task: str) -> dict[str, int]:
        found = [
            result.outcome
            for learner in self.learners
            if (result := learner.result(assignment, task))
        ]
        return {outcome: found.count(outcome) for outcome in reversed(OUTCOMES)}

    def diagnoses(self) -> dict[str, list[Diagnosis]]:
        """For each task, its mistakes, the most common ones first.

        Tasks without one are left out.
        """
        return {
            each: found
            for name, tasks in self.tasks.items()
            for each in tasks
            if (found := list(self._mistakes(name, each)))
        }

    def _mistakes(self, assignment: str, task: str) -> Iterator[Diagnosis]:
        made: dict[tuple[str, str], list[tuple[Learner, str]]] = {}
        for learner in self.learners:
            result = learner.result(assignment, task)
            if result and result.outcome in (WRONG, RAISED):
                # A mistake with a name is the same one, whichever way the check met it.
                key = (result.diagnosis, "" if result.diagnosis else result.outcome)
                made.setdefault(key, []).append((learner, result.says))
        for (name, outcome), found_in in sorted(
            made.items(), key=lambda item: (-len(item[1]), item[0])
        ):
            yield Diagnosis(
                task, outcome, name, tuple(learner for learner, _ in found_in), found_in[0][1]
            )


def cohort(
    results: Sequence[Graded], naming: Naming, keep: str = BEST, missing: Sequence[str] = ()
) -> Cohort:
    """Sort results out. Their order plays no part."""
    ordered = sorted(results, key=lambda graded: (graded.assignment, graded.file, graded.digest))
    chosen = counted(ordered, keep)
    teaching = [which.name for which in assignments()]
    handed_in = {name for _, name in chosen}
    begun = {name for (_, name), each in chosen.items() if each.graded.begun}
    names = [name for name in teaching if name in handed_in] + sorted(handed_in - set(teaching))
    own: dict[str, list[Graded]] = {}
    for graded in ordered:
        if graded.problem:
            own.setdefault(graded.learner, []).append(graded)
    learners = tuple(
        Learner(
            naming.label(name),
            naming.page(name),
            {
                which: each
                for which in names
                if (each := chosen.get((name, which))) and each.graded.begun
            },
            tuple(own.get(name, ())),
            tuple(
                which
                for which in names
                if (each := chosen.get((name, which))) and not each.graded.begun
            ),
        )
        for name in naming.order
    )
    of = dict(zip(naming.order, learners, strict=True))
    return Cohort(
        learners,
        {name: _tasks(name, ordered) for name in names if name in begun},
        tuple(name for name in names if name not in begun),
        tuple(missing),
        tuple(
            (which, tuple(each for name, each in of.items() if name in names_of))
            for which, names_of in alike(ordered)
        ),
    )


def _tasks(name: str, ordered: list[Graded]) -> tuple[str, ...]:
    seen = {
        result.task
        for graded in ordered
        if graded.assignment == name and not graded.problem
        for result in graded.tasks
    }
    known = [each.id for which in assignments() if which.name == name for each in which.tasks]
    return tuple([each for each in known if each in seen] + sorted(seen - set(known)))


def known_task(identity: str) -> Task | None:
    """The task with this id; None for one that only an older gradebook knows."""
    try:
        return task(identity)
    except Problem:
        return None


def title_of(name: str) -> str:
    """An assignment's number and title; its name where the course does not know it."""
    try:
        which = assignment(name)
    except Problem:
        return name
    return f"{which.number} · {which.title}"


def phrases(root: Path, names: Sequence[str]) -> dict[tuple[str, str], Phrase]:
    """What there is to say to the mistakes in these assignments, by task and diagnosis; with
    diagnosis "", the task's first hint.

    Raises ``Problem`` where an assignment's wrong answers cannot be read.
    """
    found: dict[tuple[str, str], Phrase] = {}
    for which in assignments():
        if which.name not in names:
            continue
        for each in which.tasks:
            found[each.id, ""] = Phrase((), (" ".join(task_check(each.id).hints[0].split()),))
        if not (root / "solutions" / which.name / "wrong_answers.toml").is_file():
            continue
        for wrong in wrong_answers(root, which):
            key = wrong.task, wrong.diagnosis
            if not wrong.diagnosis:
                continue
            before = found.get(key, Phrase((), ()))
            # Feedback names the fault in whole words; a piece such as "line 4" is in it by chance.
            telling = tuple(words for words in wrong.says if len(words) >= _TELLING)
            found[key] = Phrase((*before.answers, wrong.name), (*before.says, *telling))
    return found
