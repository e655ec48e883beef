"""The page of the claims: a figure by lesson and verdict, and each claim with what a run showed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from loopbound.authoring.claims import Claim
from loopbound.course.manifest import claims, lesson
from loopbound.problem import Problem
from loopbound.report.claims_page import claims_figure, claims_page, write_claims_page

FOUND = {
    "B09": Claim(
        "B09",
        ["refuted"],
        ["`create_async_engine()` opened <none>"],
        ["nbtests/lessons/test_claims_04.py::test_creating_opens_nothing"],
        ["04-the-global-engine.ipynb#make"],
    ),
    "B11": Claim("B11", ["holds"], ["it stayed"], ["t.py::test_it"], ["03-drivers-decide.ipynb#a"]),
    "B41": Claim(
        "B41",
        ["holds until pytest-asyncio 1.0"],
        ["it was ignored"],
        ["t.py::test_until"],
        ["08-session-scope-configuration.ipynb#b", "04-the-global-engine.ipynb#c"],
    ),
}


def test_the_figure_has_a_row_for_each_lesson_and_says_so_in_words() -> None:
    figure = claims_figure(FOUND)
    numbers = re.findall(r"(\d\d) [A-Z]", figure.alt)
    assert numbers == ["03", "04", "08"], "in teaching order, and none without a claim"
    assert f"04 {lesson('04').title}: refuted B09 (bad)" in figure.alt
    assert "holds, depending on the version B41 (partly)" in figure.alt
    assert figure.svg == claims_figure(FOUND).svg


def test_a_claim_stands_with_its_lesson_its_words_and_its_evidence(tmp_path: Path) -> None:
    text = claims_page(FOUND, tmp_path)
    row = text[text.index('<th scope="row">B09') :].partition("</tr>")[0]
    assert "✕</span> refuted</span>" in row, "by sign and word, and not by colour alone"
    assert claims()["B09"].partition("`")[0] in row
    assert "<code>create_async_engine()</code> opened &lt;none&gt;" in row
    assert "test_claims_04.py::test_creating_opens_nothing" in row
    assert text.count('<th scope="row">B41') == 1, "where its first cell stands"
    assert re.search(r'<svg [^>]*role="img"[^>]*>\s*<title>The documents', text)
    assert "prefers-color-scheme: dark" in text and "<img" not in text
    assert "3 claims: 1 holds, 1 holds until pytest-asyncio 1.0, 1 refuted." in text


def test_the_page_links_the_lessons_inside_the_clone_alone(
    repository: Path, tmp_path: Path
) -> None:
    assert 'href="../notebooks/04-the-global-engine.ipynb"' in claims_page(
        FOUND, repository / "report"
    )
    assert "<a " not in claims_page(FOUND, tmp_path)


def test_the_same_claims_give_the_same_bytes(tmp_path: Path) -> None:
    pages = [tmp_path / "a.html", tmp_path / "b.html"]
    for path in pages:
        write_claims_page(path, FOUND)
    first, second = (path.read_bytes() for path in pages)
    assert first == second and first.startswith(
        b"<!DOCTYPE html>\n<!-- written by loopbound claims"
    )
    with pytest.raises(Problem, match="cannot be written"):
        write_claims_page(tmp_path / "no-folder" / "claims.html", FOUND)
