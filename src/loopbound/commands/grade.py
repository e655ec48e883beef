"""The work behind ``loopbound grade``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from loopbound.files import check_writable, replace_text, write_json
from loopbound.grading.cleaned import cleaned
from loopbound.grading.counting import KEEP, Mark, alike, counted, marks, with_marks
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.handed import SAME, Handed, HandIns, found
from loopbound.grading.results import Graded
from loopbound.grading.roster import Member, Roster, compared, read_roster
from loopbound.grading.tables import as_json, by_assignment, by_learner
from loopbound.machine import cores
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, TABLE_SIGNS, WRONG
from loopbound.problem import Problem
from loopbound.terminal import ProgressLine, ended_in_good_order

__all__ = ["grade_command", "table"]

MOST_LINES = 200  # about what was passed over


def grade_command(
    paths: Sequence[Path],
    jobs: int | None,
    target: Path | None,
    html: Path | None,
    gradebook: Path,
    again: bool,
    names: bool,
    dry_run: bool = False,
    learners: Path | None = None,
    keep: str = "best",
    due: datetime | None = None,
    by_hand: Path | None = None,
    csv: Path | None = None,
    csv_totals: Path | None = None,
    notebooks: Path | None = None,
) -> int:
    """Grade notebooks; print a table, and write what else is wanted.

    Returns 0 where every notebook was graded, whatever its points, and 1 where one could not be
    read, or something else was handed in instead.

    Raises:
        Problem: no such path, nothing to grade, a file that cannot be read or written, a gradebook
            that cannot be used.
    """
    given = marks(by_hand) if by_hand else []
    targets = [path for path in (html, csv, csv_totals, target) if path]
    places = _places(gradebook, targets, html)
    roster = read_roster(learners) if learners else _remembered(gradebook, places)
    with ended_in_good_order(), found(paths, roster) as hand_ins:
        if dry_run:
            print(listing(hand_ins, due))
            return 1 if any(handed.problem for handed in hand_ins.notebooks) else 0
        for file in (target, csv, csv_totals):
            if file:
                check_writable(file)  # before the work, which may take long
        if html:
            # With the figures' colours, which take a second to import.
            from loopbound.report import check_folder, check_pages, write_report

            check_folder(html)
        if notebooks:
            from loopbound.report import check_notebooks, write_notebooks

            check_notebooks(notebooks)
        with Gradebook(gradebook) as book:
            earlier = _earlier(book, places, hand_ins, roster)
            if html:
                now = [
                    Graded(handed.file, handed.learner, handed.digest(), handed.assignment)
                    for handed in hand_ins.notebooks
                ]
                known = [*book.shown([html]), *earlier]
                check_pages(html, known, _placed(now, hand_ins, due))
            strange = [
                path
                for path in (csv, csv_totals, target)
                if path and path.exists() and not book.shown([path])
            ]
            results, stopped = _results(hand_ins, book, jobs or workers(), again)
            results = _placed(results, hand_ins, due)
            results, others = _with_others(results, earlier, hand_ins, paths, due)
            set_by_hand, said = _by_hand(book, given, [*results, *others], roster)
            results, others = with_marks(results, set_by_hand), with_marks(others, set_by_hand)
            shown = [*results, *others]
            said += [
                f"{path} was replaced. This gradebook knew nothing of what was in it."
                for path in strange
            ]
            if roster and not learners:
                said.append(
                    f"The class list of an earlier run was used, with {len(roster.members)} names;"
                    " --learners FILE names another one."
                )
            hand_ins = _of_all(hand_ins, shown, said)
            print(table(results, keep, hand_ins, others))
            if target:
                write_json(target, as_json(shown, keep, hand_ins))
            if csv:
                replace_text(csv, by_assignment(shown, keep, hand_ins))
            if csv_totals:
                replace_text(csv_totals, by_learner(shown, keep, hand_ins))
            if notebooks:
                paths_of = {handed.file: handed.path for handed in hand_ins.notebooks}
                said_of = write_notebooks(notebooks, results, paths_of, names=names, others=others)
                print(f"\n{said_of}")
            if html:
                missing = [member.name for member in hand_ins.missing]
                page = write_report(html, shown, names=names, keep=keep, missing=missing)
                print(f"\n{page}")
            book.show(targets, shown, hand_ins.roster)
            if targets:
                print(_kept(results, others, earlier), end="")
    if stopped:
        raise stopped
    return 1 if any(graded.problem for graded in results) else 0


def _places(gradebook: Path, targets: Sequence[Path], html: Path | None) -> list[Path]:
    """Under which paths the gradebook knows these reports and tables; a folder that was renamed or
    copied is known by its pages.
    """
    if not html or not gradebook.is_file():
        return [*targets]
    from loopbound.report import INDEX, page_of, pages_in

    pages = pages_in(html) - {INDEX}
    with Gradebook(gradebook) as book:
        if not pages or book.shown([html]):
            return [*targets]
        alike = [
            place
            for place, shown in book.places().items()
            if {page_of(graded.learner) for graded in shown} == pages
        ]
    return [*targets, *map(Path, alike)]


def _remembered(gradebook: Path, places: Sequence[Path]) -> Roster | None:
    """The class list of the run that wrote these reports and tables before; None without one."""
    if not gradebook.is_file():
        return None
    with Gradebook(gradebook) as book:
        members = book.members(places)
    return Roster(members) if members else None


def _results(
    hand_ins: HandIns, book: Gradebook, jobs: int, again: bool
) -> tuple[list[Graded], Problem | None]:
    """What each hand-in earned, from the gradebook where it is known there; and why grading
    stopped, where it did: what is known by then is written even so.
    """
    results: list[Graded] = []
    stopped = None
    handed_in = hand_ins.notebooks
    with ProgressLine() as progress:
        open_ones = []
        for each in handed_in:
            if each.problem:
                graded = Graded(
                    each.file, each.learner, each.digest(), each.assignment, problem=each.problem
                )
                book.store(graded)
                results.append(graded)
            elif (known := None if again else book.known(each.file, each.digest())) is None:
                open_ones.append(each)
            else:
                if known.learner != each.learner:
                    book.name(each.file, each.learner)
                results.append(known)
        graded_before = len(handed_in) - len(open_ones) - sum(bool(e.problem) for e in handed_in)
        if graded_before:
            progress.stay(
                f"{graded_before} of {len(handed_in)} were graded before and have not changed;"
                " --again grades them once more."
            )

        def done(graded: Graded) -> None:
            book.store(graded)
            results.append(graded)
            if graded.begun or graded.problem:
                progress.stay(f"{len(results)} of {len(handed_in)}: {one_line(graded)}")

        if open_ones:
            progress.pass_by("starting …")
            try:
                _grade(open_ones, jobs, done, progress.stay)
            except Problem as problem:
                stopped = problem
    return results, stopped


def _placed(results: Sequence[Graded], hand_ins: HandIns, due: datetime | None) -> list[Graded]:
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
                late=_is_late(handed, due),
                order=f"{when} {handed.turn:05}",
                place=handed.place,
                notes=(*handed.notes, *graded.notes),
            )
            for learner in handed.learners
        ]
    placed.sort(key=lambda graded: (graded.learner, graded.assignment, graded.order, graded.file))
    return placed


def _is_late(handed: Handed, due: datetime | None) -> bool:
    return handed.late or bool(due and handed.when and handed.when > due)


def _earlier(
    book: Gradebook, places: Sequence[Path], hand_ins: HandIns, roster: Roster | None
) -> list[Graded]:
    """What earlier runs know of the people of whom this one speaks: those whom its reports and
    tables showed before, and, of its assignments, those of the class list.
    """
    found = {
        (graded.file, name): replace(graded, learner=name)
        for graded in book.shown(places)
        for name in (_names(graded.learner, roster.called) if roster else ()) or (graded.learner,)
    }
    if roster:
        asked = {handed.assignment for handed in hand_ins.notebooks} | {""}

        def certain(name: str) -> list[Member]:
            # Another class may be in the gradebook, too.
            each = [roster.certain(part) for part in name.split(" & ")]
            return [member for member in each if member]

        for graded in book.known_of_all():
            if graded.assignment in asked:
                for name in _names(graded.learner, certain):
                    found.setdefault((graded.file, name), replace(graded, learner=name))
    return [*found.values()]


def _names(learner: str, members: Callable[[str], Iterable[Member]]) -> list[str]:
    return [member.name for member in members(learner)]


def _with_others(
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


def _content(graded: Graded) -> tuple[str, ...]:
    return graded.learner, graded.assignment, graded.digest or graded.file


def _by_hand(
    book: Gradebook, given: Sequence[Mark], shown: Sequence[Graded], roster: Roster | None
) -> tuple[list[Mark], list[str]]:
    """What is set by hand now, and what there is to say about it. What the file has takes the place
    of what the gradebook has; a line that cannot be used changes nothing.
    """
    names = {compared(graded.learner): graded.learner for graded in shown}

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
            of = [graded for graded in shown if graded.learner == who]
            if mark.empty:
                if not kept.pop((who, mark.task), None):
                    said.append(f"{mark.where} takes nothing back: nothing was set there.")
            elif any(mark.task in _markable(graded) for graded in of):
                kept[who, mark.task] = replace(mark, learner=who)
            else:
                why = "nothing of it was graded" if of else "nothing was handed in"
                said.append(f"{mark.where} was not used: {who}, {mark.task}: {why}.")
    if given:
        book.mark(kept.values())
    used = [
        f"{who} {task[:2] if '.' not in task else task}"
        for who, task in kept
        if any(graded.learner == who and task in _markable(graded) for graded in shown)
    ]
    if used:
        said.append(
            f"Set by hand, and kept in {book.path.name}: {', '.join(sorted(used))}. A line of"
            " --by-hand with learner and task alone takes it back."
        )
    return [*kept.values()], said


def _markable(graded: Graded) -> set[str]:
    return {graded.assignment, *(result.task for result in graded.tasks)}


def _of_all(hand_ins: HandIns, shown: Sequence[Graded], said: Iterable[str]) -> HandIns:
    """The hand-ins, with what can be said of the class by all that is shown."""
    names = {graded.learner for graded in shown}
    missing = tuple(member for member in hand_ins.roster if member.name not in names)
    here = {name for handed in hand_ins.notebooks for name in handed.learners}
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


def _kept(results: Sequence[Graded], others: Sequence[Graded], earlier: Sequence[Graded]) -> str:
    here = {graded.learner for graded in results}
    kept = {graded.learner for graded in others} - here
    said = []
    if kept:
        who = "1 learner is" if len(kept) == 1 else f"{len(kept)} learners are"
        said.append(
            f"{who} kept from earlier runs; another folder or file with another --gradebook is"
            " without them."
        )
    if gone := {compared(graded.learner) for graded in earlier} - set(map(compared, here | kept)):
        names = sorted({each.learner for each in earlier if compared(each.learner) in gone})
        said.append(f"No longer in what was named, and taken out: {', '.join(names)}.")
    return "".join(f"{text}\n" for text in said)


def _is_there(file: Path) -> bool:
    return file.exists() or any(
        above.suffix.casefold() == ".zip" and above.is_file() for above in file.parents
    )


def _grade(
    handed: Sequence[Handed], jobs: int, done: Callable[[Graded], None], say: Callable[[str], None]
) -> None:
    # The processes's warm process imports for a second. So do we, and meanwhile.
    from loopbound.grading.isolation.processes import Processes

    with ThreadPoolExecutor(1) as thread:
        started = thread.submit(Processes)
        try:
            from loopbound.grading.run import grade_all

            if started.result().isolation != "namespaces":
                say(
                    "No namespaces can be made here: what was handed in runs with your own rights."
                    " workshop/safety.md says what that means."
                )
            grade_all(handed, jobs, done, started.result())
        finally:
            if started.exception() is None:
                started.result().close()


# What is printed ----------------------------------------------------------------------------------


def one_line(graded: Graded) -> str:
    """A result in a line: whose, which assignment, points, seconds."""
    if graded.problem:
        return f"{graded.learner}, {_name(graded)}: {graded.problem.splitlines()[0]}"
    return (
        f"{graded.learner}, {graded.assignment}: {graded.points:g} of {graded.of} points,"
        f" {graded.seconds:.1f} s"
    )


def _name(graded: Graded) -> str:
    return cleaned(Path(graded.file).name, 120, lines=False)


def table(
    results: Sequence[Graded],
    keep: str = "best",
    hand_ins: HandIns | None = None,
    others: Sequence[Graded] = (),
) -> str:
    """The results for people: a line each, a sign a task, then what has to be said. What came back
    as it was given out has a line for each learner. ``others`` are known from earlier runs: they
    have no line, and may count.
    """
    begun = [graded for graded in results if graded.begun or graded.problem]
    wide = max([len(graded.learner) for graded in begun], default=0)
    name = max([len(graded.assignment) for graded in begun], default=0)
    lines, remarks = [], []
    for graded in begun:
        signs = "".join(TABLE_SIGNS[result.outcome] for result in graded.tasks) or "?"
        points = f"{graded.points:>3g} of {graded.of:<3}" if graded.tasks else " " * 10
        signs += "   late" if graded.late else ""
        lines.append(
            f"{graded.learner:<{wide}}  {graded.assignment:<{name}}  {points}  {signs}".rstrip()
        )
        said = [*graded.problem.splitlines(), *graded.notes]
        remarks += [f"{graded.learner}, {_name(graded)}: {text}" for text in said]
    legend = (
        f"{TABLE_SIGNS[PASSED]} passed   {TABLE_SIGNS[WRONG]} wrong   {TABLE_SIGNS[RAISED]} raised"
        f"   {TABLE_SIGNS[NOT_ATTEMPTED]} not attempted   ? not graded"
    )
    here = {graded.learner for graded in results}
    chosen = {
        key: each for key, each in counted([*results, *others], keep).items() if key[0] in here
    }
    untouched: dict[str, list[str]] = defaultdict(list)
    for (learner, which), each in chosen.items():
        if not each.graded.begun:
            untouched[learner].append(which[:2])
    alike: dict[str, list[str]] = defaultdict(list)
    for learner, numbers in untouched.items():
        alike[", ".join(numbers)].append(learner)
    remarks += [
        f"As given out, and not begun: {numbers} ({', '.join(learners)})."
        for numbers, learners in alike.items()
    ]
    remarks += [
        f"{learner} has {len(each.others) + 1} notebooks of {which}; {KEEP[keep]}:"
        f" {_name(each.graded)}, not {', '.join(map(_name, each.others))}."
        for (learner, which), each in chosen.items()
        if each.others
    ]
    blocks = ["\n".join(lines), legend if lines else "", "\n".join(remarks)]
    if hand_ins:
        blocks += [_missing(hand_ins), _passed_over(hand_ins), "\n".join(hand_ins.remarks)]
    return "\n\n".join(block for block in blocks if block)


def listing(hand_ins: HandIns, due: datetime | None) -> str:
    """Before anything runs: whose each file is, and of which assignment."""
    rows = []
    for handed in hand_ins.notebooks:
        when = handed.when.strftime("%Y-%m-%d %H:%M") if handed.when else ""
        late = " late" if _is_late(handed, due) else ""
        what = "cannot be graded" if handed.problem else handed.assignment
        what += ", as given out" if handed.untouched else ""
        rows.append((handed.place, " & ".join(handed.learners), what, f"{when}{late}"))
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{place:<{wide[0]}} → {learner:<{wide[1]}} → {what:<{wide[2]}}  {when}".rstrip()
        for place, learner, what, when in rows
    ]
    said = [
        f"{handed.place}: {text}"
        for handed in hand_ins.notebooks
        for text in (*handed.problem.splitlines(), *handed.notes)
    ]
    blocks = ["\n".join(lines), "\n".join(said), _missing(hand_ins), _passed_over(hand_ins)]
    blocks += ["\n".join(hand_ins.remarks), "Nothing was run: --dry-run."]
    return "\n\n".join(block for block in blocks if block)


def _missing(hand_ins: HandIns) -> str:
    names = [member.name for member in hand_ins.missing]
    return f"Handed in nothing ({len(names)}): {', '.join(names)}." if names else ""


def _passed_over(hand_ins: HandIns) -> str:
    lines = [
        f"  {each.place}: {f'{each.count} files, ' if each.count > 1 else ''}{each.why}"
        for each in hand_ins.passed[:MOST_LINES]
    ]
    if len(hand_ins.passed) > MOST_LINES:
        lines.append(f"  and {len(hand_ins.passed) - MOST_LINES} more, which --json lists")
    return "\n".join(["Passed over:", *lines]) if lines else ""


def workers() -> int:
    """How many submissions are graded at a time by default: one for each processor that we may use,
    four at most.
    """
    return min(4, cores())
