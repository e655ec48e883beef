"""What earlier runs know of a run's people, and how its results are joined with theirs: a run for
one late learner keeps the others.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from loopbound.grading.counting import Mark, alike
from loopbound.grading.gradebook import Gradebook, place_of
from loopbound.grading.handed import SAME, HandIns
from loopbound.grading.results import Graded
from loopbound.grading.roster import Member, Roster, compared

__all__ = ["Before", "joined", "kept", "of_all", "placed", "set_by_hand"]


@dataclass(frozen=True)
class Before:
    """What a gradebook knew before a run.

    Attributes:
        shown: what each report and table showed, by its place.
        stored: every stored result.
        members: the class list by which each report and table was written, by its place.
    """

    shown: Mapping[str, Sequence[Graded]] = field(default_factory=dict)
    stored: Sequence[Graded] = ()
    members: Mapping[str, Sequence[Member]] = field(default_factory=dict)

    @classmethod
    def read(cls, gradebook: Path) -> Before:
        """Read it all; nothing where there is no gradebook yet.

        Raises:
            Problem: the file is there, and is no gradebook that can be used.
        """
        if not gradebook.is_file():
            return cls()
        with Gradebook(gradebook) as book:
            return cls(book.shown(), book.all(), book.members())

    def at(self, paths: Iterable[Path]) -> list[Graded]:
        """What the reports and tables at these paths showed."""
        places = sorted({*map(place_of, paths)})
        return [graded for place in places for graded in self.shown.get(place, ())]

    def roster(self, paths: Iterable[Path]) -> Roster | None:
        """The class list by which the reports and tables at these paths were written; None without
        one.
        """
        found = {
            member.name: member
            for place in sorted({*map(place_of, paths)})
            for member in self.members.get(place, ())
        }
        return Roster(found[name] for name in sorted(found)) if found else None

    def of(self, hand_ins: HandIns, paths: Iterable[Path], roster: Roster | None) -> list[Graded]:
        """What is known of a run's people: those that the reports and tables at these paths showed
        and, of its assignments, those of the class list.
        """
        found = {
            (graded.file, name): replace(graded, learner=name)
            for graded in self.at(paths)
            for name in (_names(graded.learner, roster.called) if roster else ())
            or (graded.learner,)
        }
        if roster:
            asked = {handed.assignment for handed in hand_ins.notebooks} | {""}

            def certain(name: str) -> list[Member]:
                # Another class may be in the gradebook, too.
                each = [roster.certain(part) for part in name.split(" & ")]
                return [member for member in each if member]

            for graded in self._of_all():
                if graded.assignment in asked:
                    for name in _names(graded.learner, certain):
                        found.setdefault((graded.file, name), replace(graded, learner=name))
        return [*found.values()]

    def _of_all(self) -> list[Graded]:
        """Every stored result, as the reports and tables showed it where one did."""
        found = {
            (graded.file, graded.learner): graded
            for several in self.shown.values()
            for graded in several
        }
        files = {file for file, _ in found}
        return [*found.values(), *(graded for graded in self.stored if graded.file not in files)]


def _names(learner: str, members: Callable[[str], Iterable[Member]]) -> list[str]:
    return [member.name for member in members(learner)]


def placed(results: Sequence[Graded], hand_ins: HandIns, due: datetime | None) -> list[Graded]:
    """The results with what is read from their places, which the gradebook does not keep: whose
    each is, a result for each of a group, and when it was handed in.
    """
    by_file = {handed.file: handed for handed in hand_ins.notebooks}
    placed = []
    for graded in results:
        handed = by_file[graded.file]
        when = handed.when.isoformat(timespec="seconds") if handed.when else ""
        placed += [
            replace(
                graded,
                learner=learner,
                handed_in=when,
                late=handed.is_late(due),
                order=f"{when} {handed.turn:05}",
                place=handed.place,
                notes=(*handed.notes, *graded.notes),
            )
            for learner in handed.learners
        ]
    placed.sort(key=lambda graded: (graded.learner, graded.assignment, graded.order, graded.file))
    return placed


def joined(
    results: Sequence[Graded],
    earlier: Sequence[Graded],
    hand_ins: HandIns,
    paths: Sequence[Path],
    due: datetime | None,
) -> tuple[list[Graded], list[Graded]]:
    """The results, and of the earlier ones those that lie elsewhere: a run for one late learner
    keeps the others.

    One content of one learner is one hand-in, from wherever it is graded: the time at which it
    came first counts.
    """
    asked = [os.path.abspath(path) for path in paths]
    names = {compared(graded.learner): graded.learner for graded in results}
    graded_now = {graded.file for graded in results}
    there = {handed.file for handed in hand_ins.notebooks}
    again = {(graded.learner, graded.assignment) for graded in results}
    own: dict[tuple[str, ...], Graded] = {}
    for graded in results:
        own.setdefault(_content(graded), graded)
    others: dict[tuple[str, ...], Graded] = {}
    for each in earlier:
        graded = replace(each, learner=names.get(compared(each.learner), each.learner))
        named = any(
            graded.file == path or graded.file.startswith((f"{path}{os.sep}", f"{path}/"))
            for path in asked
        )
        if graded.file in graded_now or (named and graded.file not in there):
            continue
        if twin := own.get(_content(graded)):
            if graded.handed_in and graded.handed_in[:19] < twin.handed_in[:19]:
                own[_content(graded)] = replace(
                    twin,
                    handed_in=graded.handed_in,
                    order=graded.order,
                    late=graded.late and (twin.late or due is None),
                )
            continue
        # What was taken away goes where the same learner handed it in now.
        if (graded.learner, graded.assignment) not in again or _is_there(Path(graded.file)):
            others.setdefault(_content(graded), graded)
    return [*own.values()], [*others.values()]


def _is_there(file: Path) -> bool:
    return file.exists() or any(
        above.suffix.casefold() == ".zip" and above.is_file() for above in file.parents
    )


def _content(graded: Graded) -> tuple[str, ...]:
    return graded.learner, graded.assignment, graded.digest or graded.file


def set_by_hand(
    book: Gradebook, given: Sequence[Mark], shown: Sequence[Graded], roster: Roster | None
) -> tuple[list[Mark], list[str]]:
    """What is set by hand now, and what there is to say about it. What the file has takes the place
    of what the gradebook has; a line that cannot be used changes nothing.
    """
    names = {compared(graded.learner): graded.learner for graded in shown}
    graded_of: dict[str, set[str]] = defaultdict(set)  # assignments and tasks, by learner
    for graded in shown:
        graded_of[graded.learner] |= {graded.assignment, *(each.task for each in graded.tasks)}

    def called(name: str) -> tuple[str, ...]:
        if compared(name) in names:
            return (names[compared(name)],)
        return tuple(member.name for member in roster.called(name)) if roster else ()

    kept = {}
    for mark in book.marks():
        # Another class may be in the gradebook, too: no likely name will do.
        member = roster.certain(mark.learner) if roster else None
        who = names.get(compared(mark.learner)) or (member.name if member else mark.learner)
        kept[who, mark.task] = replace(mark, learner=who)
    said = []
    for mark in given:
        whose = called(mark.learner)
        if not whose:
            said.append(f"{mark.where} was not used: this run knows no learner {mark.learner!r}.")
        for who in whose:
            if mark.empty:
                if not kept.pop((who, mark.task), None):
                    said.append(f"{mark.where} takes nothing back: nothing was set there.")
            elif mark.task in graded_of.get(who, ()):
                kept[who, mark.task] = replace(mark, learner=who)
            else:
                why = "nothing of it was graded" if who in graded_of else "nothing was handed in"
                said.append(f"{mark.where} was not used: {who}, {mark.task}: {why}.")
    if given:
        book.mark(kept.values())
    used = [
        f"{who} {task[:2] if '.' not in task else task}"
        for who, task in kept
        if task in graded_of.get(who, ())
    ]
    if used:
        said.append(
            f"Set by hand, and kept in {book.path.name}: {', '.join(sorted(used))}. A line of"
            " --by-hand with learner and task alone takes it back."
        )
    return [*kept.values()], said


def of_all(hand_ins: HandIns, shown: Sequence[Graded], said: Iterable[str]) -> HandIns:
    """The hand-ins, with what can be said of the class by all that is shown."""
    names = {graded.learner for graded in shown}
    missing = tuple(member for member in hand_ins.roster if member.name not in names)
    here = hand_ins.learners
    remarks = [
        *(text for text in hand_ins.remarks if not text.startswith(SAME)),
        *(
            f"{SAME} of {which}: {', '.join(learners)}."
            for which, learners in alike(shown)
            if here & {*learners}
        ),
        *said,
    ]
    one = {handed.learners for handed in hand_ins.notebooks}
    if missing and len(one) == 1 and names <= here:
        remarks.append(
            f"This run is about {' & '.join(*one)} alone. It says nothing about the other"
            f" {len(missing)} of the class list: nothing is known of them."
        )
        missing = ()
    return replace(hand_ins, missing=missing, remarks=tuple(remarks))


def kept(
    results: Sequence[Graded], others: Sequence[Graded], earlier: Sequence[Graded]
) -> list[str]:
    """What to say of the learners that only earlier runs know: who is kept, and who is not."""
    here = {graded.learner for graded in results}
    also = {graded.learner for graded in others} - here
    said = []
    if also:
        who = "1 learner is" if len(also) == 1 else f"{len(also)} learners are"
        said.append(
            f"{who} kept from earlier runs; another folder or file with another --gradebook is"
            " without them."
        )
    if gone := {compared(graded.learner) for graded in earlier} - set(map(compared, here | also)):
        names = sorted({each.learner for each in earlier if compared(each.learner) in gone})
        said.append(f"No longer in what was named, and taken out: {', '.join(names)}.")
    return said
