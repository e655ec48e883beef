"""Writes the pages into a folder, and takes away those of an earlier report; what others put there
stays.
"""

from __future__ import annotations

import os
from collections.abc import Sequence, Set
from pathlib import Path

from loopbound.course.manifest import Lesson
from loopbound.files import check_writable, make_folder, replace_text
from loopbound.grading.counting import BEST
from loopbound.grading.results import Graded
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.report.cohort_page import cohort_page
from loopbound.report.learner_page import learner_page
from loopbound.report.naming import Naming, numbered_pages, page_of
from loopbound.report.page import OPENING
from loopbound.report.standing import cohort, phrases

__all__ = ["INDEX", "check_folder", "check_pages", "lesson_link", "pages_in", "write_report"]

INDEX = "index.html"


def check_folder(folder: Path) -> None:
    """Find out, before any work is done for it, whether a report can be written there; makes the
    folder.

    Raises:
        Problem: it cannot, or the folder has an ``index.html`` that no report of ours wrote.
    """
    make_folder(folder, "pages")
    _check_page(folder / INDEX)


def pages_in(folder: Path) -> frozenset[str]:
    """The names of the pages that an earlier report wrote into a folder."""
    return frozenset(path.name for path in folder.glob("*.html") if _is_ours(path))


def check_pages(folder: Path, known: Set[str], now: Set[str]) -> None:
    """Find out, before any work is done for it, whether a report would take away pages of learners
    of whom nothing is known: they could not be made again.

    Args:
        folder: the report's.
        known: the learners that earlier reports showed.
        now: those whose notebooks are to be graded.

    Raises:
        Problem: it would.
    """
    expected = {INDEX, *map(page_of, known | now)}
    expected |= {*numbered_pages(len(known)), *numbered_pages(len(now))}
    if strange := sorted(pages_in(folder) - expected):
        some = ", ".join(strange[:3]) + (", …" if len(strange) > 3 else "")
        number = f"{len(strange)} pages" if len(strange) > 1 else "a page"
        raise Problem(
            f"{folder} has {number} of learners of whom this gradebook knows nothing: {some}\n"
            "Nothing was graded or changed. Name the folder and the gradebook of that report"
            " (--html DIR --gradebook FILE), another folder, or delete those pages."
        )


def write_report(
    folder: Path,
    results: Sequence[Graded],
    *,
    names: bool,
    keep: str = BEST,
    missing: Sequence[str] = (),
) -> Path:
    """Write a page for each learner and one for the cohort. The same results give the same bytes,
    in any order.

    Args:
        folder: made where there is none. Pages of an earlier report are replaced or removed; other
            files are left alone.
        results: of any number of learners and assignments.
        names: whether learners are named. Without, neither pages nor file names hold a name, a path
            or the name of a file.
        keep: which of several hand-ins counts.
        missing: the names of those who handed in nothing; they have no page.

    Returns:
        The cohort's page.

    Raises:
        Problem: a page cannot be written, or a file that is none of ours stands in its place.
    """
    check_folder(folder)
    naming = Naming(results, names)
    all_of_them = cohort(results, naming, keep, missing)
    pages = {
        learner.page: learner_page(
            learner, naming, lambda lesson: lesson_link(folder, lesson), keep
        )
        for learner in all_of_them.learners
    }
    pages[INDEX] = cohort_page(all_of_them, naming, phrases(repository(), list(all_of_them.tasks)))
    for name in pages:
        _check_page(folder / name)
    for name, text in pages.items():
        replace_text(folder / name, text)
    for path in sorted(folder.glob("*.html")):
        if path.name not in pages and _is_ours(path):
            _remove(path)
    return folder / INDEX


def _check_page(path: Path) -> None:
    check_writable(path)
    if os.path.lexists(path) and not _is_ours(path):
        raise Problem(
            f"{path} was not written by this command, and is not replaced.\nName another folder for"
            " the pages: --html DIR."
        )


def _is_ours(path: Path) -> bool:
    """Whether an earlier report wrote this page. A link is no page of ours."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(OPENING.encode())) == OPENING.encode()
    except OSError:
        return False


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Problem(
            f"{path} is of an earlier report and cannot be removed:"
            f" {(error.strerror or str(error)).lower()}."
        ) from None


def lesson_link(folder: Path, lesson: Lesson) -> str | None:
    """A lesson's address as seen from a folder inside the clone.

    From elsewhere it would carry this machine's folders along, and lead nowhere else.
    """
    root = Path(os.path.realpath(repository()))
    here = Path(os.path.realpath(folder))
    if not here.is_relative_to(root):
        return None
    return Path(os.path.relpath(root / "notebooks" / lesson.file, here)).as_posix()
