"""The normal form of notebook files, and texts that are equal for equal runs."""

from __future__ import annotations

import json
import sysconfig

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell
from small_notebooks import code, printed, raised, shown, text_of

from loopbound.authoring.normal_form import form_differences, normal_form, stable_outputs
from loopbound.authoring.stable import comparable, stable
from loopbound.problem import Problem

# As an editor saves it: format 4.4 in parts, counts, widgets' left_overs, split streams.
SAVED_BY_AN_EDITOR = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {
        "kernelspec": {"display_name": "course", "language": "python", "name": "course"},
        "toc": {},
    },
    "cells": [
        {
            "cell_type": "markdown",
            "id": "0a1b2c3d",
            "metadata": {"collapsed": True},
            "source": "## Who owns it?   \n\nThe pool.\n\n",
        },
        {
            "cell_type": "code",
            "id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
            "metadata": {
                "tags": ["raises-exception"],
                "execution": {"iopub.status.busy": "2026-01-01"},
            },
            "execution_count": 7,
            "source": ["engine = make()\n", "engine"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": "one\n"},
                {"output_type": "stream", "name": "stdout", "text": ["two\n"]},
                {
                    "output_type": "execute_result",
                    "execution_count": 7,
                    "metadata": {},
                    "data": {"text/plain": ["<Engine at 0x7f00aa11bb>"]},
                },
            ],
        },
    ],
}


def test_it_is_idempotent_and_valid() -> None:
    once = normal_form(json.dumps(SAVED_BY_AN_EDITOR))
    assert normal_form(once) == once
    assert form_differences(once) == []


def test_it_keeps_what_is_the_lesson_and_drops_the_rest() -> None:
    text = normal_form(json.dumps(SAVED_BY_AN_EDITOR))
    question, cell = json.loads(text)["cells"]
    assert question == {
        "cell_type": "markdown",
        "id": "who-owns-it-the",
        "metadata": {},
        "source": ["## Who owns it?\n", "\n", "The pool."],
    }
    assert (cell["id"], cell["metadata"]) == ("engine-make-engine", {"tags": ["raises-exception"]})
    assert cell["outputs"][0]["text"] == ["one\n", "two\n"]
    assert cell["outputs"][1]["execution_count"] is None
    assert text.endswith("}\n") and '\n "cells": [' in text


def test_what_a_prediction_asks_for_is_folded() -> None:
    text = normal_form(
        text_of(
            code("setup", "import asyncio", tags=("harness",)),
            code("before", "print(1)", outputs=[printed("1\n")]),
            code(
                "ask",
                '# Question\nguess = predict("Which?", a=1, b=2)\nguess',
                outputs=[printed("Which?\n")],
            ),
            code("run", "print(2)", outputs=[printed("2\n")]),
            code("define", "loops = 2"),
            code("draw", "draw()", tags=("harness",), outputs=[printed("2\n")]),
            code(
                "compare",
                '# Result and reason\nguess.compare(2, a="no", b="yes")',
                outputs=[printed("b\n")],
            ),
            code("figure", "print(3)", outputs=[printed("3\n")]),
            new_markdown_cell("The rule.", id="explanation"),
            code("after", "print(3)", outputs=[printed("3\n")]),
            code("more", 'more = predict("Which?", a=1)', outputs=[]),
            code("both", 'print(1)\nmore.compare(1, a="yes")', outputs=[]),
        )
    )
    notebook = json.loads(text)
    cells = notebook["cells"]
    assert {
        cell["id"]: cell["metadata"]["jupyter"] for cell in cells if "jupyter" in cell["metadata"]
    } == {
        "setup": {"source_hidden": True},
        "ask": {"source_hidden": True},
        "run": {"outputs_hidden": True},
        "draw": {"outputs_hidden": True, "source_hidden": True},
        "compare": {"source_hidden": True},
        "figure": {"outputs_hidden": True},
    }
    # JupyterLab shows the first line of a folded output; no run has this note to compare.
    note, given = nbformat.reads(text, as_version=4)["cells"][3]["outputs"]
    assert note["data"]["text/plain"] == "Open this after your answer."
    assert given["text"] == "2\n" and len(cells[1]["outputs"]) == 1
    assert stable_outputs([note, given]) == [given]
    assert normal_form(text) == text
    del cells[3]["metadata"]["jupyter"]
    said = form_differences(json.dumps(notebook))
    assert said == [("run", "its metadata lacks 'jupyter': {'outputs_hidden': True}")]


def test_differences_name_the_cell() -> None:
    said = {f"{cell}: {what}" for cell, what in form_differences(json.dumps(SAVED_BY_AN_EDITOR))}
    assert "None: metadata holds toc" in said
    assert "3f2504e0-4f89-11d3-9a0c-0305e82c3301: execution_count is set" in said
    assert "3f2504e0-4f89-11d3-9a0c-0305e82c3301: metadata holds execution" in said
    assert "0a1b2c3d: the source has blanks at the end of a line, or empty lines around it" in said


def test_another_layout_is_a_difference() -> None:
    text = json.dumps(json.loads(text_of(code("count", "print(1)"))), indent=4)
    assert form_differences(text) == [
        (None, "the JSON is laid out differently (indent 1, sorted keys, a newline at the end)")
    ]


def test_equal_ids_are_told_apart() -> None:
    notebook = json.loads(text_of(code("count", "one = 1")))
    notebook["cells"] *= 2
    assert [cell["id"] for cell in json.loads(normal_form(json.dumps(notebook)))["cells"]] == [
        "count",
        "one-1",
    ]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"cells": []}', '{"nbformat": 3, "worksheets": []}', "not json"]
)
def test_what_is_no_notebook_is_said_so(text: str) -> None:
    with pytest.raises(Problem, match=r"^02-x\.ipynb is not"):
        normal_form(text, "02-x.ipynb")


LIBRARIES = sysconfig.get_paths()["purelib"]
STANDARD = sysconfig.get_paths()["stdlib"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<Engine at 0x7f12ab34cd>", "<Engine at 0x…>"),
        ("<Loop at 0x000001F2AB34CD56>", "<Loop at 0x…>"),
        ("Task-17 waits for Task-9, Task-17 ran", "Task-1 waits for Task-2, Task-1 ran"),
        ("/tmp/ipykernel_812/1234567.py:3", "<this cell>:3"),
        ("/var/folders/x_/T/ipykernel_812/12.py:3", "<this cell>:3"),
        ("'C:\\\\Users\\\\ann\\\\Temp\\\\ipykernel_812\\\\12.py'", "'<this cell>'"),
        ("C:\\Users\\ann\\Temp\\ipykernel_812\\12.py", "<this cell>"),
        (
            f'File "{LIBRARIES}/asyncpg/connection.py", line 5',
            'File "…/asyncpg/connection.py", line 5',
        ),
        (f"{STANDARD}/asyncio/tasks.py:637", "…/asyncio/tasks.py:637"),
        ("/home/ann/course/.venv/lib/python3.13/site-packages/asyncpg/x.py", "…/asyncpg/x.py"),
        ("C:\\course\\.venv\\Lib\\site-packages\\asyncpg\\pool.py", "…/asyncpg/pool.py"),
        ("running at 127.0.0.1:54321", "running at 127.0.0.1:<port>"),
        ("peer ('127.0.0.1', 54321)", "peer ('127.0.0.1', <port>)"),
        ("port=54321", "port=<port>"),
        ("pid 4711, process 4712", "pid …, process …"),
        ("\x1b[32mIn[12]\x1b[39m, line 3", "\x1b[32mIn[…]\x1b[39m, line 3"),
    ],
)
def test_what_differs_on_every_run_is_replaced(text: str, wanted: str) -> None:
    assert stable(text) == wanted
    assert stable(wanted) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "different loop, ok, different loop, ok",
        "RuntimeError: Event loop is closed",
        "QueuePool limit of size 1 overflow 0 reached, connection timed out, timeout 30.00",
        "(42 rows, 7 loops)",
        "sleeps 2 s, then 1 s",
        "A, B, C",
        "SELECT id FROM reports WHERE 0x1F = 31",
        "process the reports of 12 users",
    ],
)
def test_what_a_lesson_says_stays(text: str) -> None:
    assert stable(text) == text
    assert comparable(text) == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 0.031 s", "took 0.4 s"),
        ("took 12 ms", "took 7.5 ms"),
        ("at 12:31:07.123", "at 23:59:59.9"),
        ("2026-01-05 10:00:00+00:00", "2026-11-21 22:15:01+00:00"),
        (f"{STANDARD}/asyncio/tasks.py:637", f"{STANDARD}/asyncio/tasks.py:641"),
        (
            f'File "{LIBRARIES}/asyncpg/pool.py", line 5',
            f'File "{LIBRARIES}/asyncpg/pool.py", line 9',
        ),
    ],
)
def test_measured_parts_are_equal_when_compared(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("different loop", "another operation is in progress"),
        ("ok\ndifferent loop", "different loop\nok"),
        ("3 rows", "4 rows"),
        ("timeout 30 s", "timeout 5 s"),
        ("Task-4 Task-4", "Task-4 Task-5"),
        ("0x7f00aa11bb of A", "0x7f00aa11bb of B"),
        ("127.0.0.1:5432", "10.0.0.1:5432"),
        ("", "ok"),
    ],
)
def test_real_differences_stay(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)


def test_tasks_are_counted_over_all_outputs_of_a_cell() -> None:
    outputs = [printed("Task-31 and Task-30\n"), raised("RuntimeError", "Task-30 got a future")]
    first, second = json.loads(text_of(code("tasks", "run()", outputs=outputs)))["cells"][0][
        "outputs"
    ]
    assert (first["text"], second["evalue"]) == (["Task-1 and Task-2\n"], "Task-2 got a future")


def test_what_only_a_run_page_keeps_is_left_out() -> None:
    markdown = "**Which?**\n\n<style>\nb {}\n</style>\n<script>\nrun()\n</script>"
    (output,) = stable_outputs([shown({"text/markdown": markdown})])
    assert output["data"]["text/markdown"] == "**Which?**"


def test_pictures_in_outputs_are_left_alone() -> None:
    html = '<img alt="at 0x7f12ab34cd" src="data:image/svg+xml,0x7f12ab34cd">'
    (output,) = json.loads(text_of(code("figure", "draw()", outputs=[shown({"text/html": html})])))[
        "cells"
    ][0]["outputs"]
    assert output["data"]["text/html"] == [
        '<img alt="at 0x…" src="data:image/svg+xml,0x7f12ab34cd">'
    ]


def test_a_cell_without_metadata_is_a_problem_and_no_traceback() -> None:
    with pytest.raises(
        Problem, match="x.ipynb is not a valid notebook: cell 1 lacks its type, metadata or source"
    ):
        normal_form(
            '{"cells": [{"cell_type": "code", "source": []}], "metadata": {}, "nbformat": 4,'
            ' "nbformat_minor": 5}',
            "x.ipynb",
        )


def test_a_broken_notebook_is_told_the_way_back() -> None:
    with pytest.raises(
        Problem,
        match="is not JSON: .*\nTo have the committed one back: git restore notebooks/x.ipynb",
    ):
        normal_form('{"cells": [', "x.ipynb")
