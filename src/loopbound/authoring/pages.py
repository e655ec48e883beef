"""The lessons' files, read and not executed: the cells of each, and the claims that they carry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopbound.authoring.finding import Finding
from loopbound.course.manifest import Lesson
from loopbound.course.manifest import claims as documents_claims
from loopbound.problem import Problem

__all__ = ["Course", "Page", "claim_exists", "claims_of", "read_course"]


@dataclass(frozen=True)
class Page:
    """One notebook file: its name, its text and its cells (as nbformat reads them, outputs
    included).
    """

    path: Path
    text: str
    lesson: Lesson | None

    @property
    def file(self) -> str:
        return self.path.name

    @property
    def cells(self) -> list[dict[str, Any]]:
        return [_joined(cell) for cell in json.loads(self.text)["cells"]]

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [cell for cell in self.cells if cell["cell_type"] == kind]

    def cell(self, identity: str) -> dict[str, Any] | None:
        return next((cell for cell in self.cells if cell.get("id") == identity), None)

    def finding(self, cell: dict[str, Any] | None, what: str, view: str = "") -> Finding:
        return Finding(self.file, cell.get("id") if cell else None, what, view)


@dataclass(frozen=True)
class Course:
    """A repository with its notebooks, and the lessons that its manifest names.

    ``pages`` are sorted by file name.
    """

    root: Path
    lessons: tuple[Lesson, ...]
    pages: tuple[Page, ...]


def read_course(root: Path, lessons: tuple[Lesson, ...]) -> Course:
    """Reads every notebook in ``root/notebooks``.

    Raises ``Problem`` for a file that is no notebook.
    """
    known = {lesson.file: lesson for lesson in lessons}
    pages = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        try:
            json.loads(text)["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(f"{path} is not a notebook: {error}") from error
        pages.append(Page(path, text, known.get(path.name)))
    return Course(root, lessons, tuple(pages))


def claims_of(cell: dict[str, Any]) -> list[str]:
    """The ids of the claims that a cell settles."""
    return list(cell.get("metadata", {}).get("loopbound", {}).get("claims", []))


def claim_exists(claim: str) -> bool:
    """Whether the incident documents make a claim of this id: A01 to A18, B01 to B54."""
    return claim in documents_claims()


def _joined(cell: dict[str, Any]) -> dict[str, Any]:
    cell = dict(cell)
    if isinstance(cell["source"], list):
        cell["source"] = "".join(cell["source"])
    return cell
