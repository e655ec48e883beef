"""How learners are called in the pages: by name, or by a number behind which no name, path or file
name is left.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath, PurePosixPath, PureWindowsPath

from loopbound.course.manifest import assignments
from loopbound.grading.results import Graded

__all__ = ["Naming", "numbered_pages", "page_of"]

_SLUG = 40  # characters of a name in a file's name
_LABEL = 60  # characters of a name in a page
_NUMBER = 4  # digits that from which on a number may identify a learner
_SUBSTRING = (
    6  # from so many letters on, a name is found inside a word too; Ines is in every "lines"
)
_NOBODY = frozenset(
    ["group", "learner", "participant", "person", "student", "team", "user", "users"]
)

# Tracebacks and tasks carry the places of the grader's own files; a learner has no use for the
# folders.
_FILE_OF_PYTHON = re.compile(
    r"""(?<![\w:/\\.])(?:[A-Za-z]:)?(?:[\\/]+[^\s\\/:'"<>|*?]+)+[\\/]+([^\s\\/:'"<>|*?]+\.\w+)"""
)
_HOME = re.compile(r"""(?:[A-Za-z]:)?[\\/]+(?:home|[Uu]sers|root)(?:[\\/]+[^\s\\/:'"<>|*?]+)+""")


class Naming:
    """The learners of these results, in the order of the pages, and what text may say of them.

    ``names=False`` numbers them. Their order comes from the notebooks' digests: the same for the
    same results, and nothing that a list of the class would tell.
    """

    def __init__(self, results: Sequence[Graded], names: bool) -> None:
        self.names = names
        learners = {graded.learner for graded in results}
        if names:
            self.order = sorted(learners, key=lambda name: (_alphabetical(name), name))
            self._labels = {name: _label(name) for name in learners}
            self._pages = {name: page_of(name) for name in learners}
        else:
            salt = "\n".join(sorted(f"{graded.digest} {graded.learner}" for graded in results))
            self.order = sorted(learners, key=lambda name: _digest(f"{salt}\n\n{name}"))
            self._labels = {
                name: f"learner {number}" for number, name in enumerate(self.order, start=1)
            }
            self._pages = dict(zip(self.order, numbered_pages(len(learners)), strict=True))
            self._told = _traces(results)

    def label(self, learner: str) -> str:
        """What the pages call a learner."""
        return self._labels[learner]

    def page(self, learner: str) -> str:
        """The file name of a learner's page."""
        return self._pages[learner]

    def file(self, graded: Graded) -> str:
        """The name of the file that was handed in; "" where it is not to be known."""
        return _name(graded.file) if self.names else ""

    def said(self, text: str) -> str:
        """What the grader says: without the folders of its own machine, and without names where
        they are left out.
        """
        return self._unnamed(_FILE_OF_PYTHON.sub(r"…/\1", text))

    def code(self, text: str) -> str:
        """A learner's code: as it is, or without names."""
        return self._unnamed(text)

    def _unnamed(self, text: str) -> str:
        if self.names:
            return text
        text = unicodedata.normalize("NFC", text)  # macOS takes the letters of file names apart
        folded = text.casefold()
        for key, pattern, instead in self._told:
            if key in folded:
                text = pattern.sub(instead, text)
        text = _HOME.sub("[path]", text)
        return text[:1].upper() + text[1:] if text.startswith("this file") else text


def page_of(learner: str) -> str:
    """The file name of a learner's page where learners are named."""
    return f"learner-{_slug(learner)}.html"


def numbered_pages(learners: int) -> list[str]:
    """The file names of so many learners' pages where they are not named."""
    wide = max(2, len(str(learners)))
    return [f"learner-{number:0{wide}}.html" for number in range(1, learners + 1)]


def _name(file: str) -> str:
    return (PureWindowsPath(file) if "\\" in file else PurePosixPath(file)).name


def _label(name: str) -> str:
    return f"{name[:_LABEL]}…" if len(name) > _LABEL else name or "(no name)"


def _alphabetical(name: str) -> str:
    # Letters with accents stand with those without.
    return "".join(
        sign for sign in unicodedata.normalize("NFKD", name) if not unicodedata.combining(sign)
    ).casefold()


def _slug(name: str) -> str:
    """A file name for a learner: readable, and no other learner's, also where file names ignore
    case.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG].strip("-")
    if slug and slug == name and not re.search(r"(?:^|-)[0-9a-f]{8}$", slug):
        return slug
    return f"{slug}-{_digest(name)[:8]}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _traces(results: Sequence[Graded]) -> list[tuple[str, re.Pattern[str], str]]:
    """What would give a learner away: a text that must occur for it to be there at all, what to
    look for, and what to write instead.
    """
    paths = {
        path: instead
        for graded in results
        if graded.file
        for path, instead in _path_traces(graded.file)
    }
    found = [
        (path, re.escape(path), instead)
        for path, instead in sorted(paths.items(), key=lambda pair: (-len(pair[0]), pair[0]))
    ]
    names = {unicodedata.normalize("NFC", graded.learner) for graded in results} - {
        which.name for which in assignments()
    }
    for name in sorted(names, key=lambda name: (-len(name), name)):
        found += [(key, pattern, "[name]") for key, pattern in _name_traces(name)]
    # A part of a name that is a word of the course too, such as "loop", is no name, and would make
    # holes in every page.
    course = {
        word.casefold()
        for which in assignments()
        for title in (which.name, which.title, *(task.title for task in which.tasks))
        for word in _words(title)
    }
    parts = {
        part
        for name in names
        for part in _words(name)
        if len(part) > 2 and not part.isdigit() and part.casefold() not in course | _NOBODY
    } - names
    found += [(part, _whole(re.escape(part)), "[name]") for part in sorted(parts)]
    return [
        (key.casefold(), re.compile(pattern, re.IGNORECASE), instead)
        for key, pattern, instead in found
    ]


def _path_traces(file: str) -> Iterator[tuple[str, str]]:
    """The file's path, its folders and its name, except for what belongs to the course."""
    ours = {which.name for which in assignments()}
    path: PurePath = PureWindowsPath(file) if "\\" in file else PurePosixPath(file)
    for text in _spellings([str(path)]):
        yield text, "this file"
    for folder in path.parents:
        if len(folder.parts) > 2:  # less than that says nothing, such as /tmp
            for text in _spellings([str(folder)]):
                yield text, "[path]"
    yield unicodedata.normalize("NFC", path.name), "this file"
    if path.stem not in ours and len(path.stem) >= 4:
        yield unicodedata.normalize("NFC", path.stem), "[file]"


def _spellings(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        text = unicodedata.normalize("NFC", text)
        yield text
        if "\\" in text:
            yield text.replace("\\", "/")
            yield text.replace("\\", "\\\\")  # as repr() writes it


def _name_traces(name: str) -> Iterator[tuple[str, str]]:
    """A learner's whole name, with any signs between its parts.

    One letter, or a short number, is no name.
    """
    words = _words(name)
    if len(name) < 2 or (name.isdigit() and len(name) < _NUMBER):
        return
    # Someone's folder may be called anna-schmidt, and the code say "Anna Schmidt".
    pattern = r"[\W_]*".join(map(re.escape, words)) if words else re.escape(name)
    key = max(words, key=len) if words else name
    yield key, pattern if len("".join(words)) >= _SUBSTRING else _whole(pattern)


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name)


def _whole(pattern: str) -> str:
    """The pattern as a word of its own; an underscore, a digit and a hump, as in annaEngine, end a
    word too.
    """
    begins = r"(?:(?<![^\W\d_])|(?<=(?-i:[a-z]))(?=(?-i:[A-Z])))"
    ends = r"(?:(?![^\W\d_])|(?<=(?-i:[a-z]))(?=(?-i:[A-Z])))"
    return rf"{begins}(?:{pattern}){ends}"
