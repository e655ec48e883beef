"""A facilitator's slides, made from the lessons as they are committed: one question, one experiment
or one figure each.

A notebook with Jupyter's own slide metadata, from which nbconvert makes one page that needs no
network and no kernel. No lesson marks its slides: they follow from the manifest, the predictions
and what is folded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopbound.authoring.normal_form import QUESTION, RESULT, stable_outputs
from loopbound.course.manifest import Lesson, Pause, Task, notebooks_folder
from loopbound.problem import Problem

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["deck", "slides"]


def slides(title: str, parts: Iterable[Lesson | Task | Pause], folder: Path | None = None) -> str:
    """The slides of some parts of an agenda as a page, from the lessons in a folder (default: the
    notebooks).

    Raises:
        Problem: a lesson's notebook is missing or is none.
    """
    from nbconvert.exporters import SlidesExporter

    template = resources.files(__package__).joinpath("slides.html.j2").read_text(encoding="utf-8")
    exporter = SlidesExporter(raw_template=template)
    page, _ = exporter.from_notebook_node(deck(title, parts, folder or notebooks_folder()))
    return page


def deck(title: str, parts: Iterable[Lesson | Task | Pause], folder: Path) -> NotebookNode:
    """The slides as a notebook: each cell is a slide, and says so in its metadata."""
    from nbformat.v4 import new_notebook

    cells = [_text(f"# Loopbound\n\n## {title}")]
    for part in parts:
        match part:
            case Lesson():
                cells += _lesson(part, folder)
            case Task():
                cells.append(_text(f"## Task {part.id} · {part.title}\n\n{part.minutes} minutes"))
            case Pause():
                cells.append(_text(f"## {part.what}\n\n{part.minutes} minutes"))
    return new_notebook(cells=cells, metadata={"title": f"Loopbound: {title}"})


def _lesson(lesson: Lesson, folder: Path) -> Iterator[NotebookNode]:
    # A deeper notebook beside a lesson has neither question nor debrief.
    yield _text(f"{lesson.heading}\n\n## {lesson.ask}" if lesson.ask else lesson.heading)
    for cell in _cells(folder / lesson.file):
        if cell["cell_type"] != "code":
            continue
        if cell["source"].startswith((QUESTION, RESULT)):
            yield _code("", stable_outputs(cell["outputs"]))
        else:
            yield from _experiment(cell)
    if lesson.debrief:
        yield _text(f"## {lesson.debrief}")


def _experiment(cell: NotebookNode) -> Iterator[NotebookNode]:
    """What a prediction asked for, with its source, and every figure."""
    outputs = stable_outputs(cell["outputs"])
    printed = [output for output in outputs if not _is_figure(output)]
    # What is folded as an output answers a prediction; a magic command is no experiment, nor is one
    # line that draws.
    asked = cell["metadata"].get("jupyter", {}).get("outputs_hidden")
    if asked and not cell["source"].startswith("%") and (printed or "\n" in cell["source"]):
        yield _code(cell["source"], printed)
    yield from (_code("", [output]) for output in outputs if _is_figure(output))


def _cells(path: Path) -> list[NotebookNode]:
    import nbformat

    try:
        return nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)["cells"]
    except (OSError, ValueError, nbformat.ValidationError) as error:
        raise Problem(
            f"{path} is no notebook: {error}\nBring it back: git restore notebooks/{path.name}"
        ) from error


def _is_figure(output: dict[str, Any]) -> bool:
    return "<img " in output.get("data", {}).get("text/html", "")


def _text(source: str) -> NotebookNode:
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(source, metadata=_SLIDE)


def _code(source: str, outputs: list[dict[str, Any]]) -> NotebookNode:
    from nbformat.v4 import new_code_cell

    metadata = _SLIDE if source else {**_SLIDE, "tags": ["no-input"]}
    return new_code_cell(source, outputs=outputs, metadata=metadata)


_SLIDE = {"slideshow": {"slide_type": "slide"}}
