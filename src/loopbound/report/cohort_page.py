"""The facilitator's page: learners and tasks at a glance, where people got stuck, and what to say
to the mistakes that were made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from loopbound.outcomes import NOT_ATTEMPTED, OUTCOMES, PASSED, RAISED, TABLE_SIGNS, WRONG
from loopbound.report.learner_page import anchor
from loopbound.report.markup import Content, Html, prose, shortened, spoken, tag
from loopbound.report.naming import Naming
from loopbound.report.page import badge, block, counted, page
from loopbound.report.standing import (
    Cohort,
    Diagnosis,
    Learner,
    Phrase,
    Stuck,
    known_task,
    title_of,
)
from loopbound.report.style import CLASSES

__all__ = ["cohort_page"]

_MOST_NAMES = 8  # learners who are named beside a mistake
_EXAMPLE = 300  # characters of what a check said, where there is nothing else to say

_GLANCED = 5  # tasks and mistakes at a glance
_MOST_MISSING = 20  # names of who has not started

_PARTS = {
    "tasks": "Learners and tasks",
    "stuck": "Where people got stuck",
    "mistakes": "Which mistakes were made",
    "ungraded": "What was not graded",
}


def cohort_page(cohort: Cohort, naming: Naming, phrases: Mapping[tuple[str, str], Phrase]) -> str:
    """The page of the whole cohort."""
    parts = {
        "tasks": _heat_map(cohort) if cohort.tasks else None,
        "stuck": _stuck(cohort) if cohort.tasks else None,
        "mistakes": _mistakes(cohort, naming, phrases) if cohort.tasks else None,
        "ungraded": (
            _ungraded(cohort, naming)
            if any(learner.ungraded for learner in cohort.learners)
            else None
        ),
    }
    shown = {name: part for name, part in parts.items() if part}
    return page(
        "Cohort",
        tag("header", "\n", tag("h1", "Everybody's exercises"), tag("p", _sum(cohort))),
        _glance(cohort, naming) if cohort.learners or cohort.missing else None,
        (
            tag(
                "nav",
                tag("ul", [tag("li", tag("a", _PARTS[name], href=f"#{name}")) for name in shown]),
                aria_label="On this page",
            )
            if shown
            else None
        ),
        [
            tag("section", "\n", tag("h2", _PARTS[name], id=name), part)
            for name, part in shown.items()
        ],
        sheet="@page { size: A4 landscape; margin: 12mm; }\n",
    )


def _sum(cohort: Cohort) -> str:
    if not cohort.learners:
        return "Nothing was graded."
    handed = sum(
        1 + len(each.others) for learner in cohort.learners for each in learner.counted.values()
    ) + sum(len(learner.untouched) for learner in cohort.learners)
    ungraded = sum(len(learner.ungraded) for learner in cohort.learners)
    were = "was" if ungraded == 1 else "were"
    text = f"{counted(len(cohort.learners), 'learner')}, {counted(handed + ungraded, 'notebook')}"
    return f"{text}, of which {ungraded} {were} not graded." if ungraded else f"{text}."


def _percent(part: int, whole: int) -> str:
    # Half up, and never 100 % or 0 % where that would not be true.
    rounded = (200 * part + whole) // (2 * whole)
    return f"{min(max(rounded, 1 if part else 0), 100 if part == whole else 99)} %"


# At a glance --------------------------------------------------------------------------------------


def _glance(cohort: Cohort, naming: Naming) -> Html:
    """Who has not started, who is stuck where, which wrong answer is common: three answers, before
    the tables with everything.
    """
    ungraded = tuple(learner for learner in cohort.learners if learner.ungraded)
    rows: list[tuple[str, Content]] = [
        ("Not started", _not_started(cohort, naming)),
        ("Stuck", _stuck_people(cohort)),
        ("Common mistakes", _common(cohort, naming)),
        *([("Not graded", _who(ungraded))] if ungraded else []),
        *([("The same file, byte by byte", _alike(cohort))] if cohort.alike else []),
    ]
    return tag("dl", [(tag("dt", name), tag("dd", said)) for name, said in rows], class_="glance")


def _alike(cohort: Cohort) -> Html:
    return tag(
        "ul",
        [tag("li", title_of(which), ": ", _who(people)) for which, people in cohort.alike],
    )


def _not_started(cohort: Cohort, naming: Naming) -> list[Content]:
    idle = cohort.not_started()
    if not idle and not cohort.missing:
        return ["None: each learner has begun."]
    said: list[Content] = []
    if cohort.missing:
        names = ", ".join(cohort.missing[:_MOST_MISSING]) if naming.names else ""
        more = [tag("bdi", ", ".join(cohort.missing[_MOST_MISSING:]))]
        said += [
            f"{len(cohort.missing)} handed in nothing",
            [": ", tag("bdi", names), _more(len(cohort.missing) - _MOST_MISSING, more)]
            if names
            else "",
            ". " if idle else ".",
        ]
    if idle:
        said += [
            f"{len(idle)} handed in exercises as they were given out: ",
            _who(tuple(idle)),
            ".",
        ]
    return said


def _stuck_people(cohort: Cohort) -> Content:
    stuck = cohort.stuck()
    if not stuck:
        return "None: what was tried has passed."
    lines: list[Content] = [
        tag("li", tag("strong", _task_name(task)), f", {len(people)}: ", _who(tuple(people)))
        for task, people in [*stuck.items()][:_GLANCED]
    ]
    more = len(stuck) - _GLANCED
    return tag("ul", lines, tag("li", counted(more, "more task"), " below") if more > 0 else None)


def _common(cohort: Cohort, naming: Naming) -> Content:
    found = sorted(
        (each for several in cohort.diagnoses().values() for each in several),
        key=lambda each: -len(each.learners),
    )
    common = [each for each in found if len(each.learners) > 1 and each.name] or [
        each for each in found if each.name
    ]
    if not common:
        return "None that a check could name."
    return tag(
        "ul",
        [
            tag(
                "li",
                f"{len(each.learners)} × ",
                tag("strong", naming.said(each.name)),
                f" in {_task_name(each.task)}",
            )
            for each in common[:_GLANCED]
        ],
    )


def _task_name(task: str) -> str:
    known = known_task(task)
    return f"{task} {known.title}" if known else task


# Learners and tasks -------------------------------------------------------------------------------


def _heat_map(cohort: Cohort) -> list[Content]:
    legend = [tag("li", badge(outcome)) for outcome in reversed(OUTCOMES)]
    nothing = [
        tag("li", "– not begun, or nothing handed in", class_="quiet"),
        tag("li", "? not graded", class_="quiet")
        if any(learner.ungraded for learner in cohort.learners)
        else None,
    ]
    head = tag(
        "thead",
        "\n",
        tag(
            "tr",
            tag("th", "Learner", scope="col", rowspan=2, class_="name"),
            tag("th", "Points", scope="col", rowspan=2, class_="points"),
            [_assignment_head(name, len(tasks)) for name, tasks in cohort.tasks.items() if tasks],
        ),
        tag(
            "tr",
            [
                _task_head(task, place)
                for tasks in cohort.tasks.values()
                for place, task in enumerate(tasks)
            ],
        ),
    )
    went = cohort.went()
    foot = tag(
        "tr",
        tag("th", "Passed", scope="row", class_="name"),
        tag("td"),
        [
            _share(went[task], place)
            for tasks in cohort.tasks.values()
            for place, task in enumerate(tasks)
        ],
    )
    table = tag(
        "table",
        tag("caption", _PARTS["tasks"], class_="hidden"),
        head,
        tag("tbody", "\n", [_row(cohort, learner) for learner in cohort.learners]),
        tag("tfoot", "\n", foot),
        class_="heat",
    )
    how = (
        "A row for each learner, a column for each task. A sign leads to what the check said. The"
        " last row: how many passed, of those who have begun the assignment."
    )
    idle = "; ".join(map(title_of, cohort.untouched))
    not_begun = f"Handed in, and not begun by any learner: {idle}." if idle else ""
    return [
        tag("p", how, class_="quiet"),
        tag("p", not_begun, class_="quiet") if not_begun else None,
        tag("ul", legend, nothing, class_="legend", aria_label="Signs"),
        block(_PARTS["tasks"], table),
    ]


def _assignment_head(name: str, tasks: int) -> Html:
    # As wide as its columns: a long title wraps, and does not pull them apart.
    return tag(
        "th",
        tag("span", title_of(name), style=f"display: block; width: {tasks * 2.5}rem"),
        scope="colgroup",
        colspan=tasks,
        class_="first",
    )


def _task_head(task: str, place: int) -> Html:
    known = known_task(task)
    name = tag("abbr", task, title=f"{task} {known.title}" if known else task)
    return tag("th", name, scope="col", class_="task" if place else "task first")


def _row(cohort: Cohort, learner: Learner) -> Html:
    cells = [
        _cell(learner, name, task, place)
        for name, tasks in cohort.tasks.items()
        for place, task in enumerate(tasks)
    ]
    points = f"{learner.points:g} of {learner.of}" if learner.counted else "–"
    return tag(
        "tr",
        tag("th", _link(learner), scope="row", class_="name"),
        tag("td", points, class_="points"),
        cells,
    )


def _cell(learner: Learner, assignment: str, task: str, place: int) -> Html:
    result = learner.result(assignment, task)
    first = "" if place else " first"
    if result is None:
        why = learner.absent(assignment)
        return tag(
            "td",
            tag("span", "?" if why == "not graded" else "–", aria_hidden="true"),
            tag("span", why, class_="hidden"),
            class_=f"absent{first}",
        )
    known = known_task(task)
    says = f"{task} {known.title if known else ''}".strip()
    sign = tag("span", TABLE_SIGNS[result.outcome], aria_hidden="true")
    # Not a stop of the Tab key: a class of thirty has hundreds of these, and the learner's name
    # leads to the same page.
    inside = tag(
        "a",
        sign,
        tag("span", result.outcome, class_="hidden"),
        href=f"{learner.page}#{anchor(task)}",
        tabindex=-1,
        title=f"{says}: {result.outcome}",
    )
    return tag("td", inside, class_=f"{CLASSES[result.outcome]}{first}")


def _share(stuck: Stuck, place: int) -> Html:
    text = _percent(stuck.counts[PASSED], stuck.people) if stuck.people else "–"
    return tag("td", text, class_=None if place else "first")


def _link(learner: Learner) -> Html:
    return tag("a", tag("bdi", learner.label), href=learner.page)


# Where people got stuck ---------------------------------------------------------------------------


def _stuck(cohort: Cohort) -> list[Content]:
    # Sorting is stable: tasks with the same share stay in teaching order.
    stuck = sorted(
        (each for each in cohort.went().values() if each.not_passed),
        key=lambda each: -each.share,
    )
    if not stuck:
        return [tag("p", "Nowhere: every task of what was begun has passed.")]
    heads = [
        ("Task", None),
        ("Did not pass", "number"),
        ("Share", None),
        *((outcome.capitalize(), "number") for outcome in (WRONG, RAISED, NOT_ATTEMPTED)),
    ]
    heads += [("Minutes planned", "number"), ("Kind", None)]
    table = tag(
        "table",
        tag("caption", _PARTS["stuck"], class_="hidden"),
        tag(
            "thead", tag("tr", [tag("th", text, scope="col", class_=kind) for text, kind in heads])
        ),
        tag("tbody", "\n", [_stuck_row(each) for each in stuck]),
    )
    how = (
        "Tasks that not all have passed, of those who have begun the assignment; the largest"
        " share first."
    )
    return [tag("p", how, class_="quiet"), block(_PARTS["stuck"], table)]


def _stuck_row(each: Stuck) -> Html:
    known = known_task(each.task)
    share = _percent(each.not_passed, each.people)
    bar = tag(
        "span",
        tag("span", style=f"width: {share.replace(' ', '')}"),
        class_="bar",
        aria_hidden="true",
    )
    return tag(
        "tr",
        tag("th", f"{each.task} {known.title}" if known else each.task, scope="row", class_="name"),
        tag("td", f"{each.not_passed} of {each.people}", class_="number"),
        tag("td", bar, f" {share}", class_="points"),
        [
            tag("td", str(each.counts[outcome] or "–"), class_="number")
            for outcome in (WRONG, RAISED, NOT_ATTEMPTED)
        ],
        tag("td", str(known.minutes) if known else "–", class_="number"),
        tag("td", known.kind if known else "–"),
    )


# Which mistakes were made -------------------------------------------------------------------------


def _mistakes(
    cohort: Cohort, naming: Naming, phrases: Mapping[tuple[str, str], Phrase]
) -> list[Content]:
    found = cohort.diagnoses()
    if not found:
        return [tag("p", "None that a check could name.")]
    how = (
        "The words in quotation marks are the check's, to the first learner who is named beside"
        " them. They give no answer away, so you may say them, too. “Typical” are the wrong answers"
        " that the course expects there."
    )
    intro = tag("p", how, class_="quiet")
    return [
        intro,
        *(
            part
            for task, mistakes in found.items()
            for part in _of_task(task, mistakes, naming, phrases)
        ),
    ]


def _of_task(
    task: str, mistakes: list[Diagnosis], naming: Naming, phrases: Mapping[tuple[str, str], Phrase]
) -> Iterator[Content]:
    known = known_task(task)
    yield tag("h3", f"{task} {known.title}" if known else task)
    if (task, "") in phrases:
        yield tag("p", "To all, first: ", spoken(phrases[task, ""].says[0]))
    yield tag(
        "ul",
        [
            _mistake(each, naming, phrases.get((task, each.name)) if each.name else None)
            for each in mistakes
        ],
        class_="mistakes",
    )


def _mistake(each: Diagnosis, naming: Naming, phrase: Phrase | None) -> Html:
    name = naming.said(each.name) or f"{each.outcome}, without a diagnosis"
    typical = [tag("p", "Typical: ", "; ".join(phrase.answers), class_="quiet")] if phrase else None
    return tag(
        "li",
        tag(
            "div",
            tag(
                "p",
                tag("span", f"{len(each.learners)} ×", class_="times"),
                " ",
                tag("strong", name),
            ),
            typical,
        ),
        tag(
            "div",
            tag("p", "“", spoken(_to_say(each, naming, phrase)), "”"),
            tag("div", _who(each.learners), class_="quiet"),
        ),
        class_="keep",
    )


def _to_say(each: Diagnosis, naming: Naming, phrase: Phrase | None) -> str:
    """The paragraph of the check's feedback that carries the words which the course expects; all of
    it where none does.
    """
    lines = [line for line in each.said.split("\n") if line.strip()]
    telling = [line for line in lines if phrase and any(words in line for words in phrase.says)]
    return shortened(naming.said(telling[-1] if telling else " ".join(lines)), _EXAMPLE)


def _who(learners: tuple[Learner, ...]) -> list[Content]:
    return [
        *_links(learners[:_MOST_NAMES]),
        _more(len(learners) - _MOST_NAMES, _links(learners[_MOST_NAMES:])),
    ]


def _links(learners: tuple[Learner, ...]) -> list[Content]:
    named: list[Content] = []
    for learner in learners:
        named += [", " if named else None, _link(learner)]
    return named


def _more(number: int, names: Content) -> Html | None:
    """The names for which a line has no room, behind their number."""
    if number <= 0:
        return None
    return tag("details", tag("summary", f" and {number} more"), ": ", names, class_="more")


# What could not be read ---------------------------------------------------------------------------


def _ungraded(cohort: Cohort, naming: Naming) -> list[Content]:
    rows = [
        tag(
            "tr",
            tag("th", _link(learner), scope="row", class_="name"),
            tag("td", naming.file(graded), class_="file") if naming.names else None,
            tag("td", prose(naming.said(graded.problem))),
        )
        for learner in cohort.learners
        for graded in learner.ungraded
    ]
    heads = ["Learner", *(["File"] if naming.names else []), "Why"]
    head = tag("thead", tag("tr", [tag("th", text, scope="col") for text in heads]))
    table = tag(
        "table",
        tag("caption", _PARTS["ungraded"], class_="hidden"),
        head,
        tag("tbody", "\n", rows),
    )
    return [block(_PARTS["ungraded"], table)]
