"""The work behind ``loopbound grade``."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from loopbound.files import check_writable, replace_text, write_json
from loopbound.grading.cleaned import cleaned
from loopbound.grading.counting import KEEP, counted, marks, with_marks
from loopbound.grading.earlier import Before, joined, kept, of_all, placed, set_by_hand
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.handed import Handed, HandIns, found
from loopbound.grading.results import Graded
from loopbound.grading.roster import read_roster
from loopbound.grading.tables import as_json, by_assignment, by_learner
from loopbound.machine import cores
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, TABLE_SIGNS, WRONG
from loopbound.problem import Problem
from loopbound.terminal import Console, ProgressLine, ended_in_good_order

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
    say = Console().say
    _check_apart(
        [*((str(each), each) for each in paths), ("--learners", learners), ("--by-hand", by_hand)],
        [
            ("--gradebook", gradebook),
            ("--csv", csv),
            ("--csv-totals", csv_totals),
            ("--json", target),
        ],
    )
    given = marks(by_hand) if by_hand else []
    targets = [path for path in (html, csv, csv_totals, target) if path]
    before = Before.read(gradebook)
    places = [*targets, *_moved(before, html)]
    roster = read_roster(learners) if learners else before.roster(places)
    with ended_in_good_order(), found(paths, roster) as hand_ins:
        if dry_run:
            say(listing(hand_ins, due))
            return 1 if any(handed.problem for handed in hand_ins.notebooks) else 0
        # All of it before the work, which may take long.
        if html:
            # With the figures' colours, which take a second to import.
            from loopbound.report import check_folder, check_pages, write_report

            check_folder(html)
        if notebooks:
            from loopbound.report import check_notebooks, write_notebooks

            check_notebooks(notebooks)
        for file in (target, csv, csv_totals):
            if file:
                check_writable(file)
        with Gradebook(gradebook) as book:
            earlier = before.of(hand_ins, places, roster)
            if html:
                # As their pages are called now, and as a class list calls them.
                known = {graded.learner for graded in [*before.at(places), *earlier]}
                check_pages(html, known, hand_ins.learners)
            strange = [
                path
                for path in (csv, csv_totals, target)
                if path and path.exists() and not before.at([path])
            ]
            results, stopped = _results(hand_ins, book, jobs or workers(), again)
            results = placed(results, hand_ins, due)
            results, others = joined(results, earlier, hand_ins, paths, due)
            by_hand_now, said = set_by_hand(book, given, [*results, *others], roster)
            results, others = with_marks(results, by_hand_now), with_marks(others, by_hand_now)
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
            hand_ins = of_all(hand_ins, shown, said)
            say(table(results, keep, hand_ins, others))
            if target:
                write_json(target, as_json(shown, keep, hand_ins))
            if csv:
                replace_text(csv, by_assignment(shown, keep, hand_ins))
            if csv_totals:
                replace_text(csv_totals, by_learner(shown, keep, hand_ins))
            if notebooks:
                paths_of = {handed.file: handed.path for handed in hand_ins.notebooks}
                said_of = write_notebooks(notebooks, results, paths_of, names=names, others=others)
                say(f"\n{said_of}")
            if html:
                missing = [member.name for member in hand_ins.missing]
                page = write_report(html, shown, names=names, keep=keep, missing=missing)
                say(f"\n{page}")
            book.show(targets, shown, hand_ins.roster)
            for text in kept(results, others, earlier) if targets else ():
                say(text)
    if stopped:
        raise stopped
    return 1 if any(graded.problem for graded in results) else 0


def _check_apart(
    read: Sequence[tuple[str, Path | None]], written: Sequence[tuple[str, Path | None]]
) -> None:
    """Find out whether a file that is written is one that is read, or that is written for another
    option.

    Raises:
        Problem: one is.
    """
    names = {os.path.realpath(path): name for name, path in read if path and path.is_file()}
    for name, path in written:
        if path and (other := names.setdefault(os.path.realpath(path), name)) != name:
            raise Problem(
                f"{other} and {name} name one file, {path}: it would be replaced. Nothing was"
                " graded or changed.\nName another one."
            )


def _moved(before: Before, html: Path | None) -> list[Path]:
    """Where a report was before its folder was renamed or copied: it is known by its pages."""
    if not html or before.at([html]):
        return []
    from loopbound.report import INDEX, page_of, pages_in

    pages = pages_in(html) - {INDEX}
    return [
        Path(place)
        for place, shown in before.shown.items()
        if pages and {page_of(graded.learner) for graded in shown} == pages
    ]


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
        late = " late" if handed.is_late(due) else ""
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
