"""A learner's own page: points, and for each task what the check said and the code that it spoke
of. No hidden test, no solution, no other learner.
"""

from __future__ import annotations

from collections.abc import Callable

from loopbound.course.manifest import Lesson, lesson
from loopbound.grading.counting import BEST, KEEP, Counted
from loopbound.grading.results import Graded, TaskResult
from loopbound.outcomes import NOT_ATTEMPTED, OUTCOMES, PASSED
from loopbound.problem import Problem
from loopbound.report.markup import Content, Html, prose, shortened, spoken, tag
from loopbound.report.naming import Naming
from loopbound.report.page import badge, counted, page
from loopbound.report.standing import Learner, known_task, title_of

__all__ = ["anchor", "learner_page"]

LONGEST_ANSWER = 20_000  # characters that are shown of one
LONGEST_FEEDBACK = 4_000

LessonLink = Callable[[Lesson], str | None]
"""Where a lesson's notebook is, as seen from the pages; None where no link leads there."""


def learner_page(learner: Learner, naming: Naming, link: LessonLink, keep: str = BEST) -> str:
    """The page of one learner."""
    results = [result for each in learner.counted.values() for result in each.graded.tasks]
    counts = [
        (outcome, sum(result.outcome == outcome for result in results))
        for outcome in reversed(OUTCOMES)
    ]
    legend = [tag("li", badge(outcome), f" {number}") for outcome, number in counts if number]
    return page(
        learner.label,
        tag("header", "\n", tag("h1", tag("bdi", learner.label)), _sum(learner)),
        tag("ul", legend, class_="legend", aria_label="Tasks by outcome") if legend else None,
        _contents(learner) if len(learner.counted) > 1 else None,
        _ungraded(learner, naming) if learner.ungraded else None,
        [_assignment(name, each, naming, link, keep) for name, each in learner.counted.items()],
        _untouched(learner) if learner.untouched else None,
        width="narrow",
    )


def anchor(what: str) -> str:
    """The fragment of an assignment or a task in a learner's page."""
    return "at-" + "".join(sign if sign.isalnum() else "-" for sign in what)


def _sum(learner: Learner) -> Html:
    if not learner.counted:
        why = (
            "nothing that you handed in was graded."
            if learner.ungraded
            else "the exercises that you handed in are as they were given out."
        )
        return tag("p", f"No points yet: {why}")
    points = tag("strong", f"{learner.points:g} of {counted(learner.of, 'point')}", class_="points")
    return tag("p", points, f" in {counted(len(learner.counted), 'assignment')}.")


def _contents(learner: Learner) -> Html:
    entries = [
        tag(
            "li",
            tag("a", title_of(name), href=f"#{anchor(name)}"),
            tag("span", f" {each.graded.points:g} of {each.graded.of}", class_="quiet points"),
        )
        for name, each in learner.counted.items()
    ]
    return tag("nav", tag("ul", entries), aria_label="Assignments")


def _untouched(learner: Learner) -> Html:
    return tag(
        "section",
        "\n",
        tag("h2", "Not begun"),
        tag("p", "Handed in as they were given out: ", "; ".join(map(title_of, learner.untouched))),
    )


def _ungraded(learner: Learner, naming: Naming) -> Html:
    return tag(
        "section",
        "\n",
        tag("h2", "Not graded"),
        [
            tag(
                "div",
                tag("h3", file) if (file := naming.file(graded)) else None,
                prose(naming.said(graded.problem)),
                prose(naming.said(graded.comment), class_="comment") if graded.comment else None,
                class_="keep",
            )
            for graded in learner.ungraded
        ],
    )


def _assignment(name: str, each: Counted, naming: Naming, link: LessonLink, keep: str) -> Html:
    graded = each.graded
    file = naming.file(graded)
    points = tag("strong", f"{graded.points:g} of {counted(graded.of, 'point')}", class_="points")
    remarks = [
        *(_other(other, naming, keep) for other in each.others),
        *(naming.said(note) for note in graded.notes),
    ]
    return tag(
        "section",
        "\n",
        tag("h2", title_of(name), id=anchor(name)),
        tag(
            "p",
            points,
            [" · ", tag("span", file, class_="quiet")] if file else None,
            [" · ", tag("span", _handed_in(graded), class_="quiet")]
            if _handed_in(graded)
            else None,
            _lesson(name, link),
        ),
        (
            tag(
                "ul",
                [tag("li", spoken(shortened(remark, LONGEST_FEEDBACK))) for remark in remarks],
                class_="quiet",
            )
            if remarks
            else None
        ),
        prose(naming.said(graded.comment), class_="comment") if graded.comment else None,
        [_task(result, naming) for result in graded.tasks],
    )


def _handed_in(graded: Graded) -> str:
    """When it was handed in; "" where that plays no part."""
    when = graded.handed_in[:16].replace("T", " ")
    return f"late, handed in {when}" if graded.late and when else "late" if graded.late else ""


def _other(graded: Graded, naming: Naming, keep: str) -> str:
    file = naming.file(graded)
    which = f"Another notebook, {file}," if file else "Another notebook"
    rule = KEEP[keep]
    return f"{which} earned {graded.points:g} of {graded.of}; {rule}."


def _lesson(name: str, link: LessonLink) -> list[Content]:
    try:
        which = lesson(name[:2])
    except Problem:
        return []
    title, address = f"lesson {which.number}, {which.title}", link(which)
    return [
        " · ",
        (
            tag("a", title, href=address)
            if address
            else [f"{title}: ", tag("code", f"notebooks/{which.file}")]
        ),
    ]


def _task(result: TaskResult, naming: Naming) -> Html:
    known = known_task(result.task)
    title = f"{result.task} {known.title}" if known else result.task
    of = counted(result.of, "point")
    return tag(
        "article",
        "\n",
        tag(
            "h3",
            tag("span", title),
            badge(result.outcome),
            tag(
                "span",
                f"{result.points:g} of {of}{', set by hand' if result.by_hand else ''}",
                class_="quiet points",
            ),
            id=anchor(result.task),
        ),
        prose(naming.said(result.comment), class_="comment") if result.comment else None,
        prose(shortened(naming.said(result.says), LONGEST_FEEDBACK)),
        (
            tag("p", "Diagnosis: ", tag("strong", naming.said(result.diagnosis)), class_="quiet")
            if result.diagnosis and result.outcome != PASSED
            else None
        ),
        _answer(result, naming),
    )


def _answer(result: TaskResult, naming: Naming) -> Html | None:
    # A cell as it was handed out says nothing.
    handed_out = result.outcome == NOT_ATTEMPTED and "raise NotImplementedError()" in result.answer
    if handed_out or not result.answer.strip():
        return None
    code = shortened(naming.code(result.answer.strip("\r\n")), LONGEST_ANSWER)
    return tag(
        "pre",
        tag("code", code),
        tabindex=0,
        role="region",
        aria_label=f"Your answer to {result.task}",
    )
