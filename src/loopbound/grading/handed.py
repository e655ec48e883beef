"""Which notebooks were handed in below a folder, and whose each is."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loopbound.course.manifest import assignments
from loopbound.course.solutions import COPY
from loopbound.grading.cleaned import file_name
from loopbound.grading.submission import LARGEST_FILE
from loopbound.problem import Problem

__all__ = ["Handed", "found", "learner_of"]

# Folders that are named after what is in them, not after whose it is.
_PASSED_BY = frozenset({"exercises", "submitted", "autograded"})


@dataclass(frozen=True)
class Handed:
    """A notebook that was handed in: its ``path``, and whose it is."""

    path: Path
    learner: str

    @property
    def file(self) -> str:
        """Its absolute path as text that can be stored and printed, also where its name is no
        Unicode.
        """
        return file_name(self.path.absolute())

    def digest(self) -> str:
        """A digest of its content; empty where it cannot be read."""
        try:
            status = os.lstat(self.path)
            if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST_FILE:
                return ""
            return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]
        except OSError:
            return ""


def found(paths: Sequence[Path]) -> list[Handed]:
    """The notebooks at these paths, those in folders included; no folder is entered through a link.

    Raises:
        Problem: there is no such path, or no notebook.
    """
    handed: dict[Path, Handed] = {}
    for path in paths:
        if not path.exists() and not path.is_symlink():
            raise Problem(f"there is no {path}.")
        if not path.is_dir():
            handed.setdefault(path.absolute(), Handed(path, learner_of(path, path.parent)))
            continue
        inside = []
        # A folder that cannot be read is reported as a notebook that cannot be read: none is left
        # out without a word.
        for folder, folders, files in os.walk(
            path, onerror=lambda error: inside.append(Path(error.filename))
        ):
            folders[:] = sorted(
                name for name in folders if not name.startswith(".") and name != "__pycache__"
            )
            inside += [
                Path(folder, name)
                for name in sorted(files)
                if name.endswith(".ipynb") and not name.startswith(".") and COPY not in name
            ]
        if not inside:
            raise Problem(f"there is nothing to grade in {path}: no .ipynb is in it.")
        for each in inside:
            handed.setdefault(each.absolute(), Handed(each, learner_of(each, path)))
    return list(handed.values())


def learner_of(path: Path, top: Path) -> str:
    """Whose notebook this is, from where it lies below the folder that was named: nbgrader's
    ``learner/assignment/file``, a folder of the learner's own, that folder itself, or the file's
    own name.
    """
    assigned = {which.name for which in assignments()}
    path, top = path.absolute(), top.absolute()
    below = path.parent.relative_to(top).parts
    for folder in reversed(below):
        if folder not in assigned | _PASSED_BY:
            return folder
    stem = path.stem
    for name in assigned:
        stem = stem.replace(name, "")
    own = stem.strip(" -_.()")
    above = [
        folder for folder in (top.name, top.parent.name) if folder not in assigned | _PASSED_BY
    ]
    return own or (above[0] if above else "") or path.stem
