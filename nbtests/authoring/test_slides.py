"""The slides: each question, experiment and figure of a lesson has its own, and the page needs no
network.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chromium import FLAGS, chromium_or_skip

from loopbound.authoring.slides import deck, slides
from loopbound.commands.slides import slides_command
from loopbound.course.manifest import Lesson, Pause, Task, agendas, lessons, notebooks_folder
from loopbound.problem import Problem

DAY = max(agendas(), key=lambda agenda: agenda.minutes)


@pytest.fixture(scope="module")
def page() -> str:
    return slides(DAY.title, DAY.parts)


def html(outputs: list[Any]) -> str:
    return "".join("".join(each.get("data", {}).get("text/html", "")) for each in outputs)


ASKED = [lesson for lesson in lessons() if lesson.ask]
BESIDE = [lesson for lesson in lessons() if not lesson.ask]


def test_a_deeper_notebook_has_no_empty_slides() -> None:
    told = [cell["source"].strip() for cell in deck("beside", BESIDE, notebooks_folder())["cells"]]
    assert {lesson.heading for lesson in BESIDE} <= set(told) and BESIDE
    assert not {"#", "##"} & set(told)


@pytest.mark.parametrize("lesson", ASKED, ids=lambda lesson: lesson.name)
def test_a_lesson_has_its_questions_experiments_and_figures(lesson: Lesson) -> None:
    cells = json.loads((notebooks_folder() / lesson.file).read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    title, ask, *made, debrief = deck("one", [lesson], notebooks_folder())["cells"]
    assert {cell["metadata"]["slideshow"]["slide_type"] for cell in made} == {"slide"}
    assert lesson.heading in ask["source"] and lesson.ask in ask["source"]
    assert debrief["source"] == f"## {lesson.debrief}" and title["source"].startswith("# ")
    # One figure a slide, none left out; and nothing of a question beside what answers it.
    figures = [html(cell["outputs"]).count("<img ") for cell in made]
    assert max(figures) == 1
    assert sum(figures) == sum(html(cell["outputs"]).count("<img ") for cell in code)
    told = [json.dumps(cell["outputs"], ensure_ascii=False) for cell in made]
    asked = [place for place, text in enumerate(told) if "; answer: None" in text]
    questions = [cell for cell in code if "= predict(" in "".join(cell["source"])]
    assert len(asked) == len(questions) > 0
    assert all(len(made[place]["outputs"]) == 1 and not made[place]["source"] for place in asked)
    # A comparison comes after the question, and its experiment between them.
    compared = [place for place, text in enumerate(told) if "predicted None, observed" in text]
    assert len(compared) == len(asked)
    folded = {"".join(cell["source"]) for cell in code if cell["metadata"].get("jupyter")}
    for cell in made[asked[0] : compared[-1]]:
        assert not cell["source"] or cell["source"] in folded
    assert "Open this after your answer." not in "".join(told)


def test_an_agenda_has_its_tasks_and_pauses_in_order() -> None:
    told = (cell["source"] for cell in deck(DAY.title, DAY.parts, notebooks_folder())["cells"])
    # Each is looked for behind the one before it: a break comes twice.
    for part in DAY.parts:
        assert any(_head(part) in source for source in told), part


def _head(part: Lesson | Task | Pause) -> str:
    match part:
        case Lesson():
            return part.heading
        case Task():
            return f"Task {part.id} · {part.title}"
        case Pause():
            return f"## {part.what}"


class Loaded(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [str(given[name]) for name in ("src", "srcset", "data") if name in given]
        if tag == "link":
            self.found.append(str(given.get("href")))


def test_the_page_fetches_nothing(page: str) -> None:
    loaded = Loaded()
    loaded.feed(page)
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page, re.DOTALL)
    loaded.found += re.findall(r"url\(\s*[\"']?([^\"')]+)", "".join(styles))
    assert loaded.found and all(each.startswith("data:") for each in loaded.found)
    assert "@import" not in "".join(styles) and "require(" not in page


def test_a_browser_goes_from_slide_to_slide(page: str, tmp_path: Path) -> None:
    place = chromium_or_skip("no slide")
    from playwright.sync_api import sync_playwright

    file = tmp_path / "slides.html"
    file.write_text(page, encoding="utf-8")
    here = (
        "() => [...document.querySelectorAll('.slides > section')].findIndex("
        "(slide) => Math.abs(slide.getBoundingClientRect().top) < 2)"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=FLAGS)
        shown = browser.new_page(viewport={"width": 1280, "height": 720})
        asked: list[str] = []
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(file.as_uri())
        assert shown.evaluate(here) == 0
        for key, wanted in (("ArrowRight", 1), (" ", 2), ("PageUp", 1), ("ArrowLeft", 0)):
            shown.keyboard.press(key)
            shown.wait_for_function(f"({here})() === {wanted}")
        # A slide fits on the screen, and its figure is drawn.
        sizes = shown.evaluate(
            "() => [...document.querySelectorAll('.slides > section')].map("
            "(slide) => [slide.offsetHeight, slide.innerText])"
        )
        assert [text for height, text in sizes if height > 720] == []
        drawn = shown.evaluate(
            "async () => { for (const image of document.images) await image.decode();"
            " return [...document.images].map((image) => image.clientHeight); }"
        )
        assert drawn and min(drawn) > 20
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        browser.close()


def test_the_command_writes_an_agenda_or_says_what_there_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "new" / "slides.html"
    assert slides_command(["90", "Minutes"], to) == 0
    text = to.read_text(encoding="utf-8")
    assert "<title>Loopbound: 90 minutes</title>" in text
    assert f"{text.count('<section') // 2} slides" in capsys.readouterr().out
    with pytest.raises(
        Problem, match=r"(?s)there is no lesson '77'.*\nAgendas: 90 minutes"
    ) as caught:
        slides_command(["77"], to)
    assert "Half a day" in str(caught.value)
    with pytest.raises(Problem, match="cannot be written to"):
        slides_command(["00"], to / "slides.html")


def test_a_notebook_that_is_none_is_said_so(tmp_path: Path) -> None:
    lesson = lessons()[0]
    for text in (None, "{", '{"nbformat": 4}'):
        if text is not None:
            (tmp_path / lesson.file).write_text(text, encoding="utf-8")
        with pytest.raises(Problem, match=f"{lesson.file} is no notebook"):
            deck("one", [lesson], tmp_path)
