"""The lessons' files, read and not executed: the cells of each, and the claims that they carry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopbound.authoring.finding import Finding
from loopbound.course.manifest import Lesson, Notebook
from loopbound.course.manifest import claims as documents_claims
from loopbound.problem import Problem

__all__ = ["Course", "Page", "claim_exists", "claims_of", "read_course"]


@dataclass(frozen=True)
class Page:
    """One notebook file: its name, its text and its cells (as nbformat reads them, outputs
    included).

    ``entry`` is what the manifest says of it, ``lesson`` the same where it is a lesson.
    """

    path: Path
    text: str
    entry: Notebook | None

    @property
    def lesson(self) -> Lesson | None:
        return self.entry if isinstance(self.entry, Lesson) else None

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
    """A repository with its notebooks, and those that its manifest names.

    ``pages`` are sorted by file name.
    """

    root: Path
    notebooks: tuple[Notebook, ...]
    pages: tuple[Page, ...]

    @property
    def lessons(self) -> tuple[Lesson, ...]:
        return tuple(each for each in self.notebooks if isinstance(each, Lesson))


def read_course(root: Path, notebooks: tuple[Notebook, ...]) -> Course:
    """Reads every notebook in ``root/notebooks``.

    Raises ``Problem`` for a file that is no notebook.
    """
    known = {notebook.file: notebook for notebook in notebooks}
    pages = []
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        text = path.read_text(encoding="utf-8")
        try:
            json.loads(text)["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise Problem(f"{path} is not a notebook: {error}") from error
        pages.append(Page(path, text, known.get(path.name)))
    return Course(root, notebooks, tuple(pages))


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
