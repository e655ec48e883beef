"""Builds small notebooks for tests: a good set that follows every rule, and single ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from loopbound.authoring.normal_form import normal_form
from loopbound.course.manifest import Lesson, Notebook

FIGURE = (
    '<img alt="Two lanes, one connection." src="data:image/svg+xml,%3Csvg%3E%3Ctext%3Eloop'
    ' A%3C/text%3E%3C/svg%3E">'
)
SENTENCE = (
    "A connection remembers the loop that opened it, and the pool hands it to whoever asks next"
    " without asking which loop runs. "
)


def code(
    identity: str,
    source: str,
    *,
    tags: tuple[str, ...] = (),
    claims: tuple[str, ...] = (),
    outputs: Any = (),
) -> Any:
    """A code cell with an id, tags, claims and outputs."""
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if claims:
        metadata["loopbound"] = {"claims": list(claims)}
    return new_code_cell(source, id=identity, metadata=metadata, outputs=list(outputs))


def printed(text: str, name: str = "stdout") -> Any:
    """An output: text on a stream."""
    return nbformat.v4.new_output("stream", name=name, text=text)


def shown(data: dict[str, str]) -> Any:
    """An output: something displayed, by MIME type."""
    return nbformat.v4.new_output("display_data", data=data)


def raised(kind: str, message: str) -> Any:
    """An output: an error."""
    return nbformat.v4.new_output(
        "error", ename=kind, evalue=message, traceback=[f"{kind}: {message}"]
    )


def text_of(*cells: Any) -> str:
    """A notebook's text in normal form."""
    return normal_form(nbformat.writes(new_notebook(cells=list(cells))))


def saved(path: Path, *cells: Any) -> Path:
    """Writes a notebook in normal form."""
    path.write_text(text_of(*cells), encoding="utf-8", newline="\n")
    return path


def good_lesson(lesson: Lesson) -> list[Any]:
    """The cells of a lesson that follows every rule."""
    prose = [
        new_markdown_cell(f"## Step {step}\n\n{SENTENCE * 2}", id=f"step-{step}")
        for step in range(1, 21)
    ]
    steps = [
        cell
        for number, text in enumerate(prose, start=1)
        for cell in (text, code(f"run-{number}", f"loops = {number}"))
    ]
    opening = (
        f"{lesson.heading}\n\nYou will use one connection from two loops and watch an"
        " [experiment](glossary.md#experiment) fail, with a [pool](glossary.md#pool)."
        f"\n\n**{lesson.minutes} minutes**\n\n{SENTENCE}"
    )
    return [
        new_markdown_cell(opening, id="opening"),
        new_markdown_cell(
            f"{SENTENCE}\n\n1. Who binds?\n2. When does it bind?\n3. What helps?", id="questions"
        ),
        code("predict-second-loop", 'answer = "it raises"'),
        code(
            "second-loop",
            "print(answer)",
            claims=lesson.claims,
            outputs=[printed("it raises\n"), shown({"text/html": FIGURE})],
        ),
        code(
            "wanted-error",
            'raise RuntimeError("different loop")',
            tags=("raises-exception",),
            outputs=[raised("RuntimeError", "different loop")],
        ),
        *steps,
        new_markdown_cell(
            f"## In your project\n\n{SENTENCE}",
            id="in-your-project",
        ),
        new_markdown_cell(
            f"{SENTENCE}\n\n1. The connection bound.\n2. It bound at first use.\n3. One loop"
            " helped.\n\nNext: [Step](#Step-1), which shows the same thing again.\n\n"
            f"Deeper: [01d]({LESSONS[2].file})",
            id="recap",
        ),
    ]


def deeper_lesson(lesson: Lesson) -> list[Any]:
    """The cells of a deeper notebook beside the second lesson."""
    opening = (
        f"{lesson.heading}\n\nDeeper than [lesson 01]({LESSONS[1].file}): what the loop adds."
        f"\n\n**{lesson.minutes} minutes**"
    )
    return [
        new_markdown_cell(opening, id="opening"),
        *(code(f"run-{number}", "loops = 1\n" * 20) for number in range(3)),
    ]


GLOSSARY = "# Glossary\n\n### experiment\nA step.\n\n### pool\nWhat it is.\n"
PAGE = Notebook("first-aid.ipynb", "First aid", 10)
LESSONS = (
    Lesson("00-start-here.ipynb", "Start here", 15, ("A01",)),
    Lesson("01-what-a-loop-is.ipynb", "What a loop is", 20, ("A02",), waiting=7),
    Lesson("01d-more-loops.ipynb", "More loops", 10, deeper=True),
)


def good_course(root: Path) -> Path:
    """A repository with two good lessons, a deeper one, a page and a README; the caller breaks a
    copy.
    """
    (root / "notebooks").mkdir(parents=True)
    for lesson in LESSONS:
        cells = deeper_lesson(lesson) if lesson.deeper else good_lesson(lesson)
        saved(root / "notebooks" / lesson.file, *cells)
    opening = new_markdown_cell(
        f"{PAGE.heading}\n\n**{PAGE.minutes} minutes**\n\n{SENTENCE}", id="opening"
    )
    saved(root / "notebooks" / PAGE.file, opening)
    (root / "notebooks" / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    rows = "".join(
        f"| [{lesson.number} {lesson.title}](notebooks/{lesson.file}) | {lesson.minutes} |\n"
        for lesson in LESSONS
    )
    readme = (
        "# Course\n\n[Start](notebooks/00-start-here.ipynb#Step-1) and [top](#course).\n\n| lesson"
        " | minutes |\n|---|---|\n" + rows
    )
    (root / "README.md").write_text(readme, encoding="utf-8")
    return root
