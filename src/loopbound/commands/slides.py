"""The work behind ``loopbound slides``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loopbound.authoring.slides import slides
from loopbound.course.manifest import Lesson, Pause, Task, agendas, lesson, lessons
from loopbound.files import replace_text
from loopbound.problem import Problem

__all__ = ["slides_command"]


def slides_command(what: Sequence[str], to: Path) -> int:
    """Write the slides of an agenda, of some lessons, or of all of them to a file.

    Raises ``Problem`` where there is no such agenda or lesson, or the file cannot be written.
    """
    title, parts = _chosen(what)
    page = slides(title, parts)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        replace_text(to, page)
    except OSError as error:
        raise Problem(f"the slides cannot be written to {to}: {error}") from error
    print(f"{to}: written, {page.count('<section') // 2} slides; open it in a browser")
    return 0


def _chosen(what: Sequence[str]) -> tuple[str, Sequence[Lesson | Task | Pause]]:
    for agenda in agendas():
        if agenda.title.casefold() == " ".join(what).casefold():
            return agenda.title, agenda.parts
    try:
        chosen = [lesson(name) for name in what] or list(lessons())
    except Problem as problem:
        titles = ", ".join(agenda.title for agenda in agendas())
        raise Problem(f"{problem}\nAgendas: {titles}") from problem
    return (chosen[0].title if len(chosen) == 1 else "the lessons"), chosen
