"""The results as tables and plain data, for spreadsheets, learning platforms and programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from loopbound.course.manifest import Assignment, assignments
from loopbound.grading.counting import BEST, Counted, counted
from loopbound.grading.handed import HandIns
from loopbound.grading.results import Graded
from loopbound.grading.roster import Member

__all__ = ["as_json", "by_assignment", "by_learner"]

VERSION = 2
# A spreadsheet takes a cell that begins so for a formula; the last four are full-width forms.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _defused(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _written(rows: Iterable[Sequence[object]]) -> str:
    """The rows as CSV: with a byte order mark, by which Excel knows UTF-8."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([_defused(value) for value in row] for row in rows)
    return "\ufeff" + text.getvalue()


class _People:
    """The learners of some results and of the class list, in one order."""

    def __init__(self, results: Sequence[Graded], hand_ins: HandIns | None) -> None:
        self.missing = hand_ins.missing if hand_ins else ()
        self.members = {member.name: member for member in (hand_ins.roster if hand_ins else ())}
        missing = {member.name for member in self.missing}
        self.names = sorted(missing | {graded.learner for graded in results})

    def of(self, name: str) -> Member:
        return self.members.get(name, Member(name))


def _handed_in(results: Sequence[Graded]) -> list[Assignment]:
    """The assignments of the results, in teaching order."""
    there = {graded.assignment for graded in results}
    return [which for which in assignments() if which.name in there]


def by_assignment(
    results: Sequence[Graded], keep: str = BEST, hand_ins: HandIns | None = None
) -> str:
    """A row for each learner and assignment, a column for each task. A task that the row's
    assignment has not is empty; so are the points of what was not handed in or not graded.
    """
    people, chosen = _People(results, hand_ins), counted(results, keep)
    which = _handed_in(results)
    tasks = [task.id for each in which for task in each.tasks]
    head = ["Student", "ID", "Email", "Assignment", "Status", "Points", "Maximum", *tasks]
    head += ["Handed in", "Late", "Seconds", "File", "Other files", "Comment"]
    rows: list[list[object]] = [list(head)]
    # Of what assignment something is that could not be read, is not known.
    unknown = {graded.learner for graded in results if graded.problem and not graded.assignment}
    refused = {(graded.learner, graded.assignment) for graded in results if graded.problem}
    blank = [""] * len(tasks)
    for name in people.names:
        member = people.of(name)
        who: list[object] = [name, member.id, member.email]
        for each in which:
            if each_counted := chosen.get((name, each.name)):
                rows.append([*who, *_counted_row(each, each_counted, tasks)])
            elif name not in unknown and (name, each.name) not in refused:
                rows.append(
                    [*who, each.name, "nothing handed in", "", each.points, *blank, *[""] * 6]
                )
        maximum: dict[str, object] = {each.name: each.points for each in which}
        rows += [
            [
                *(*who, graded.assignment, "not graded", "", maximum.get(graded.assignment, "")),
                *(*blank, *_where(graded), "", _said(graded.comment, graded.problem)),
            ]
            for graded in results
            if graded.learner == name and graded.problem
        ]
    return _written(rows)


def _said(comment: str, problem: str) -> str:
    return " ".join(text for text in (comment, problem.partition("\n")[0]) if text)


def _counted_row(which: Assignment, each: Counted, tasks: list[str]) -> list[object]:
    graded = each.graded
    points = {result.task: result.points for result in graded.tasks}
    comments = [graded.comment, *(f"{r.task}: {r.comment}" for r in graded.tasks if r.comment)]
    return [
        which.name,
        "graded" if graded.begun else "as it was given out",
        graded.points,
        graded.of,
        *(points.get(task, "") for task in tasks),
        *_where(graded),
        "; ".join(other.place for other in each.others),
        " ".join(comment for comment in comments if comment),
    ]


def _where(graded: Graded) -> list[object]:
    late = "yes" if graded.late else "no" if graded.handed_in else ""
    return [graded.handed_in, late, graded.seconds, graded.place]


def by_learner(results: Sequence[Graded], keep: str = BEST, hand_ins: HandIns | None = None) -> str:
    """A row for each learner and a column for each assignment: what Canvas' gradebook imports, and
    Moodle's, whichever of the first columns tells its people apart. An assignment that not one
    learner has begun, as in whole clones, has no column: an import would set it to 0 for all.
    """
    people, chosen = _People(results, hand_ins), counted(results, keep)
    begun = {graded.assignment for graded in results if graded.begun}
    which = [each for each in _handed_in(results) if each.name in begun]
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Email"]
    rows: list[list[object]] = [[*head, *(f"{each.number} {each.title}" for each in which)]]
    for name in people.names:
        member = people.of(name)
        ids = [*member.ids, "", "", ""]
        rows.append(
            [
                *(name, *ids[:3], member.group, member.email),
                *(
                    found.graded.points if (found := chosen.get((name, each.name))) else ""
                    for each in which
                ),
            ]
        )
    return _written(rows)


def as_json(
    results: Sequence[Graded], keep: str = BEST, hand_ins: HandIns | None = None
) -> dict[str, Any]:
    """The results as plain data, as ``grades.schema.json`` beside this module describes them."""
    people, chosen = _People(results, hand_ins), counted(results, keep)
    submissions = []
    for graded in results:
        row = asdict(replace(graded, shown=None))
        del row["order"], row["place"], row["shown"]
        row["file"] = graded.place or graded.file.replace("\\", "/").rpartition("/")[2]
        row["tasks"] = {task.pop("task"): task for task in row["tasks"]}
        row["counts"] = any(each.graded is graded for each in chosen.values())
        head = {"learner": graded.learner, "assignment": graded.assignment}
        submissions.append(
            {**head, "points": graded.points, "of": graded.of, "begun": graded.begun, **row}
        )
    learners = []
    for name in people.names:
        own = {
            each.name: found.graded
            for each in _handed_in(results)
            if (found := chosen.get((name, each.name)))
        }
        member = people.of(name)
        learners.append(
            {
                "learner": name,
                "id": member.id,
                "email": member.email,
                "points": sum(graded.points for graded in own.values()),
                "of": sum(graded.of for graded in own.values()),
                "seconds": round(sum(graded.seconds for graded in own.values()), 3),
                "assignments": {
                    assignment: {
                        "points": graded.points,
                        "of": graded.of,
                        "begun": graded.begun,
                        "late": graded.late,
                        "file": graded.place,
                    }
                    for assignment, graded in own.items()
                },
            }
        )
    return {
        "version": VERSION,
        "keep": keep,
        "submissions": submissions,
        "learners": learners,
        "missing": [member.name for member in people.missing],
        "passed_over": [
            {"file": each.place, "why": each.why, "count": each.count}
            for each in (hand_ins.passed if hand_ins else ())
        ],
        "remarks": list(hand_ins.remarks if hand_ins else ()),
    }
