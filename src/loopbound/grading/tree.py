"""The files below what was handed in, those in zip archives included: which can be a notebook, and
why each other one is passed over.

An archive is read with bounds, and its files are written under names of ours: where its own names
lead plays no part.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from loopbound.course.solutions import COPY
from loopbound.grading.cleaned import file_name
from loopbound.grading.isolation.folders import grading_folder
from loopbound.grading.submission import LARGEST_FILE

__all__ = ["TIMESTAMP", "Entry", "Tree", "is_clone"]

MOST_MEMBERS = 20_000  # of an archive
MOST_BYTES = 512 * 2**20  # that all archives together may be unpacked to
MOST_NESTED = 3  # archives in archives
DEEPEST = 40  # folders in folders

# What people hand in instead of a notebook, and what to tell them.
_INSTEAD = {
    "html": "a web page, not a notebook",
    "htm": "a web page, not a notebook",
    "py": "Python code, not a notebook",
    "pdf": "a PDF, which shows a notebook and is none",
    **dict.fromkeys(("doc", "docx", "odt", "rtf", "md", "tex", "txt"), "a text, not a notebook"),
    **dict.fromkeys(("png", "jpg", "jpeg", "heic", "gif", "webp"), "a picture, not a notebook"),
    **dict.fromkeys(
        ("rar", "7z", "tar", "gz", "tgz", "bz2", "xz"),
        "an archive of a kind that is not opened; unpack it",
    ),
    **dict.fromkeys(("gdoc", "url", "webloc", "lnk"), "a link to a document, not the document"),
    "json": "JSON, and no notebook",
}
_ASK = "ask for the file that ends in .ipynb"

# Two of these side by side are a clone of the course.
_COURSE = {"exercises", "solutions", "notebooks", "workshop", "nbtests", "benchmarks", "lab.py"}
_OURS = {
    "solutions": "the course's own solutions",
    "workshop": "the course's own files",
    "nbtests": "the course's own files",
    "benchmarks": "the course's own files",
    "src": "the course's own files",
}
_HIDDEN = {"__pycache__", "__MACOSX", "node_modules"}
_NBGRADER = {"autograded", "feedback", "release", "source"}
CHECKPOINTS = ".ipynb_checkpoints"
TIMESTAMP = "timestamp.txt"


@dataclass(frozen=True)
class Entry:
    """A file: ``path`` to read it, the ``parts`` of its name below what was named, and the ``file``
    by which the gradebook knows it.

    Attributes:
        above: the names of the folder that was named, and of the one above it.
        roots: how many of its folders lead to each clone of the course around it.
        brothers: the clones that lie beside that one.
        modified: its time, in seconds; 0 where it has none.
        why: why it can be no notebook; "" where it can.
        instead: whether it may have been handed in instead of one.
    """

    path: Path
    parts: tuple[str, ...]
    file: str
    above: tuple[str, ...] = ()
    roots: frozenset[int] = frozenset()
    brothers: frozenset[str] = frozenset()
    modified: float = 0.0
    why: str = ""
    instead: bool = False

    @property
    def place(self) -> str:
        """Where it is, below what was named."""
        return "/".join(self.parts)


@dataclass
class _Folder:
    """A folder on the disk or in an archive: its folders, and its files with their times."""

    folders: dict[str, Path | _Folder] = field(default_factory=dict)
    files: dict[str, Path | zipfile.ZipInfo] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Where:
    """Where the walk is: what an `Entry` has of it, and the archive around it."""

    parts: tuple[str, ...]
    file: str
    above: tuple[str, ...]
    roots: frozenset[int] = frozenset()
    brothers: frozenset[str] = frozenset()
    archive: zipfile.ZipFile | None = None
    nested: int = 0

    def below(self, name: str) -> _Where:
        return replace(self, parts=(*self.parts, name), file=f"{self.file}{os.sep}{name}")

    def entry(self, why: str, instead: bool = False) -> Entry:
        """An entry for what is not read."""
        return Entry(
            Path(self.file), self.parts, self.file, self.above, self.roots, self.brothers,
            why=why, instead=instead,
        )  # fmt: skip


class Tree:
    """The files below some paths. What comes out of archives is there until ``close``."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._room: Path | None = None
        self._bytes = MOST_BYTES
        self._unpacked = 0

    def close(self) -> None:
        """Remove what came out of archives."""
        if self._room:
            shutil.rmtree(self._room, ignore_errors=True)

    def add(self, path: Path, top: Path) -> None:
        """Look at an absolute path; the names count from ``top`` on."""
        where = _Where(
            path.relative_to(top).parts,
            str(path),
            tuple(name for name in (top.name, top.parent.name) if name),
        )
        if path.is_dir():  # also through a link: it was named
            self._look(_on_disk(path), where)
        elif path == top:
            # An archive stands for the folder that it was.
            above = (top.stem, *where.above[1:])
            if why := self._archive(path, replace(where, above=above)):
                self._keep(replace(where, parts=(path.name,)).entry(why, True))
        else:
            self._file(path, where, asked=True)

    def _keep(self, entry: Entry) -> None:
        self.entries.setdefault(file_name(entry.file), entry)

    # Folders --------------------------------------------------------------------------------------

    def _look(self, folder: _Folder | OSError, where: _Where) -> None:
        if isinstance(folder, OSError):
            why = (folder.strerror or str(folder)).lower()
            return self._keep(where.entry(f"a folder that cannot be read: {why}", True))
        if len(where.parts) > DEEPEST:
            return self._keep(where.entry(f"more than {DEEPEST} folders deep"))
        names = {*folder.folders, *folder.files}
        clone = len(_COURSE & names) > 1
        if clone:
            where = replace(
                where,
                roots=where.roots | {len(where.parts)},
                brothers=frozenset() if where.archive else _clones_beside(Path(where.file)),
            )
        for name in folder.links:
            self._keep(where.below(name).entry("a link; links are not followed"))
        for name, inside in sorted(folder.folders.items()):
            below = where.below(name)
            if clone and name in _OURS:
                self._keep(below.below("").entry(_OURS[name]))
                continue
            if name in _NBGRADER and "submitted" in names:
                self._keep(below.below("").entry("what nbgrader made of submitted/"))
                continue
            if name in _HIDDEN or (name.startswith(".") and name != CHECKPOINTS):
                self._keep(below.below("").entry("a folder that tools keep for themselves"))
                continue
            deeper = _on_disk(inside) if isinstance(inside, Path) else inside
            if isinstance(deeper, _Folder) and name == CHECKPOINTS:
                for copy in sorted(deeper.files):
                    self._keep(
                        below.below(copy).entry("a copy that Jupyter keeps for itself", True)
                    )
            elif isinstance(deeper, _Folder) and "pyvenv.cfg" in deeper.files:
                self._keep(below.below("").entry("a Python environment"))
            elif isinstance(deeper, _Folder) and not (
                deeper.files or deeper.folders or deeper.links
            ):
                self._keep(below.below("").entry("an empty folder"))
            else:
                self._look(deeper, below)
        for name, file in sorted(folder.files.items()):
            if clone and not name.casefold().endswith((".ipynb", ".zip")):
                self._keep(where.below(name).entry("the course's own files"))
            else:
                self._file(file, where.below(name))
        return None

    # Files ----------------------------------------------------------------------------------------

    def _file(self, path: Path | zipfile.ZipInfo, where: _Where, asked: bool = False) -> None:
        name = where.parts[-1]
        low = name.casefold()
        ending = low.rpartition(".")[2] if "." in low else ""
        why, instead = "", False
        if low == TIMESTAMP:
            why = "nbgrader's time of the hand-in"
        elif name.startswith("._") or low in (".ds_store", "thumbs.db", "desktop.ini"):
            why = "what a system keeps beside files"
        elif COPY in name:
            why = "a copy that loopbound reset has kept"
        elif name.startswith(".") and not asked:
            why = "hidden"
        elif ending == "zip":
            if not (said := self._archive(path, where)):
                return
            why, instead = said, True
        elif ending == "ipynb" or (asked and ending not in _INSTEAD):
            pass
        elif ending in ("", "json", "txt", "download") or ".ipynb" in low:
            why = self._sniffed(path, where.archive, ending)
            instead = ending in _INSTEAD or ".ipynb" in low
        elif ending in _INSTEAD:
            why, instead = (
                f"{_INSTEAD[ending]}; {_ASK}",
                ending not in ("md", "py") or not where.roots,
            )
        else:
            why = "no notebook"
        place = path if isinstance(path, Path) else Path(where.file)
        if not why and not isinstance(path, Path) and where.archive:
            taken = self._taken_out(where.archive, path, name)
            if isinstance(taken, str):
                why, instead = taken, True
            else:
                place = taken
        entry = where.entry(why, instead)
        self._keep(replace(entry, path=place, modified=_modified(path)))

    def _sniffed(
        self, path: Path | zipfile.ZipInfo, archive: zipfile.ZipFile | None, ending: str
    ) -> str:
        """ "" for a notebook under another name; else why it is none."""
        other = f"{_INSTEAD[ending]}; {_ASK}" if ending in _INSTEAD else "no notebook"
        try:
            if isinstance(path, Path):
                found = os.lstat(path)
                if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_FILE:
                    return other
                content = path.read_bytes()
            else:
                assert archive is not None
                content = self._content(archive, path) or b""
        except (OSError, *_BROKEN):
            return other
        plain = content.replace(b"\0", b"")
        return "" if b'"cells"' in plain and b'"nbformat"' in plain else other

    # Archives -------------------------------------------------------------------------------------

    def _archive(self, path: Path | zipfile.ZipInfo, where: _Where) -> str:
        """Look into an archive; why not, where that is not possible."""
        if where.nested >= MOST_NESTED:
            return f"an archive in {MOST_NESTED} others, which is not opened; unpack it"
        if not isinstance(path, Path):
            assert where.archive is not None
            taken = self._taken_out(where.archive, path, "inner.zip")
            if isinstance(taken, str):
                return taken
            path = taken
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                return "a link or a pipe, not an archive"
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                if len(members) > MOST_MEMBERS:
                    return (
                        f"an archive of {len(members)} files; {MOST_MEMBERS} are read at most,"
                        " so unpack it"
                    )
                folder = _in_archive(members)
                if not (folder.files or folder.folders):
                    return "an archive with nothing in it"
                self._look(folder, replace(where, archive=archive, nested=where.nested + 1))
        except (OSError, *_BROKEN) as error:
            return f"an archive that cannot be read ({str(error)[:80].rstrip('.')})"
        return ""

    def _taken_out(
        self, archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str
    ) -> Path | str:
        """A member as a file in our own room; why not, where that is not possible."""
        if member.flag_bits & 1:
            return "locked with a password; ask for it without one"
        try:
            content = self._content(archive, member)
        except (OSError, *_BROKEN):
            return "damaged in its archive; ask for it once more"
        if self._bytes < 0:
            return (
                f"behind {MOST_BYTES // 2**20} MB of unpacked files; unpack its archive, and name"
                " the folder"
            )
        if content is None:
            return f"larger than {LARGEST_FILE // 2**20} MB when it is unpacked"
        self._unpacked += 1
        # The next run removes the folder of one that was killed.
        self._room = self._room or grading_folder()
        folder = self._room / str(self._unpacked)
        folder.mkdir(mode=0o700)
        # Its own last name where a file can be called so, for what is said about it.
        safe = "".join(
            sign if sign.isprintable() and sign not in '<>:"/\\|?*' else "_" for sign in name
        )
        target = folder / (safe[-100:].strip(". ") or "notebook.ipynb")
        target.write_bytes(content)
        return target

    def _content(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes | None:
        """A member's bytes; None where there are more than a notebook may have, also where its
        head says less. What was read counts, also where it is thrown away.
        """
        if self._bytes < 0:
            return None
        with archive.open(member) as file:
            content = file.read(min(LARGEST_FILE, self._bytes) + 1)
        self._bytes -= len(content)
        return content if len(content) <= LARGEST_FILE else None


_BROKEN = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
)


def is_clone(folder: Path) -> bool:
    """Whether a folder is a clone of the course, or a part of one."""
    return folder.is_dir() and sum((folder / name).exists() for name in _COURSE) > 1


def _clones_beside(clone: Path) -> frozenset[str]:
    """The names of the clones of the course in the same folder."""
    try:
        return frozenset(
            each.name for each in os.scandir(clone.parent) if is_clone(Path(each.path))
        )
    except OSError:
        return frozenset()


def _on_disk(path: Path) -> _Folder | OSError:
    folder = _Folder()
    try:
        for each in os.scandir(path):
            # A pipe or a link to a file is not read here, and reported when it is opened.
            if each.is_symlink() and not each.name.casefold().endswith(".ipynb"):
                folder.links.append(each.name)
            elif each.is_dir(follow_symlinks=False):
                folder.folders[each.name] = Path(each.path)
            else:
                folder.files[each.name] = Path(each.path)
    except OSError as error:
        return error
    return folder


def _in_archive(members: list[zipfile.ZipInfo]) -> _Folder:
    """The tree of an archive's names. What they would lead to outside of it is left out."""
    top = _Folder()
    for member in members:
        name = member.filename.replace("\\", "/")
        if not member.flag_bits & 0x800:
            # Without the mark for UTF-8; macOS and Linux write UTF-8 all the same.
            with contextlib.suppress(UnicodeError):
                name = name.encode("cp437").decode("utf-8")
        # As long as a file's name can be: what is asked of names takes longer for longer ones.
        words = [word[:255] for word in name.split("/") if word not in ("", ".", "..")]
        if not words or len(words) > 4 * DEEPEST:
            continue
        if stat.S_ISLNK(member.external_attr >> 16):
            continue
        folder = top
        for word in words if member.is_dir() else words[:-1]:
            below = folder.folders.setdefault(word, _Folder())
            assert isinstance(below, _Folder)
            folder = below
        if not member.is_dir():
            folder.files[words[-1]] = member
    return top


def _modified(path: Path | zipfile.ZipInfo) -> float:
    try:
        if isinstance(path, Path):
            return os.lstat(path).st_mtime
        return time.mktime((*path.date_time, 0, 0, -1))
    except (OSError, OverflowError, ValueError):
        return 0.0
