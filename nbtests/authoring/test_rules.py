"""The rules over the whole set of lessons: the real ones follow them, and each rule finds what
breaks it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lesson_rules
import pytest
from lesson_rules import RULES, check
from small_notebooks import FIGURE, LESSONS, PAGE, SENTENCE, code, good_course, saved

from loopbound.authoring.pages import read_course
from loopbound.course.manifest import notebooks


@pytest.mark.parametrize("name", RULES)
def test_the_lessons_follow(name: str, repository: Path) -> None:
    findings = check(read_course(repository, notebooks()), [name])
    if findings:
        pytest.fail("\n".join(map(str, findings)), pytrace=False)


def test_a_good_set_breaks_no_rule(tmp_path: Path) -> None:
    assert check(read_course(good_course(tmp_path / "course"), NOTEBOOKS)) == []


NOTEBOOKS = (*LESSONS, PAGE)
Break = Callable[[Path], None]


def _edit(
    change: Callable[[dict[str, Any], dict[str, Any]], None], file: str = LESSONS[1].file
) -> Break:
    """A breakage: ``change(notebook, cells by id)`` on one lesson's JSON."""

    def edit(root: Path) -> None:
        path = root / "notebooks" / file
        notebook = json.loads(path.read_text(encoding="utf-8"))
        change(notebook, {cell["id"]: cell for cell in notebook["cells"]})
        text = json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8", newline="\n")

    return edit


def _source(cell: str, old: str, new: str, file: str = LESSONS[1].file) -> Break:
    """A breakage: replaces text in a cell's source."""

    def change(notebook: dict[str, Any], cells: dict[str, Any]) -> None:
        text = "".join(cells[cell]["source"])
        assert old in text
        cells[cell]["source"] = text.replace(old, new).splitlines(keepends=True)

    return _edit(change, file)


def _output(cell: str, output: dict[str, Any]) -> Break:
    """A breakage: adds an output to a cell."""
    return _edit(lambda notebook, cells: cells[cell]["outputs"].append(output))


def _set(cell: str, key: str, value: Any) -> Break:
    return _edit(lambda notebook, cells: cells[cell].__setitem__(key, value))


def _without(cell: str) -> Break:
    return _edit(lambda notebook, cells: notebook["cells"].remove(cells[cell]))


def _printed(text: str, name: str = "stdout") -> dict[str, Any]:
    return {"name": name, "output_type": "stream", "text": text.splitlines(keepends=True)}


def _shown(mime: str, text: str) -> dict[str, Any]:
    return {"output_type": "display_data", "metadata": {}, "data": {mime: [text]}}


def _rename(root: Path) -> None:
    (root / "notebooks" / LESSONS[1].file).rename(root / "notebooks" / "02-other.ipynb")


# rule → what breaks it and a part of what it says. Every breakage of the right-hand side is tried
# alone.
BREAKAGES: dict[str, list[tuple[Break, str]]] = {
    "in_normal_form": [
        (
            _set("second-loop", "execution_count", 3),
            "cell 'second-loop': not in normal form: execution_count is set",
        ),
        (_edit(lambda notebook, cells: notebook["metadata"].update(toc={})), "metadata holds toc"),
        (_output("run-1", _printed("<Engine at 0x7f12ab34cd>\n")), "differ on every run"),
        (_set("run-2", "id", "0a1b2c3d"), "the id is not readable"),
    ],
    "files_are_the_manifest": [
        (_rename, "is in the manifest and not in notebooks/"),
        (_rename, "not in the manifest"),
    ],
    "maps_are_the_manifest": [
        (
            lambda root: _replace(root / "README.md", "| 20 |", "| 25 |"),
            "README.md: its map has lesson 01 as ('What a loop is', 25)",
        ),
        (
            lambda root: _replace(root / "README.md", "[01 What a loop is]", "[01 Loops]"),
            "its map has lesson 01 as ('Loops', 20)",
        ),
        (
            lambda root: _replace(root / "README.md", "[01 ", "[02 "),
            "its map has lesson 01 as None",
        ),
        (lambda root: (root / "README.md").unlink(), "README.md: its map has lesson 00 as None"),
        (
            _source("recap", "1. The connection", "| 01 What a loop is | 9 |\n\n1. The connection"),
            "cell 'recap': its map has lesson 01 as ('What a loop is', 9)",
        ),
    ],
    "known_tags_only": [
        (_set("run-1", "metadata", {"tags": ["raise-exception"]}), "has the tag 'raise-exception'"),
        (_set("run-1", "metadata", {"loopbound": {"claim": ["A02"]}}), "loopbound.claim"),
    ],
    "folds_hide_no_experiment": [
        (_set("run-1", "metadata", {"tags": ["harness"]}), "does not begin with '# Setup"),
        (_source("run-1", "loops = 1", "run()\nguess.compare(1)"), "has other code before"),
        (_source("run-1", "loops = 1", "guess = predict(1)"), "before 'guess = predict('"),
    ],
    "explanations_are_folded": [
        (
            _edit(
                lambda notebook, cells: (
                    cells["run-1"].update(source=["guess.compare(1)"]),
                    cells["step-2"].update(source=["The pool held the connection."]),
                )
            ),
            "cell 'step-2': explains a comparison: begin it with <details",
        ),
    ],
    "opens_with_title_and_minutes": [
        (_source("opening", "What a loop is", "Loops"), "wanted is '# 01 · What a loop is'"),
        (_source("opening", "**20 minutes**", "**30 minutes**"), "does not say **20 minutes**"),
        (_without("opening"), "the first cell is not"),
        (
            _source("opening", "# First aid", "# Aid", PAGE.file),
            "first-aid.ipynb, cell 'opening': starts with ['# Aid']",
        ),
        (
            _set("opening", "source", ["# 01 · What a loop is\n", "**20 minutes**"]),
            "no sentence of what the reader will do",
        ),
    ],
    "minutes_are_honest": [
        (_source("run-1", "loops = 1", "loops = 1\n" * 40), "the manifest says 20"),
        (
            _edit(lambda notebook, cells: notebook["cells"].__delitem__(slice(5, 45))),
            "minutes, and the manifest says 20",
        ),
    ],
    "core_takes_two_evenings": [
        (lambda root: None, "at most 15 are wanted; move a part"),
        (lambda root: None, "course.toml: its core takes 35 minutes, wanted are 30"),
    ],
    "deeper_and_core_are_linked": [
        (_source("opening", "Deeper than", "As", LESSONS[2].file), "does not say that it is"),
        (
            _source("opening", LESSONS[1].file, LESSONS[0].file, LESSONS[2].file),
            "does not link lesson 01",
        ),
        (_source("recap", LESSONS[2].file, LESSONS[0].file), "is not linked at the end"),
    ],
    "ends_in_the_reader_s_project": [
        (_without("in-your-project"), "has no cell 'in-your-project'"),
        (_source("recap", ", which shows the same thing again", ""), "does not say after 'Next:'"),
    ],
    "code_fits_the_screen": [
        (_source("run-1", "loops = 1", f"loops = {'1' * 93}"), "has a line of 101 columns"),
    ],
    "exercises_fit_the_screen": [
        (
            lambda root: _solution(root, f"loops = {'1' * 93}"),
            "01-what-a-loop-is.ipynb, cell 'answer-01-1': has a line of 101 columns",
        ),
    ],
    "asks_three_questions": [
        (_source("questions", "3. What helps?", ""), "holds 2 numbered questions"),
        (_source("questions", "Who binds?", "Who binds."), "does not end with a question mark"),
        (_without("questions"), "has no cell 'questions'"),
    ],
    "recaps_three_answers": [
        (_source("recap", "2. It bound at first use.\n", ""), "holds 2 numbered answers"),
        (
            _source("recap", "The connection bound.", "What bound?"),
            "an answer ends with a question mark",
        ),
        (_without("recap"), "has no cell 'recap'"),
        (
            _edit(lambda notebook, cells: notebook["cells"].insert(2, notebook["cells"].pop())),
            "is not the last Markdown cell",
        ),
    ],
    "asks_for_a_prediction": [
        (_without("predict-second-loop"), "no code cell 'predict-…'"),
        (
            _edit(lambda notebook, cells: notebook["cells"].append(notebook["cells"].pop(2))),
            "no code cell 'predict-…'",
        ),
    ],
    "shows_a_figure": [
        (_edit(lambda notebook, cells: cells["second-loop"]["outputs"].pop()), "has no figure")
    ],
    "pictures_have_alternatives": [
        (
            _output("run-1", _shown("text/html", FIGURE.replace("Two lanes, one connection.", ""))),
            "no alternative text",
        ),
        (
            _output("run-1", _shown("text/html", '<img src="data:image/svg+xml,x">')),
            "no alternative text",
        ),
        (_output("run-1", _shown("image/png", "iVBORw0KGgo=")), "an output is image/png"),
        (_source("step-1", SENTENCE, "![](picture.svg) "), "no alternative text"),
    ],
    "sizes": [
        (
            _edit(lambda notebook, cells: notebook["cells"].__delitem__(slice(5, 42))),
            "cells, wanted are 12 to 55",
        ),
        (_source("step-1", SENTENCE, SENTENCE * 20), "words, wanted are 300 to 1200"),
        (_source("step-1", SENTENCE, SENTENCE * 4), "words, at most 90 are wanted"),
        (
            _edit(
                lambda notebook, cells: [
                    cell.update(source=["A word."])
                    for name, cell in cells.items()
                    if name.startswith("step")
                ]
            ),
            "words a Markdown cell",
        ),
        (_source("run-1", "loops = 1", "loops = 1\n" * 46), "lines, at most 45 are wanted"),
        (
            _edit(
                lambda notebook, cells: [
                    cell.update(source=["a = 1\n"] * 9)
                    for name, cell in cells.items()
                    if name.startswith("run")
                ]
            ),
            "lines a code cell",
        ),
    ],
    "little_plumbing": [
        (_source("run-1", "loops = 1", "import re\n" * 6), "has 6 lines of plumbing among 28,"),
        (_source("run-1", "loops = 1", "print(f'{1:>3}')\n" * 6), "has 6 lines of plumbing"),
        (
            _source("run-1", "loops = 1", "for row in rows:\n    a = row.split()[0]\n" * 6),
            "has 6 lines of plumbing",
        ),
        (
            _source("run-1", "loops = 1", "rows = [\n    (a, b) for a, b in log.items()\n]\n" * 2),
            "has 6 lines of plumbing",
        ),
    ],
    "first_result_comes_soon": [
        (
            _source("predict-second-loop", "answer", "loops = 1\n" * 10 + "answer"),
            "cell 'predict-second-loop': is the last of 11 lines without a result",
        ),
    ],
    "pages_beside_are_short": [
        (
            _source("opening", "A connection", "A connection " * 300, PAGE.file),
            "words, at most 500 are wanted",
        )
    ],
    "few_imports_of_the_package": [
        (
            _source(
                "run-1",
                "loops = 1",
                "from loopbound import predict\n" * 3 + "import loopbound.figures",
            ),
            "on 4 lines",
        ),
    ],
    "banned_words": [
        (_source("step-1", "A connection", "Simply, a connection"), "says 'Simply'"),
        (_source("step-1", "A connection", "Note that a connection"), "says 'Note that'"),
        (_source("run-1", "loops = 1", "loops = 1  # just one"), "says 'just'"),
        (_source("run-1", "loops = 1", "bar = 1"), "uses the name 'bar'"),
        (
            lambda root: _append(root / "README.md", "This is obvious.\n"),
            "README.md: says 'obvious'",
        ),
    ],
    "british_spelling": [
        (_source("step-1", "A connection", "The behavior of a connection"), "spells 'behavior'"),
        (_source("run-1", "loops = 1", "loops = 1  # its color"), "spells 'color'"),
    ],
    "links_resolve": [
        (_source("recap", "#Step-1", "#Step-99"), "names a heading that is not there"),
        (_source("recap", "#Step-1", "09-nowhere.ipynb"), "points at nothing"),
        (
            _source("recap", "#Step-1", "00-start-here.ipynb#Nowhere"),
            "names a heading that is not there",
        ),
        (_source("recap", "#Step-1", "../../outside.md"), "leaves the repository"),
        (
            _source("recap", "#Step-1", "/notebooks/00-start-here.ipynb"),
            "does not work on another machine",
        ),
        (_source("recap", "[Step](#Step-1)", '<a href="nowhere.md">Step</a>'), "points at nothing"),
        (
            lambda root: _append(root / "README.md", "[Practise](exercises/none.ipynb)\n"),
            "README.md: the link",
        ),
    ],
    "glossary_is_linked": [
        (
            _source("opening", "[pool](glossary.md#pool)", "pool", LESSONS[0].file),
            "00-start-here.ipynb, cell 'opening': 'pool' stands here first; [pool](",
        ),
        (
            _source("opening", "with a [pool]", "with pools and a [pool]", LESSONS[0].file),
            "'pool' stands here first",
        ),
        (
            lambda root: _append(root / "notebooks" / "glossary.md", "### a word\n"),
            "not in the order of the alphabet",
        ),
        (
            lambda root: _append(root / "notebooks" / "glossary.md", "### rare word\n"),
            "no lesson has the word 'rare word'",
        ),
    ],
    "outputs_are_committed": [
        (_set("second-loop", "outputs", []), "has no committed output"),
        (_source("run-1", "loops = 1", "loops = 1\nloops"), "has no committed output"),
    ],
    "outputs_name_no_machine": [
        (_output("run-1", _printed("/home/ann/course/.venv\n")), "/home/ann/course/.venv"),
        (_output("run-1", _printed("C:\\Users\\Ann\\course\n")), "names a folder of one machine"),
        (_output("run-1", _printed("connected to 10.0.0.7\n")), "names a host: 10.0.0.7"),
        (
            _output("run-1", _printed("postgresql+asyncpg://ann:secret@db.example/course\n")),
            "names a host: db.example",
        ),
    ],
    "outputs_are_clean": [
        (_output("run-1", _printed("careful\n", "stderr")), "has stderr"),
        (_set("wanted-error", "metadata", {}), "no tag raises-exception"),
        (_set("wanted-error", "outputs", []), "no error in its committed output"),
    ],
    "claims_are_settled": [
        (_set("second-loop", "metadata", {}), "has no cell for the claim A02"),
        (_set("run-1", "metadata", {"loopbound": {"claims": ["B55"]}}), "carries the claim 'B55'"),
    ],
}


def _solution(root: Path, source: str) -> None:
    folder = root / "solutions" / "01-what-a-loop-is"
    folder.mkdir(parents=True)
    saved(folder / "01-what-a-loop-is.ipynb", code("answer-01-1", source))


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def test_every_rule_has_something_that_breaks_it() -> None:
    assert set(BREAKAGES) == set(RULES)


@pytest.mark.parametrize(
    ("name", "breakage", "said"),
    [
        pytest.param(name, *case, id=f"{name}-{number}")
        for name, cases in BREAKAGES.items()
        for number, case in enumerate(cases)
    ],
)
def test_a_rule_finds_what_breaks_it(
    name: str, breakage: Break, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "core_takes_two_evenings":  # the small course's minutes are in no file
        monkeypatch.setattr(lesson_rules, "CORE_LESSON_MINUTES", 15)
        monkeypatch.setattr(lesson_rules, "CORE_MINUTES", 30)
    root = good_course(tmp_path / "course")
    breakage(root)
    findings = check(read_course(root, NOTEBOOKS), [name])
    assert any(said in str(finding) for finding in findings), findings


def test_the_order_of_the_manifest_is_the_order_of_the_names(tmp_path: Path) -> None:
    findings = check(
        read_course(good_course(tmp_path / "course"), NOTEBOOKS[::-1]), ["files_are_the_manifest"]
    )
    assert ["another order" in str(finding) for finding in findings] == [True]
