"""Whose a hand-in is: what the names of files and folders say, as learning platforms, browsers,
GitHub and people write them. Pure functions on names; nothing here reads a file.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from loopbound.course.manifest import assignments
from loopbound.grading.roster import Roster, compared

__all__ = ["Named", "Placed", "read_name", "spelled", "time_said", "whose"]

# How learning platforms write a folder or a file of a submission.
_PLATFORMS = (
    # Moodle: a number for each person and assignment.
    r"(?P<name>.+?)_(?P<near>\d+)_assignsubmission_(?:file|onlinetext)_?(?P<rest>.*)",
    # Canvas: the number of a person, then that of the submission.
    r"(?P<name>[^\W\d_][^_]*?)(?P<late>_late)?_(?P<id>\d{3,})_(?P<turn>\d{3,})_(?P<rest>.+)",
    # Blackboard: the assignment, the account, the time.
    r"(?:.+_)?(?P<name>[^_]+)_attempt_(?P<when>\d{4}(?:-\d\d){5})_?(?P<rest>.*)",
    # nbgrader's exchange.
    r"(?P<name>[^+]+)\+[^+]+\+(?P<when>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [A-Z]+)(?:\+.*)?",
    # Brightspace.
    r"\d+-\d+ - (?P<name>.+?) ?- (?P<when>[A-Z][a-z]+ \d{1,2}, \d{4} \d{3,4} [AP]M)"
    r"(?: - (?P<rest>.*))?",
    # Sakai.
    r"(?P<name>[^()]+, [^()]+)\((?P<id>[^()]+)\)",
)
_TIMES = (
    "%Y-%m-%d-%H-%M-%S",
    "%Y-%m-%d %H:%M:%S.%f UTC",
    "%Y-%m-%d %H:%M:%S UTC",
    "%b %d, %Y %I%M %p",
    "%B %d, %Y %I%M %p",
)

# What browsers, Jupyter and people add to a copy's name.
_COPY_BEFORE = re.compile(
    r"(?:copy|kopie|copie|c[oó]pia|kopia)(?: \(\d+\))? (?:of|von|de|van|av|af) ", re.IGNORECASE
)
_COPY_BEHIND = re.compile(
    r"(?:[ _-]*\((?P<browser>\d{1,2})\)|[ _-]+(?:copy|kopie|copie|copia|kopia) ?(?P<jupyter>\d*))$",
    re.IGNORECASE,
)
_AGAIN_WORDS = "again corrected final neu new resubmission resubmitted updated"
# Taken out of a name that has more: "anna homework".
_ASIDE_WORDS = """
abgabe abgaben answer answers assignment attempt aufgabe aufgaben compiti compito devoir devoirs
ejercicio ejercicios entrega entregas esercizi esercizio ex exercice exercices exercise exercises
homework hw lab lesson loop loopbound loops notebook notebooks opdracht semaine semana sesión
settimana solution solutions submission submissions submitted tarea tareas uge untitled vecka
version versions week woche
"""
# A name of such words alone says what is in it, not whose it is.
_THING_WORDS = """
a all an and attachment autograded bound class collected copy course day days desktop documents
download downloads file files first for graded group gruppe home inbound ipynb jupyter labs last
late main master meeting modul module my nb nbgrader nr of old on one part project projects py
python repo s school second semester session sessions sheet tag task tasks teil the third three to
trabajo travail try tutorial two unit unzipped v wip work working workshop übung übungen
übungsblatt
"""
_AGAIN = frozenset(_AGAIN_WORDS.split())
_ASIDE = _AGAIN | frozenset(_ASIDE_WORDS.split())
_THINGS = _ASIDE | frozenset(_THING_WORDS.split())
# These name several people: of use only where nothing names one.
_GROUP = re.compile(
    r"(?:class|cohort|course|group|gruppe|klasse|kurs|section|sektion|team|tutorial|tutorium)"
    r"[ _-]?\w{1,3}",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\s_\-.,;+()\[\]{}#&]+")
# A date, and how Google Drive calls an archive.
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_. ])[01]?\d\1[0-3]?\d(?!\d)|-\d{8}T\d{6}Z(?:-\d+)*$")
# A number behind these is a person's.
_PERSON = {"guest", "learner", "participant", "person", "student", "teilnehmer", "user"}
_REPOSITORY = re.compile(r"[-_ ]?(?:main|master|develop|[0-9a-f]{7,40})$", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """What the name of a file or a folder says.

    Attributes:
        name: of a person, or "".
        sure: whether a learning platform wrote it.
        group: whether it can only be a name of several people.
        number: whether it is a number, or hardly more than one, of a person or of an assignment.
        id: the platform's number of the person.
        near: Moodle's number, which tells people apart in one assignment only.
        late: whether the platform calls it late.
        when: the time that the name carries.
        turn: which copy or attempt it is; 0 for a name without a number.
    """

    name: str = ""
    sure: bool = False
    group: bool = False
    number: bool = False
    id: str = ""
    near: str = ""
    late: bool = False
    when: datetime | None = None
    turn: int = 0


@dataclass(frozen=True)
class Placed:
    """A hand-in by where it lies: the ``folders`` below what was named, and its ``stem``.

    Attributes:
        what: the assignment's name, or "" where that is not known.
        roots: how many of the folders lead to each folder that is a clone of the course.
        above: the folder that was named, and the one above it.
        brothers: the clones that lie beside its own one.
    """

    folders: tuple[str, ...]
    stem: str
    what: str = ""
    roots: frozenset[int] = frozenset()
    above: tuple[str, ...] = ()
    brothers: frozenset[str] = frozenset()


@functools.cache
def read_name(text: str, root: bool = False, file: bool = False) -> Named:
    """What a name says: of a clone of the course with ``root``, of a ``file`` without its
    ending.
    """
    text = re.sub(r"\.zip$", "", spelled(text), flags=re.IGNORECASE)
    for pattern in _PLATFORMS:
        if found := re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL):
            parts = found.groupdict()
            inner = read_name(parts.get("rest") or "", file=True)
            return Named(
                spelled(parts["name"]).strip(" -_"),
                True,
                id=parts.get("id") or "",
                near=parts.get("near") or "",
                late=bool(parts.get("late")),
                when=time_said(parts.get("when") or ""),
                turn=int(parts.get("turn") or inner.turn),
            )
    turn = 0
    plain = text
    while True:
        if found := _COPY_BEFORE.match(plain):
            plain, turn = plain[found.end() :], max(turn, 1)
        elif found := _COPY_BEHIND.search(plain):
            number = next((group for group in found.groups() if group), "1")
            plain, turn = plain[: found.start()], max(turn, int(number))
        else:
            break
    if root:
        plain = _REPOSITORY.sub("", plain)
        if compared(plain) in ("loopbound", ""):
            return Named(turn=turn)
    rest = _DATE.sub(" ", plain).strip()
    if found := _assignments().search(rest):
        # Canvas numbers the attempts behind the name of the file.
        if again := re.fullmatch(r"-(\d{1,2})", rest[found.end() :]):
            rest, turn = rest[: found.end()], max(turn, int(again[1]))
        rest = _assignments().sub(" ", rest).strip(" \t-_.,;+()")
    words = [found[0] for found in _WORD.finditer(rest)]
    if not turn and any(word.casefold() in _AGAIN for word in words):
        turn = 1
    if rest.isdigit():
        return Named(rest, number=len(rest) < 3, turn=turn)
    if all(map(_is_thing, words)) and not (words and words[0] == rest and len(rest) < 3):
        long = any(word.isdigit() and len(word) > 2 for word in words)
        return Named(rest if long else "", number=long, turn=turn)
    name = _without_asides(rest, file).strip(" \t-_.,;+") or rest
    return Named(name, group=_GROUP.fullmatch(name) is not None, number=len(name) < 2, turn=turn)


def spelled(text: str) -> str:
    """The text in composed letters, with single spaces: macOS takes the letters of file names
    apart.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def time_said(text: str) -> datetime | None:
    """The time that a platform writes so; None for another text."""
    for form in _TIMES:
        try:
            found = datetime.strptime(text, form)
        except ValueError:
            continue
        return (found.replace(tzinfo=UTC) if form.endswith("UTC") else found).astimezone()
    return None


@functools.cache
def _assignments() -> re.Pattern[str]:
    """The assignments' names and titles, with any signs between their words."""
    names = [name for which in assignments() for name in (which.name, which.name[3:], which.title)]
    names += [which.formerly for which in assignments() if which.formerly]
    sign, letter = r"[^0-9A-Za-z]*", r"[^\W\d_]"
    return re.compile(
        "|".join(
            f"(?<!{letter}){sign.join(re.findall('[0-9A-Za-z]+', name))}(?!{letter})"
            for name in sorted(names, key=len, reverse=True)
        ),
        re.IGNORECASE,
    )


def _bare(word: str) -> str:
    return re.sub(r"\d+$", "", word.casefold())


def _is_thing(word: str) -> bool:
    # A number beside such words counts lessons or is the platform's own.
    return word.isdigit() or _bare(word) in _THINGS


def _without_asides(text: str, file: bool) -> str:
    """The text without words at its beginning, and at the end of a file's, that are no part of a
    name, and without their numbers.
    """
    words = list(_WORD.finditer(text))
    aside = [
        _is_aside(word[0], words[place - 1][0] if place else "") for place, word in enumerate(words)
    ]
    if all(aside):
        return text
    first = aside.index(False)
    last = len(aside) - 1 - (aside[::-1].index(False) if file else 0)
    found, rest = text[words[first].start() : words[last].end()], text[words[last].end() :]
    # A bracket that is opened in a name ends it: Anna (Anni).
    closed = any(rest[:1] == close and open in found for open, close in ("()", "[]", "{}"))
    return found + rest[0] if closed else found


def _is_aside(word: str, before: str) -> bool:
    if not word.isdigit():
        return _bare(word) in _ASIDE or re.fullmatch(r"[vV]\d+", word) is not None
    if _bare(before) in _ASIDE | {"v"} and not before[-1:].isdigit():
        return True
    return (
        word in {which.number for which in assignments()}
        and before.casefold() not in _PERSON
        and not _GROUP.fullmatch(f"{before} {word}")
    )


# Which of the names counts ------------------------------------------------------------------------


@dataclass
class _Case:
    """One hand-in while its owner is being found."""

    place: Placed
    folders: list[Named]
    own: Named
    person: Named | None = None


def whose(places: Sequence[Placed], roster: Roster | None = None) -> list[str]:
    """Whose each hand-in is: a name for each, "" where nothing says it.

    What a platform wrote counts first, then what the roster knows. Otherwise it is the folder at
    the depth at which people have the fewest assignments twice, from the outside; where the folders
    hold files of several people, or there are none, the file's own name.
    """
    beside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for place in places:
        for depth, name in _clones(place).items():
            beside[place.folders[: depth - 1]].add(name)
    cases = [_case(place, beside) for place in places]
    for case in cases:
        sure = [named for named in (*case.folders, case.own) if named.sure]
        known = [
            named
            for named in (*case.folders, case.own)
            if roster and named.name and roster.certain(named.name, named.id)
        ]
        case.person = next(reversed(sure or known), None)
    open_ones = [case for case in cases if case.person is None]
    _settle_numbers(open_ones)
    _by_folders([case for case in open_ones if _strong(case)])
    for case in open_ones:
        if case.person is None and case.own.name and not case.own.number:
            case.person = case.own
    # A folder with files of named people is none of one person.
    others = {case.place.above for case in cases if case.person}
    for case in open_ones:
        if case.person is None:
            case.person = next((named for named in reversed(case.folders) if named.name), None)
        if case.person is None and case.place.above not in others:
            case.person = next(
                (
                    named
                    for text in case.place.above
                    if (named := read_name(text)).name and not named.number
                ),
                None,
            )
        if case.person is None and case.own.name:
            case.person = case.own
    return _labels(cases)


def _clones(place: Placed) -> dict[int, str]:
    """The clones of the course around a hand-in, by their depth; an archive that holds one of its
    own name is one.
    """
    found = {depth: place.folders[depth - 1] for depth in place.roots if depth}
    for depth, name in [*found.items()]:
        outer = place.folders[depth - 2] if depth > 1 else ""
        if outer.casefold() == f"{name}.zip".casefold():
            found[depth - 1] = name
    return found


def _case(place: Placed, beside: Mapping[tuple[str, ...], set[str]]) -> _Case:
    folders, clones = [], _clones(place)
    for depth, text in enumerate(place.folders, 1):
        named = read_name(text, depth in clones)
        if depth in clones and named.name and not named.sure:
            around = place.folders[depth - 2] if depth > 1 else (*place.above, "")[0]
            brothers = place.brothers | beside[place.folders[: depth - 1]]
            named = read_name(_without_prefix(clones[depth], brothers, around))
        folders.append(named)
    return _Case(place, folders, read_name(place.stem, file=True))


def _without_prefix(text: str, brothers: Set[str], around: str) -> str:
    """GitHub Classroom's repositories are called ``assignment-person``: without the beginning that
    all of them share, or that the folder around them is called after.
    """
    plain = _REPOSITORY.sub("", text)
    beginnings = {around.removesuffix("-submissions")} if around.endswith("-submissions") else set()
    words = plain.split("-")
    for count in range(1, len(words)):
        begin = "-".join(words[:count])
        if (
            len(brothers) > 1
            and all(name.startswith(f"{begin}-") for name in brothers)
            and begin.casefold() not in {"learner", "participant", "student", "user"}
            and not _GROUP.fullmatch(f"{begin}-1")
        ):
            beginnings.add(begin)
    for begin in sorted(beginnings, key=len, reverse=True):
        if plain.startswith(f"{begin}-"):
            return plain[len(begin) + 1 :]
    return plain


def _settle_numbers(cases: list[_Case]) -> None:
    """Folders that are called 01, 02 are people, unless each has the assignment of its number."""
    numbered = [
        (case, depth)
        for case in cases
        for depth, named in enumerate(case.folders)
        if named.number and named.name.isdigit()
    ]
    if all(case.place.what[:2] == case.folders[depth].name.zfill(2) for case, depth in numbered):
        for case, depth in numbered:
            case.folders[depth] = Named()
    for case in cases:
        if case.own.name.isdigit() and case.own.number:
            case.own = replace(case.own, name="")


def _strong(case: _Case) -> list[Named]:
    return [named for named in case.folders if named.name and not (named.group or named.number)]


def _by_folders(cases: list[_Case]) -> None:
    """Choose the depth, and set aside folders that hold files of several people."""
    if not cases:
        return
    deepest = max(len(_strong(case)) for case in cases)

    def at(case: _Case, depth: int) -> Named:
        strong = _strong(case)
        return strong[min(depth, len(strong) - 1)]

    def twice(depth: int) -> int:
        counts = Counter(
            (compared(at(case, depth).name), case.place.what) for case in cases if case.place.what
        )
        return sum(count - 1 for count in counts.values())

    depth = min(range(deepest), key=lambda depth: (twice(depth), depth))
    people: dict[str, list[_Case]] = defaultdict(list)
    for case in cases:
        people[compared(at(case, depth).name)].append(case)
    shared = {name for name, own in people.items() if _several(own)}
    seen_in: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for name, own in people.items():
        for case in own:
            if case.own.name:
                seen_in[compared(case.own.name)].add((name, case.place.what))
    # The same names in several folders, each time with another assignment: the folders are weeks.
    weeks = [
        name
        for name, found in seen_in.items()
        if len({folder for folder, _ in found}) > 1 and len({what for _, what in found}) > 1
    ]
    if len(weeks) > 1:
        shared |= {folder for name in weeks for folder, _ in seen_in[name]}
    elif 2 * len(shared) < len(people) or (
        len(shared) == 1 and all(_several(people[name]) < 3 for name in shared)
    ):
        shared = set()
    for name, own in people.items():
        for case in own:
            case.person = case.own if name in shared and case.own.name else at(case, depth)


def _several(cases: list[_Case]) -> int:
    """How many people the files' own names tell apart in one assignment; 0 for one."""
    names: dict[str, set[str]] = defaultdict(set)
    for case in cases:
        if case.own.name and case.place.what:
            names[case.place.what].add(compared(case.own.name))
    most = max((len(found) for found in names.values()), default=0)
    return most if most > 1 else 0


def _labels(cases: list[_Case]) -> list[str]:
    """A name for each: spellings that differ in case and signs are one person's, unless they stand
    side by side; two numbers of a platform are two people.
    """
    numbers: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for case in cases:
        if case.person:
            plain = compared(case.person.name)
            numbers[plain, _parent(case), "near"].add(case.person.near)
            if not case.person.sure:
                numbers[plain, _parent(case), "name"].add(case.person.name)
    keys: list[tuple[str, ...]] = []
    for case in cases:
        plain = compared(case.person.name) if case.person else ""
        key: tuple[str, ...] = (plain,)
        if case.person and case.person.id:
            key = (plain, case.person.id)
        elif case.person and case.person.near:
            if len(numbers[plain, _parent(case), "near"]) > 1:
                key = (plain, case.person.near)
        elif (
            case.person
            and case.person is not case.own
            and len(numbers[plain, _parent(case), "name"]) > 1
        ):
            key = (plain, "", case.person.name)
        keys.append(key)
    spellings: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for key, case in zip(keys, cases, strict=True):
        if case.person:
            spellings[key][case.person.name] += 1
    chosen = {
        key: min(found, key=lambda name: (-found[name], name.islower(), name))
        for key, found in spellings.items()
    }
    # macOS calls the copy of "anna" "anna 2".
    for key, name in [*chosen.items()]:
        copy = re.fullmatch(r"(.+) [2-9]", name)
        if copy and (compared(copy[1]),) in chosen and not _GROUP.fullmatch(name):
            chosen[key] = chosen[(compared(copy[1]),)]
    taken = Counter(chosen[key] for key in chosen if len(key) == 2)
    return [
        chosen.get(key, "")
        if len(key) != 2 or taken[chosen[key]] < 2
        else f"{chosen[key]} {key[1]}"
        for key in keys
    ]


def _parent(case: _Case) -> tuple[str, ...]:
    """The folder in which the name of the person stands."""
    for depth, named in enumerate(case.folders):
        if named is case.person:
            return case.place.folders[:depth]
    return case.place.folders
