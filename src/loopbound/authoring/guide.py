"""The generated parts of the facilitator's guide, as Markdown: the agendas, and what to ask, to
expect and to say in each lesson.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from loopbound.authoring.proof import WrongAnswer, wrong_answers
from loopbound.checks import task_check
from loopbound.course.manifest import Agenda, Assignment, Lesson, Pause, Task, assignments, lessons
from loopbound.problem import Problem

__all__ = ["agenda_block", "filled", "lessons_block"]


def filled(text: str, blocks: Mapping[str, str], name: str = "the guide") -> str:
    """A text with these blocks between their marks, ``<!-- agenda: generated … -->`` and ``<!--
    agenda: end -->``.

    The rest stays as it is. Raises ``Problem`` where a block's marks do not stand there once each.
    """
    for block, content in blocks.items():
        marks = re.compile(
            rf"(<!-- {block}: generated[^\n]*-->\n).*?(<!-- {block}: end -->)", re.DOTALL
        )
        if len(marks.findall(text)) != 1 or text.count(f"<!-- {block}: ") != 2:
            raise Problem(
                f"{name}: the marks '<!-- {block}: generated … -->' and '<!-- {block}: end -->'"
                " have to stand in it once each, in this order."
            )
        text = marks.sub("\\1\n" + content.replace("\\", r"\\") + "\n\\2", text)
    return text


# The agendas --------------------------------------------------------------------------------------


def agenda_block(all_of_them: Iterable[Agenda]) -> str:
    """A table for each agenda, with the time since the start.

    Raises ``Problem`` for one that takes longer than it has.
    """
    return "\n".join(line for agenda in all_of_them for line in _agenda(agenda))


def _agenda(agenda: Agenda) -> Iterator[str]:
    yield f"### {agenda.title}\n"
    yield "| from | minutes | what |\n|---:|---:|---|"
    passed = 0
    for part in agenda.parts:
        yield f"| {_clock(passed)} | {part.minutes} | {_part(part)} |"
        passed += part.minutes
    if passed > agenda.minutes:
        raise Problem(
            f"the agenda {agenda.title!r} has {agenda.minutes} minutes, and its parts take"
            f" {passed}.\nShorten it in course.toml."
        )
    spare = agenda.minutes - passed
    yield f"| {_clock(passed)} | | end" + (f", with {spare} minutes to spare |" if spare else " |")
    yield ""


def _part(part: Lesson | Task | Pause) -> str:
    match part:
        case Lesson():
            return _lesson_link(part)
        case Task():
            return f"Task [{part.id} {part.title}](#{_anchor(_task_heading(part))})"
        case Pause():
            return f"*{part.what}*"


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"


# Lesson by lesson ---------------------------------------------------------------------------------


def lessons_block(root: Path) -> str:
    """A section for each lesson and its assignment: the question, the tasks with the wrong answers
    to expect, the debrief.

    Raises ``Problem`` where an assignment's wrong answers cannot be read.
    """
    by_lesson = {lesson.number: lesson for lesson in lessons()}
    by_assignment = {which.number: which for which in assignments()}
    numbers = sorted(by_lesson.keys() | by_assignment.keys())
    return "\n".join(
        line
        for number in numbers
        for line in _section(root, by_lesson.get(number), by_assignment.get(number))
    )


def _section(root: Path, lesson: Lesson | None, which: Assignment | None) -> Iterator[str]:
    if lesson:
        yield f"### {lesson.number} · {lesson.title}\n"
        deeper = ", deeper: not on the core path" if lesson.deeper else ""
        yield f"{_lesson_link(lesson)}, {lesson.minutes} minutes{deeper}\n"
    if lesson and lesson.ask:
        yield f"**Ask:** {lesson.ask}\n"
    if which and not lesson:
        yield f"### {which.number} · {which.title}\n"
    if which:
        yield (
            f"**Tasks:** [{which.title}](../exercises/{which.file.as_posix()}), {which.minutes}"
            f" minutes, {which.points} points\n"
        )
        answers = wrong_answers(root, which)
        for task in which.tasks:
            yield from _task(task, [answer for answer in answers if answer.task == task.id])
    if lesson and lesson.debrief:
        yield f"**Debrief:** {lesson.debrief}\n"


def _task(task: Task, answers: list[WrongAnswer]) -> Iterator[str]:
    points = "1 point" if task.points == 1 else f"{task.points} points"
    yield f"#### {_task_heading(task)}\n"
    yield (
        f"{task.kind.capitalize()} · {task.minutes} minutes · {points}. Say first:"
        f" {' '.join(task_check(task.id).hints[0].split())}\n"
    )
    for answer in answers:
        yield (
            f"- {_words(answer.name)} →"
            f" **{_words(answer.diagnosis or answer.outcome)}**{_quoted(answer)}"
        )
    yield ""


def _task_heading(task: Task) -> str:
    return f"{task.id} {task.title}"


def _lesson_link(lesson: Lesson) -> str:
    return f"[{lesson.number} {lesson.title}](../notebooks/{lesson.file})"


def _anchor(heading: str) -> str:
    """The fragment under which GitHub files a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _quoted(answer: WrongAnswer) -> str:
    """The most telling of the words that the check gives an answer; a short piece, such as "line
    4", tells nothing by itself.
    """
    words = max(answer.says, key=len)
    return f": “{_words(words)}”" if len(words) >= 12 else ""


def _words(text: str) -> str:
    """A part of a check's feedback for the middle of a line: it may begin or end inside a piece of
    code.
    """
    text = " ".join(text.split())
    if text.count("`") % 2:
        text = text.replace("`", "")
    if "`" not in text:
        text = re.sub(r"([*_<\[])", r"\\\1", text)
    return text
