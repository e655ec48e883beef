"""The list of a class: a CSV file with ids, names and e-mail addresses, as spreadsheets and
learning platforms write it.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from loopbound.problem import Problem

__all__ = ["Member", "Roster", "compared", "read_roster"]

LARGEST = 4 * 2**20  # bytes

# What a column is called, in the languages of the platforms' exports, without signs and case.
_COLUMNS = {
    "id": "id idnumber studentid studentnumber matrikelnummer matriculation number nummer sisuserid"
    " identifier orgdefinedid",
    "login": "username user login loginid sisloginid benutzername account github githubusername"
    " kennung",
    "first": "firstname first_name givenname forename vorname prenom nombre first",
    "last": "lastname surname familyname nachname nom apellido apellidos last",
    "name": "name student fullname learner studentname displayname vollständigername anzeigename"
    " participant teilnehmer",
    "email": "email mail emailaddress emailadresse correo courriel rosteridentifier",
    "group": "group groups team gruppe gruppen groupname",
}
_SEPARATORS = ",;\t|"


@dataclass(frozen=True)
class Member:
    """A person of the class. ``ids`` are all numbers and accounts that stand in the row."""

    name: str
    id: str = ""
    email: str = ""
    group: str = ""
    ids: tuple[str, ...] = ()


class Roster:
    """The members of a class, found by what a hand-in calls them."""

    def __init__(self, members: Iterable[Member]) -> None:
        known = list(members)
        several = Counter(member.name for member in known)
        self.members = tuple(
            replace(member, name=f"{member.name} ({member.id or member.email or number})")
            if several[member.name] > 1
            else member
            for number, member in enumerate(known, 1)
        )
        self._certain: dict[str, set[Member]] = defaultdict(set)
        self._likely: dict[str, set[Member]] = defaultdict(set)
        self._groups: dict[str, list[Member]] = defaultdict(list)
        for member in self.members:
            for spelling in (member.name, *member.ids, member.email):
                if spelling:
                    self._certain[_squeezed(spelling)].add(member)
            for spelling in _likely(member):
                self._likely[spelling].add(member)
            if member.group:
                self._groups[compared(member.group)].append(member)

    def certain(self, name: str, number: str = "") -> Member | None:
        """Who is called exactly so, or has this number or account."""
        for spelling in (number, name):
            found = self._certain.get(_squeezed(spelling), set()) if spelling else set()
            if len(found) == 1:
                return next(iter(found))
        return None

    def called(self, name: str, number: str = "") -> tuple[Member, ...]:
        """Who is named by a hand-in: one member, those of a group, several whose names stand side
        by side; none where it is unknown or not clear.
        """
        if group := self._groups.get(compared(name)):
            return tuple(group)
        if one := self._one(name, number):
            return (one,)
        # "kim_lee" is more often one person that the list does not have than two.
        for signs, asked in (
            (r"\s*(?:[&+;/]|\b(?:and|und|et|y)\b)\s*", self._one),
            (r"\s*,\s*", self._one),
            (r"[_-]+", self.certain),
        ):
            parts = [part for part in re.split(signs, name) if part]
            members = [asked(part) for part in parts]
            if len(parts) > 1 and all(members) and len(set(members)) == len(parts):
                return tuple(member for member in members if member)
        return ()

    def _one(self, name: str, number: str = "") -> Member | None:
        if found := self.certain(name, number):
            return found
        likely = self._likely.get(_squeezed(name), set())
        if len(likely) == 1:
            return next(iter(likely))
        # A part of the name, where it is one person's alone.
        words = {*_words(name)}
        wide = [member for member in self.members if words and words <= {*_words(member.name)}]
        return wide[0] if len(wide) == 1 and len("".join(words)) > 2 else None


def compared(name: str) -> str:
    """A name as it is compared with others: without case, and with one space between its words."""
    text = unicodedata.normalize("NFC", name).casefold()
    return " ".join(re.split(r"[\s_.\-]+", text)).strip()


def _plain(text: str) -> str:
    return "".join(
        sign
        for sign in unicodedata.normalize("NFKD", text.casefold())
        if not unicodedata.combining(sign)
    )


def _words(text: str) -> list[str]:
    # An apostrophe is no end of a word: O'Neil is oneil to a platform.
    return re.findall(r"[^\W_]+", re.sub(r"['’`]", "", _plain(text)))


def _squeezed(text: str) -> str:
    return "".join(_words(text))


def _likely(member: Member) -> Iterator[str]:
    """Other spellings of a name: turned round, with ae for ä, as an account."""
    wide = unicodedata.normalize("NFC", member.name).casefold()
    for letter, letters in (("ä", "ae"), ("ö", "oe"), ("ü", "ue")):
        wide = wide.replace(letter, letters)
    for name in {unicodedata.normalize("NFC", member.name), wide}:
        words = _words(name)
        if len(words) > 1:
            yield "".join(words)
            yield "".join([words[-1], *words[:-1]])
            yield "".join([*words[1:], words[0]])
            yield words[0][0] + words[-1]
            yield words[0] + words[-1][0]
    if member.email:
        yield _squeezed(member.email.partition("@")[0])


def read_roster(path: Path) -> Roster:
    """Read the list of a class, in any encoding and with any separator that spreadsheets write.

    Raises:
        Problem: it cannot be read, or no column of it has names.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise Problem(f"{path} has {path.stat().st_size // 2**20} MB: that is no class list.")
        content = path.read_bytes()
    except OSError as error:
        raise Problem(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.") from None
    if content.startswith(b"PK\x03\x04"):
        raise Problem(f"{path} is a workbook. Save it as CSV, and name that file.")
    rows = table(decoded(content))
    if not rows:
        raise Problem(f"{path} is empty. Its first line names the columns: id, name, e-mail.")
    columns = _columns(rows[0])
    if not columns:
        columns, rows = _guessed(rows), [[], *rows]
    if not {"name", "last", "first", "id", "login", "email"} & columns.keys():
        raise Problem(
            f"{path} has no column of names.\nIts first line names the columns, such as:"
            " id,name,email"
        )
    members = [member for row in rows[1:] if (member := _member(row, columns))]
    if not members:
        raise Problem(f"{path} names no learner below its first line.")
    return Roster(dict.fromkeys(members))


def decoded(content: bytes) -> str:
    """A text file of a spreadsheet: UTF-8, UTF-16, or Windows' own encoding."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def table(text: str) -> list[list[str]]:
    """The rows of a CSV file that have something in them; its separator is the one that its first
    line has most often.
    """
    lines = text.lstrip("\ufeff").splitlines(keepends=True)
    separator = ""
    if lines and (said := re.fullmatch(r"\"?sep=(.)\"?\s*", lines[0], re.IGNORECASE)):
        separator, lines = said[1], lines[1:]
    first = next((line for line in lines if line.strip()), "")
    separator = separator or max(_SEPARATORS, key=first.count)
    try:
        rows = list(csv.reader(io.StringIO("".join(lines), newline=""), delimiter=separator))
    except csv.Error:
        return []
    return [
        [unicodedata.normalize("NFC", value).strip() for value in row]
        for row in rows
        if any(value.strip() for value in row)
    ]


def _columns(head: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, text in enumerate(head):
        plain = "".join(re.findall(r"\w+", text.casefold())).replace("_", "")
        for kind, names in _COLUMNS.items():
            if plain in {name.replace("_", "") for name in names.split()}:
                found.setdefault(kind, []).append(place)
    return found


def _guessed(rows: list[list[str]]) -> dict[str, list[int]]:
    """The columns of a list without a head, from what is in them."""
    wide = max(map(len, rows))
    found: dict[str, list[int]] = {}
    for place in range(wide):
        values = [row[place] for row in rows if place < len(row) and row[place]]
        if values and all("@" in value for value in values):
            found.setdefault("email", []).append(place)
        elif values and all(re.search(r"\d", value) for value in values):
            found.setdefault("id", []).append(place)
        elif values and "name" not in found and not any(re.search(r"\d", v) for v in values):
            found["name"] = [place]
    return found if "name" in found else {}


def _member(row: list[str], columns: dict[str, list[int]]) -> Member | None:
    def of(kind: str) -> list[str]:
        return [row[place] for place in columns.get(kind, ()) if place < len(row) and row[place]]

    name = " ".join((of("first") + of("last")) or of("name")[:1])
    # "Müller, Anna" is how gradebooks sort.
    if "," in name:
        last, _, first = name.partition(",")
        name = f"{first.strip()} {last.strip()}"
    ids = tuple(dict.fromkeys([*of("id"), *of("login")]))
    email = (of("email") or [""])[0]
    name = " ".join(name.split()) or email or (ids[0] if ids else "")
    if not name or compared(name) in ("points possible", "student test", "test student"):
        return None  # Canvas' second line, and the pupil that it makes up
    return Member(name, ids[0] if ids else "", email, (of("group") or [""])[0], ids)
