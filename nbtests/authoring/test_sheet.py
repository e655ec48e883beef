"""The cheat sheet: made from the catalogue, up to date, and one side of A4 when it is printed."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from chromium import FLAGS, chromium_or_skip

from loopbound.authoring.sheet import OWNERS, SHEET, owners_svg, sheet
from loopbound.course.manifest import lesson, notebooks_folder
from loopbound.faults.catalogue import KINDS
from loopbound.faults.signs import MESSAGES
from loopbound.faults.tree import follow, paths
from loopbound.problem import Problem

PAGE = notebooks_folder() / SHEET


def test_the_committed_sheet_is_what_the_catalogue_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == sheet(), "run: python3 lab.py format"
    picture = (notebooks_folder() / OWNERS).read_text(encoding="utf-8")
    assert picture == owners_svg(), "run: python3 lab.py format"


def test_everything_is_on_it() -> None:
    text = unescape(re.sub(r"<[^>]+>", "", PAGE.read_text(encoding="utf-8")))
    assert [kind.id for kind in KINDS if kind.name not in text] == []
    assert [kind.id for kind in KINDS if not kind.other and kind.binds not in text] == []
    said = [phrases for phrases in MESSAGES.values() if not any(part in text for part in phrases)]
    assert said == []
    assert {cure for path in paths() if f"→ {(cure := follow(path)[0].cure)}" not in text} == set()
    assert ": </li>" not in PAGE.read_text(encoding="utf-8")
    for bound in ("lock_timeout", "idle_in_transaction_session_timeout", "pool_timeout"):
        assert bound in text


def test_lesson_06_without_its_table_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / lesson("06").file).write_text('{"cells": []}', encoding="utf-8")
    with pytest.raises(Problem, match="'table-of-bounds' with the table of bounds is gone"):
        sheet(tmp_path)


def test_it_fills_one_side_of_a4_and_no_window_too_wide(tmp_path: Path) -> None:
    place = chromium_or_skip("no cheat sheet")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=FLAGS)
        page = browser.new_page()
        page.goto(PAGE.as_uri())
        for width in (1280, 800, 400):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") == width
        printed = tmp_path / "sheet.pdf"
        page.pdf(path=printed, prefer_css_page_size=True)
        browser.close()
    assert len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes())) == 1
