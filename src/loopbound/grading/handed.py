"""Which notebooks were handed in below some paths, whose each is, and why every other file was
passed over. Nothing of a notebook is run for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from loopbound.course.manifest import Assignment
from loopbound.course.solutions import BEGIN
from loopbound.grading.cleaned import cleaned, file_name
from loopbound.grading.roster import Member, Roster, compared
from loopbound.grading.submission import LARGEST_FILE, read_submission
from loopbound.grading.tree import TIMESTAMP, Entry, Tree, is_clone
from loopbound.grading.whose import Named, Placed, read_name, time_said, whose
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["SAME", "HandIns", "Handed", "Passed", "found"]

SAME = "The same file, byte by byte,"
AT_ONCE = 600  # seconds; files are unpacked or copied together in less


@dataclass(frozen=True)
class Handed:
    """A hand-in: the ``path`` of its notebook, and whose it is.

    Attributes:
        origin: the file by which the gradebook knows it, where that is another one than ``path``.
        place: where it lies below what was named.
        assignment: the assignment's name; "" where it was not read, or is none.
        problem: why it is no notebook, or none to grade.
        when: when it was handed in, as far as its name or its file tells.
        late: whether the learning platform called it late.
        turn: its place in the order in which a learner handed in an assignment.
        members: who of the class list handed it in.
        notes: what was found out about the file itself.
    """

    path: Path
    learner: str
    origin: str = ""
    place: str = ""
    assignment: str = ""
    problem: str = ""
    when: datetime | None = None
    late: bool = False
    turn: int = 0
    members: tuple[Member, ...] = ()
    notes: tuple[str, ...] = ()
    untouched: bool = False
    content: str = ""

    @property
    def file(self) -> str:
        """Its absolute path as text that can be stored and printed, also where its name is no
        Unicode.
        """
        return self.origin or file_name(self.path.absolute())

    def digest(self) -> str:
        """A digest of its content; empty where it cannot be read."""
        return self.content or _digest(_content(self.path))

    @property
    def learners(self) -> tuple[str, ...]:
        """The learners whose result it is."""
        return tuple(member.name for member in self.members) or (self.learner,)

    def is_late(self, due: datetime | None) -> bool:
        """Whether it is late, by what the platform says or by a date."""
        return self.late or bool(due and self.when and self.when > due)


@dataclass(frozen=True)
class Passed:
    """A file, or all files of a kind in a folder, that is not graded: where, and why."""

    place: str
    why: str
    count: int = 1


@dataclass(frozen=True)
class HandIns:
    """What lies below the paths that were named.

    Attributes:
        notebooks: what is graded, and what stands in a notebook's place and cannot be.
        passed: every other file.
        missing: who of the class list has handed in nothing.
        remarks: what a person should look at, a line each.
        roster: who is in the class list.
    """

    notebooks: tuple[Handed, ...]
    passed: tuple[Passed, ...] = ()
    missing: tuple[Member, ...] = ()
    remarks: tuple[str, ...] = ()
    roster: tuple[Member, ...] = ()

    @property
    def learners(self) -> set[str]:
        """All whose results there are."""
        return {name for handed in self.notebooks for name in handed.learners}


@contextmanager
def found(paths: Sequence[Path], roster: Roster | None = None) -> Iterator[HandIns]:
    """The notebooks at these paths, those in folders and archives included; no folder is entered
    through a link. What came out of an archive is there as long as the context is.

    Raises:
        Problem: there is no such path, or nothing that was handed in.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise Problem(f"there is no {path}.")
    tree = Tree()
    try:
        for path, top in _tops(paths):
            tree.add(path, top)
        yield _sorted_out(list(tree.entries.values()), paths, roster)
    finally:
        tree.close()


def _tops(paths: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Each path with the folder from which its names count: folders side by side count from the one
    around them, as they do when that is named; so do archives, and clones of the course.
    """
    wide = [_wide(path) for path in paths]
    folders = [path for path in wide if path.is_dir() or path.suffix.casefold() == ".zip"]
    for path in wide:
        alone = sum(each.parent == path.parent for each in folders) == 1
        yield path, path if path in folders and alone and not is_clone(path) else path.parent


def _sorted_out(entries: list[Entry], paths: Sequence[Path], roster: Roster | None) -> HandIns:
    base = _base(paths)
    times = _times(entries)
    entries = [
        replace(entry, modified=times.get(entry.parts[:-1], entry.modified)) for entry in entries
    ]
    read = [_read(entry, _place(entry, base)) for entry in entries]
    candidates = [
        (entry, handed)
        for entry, handed in zip(entries, read, strict=True)
        if not entry.why or entry.instead
    ]
    names = whose([_placed(entry, handed) for entry, handed in candidates], roster)
    remarks: list[str] = []
    own: list[tuple[Entry, Handed]] = []
    nameless: list[str] = []
    mended: dict[str, None] = {}
    for (entry, handed), name in zip(candidates, names, strict=True):
        said = _said(entry)
        number = next((each.id for each in reversed(said) if each.id), "")
        members = roster.called(name, number) if roster and name else ()
        learner = " & ".join(member.name for member in members) or name
        if members and compared(learner) != compared(name):
            mended[f"{cleaned(name, 200, lines=False)} → {learner}"] = None
        if not learner:
            learner = cleaned(_stem(entry), 200, lines=False)
            if not entry.why:
                nameless.append(handed.place)
        own.append(
            (
                entry,
                replace(
                    handed,
                    learner=cleaned(learner, 200, lines=False),
                    members=members,
                    when=next((each.when for each in reversed(said) if each.when), handed.when),
                    late=any(each.late for each in said),
                    turn=max(each.turn for each in said),
                ),
            )
        )
    if nameless:
        remarks.append(
            "Nothing says whose these are; each is listed under its file's name:"
            f" {_listed(nameless)}."
        )
    if mended:
        remarks.append(f"Called otherwise in the class list: {_listed([*mended], 40)}.")
    notebooks, passed = _chosen(own)
    passed += [
        Passed(handed.place, entry.why)
        for entry, handed in zip(entries, read, strict=True)
        if entry.why and not entry.instead
    ]
    if not notebooks:
        named = ", ".join(str(path) for path in paths)
        raise Problem(
            f"there is nothing to grade in {named}: no .ipynb is in it."
            + "".join(f"\n{each.place}: {each.why}." for each in passed[:5])
        )
    remarks += _alike(notebooks)
    missing: tuple[Member, ...] = ()
    if roster:
        there = {member for handed in notebooks for member in handed.members}
        missing = tuple(member for member in roster.members if member not in there)
        unknown = {handed.learner for handed in notebooks if not handed.members}
        if unknown:
            remarks.append(f"Not in the class list: {', '.join(sorted(unknown))}.")
    return HandIns(
        tuple(notebooks),
        tuple(_together(passed)),
        missing,
        tuple(remarks),
        roster.members if roster else (),
    )


def _times(entries: Sequence[Entry]) -> dict[tuple[str, ...], float]:
    """When nbgrader collected what is in a folder, by the folder."""
    found = {}
    for entry in entries:
        if entry.parts[-1:] == (TIMESTAMP,):
            said = _content(entry.path)[:99].decode("utf-8", "replace").strip()
            if when := time_said(said):
                found[entry.parts[:-1]] = when.timestamp()
    return found


def _wide(path: Path) -> Path:
    """An absolute path without ``..``: one file has one name, from wherever it is named."""
    return Path(os.path.abspath(path))


def _base(paths: Sequence[Path]) -> str:
    """The folder that all of the paths have in common; "" where there is none."""
    try:
        return os.path.commonpath(
            [
                str(
                    wide
                    if wide.is_dir() or (len(paths) == 1 and wide.suffix.casefold() == ".zip")
                    else wide.parent
                )
                for wide in map(_wide, paths)
            ]
        )
    except ValueError:  # on several of Windows' drives
        return ""


def _place(entry: Entry, base: str) -> str:
    """Where a file is, below all that was named, with slashes between the folders."""
    place = entry.place
    if base and entry.file != base and Path(entry.file).is_relative_to(base):
        folder = "" if entry.parts[-1:] != ("",) else "/"
        place = Path(entry.file).relative_to(base).as_posix() + folder
    return cleaned(file_name(place), 300, lines=False)


def _read(entry: Entry, place: str) -> Handed:
    when = None
    with contextlib.suppress(OSError, OverflowError, ValueError):  # a time that no clock shows
        when = datetime.fromtimestamp(entry.modified).astimezone() if entry.modified else None
    handed = Handed(entry.path, "", file_name(entry.file), place, when=when)
    if entry.why:
        return handed
    content = _content(entry.path)
    handed = replace(handed, content=_digest(content))
    try:
        submission = read_submission(entry.path)
    except Exception as error:
        # What one notebook can bring about is its own line, and ends no other's.
        name = cleaned(file_name(entry.path.name), 120, lines=False)
        said = f"{name} cannot be read: {type(error).__name__}: {error}"
        said = str(error) if isinstance(error, Problem) else said
        return replace(handed, problem=cleaned(said))
    which = submission.assignment
    low = cleaned(file_name(entry.parts[-1]).casefold(), 120, lines=False)
    return replace(
        handed,
        assignment=which.name,
        problem=_solution(which, entry.path, content),
        untouched=all(submission.untouched(task.id) for task in which.tasks),
        notes=() if low.endswith(".ipynb") else (f"A notebook with another ending: {low}.",),
    )


def _solution(which: Assignment, path: Path, content: bytes) -> str:
    """What to say of the course's own solution; the facilitator's own folder may be graded."""
    if content.count(BEGIN.encode()) < len(which.tasks):
        return ""
    if _wide(path).is_relative_to(repository() / "solutions"):
        return ""
    return (
        f"{path.name} was read and refused: it is the course's own solution, with its marks.\n"
        "The exercise is"
        f" exercises/{which.file.as_posix()}."
    )


def _content(path: Path) -> bytes:
    """A file's bytes; none where it cannot be read, or is larger than a notebook may be."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
            return b""
        return path.read_bytes()
    except OSError:
        return b""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16] if content else ""


def _stem(entry: Entry) -> str:
    name = entry.parts[-1] if entry.parts else entry.path.name
    at = name.casefold().find(".ipynb")
    return name[:at] if at > 0 else name.rpartition(".")[0] or name


def _placed(entry: Entry, handed: Handed) -> Placed:
    return Placed(
        tuple(file_name(name) for name in entry.parts[:-1]),
        file_name(_stem(entry)),
        handed.assignment,
        entry.roots,
        tuple(file_name(name) for name in entry.above),
        entry.brothers,
    )


def _said(entry: Entry) -> list[Named]:
    """What each name on the way to a file says."""
    return [
        *(read_name(file_name(name)) for name in entry.parts[:-1]),
        read_name(file_name(_stem(entry)), file=True),
    ]


# What counts --------------------------------------------------------------------------------------


def _chosen(own: list[tuple[Entry, Handed]]) -> tuple[list[Handed], list[Passed]]:
    """What is graded, in order; a second copy of the same, and what was handed in beside a
    notebook, is passed over.
    """
    passed: list[Passed] = []
    with_notebook = {handed.learner for entry, handed in own if not entry.why}
    done = {(handed.learner, handed.assignment) for _, handed in own if not handed.problem}
    several: dict[tuple[str, str], list[Handed]] = defaultdict(list)
    others: list[Handed] = []
    instead: set[str] = set()
    for entry, handed in own:
        if entry.why:
            if handed.learner in with_notebook | instead or not _is_persons(entry):
                passed.append(Passed(handed.place, entry.why))
            else:
                instead.add(handed.learner)
                others.append(replace(handed, problem=_instead(entry, handed)))
        elif handed.problem:
            # A lesson beside the exercise, as in a whole clone, is no mistake.
            lesson = " is the lesson " in handed.problem
            beside = lesson and any(
                name == handed.learner
                and what[:2] == handed.problem.split(" is the lesson ")[1][:2]
                for name, what in done
            )
            if beside or (lesson and entry.roots):
                passed.append(Passed(handed.place, "the lesson; the exercise is what counts"))
            else:
                others.append(handed)
        else:
            several[handed.learner, handed.assignment].append(handed)
    notebooks = others
    for each in several.values():
        seen: dict[str, Handed] = {}
        for turn, handed in enumerate(_in_order(each)):
            if handed.content and handed.content in seen:
                first = seen[handed.content]
                passed.append(Passed(handed.place, f"the same as {first.place}"))
                continue
            seen[handed.content] = handed
            notebooks.append(replace(handed, turn=turn))
    notebooks.sort(key=lambda handed: (handed.learner, handed.assignment, handed.turn, handed.file))
    return notebooks, passed


def _is_persons(entry: Entry) -> bool:
    """Whether a file that is no notebook was handed in: a facilitator's own texts lie beside the
    folders, without the name of an assignment or of a platform.
    """
    name = file_name(_stem(entry))
    text = entry.parts[-1].casefold().endswith((".json", ".md", ".txt"))
    said = read_name(name, file=True)
    return len(entry.parts) > 1 or not text or said.sure or said.name != name


def _instead(entry: Entry, handed: Handed) -> str:
    name = cleaned(entry.parts[-1], 120, lines=False) if entry.parts else handed.learner
    why = entry.why
    if why.startswith(("a web", "Python", "a PDF", "a text", "a picture", "an ", "a copy", "JSON")):
        return f"{name} is {why}."
    return f"{name}: {why}."


def _in_order(several: list[Handed]) -> list[Handed]:
    """A learner's hand-ins of an assignment, the oldest first: by the platform's numbers, by time,
    or by the numbers of copies where the files are all of one moment.
    """
    times = [handed.when.timestamp() if handed.when else 0.0 for handed in several]
    numbered = all(handed.turn >= 100 for handed in several)
    if numbered or max(times) - min(times) <= AT_ONCE:
        return sorted(
            several,
            key=lambda handed: (
                handed.turn,
                handed.when.timestamp() if handed.when else 0.0,
                handed.place,
            ),
        )
    return sorted(
        several,
        key=lambda handed: (
            handed.when.timestamp() if handed.when else 0.0,
            handed.turn,
            handed.place,
        ),
    )


def _alike(notebooks: Sequence[Handed]) -> list[str]:
    """Who handed in the very same file; the exercise as it is given out does not count."""
    same: dict[str, list[Handed]] = defaultdict(list)
    for handed in notebooks:
        if handed.content and handed.assignment and not handed.untouched:
            same[handed.content].append(handed)
    return [
        f"{SAME} of {several[0].assignment}: {', '.join(learners)}."
        for several in same.values()
        if len(learners := sorted({each.learner for each in several})) > 1
    ]


def _together(passed: list[Passed]) -> Iterator[Passed]:
    """One line for many files of one folder that are passed over for one reason."""
    groups: dict[tuple[str, str], list[Passed]] = defaultdict(list)
    for each in passed:
        folder, slash, _ = each.place.rstrip("/").rpartition("/")
        groups[folder + slash, each.why].append(each)
    for (folder, why), several in sorted(groups.items()):
        if len(several) < 4:
            yield from sorted(several, key=lambda each: each.place)
        else:
            yield Passed(f"{folder or './'}", why, len(several))


def _listed(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
