"""Comparing a committed notebook with a fresh run: what must be seen, and what must not matter."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from small_notebooks import code, printed, raised, shown, text_of

from loopbound.authoring.compare import compare


def _notebook(*outputs: Any, tags: tuple[str, ...] = ()) -> Any:
    return nbformat.reads(text_of(code("run", "show()", outputs=outputs, tags=tags)), as_version=4)


def _figure(alternative: str, words: str, noise: str = "", x: str = "1.0") -> Any:
    svg = f"%3Csvg id='{noise}'%3E%3Ctext x='{x}'%3E{words}%3C/text%3E%3C/svg%3E"
    return shown(
        {
            "text/html": f'<img alt="{alternative}" src="data:image/svg+xml,{svg}">',
            "text/plain": f"Figure: {alternative}",
        }
    )


@pytest.mark.parametrize(
    ("committed", "fresh"),
    [
        ([printed("ok\nok\n")], [printed("ok\n"), printed("ok\n")]),
        (
            [printed("Task-3 at 0x7f00aa11bb took 3 ms\n")],
            [printed("Task-9 at 0x7f00aa22cc took 9 ms\n")],
        ),
        ([_figure("Two lanes.", "loop A", "one")], [_figure("Two lanes.", "loop A", "two")]),
        ([_figure("Two lanes.", "loop A", x="1.04")], [_figure("Two lanes.", "loop A", x="1.01")]),
        (
            [raised("RuntimeError", "Task-3 got a future")],
            [raised("RuntimeError", "Task-8 got a future")],
        ),
    ],
)
def test_equal_runs_compare_equal(committed: list[Any], fresh: list[Any]) -> None:
    assert compare("03.ipynb", _notebook(*committed), _notebook(*fresh)) == []


@pytest.mark.parametrize(
    ("committed", "fresh", "said"),
    [
        (
            [printed("ok\ndifferent loop\n")],
            [printed("ok\noperation in progress\n")],
            "-stdout: different loop\n+stdout: operation in progress",
        ),
        (
            [printed("ok\ndifferent loop\n")],
            [printed("different loop\nok\n")],
            "03.ipynb, cell 'run': the output differs",
        ),
        ([printed("3 rows\n")], [printed("4 rows\n")], "+stdout: 4 rows"),
        ([printed("ok\n")], [], "-stdout: ok"),
        ([], [printed("ok\n")], "+stdout: ok"),
        ([printed("ok\n")], [shown({"text/plain": "ok"})], "+text/plain: ok"),
        (
            [raised("RuntimeError", "different loop")],
            [raised("TypeError", "different loop")],
            "raised 'TypeError: different loop', wanted is",
        ),
        (
            [raised("RuntimeError", "different loop")],
            [raised("RuntimeError", "Event loop is closed")],
            "wanted is 'RuntimeError: different loop'",
        ),
        (
            [raised("RuntimeError", "different loop")],
            [printed("ok\n")],
            "the wanted error 'RuntimeError: different loop' did not come",
        ),
        ([_figure("Two lanes.", "loop A")], [_figure("Three lanes.", "loop A")], "Three lanes."),
        (
            [_figure("Two lanes.", "loop A")],
            [_figure("Two lanes.", "loop B")],
            "+text/html: loop B",
        ),
        (
            [_figure("Two lanes.", "loop A")],
            [_figure("Two lanes.", "loop A", x="9.0")],
            "+text/html: drawing ",
        ),
    ],
)
def test_real_differences_are_seen(committed: list[Any], fresh: list[Any], said: str) -> None:
    (finding,) = compare("03.ipynb", _notebook(*committed), _notebook(*fresh))
    assert said in "\n".join(line.strip() for line in str(finding).splitlines())


def test_a_cell_that_may_vary_is_compared_by_kind() -> None:
    tags = ("output-varies",)
    before = _notebook(printed("Linux\n"), tags=tags)
    assert compare("00.ipynb", before, _notebook(printed("Darwin\n"), tags=tags)) == []
    (finding,) = compare("00.ipynb", before, _notebook(printed("Darwin\n", "stderr"), tags=tags))
    assert "-stream stdout" in finding.view
    assert len(compare("00.ipynb", before, _notebook(raised("OSError", "none"), tags=tags))) == 1
    assert len(compare("00.ipynb", before, _notebook(tags=tags))) == 1


def test_a_missing_cell_is_seen() -> None:
    (finding,) = compare(
        "00.ipynb",
        _notebook(printed("ok\n")),
        nbformat.reads(text_of(code("other", "1")), as_version=4),
    )
    assert finding.what == "is missing from the fresh run"
