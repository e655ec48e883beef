"""The page of the incident documents' claims: a figure of the verdicts by lesson, and each claim
with what a run showed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loopbound.authoring.claims import Claim, summary
from loopbound.course.manifest import Lesson, claims, lessons
from loopbound.figures import verdict_table
from loopbound.figures.style import Figure
from loopbound.files import replace_text
from loopbound.report.markup import Content, Html, spoken, tag
from loopbound.report.page import block, counted, page
from loopbound.report.write import lesson_link

__all__ = ["claims_figure", "claims_page", "write_claims_page"]

_OPENING = "<!DOCTYPE html>\n<!-- written by loopbound claims -->\n"
# Verdict → heading in the figure, how it is drawn there, sign, and class of the style sheet. A
# verdict that depends on a version holds only in part.
_VERDICTS = {
    "holds": ("holds", "good", "○", "passed"),
    "holds since": ("holds, depending on the version", "partly", "△", "partly"),
    "holds until": ("holds, depending on the version", "partly", "△", "partly"),
    "holds with a correction": ("holds with a correction", "partly", "△", "partly"),
    "refuted": ("refuted", "bad", "✕", "wrong"),
}
_COLUMNS = {heading: drawn for heading, drawn, _, _ in _VERDICTS.values()}
_SHEET = """.figure svg { width: 100%; height: auto; border-radius: 6px; }
.badge.partly { background: color-mix(in srgb, #E69F00 45%, var(--paper)); }
.claims td:nth-child(3), .claims td:nth-child(4) { min-width: 16rem; }
"""


def write_claims_page(path: Path, found: Mapping[str, Claim]) -> None:
    """Write the page. The same claims give the same bytes.

    Raises:
        Problem: it cannot be written.
    """
    replace_text(path, claims_page(found, path.absolute().parent))


def claims_page(found: Mapping[str, Claim], folder: Path) -> str:
    """The page as it stands in a folder: inside the clone it links the lessons."""
    sections = [
        tag("section", "\n", tag("h2", _linked(lesson, folder)), _table(lesson, settled))
        for lesson, settled in _by_lesson(found).items()
    ]
    return page(
        "Claims",
        tag(
            "header",
            "\n",
            tag("h1", "What the incident documents claim"),
            tag("p", summary(found.values()), " A test executes each of them."),
        ),
        block("Verdicts by lesson", tag("div", Html(claims_figure(found).svg), class_="figure")),
        sections,
        sheet=_SHEET,
        opening=_OPENING,
    )


def claims_figure(found: Mapping[str, Claim]) -> Figure:
    """A row for each lesson, and in it the ids of its claims, by their verdicts."""
    rows = {}
    for lesson, settled in _by_lesson(found).items():
        ids: dict[str, list[str]] = {heading: [] for heading in _COLUMNS}
        for claim in settled:
            for verdict in claim.verdicts:
                ids[_VERDICTS[_kind(verdict)][0]].append(claim.identity)
        rows[f"{lesson.number} {lesson.title}"] = [
            (_COLUMNS[heading], " ".join(some)) if some else "" for heading, some in ids.items()
        ]
    return verdict_table(rows, list(_COLUMNS), "The documents' claims, by lesson and verdict")


def _by_lesson(found: Mapping[str, Claim]) -> dict[Lesson, list[Claim]]:
    """The lessons that show a claim, each with those whose first cell it has."""
    shown = {
        lesson: [
            claim
            for claim in found.values()
            if claim.cells and claim.cells[0].startswith(f"{lesson.file}#")
        ]
        for lesson in lessons()
    }
    return {lesson: some for lesson, some in shown.items() if some}


def _kind(verdict: str) -> str:
    """``"holds until"`` of ``"holds until pytest-asyncio 1.0"``."""
    return next(
        kind for kind in sorted(_VERDICTS, key=len, reverse=True) if verdict.startswith(kind)
    )


def _linked(lesson: Lesson, folder: Path) -> Content:
    name = f"{lesson.number} {lesson.title}"
    address = lesson_link(folder, lesson)
    return tag("a", name, href=address) if address else name


def _table(lesson: Lesson, settled: list[Claim]) -> Html:
    texts = claims()
    heads = ("Claim", "Verdict", "What they say", "What a run showed", "Test")
    rows = [
        tag(
            "tr",
            tag("th", claim.identity, scope="row"),
            tag("td", [_badge(verdict) for verdict in claim.verdicts] or "none"),
            tag("td", spoken(texts.get(claim.identity, ""))),
            tag("td", [tag("p", spoken(text)) for text in claim.observed]),
            tag("td", [tag("p", tag("code", _name(node))) for node in claim.tests]),
        )
        for claim in settled
    ]
    return block(
        f"{counted(len(settled), 'claim')} of lesson {lesson.number}",
        tag(
            "table",
            tag("thead", tag("tr", [tag("th", head, scope="col") for head in heads])),
            tag("tbody", rows),
            class_="claims",
        ),
    )


def _badge(verdict: str) -> Html:
    _, _, sign, colour = _VERDICTS[_kind(verdict)]
    return tag(
        "span", tag("span", sign, aria_hidden="true"), f" {verdict}", class_=f"badge {colour}"
    )


def _name(node: str) -> str:
    return node.rpartition("/")[2]
