"""The pages of `loopbound grade --html`: for each learner and for the cohort, from results made by
hand.
"""

from __future__ import annotations

import itertools
import os
import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from chromium import FLAGS, chromium_or_skip

from loopbound.authoring.proof import wrong_answers
from loopbound.course import manifest
from loopbound.course.manifest import assignment, assignments, task
from loopbound.figures.style import INK
from loopbound.grading.results import Graded, TaskResult
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, TABLE_SIGNS, WRONG
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.report import check_folder, write_notebooks, write_report
from loopbound.report.markup import shown
from loopbound.report.naming import Naming, page_of
from loopbound.report.standing import cohort
from loopbound.report.style import COLOURS, SHEET

# Two assignments as these tests count them, whatever the course adds to its own. Names and ids are
# the course's, since the pages quote its hints and know its wrong answers.
COURSE = """
[[lesson]]
file = "01-what-a-loop-is.ipynb"
title = "What a loop is"
minutes = 25
claims = []

[[lesson]]
file = "04-the-global-engine.ipynb"
title = "The global engine"
minutes = 25
claims = []

[[assignment]]
name = "01-what-a-loop-is"
title = "Turns on a loop"
tasks = [
    { id = "01.1", title = "Who speaks when", kind = "predict", points = 2, minutes = 5 },
    { id = "01.2", title = "All reports at once", kind = "write", points = 3, minutes = 7 },
    { id = "01.3", title = "A long count", kind = "write", points = 2, minutes = 6 },
    { id = "01.4", title = "A bell", kind = "write", points = 2, minutes = 5 },
]

[[assignment]]
name = "04-the-global-engine"
title = "Engines and passing loops"
tasks = [
    { id = "04.1", title = "Two left over", kind = "predict", points = 2, minutes = 7 },
    { id = "04.2", title = "Ask and leave nothing", kind = "write", points = 3, minutes = 8 },
    { id = "04.3", title = "An engine for passing loops", kind = "cure", points = 2, minutes = 5 },
    { id = "04.4", title = "Four rows", kind = "evidence", points = 2, minutes = 6 },
]
"""
ONE, FOUR = "01-what-a-loop-is", "04-the-global-engine"
STUB = "def six_loops():\n    # YOUR CODE HERE\n    raise NotImplementedError()"
VOID = {"meta"}


def read_again() -> None:
    manifest.assignments.cache_clear()
    manifest.lessons.cache_clear()


@pytest.fixture(autouse=True)
def small_course(request: pytest.FixtureRequest) -> Iterator[None]:
    """The manifest of these tests; a test that asks for ``whole_course`` has the real one."""
    if "whole_course" in request.fixturenames:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest, "_tables", lambda: tomllib.loads(COURSE))
        read_again()
        yield
    read_again()


@pytest.fixture
def whole_course() -> None:
    """For a test that is about the course itself, or about many tasks."""


class Page(HTMLParser):
    """A page as its elements: name, attributes, and the text inside.

    Fails where tags do not close in the order in which they opened.
    """

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.comments: list[str] = []
        self._open: list[tuple[str, list[str]]] = []
        self.feed(text)
        self.close()
        assert self._open == [], "elements that nothing closes"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self._open.append((tag, self.elements[-1][2]))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1][0] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, texts in self._open:
            texts.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def all(self, tag: str, **wanted: str) -> list[str]:
        """The texts of the elements of this kind, with these attributes; ``class_`` is one of its
        classes.
        """
        return [
            "".join(texts)
            for name, given, texts in self.elements
            if name == tag and all(_has(given, key, value) for key, value in wanted.items())
        ]

    def links(self) -> list[str]:
        return [given["href"] or "" for name, given, _ in self.elements if name == "a"]


def _has(given: dict[str, str | None], key: str, value: str) -> bool:
    found = given.get(key.rstrip("_").replace("_", "-"))
    return found is not None and (value in found.split() if key == "class_" else found == value)


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def result(
    identity: str,
    outcome: str,
    says: str = "The check saw it.",
    diagnosis: str = "",
    answer: str = "def answer():\n    return 1",
) -> TaskResult:
    of = task(identity).points
    return TaskResult(
        identity, outcome, of if outcome == PASSED else 0, of, says, diagnosis, 0.5, answer
    )


def handed_in(learner: str, name: str, outcomes: str, file: str = "", **more: Any) -> Graded:
    """A submission whose tasks came out as these signs say."""
    signs = {sign: outcome for outcome, sign in TABLE_SIGNS.items()}
    tasks = tuple(
        result(each.id, signs[sign])
        for each, sign in zip(assignment(name).tasks, outcomes, strict=True)
    )
    return Graded(
        file or f"/srv/in/{learner}/{name}.ipynb",
        learner,
        f"{learner}{name}{outcomes}",
        name,
        tasks,
        **more,
    )


def unreadable(learner: str, file: str, problem: str) -> Graded:
    return Graded(file, learner, "", problem=problem)


def with_task(graded: Graded, changed: TaskResult) -> Graded:
    return replace(
        graded, tasks=tuple(changed if each.task == changed.task else each for each in graded.tasks)
    )


def a_cohort() -> list[Graded]:
    return [
        handed_in("mina", ONE, "✓✓✓✓"),
        handed_in("mina", FOUR, "✗✓✓✓"),
        handed_in("joel", ONE, "✗!··"),
        unreadable("aiko", "/srv/in/aiko/night.ipynb", "night.ipynb is empty."),
    ]


# The cohort's page --------------------------------------------------------------------------------


def test_a_page_for_each_learner_and_one_for_all(tmp_path: Path) -> None:
    index = write_report(tmp_path / "new" / "pages", a_cohort(), names=True)
    assert index == tmp_path / "new" / "pages" / "index.html"
    assert sorted(path.name for path in index.parent.iterdir()) == [
        "index.html",
        "learner-aiko.html",
        "learner-joel.html",
        "learner-mina.html",
    ]
    for path in index.parent.iterdir():
        page = read(path)
        addresses = [given["id"] for _, given, _ in page.elements if "id" in given]
        for link in page.links():  # every link leads somewhere
            file, _, fragment = link.partition("#")
            target = read(index.parent / file) if file else page
            assert not fragment or fragment in {
                given.get("id") for _, given, _ in target.elements
            }, link
        assert len(addresses) == len({*addresses}), "an id stands for one element"


def test_the_heat_map_tells_outcomes_by_sign_and_word_and_colour(tmp_path: Path) -> None:
    page = read(write_report(tmp_path, a_cohort(), names=True))
    kinds = {"passed", "wrong", "raised", "untouched", "absent"}
    cells = [
        (given["class"] or "", "".join(texts))
        for name, given, texts in page.elements
        if name == "td" and kinds & {*(given.get("class") or "").split()}
    ]
    assert len(cells) == 3 * 8
    assert [text for _, text in cells if text.startswith("–")] == [
        *["–nothing that could be read"] * 8,
        *["–nothing handed in"] * 4,
    ]
    assert sorted({(kind.split()[0], text) for kind, text in cells}) == [
        ("absent", "–nothing handed in"), ("absent", "–nothing that could be read"), ("passed", "✓passed"), ("raised", "!raised"), ("untouched", "·not attempted"), ("wrong", "✗wrong"),
    ]  # fmt: skip
    # joel's row: after aiko's eight cells
    assert [text for _, text in cells[8:12]] == [
        "✗wrong",
        "!raised",
        "·not attempted",
        "·not attempted",
    ]


def shares(page: Page) -> list[int]:
    """The last row of the heat map: percent passed, task by task."""
    foot = next("".join(texts) for name, _, texts in page.elements if name == "tfoot")
    return [int(found) for found in re.findall(r"(\d+) %", foot)]


def test_points_and_shares(tmp_path: Path) -> None:
    page = read(write_report(tmp_path, a_cohort(), names=True))
    points = [text for text in page.all("td", class_="points") if " of " in text]
    assert points == ["0 of 9", "16 of 18"]  # joel, mina; aiko has none
    assert shares(page) == [50, 50, 50, 50, 0, 100, 100, 100]


def test_where_people_got_stuck(tmp_path: Path) -> None:
    results = [
        handed_in(f"user {number}", ONE, signs)
        for number, signs in enumerate(["✗✓·✓", "✗✓!✓", "✗✓✓✓"])
    ]
    page = read(write_report(tmp_path, results, names=True))
    # A row for 01.1 and 01.3, none for the tasks that all have passed.
    head, first, second = page.all("tr")[-3:]
    assert head.startswith("TaskDid not pass")
    minutes = task("01.1").minutes, task("01.3").minutes
    assert first == f"01.1 {task('01.1').title}3 of 3 100 %3––{minutes[0]}predict"
    assert second == f"01.3 {task('01.3').title}2 of 3 67 %–11{minutes[1]}write"


def test_a_share_is_never_rounded_to_all_or_none(tmp_path: Path) -> None:
    results = [
        handed_in(f"user {number}", ONE, "✗✓✓✓" if number == 7 else "✓✗✓✓") for number in range(250)
    ]
    assert shares(read(write_report(tmp_path, results, names=True))) == [99, 1, 100, 100]


def test_mistakes_are_counted_and_the_course_knows_what_to_say(tmp_path: Path) -> None:
    known = next(
        each
        for each in wrong_answers(repository(), assignment("04"))
        if each.diagnosis == "one place"
    )
    says = (
        f"Your list is right up to here.\nYou foretell a pool with one place. {known.says[-1]}"
        " in it?"
    )
    results = [
        with_task(handed_in(name, FOUR, "✗✓✓✓"), result("04.1", WRONG, says, diagnosis))
        for name, diagnosis in [
            ("mina", "one place"),
            ("joel", "one place"),
            ("aiko", "did not end"),
            ("noor", ""),
        ]
    ]
    page = read(write_report(tmp_path, results, names=True))
    mistakes = page.all("li", class_="keep")
    assert [text[: text.index("×")].strip() for text in mistakes] == ["2", "1", "1"]
    assert "one place" in mistakes[0] and known.name in mistakes[0] and "joel, mina" in mistakes[0]
    # The line with the telling words alone.
    assert f"“You foretell a pool with one place. {known.says[-1]} in it?”" in mistakes[0]
    assert "wrong, without a diagnosis" in mistakes[1] and "Typical" not in mistakes[1]
    assert "did not end" in mistakes[2] and "Your list is right up to here." in mistakes[2]


def test_every_expected_diagnosis_has_words(repository: Path, whole_course: None) -> None:
    from loopbound.report.standing import phrases

    found = phrases(repository, [which.name for which in assignments()])
    expected = {
        (each.task, each.diagnosis)
        for which in assignments()
        for each in wrong_answers(repository, which)
        if each.diagnosis
    }
    assert expected <= found.keys()
    assert {each.id for which in assignments() for each in which.tasks} == {
        identity for identity, diagnosis in found if not diagnosis
    }


def test_the_page_begins_with_who_has_not_started_is_stuck_or_made_which_mistake(
    tmp_path: Path,
) -> None:
    results = [
        *(
            with_task(handed_in(name, ONE, "✗✓✓✓"), result("01.1", WRONG, "Two.", "two lines"))
            for name in ("mina", "joel")
        ),
        handed_in("mina", FOUR, "····"),
        handed_in("noor", ONE, "✓!··"),
        # Whole clones: nothing was begun in them, so nothing has failed.
        *(handed_in("lea", name, "····") for name in (ONE, FOUR)),
        unreadable("aiko", "/srv/in/aiko/night.ipynb", "night.ipynb is empty."),
    ]
    write_report(tmp_path / "named", results, names=True, missing=["Max Idle"])
    page = read(tmp_path / "named" / "index.html")
    assert page.all("dt") == ["Not started", "Stuck", "Common mistakes", "Not graded"]
    first, second = task("01.1").title, task("01.2").title
    assert [" ".join(text.split()) for text in page.all("dd")] == [
        "1 handed in nothing: Max Idle. 1 handed in exercises as they were given out: lea.",
        f"01.1 {first}, 2: joel, mina 01.2 {second}, 1: noor",
        f"2 × two lines in 01.1 {first}",
        "aiko",
    ]
    # An assignment that not one learner has begun has no column, and no part in the shares.
    assert page.all("th", scope="colgroup") == ["01 · Turns on a loop"] and shares(page) == [
        33,
        67,
        67,
        67,
    ]
    assert any(
        "not begun by any learner: 04 · Engines and passing loops" in text for text in page.all("p")
    )
    assert page.all("td", class_="absent") == [
        *["–nothing that could be read"] * 4,
        *["–not begun"] * 4,
    ]
    assert [text for text in page.all("td", class_="points") if " of " in text][:3] == [
        "7 of 9",
        "7 of 9",
        "2 of 9",
    ]
    lea = read(tmp_path / "named" / "learner-lea.html")
    assert lea.all("article") == [] and any("as they were given out" in p for p in lea.all("p"))
    write_report(tmp_path / "unnamed", results, names=False, missing=["Max Idle"])
    unnamed = (tmp_path / "unnamed" / "index.html").read_text(encoding="utf-8")
    assert "1 handed in nothing. 1 handed in" in unnamed and "Idle" not in unnamed


def test_each_name_is_on_the_page_and_is_a_link(tmp_path: Path) -> None:
    names = [f"learner-{letter}" for letter in "abcdefghijk"]
    results = [
        with_task(handed_in(name, ONE, "✗✓✓✓"), result("01.1", WRONG, "Two.", "two lines"))
        for name in names
    ]
    missing = [f"Idle {number}" for number in range(23)]
    index = write_report(tmp_path, results, names=True, missing=missing)
    page = read(index)
    more = page.all("details", class_="more")
    assert [text.split() for text in more] == [
        ["and", "3", "more:", "Idle", "20,", "Idle", "21,", "Idle", "22"],
        *[["and", "3", "more:", "learner-i,", "learner-j,", "learner-k"]] * 2,
    ]
    text = index.read_text(encoding="utf-8")
    # At a glance, in the table, and beside the mistake.
    assert all(text.count(f'href="{page_of(name)}"') == 3 for name in names)


def test_the_latest_counts_where_that_is_the_rule(tmp_path: Path) -> None:
    results = [
        handed_in("mina", ONE, "✓✓✓✓", "/srv/in/mina/b.ipynb", order="2026-11-01 00000"),
        handed_in("mina", ONE, "✓✓··", "/srv/in/mina/a.ipynb", order="2026-11-02 00001", late=True),
    ]
    index = read(write_report(tmp_path, results, names=True, keep="latest"))
    assert [text for text in index.all("td", class_="points") if " of " in text] == ["5 of 9"]
    page = read(tmp_path / "learner-mina.html")
    remark = "Another notebook, b.ipynb, earned 9 of 9; the latest one counts."
    assert remark in page.all("li") and "late" in page.all("span", class_="quiet")


def test_what_could_not_be_read_is_listed_with_its_reason(tmp_path: Path) -> None:
    page = read(write_report(tmp_path, a_cohort(), names=True))
    assert page.all("tr")[-1].split() == ["aikonight.ipynbnight.ipynb", "is", "empty."]
    assert "which 1 was not graded" in page.all("p")[0]
    assert "night.ipynb is empty." in "".join(read(tmp_path / "learner-aiko.html").all("section"))


def test_no_results_make_a_page_too(tmp_path: Path) -> None:
    assert "Nothing was graded." in read(write_report(tmp_path, [], names=True)).all("p")


def test_nobody_stuck(tmp_path: Path) -> None:
    page = read(write_report(tmp_path, [handed_in("mina", ONE, "✓✓✓✓")], names=True))
    assert any(text.startswith("Nowhere") for text in page.all("p"))


def test_an_assignment_that_the_course_has_no_more(tmp_path: Path) -> None:
    gone = Graded(
        "/srv/in/mina/77-old.ipynb",
        "mina",
        "d",
        "77-old",
        (TaskResult("77.1", WRONG, 0, 2, "It was wrong.", "old mistake", 0.1, "x = 1"),),
    )
    page = read(write_report(tmp_path, [gone, handed_in("mina", ONE, "✓✓✓✓")], names=True))
    assert page.all("th", scope="colgroup") == ["01 · Turns on a loop", "77-old"]
    assert "77.1" in "".join(read(tmp_path / "learner-mina.html").all("h3"))


# A learner's page ---------------------------------------------------------------------------------


def test_a_learner_reads_outcome_feedback_diagnosis_and_the_own_code(tmp_path: Path) -> None:
    graded = with_task(
        handed_in("mina", FOUR, "✗✓✓·"),
        result(
            "04.1",
            WRONG,
            "Loop C: `ok`.\nWhat stood there?",
            "one place",
            "def six_loops():\n    return ['ok']",
        ),
    )
    graded = with_task(
        graded,
        result("04.4", NOT_ATTEMPTED, "`which_engine` is as it was handed out.", answer=STUB),
    )
    write_report(
        tmp_path,
        [
            replace(graded, notes=("The file was saved as UTF-16, not UTF-8.",)),
            handed_in("joel", FOUR, "✓✓✓✓"),
        ],
        names=True,
    )
    page = read(tmp_path / "learner-mina.html")
    article = page.all("article")[0]
    assert f"04.1 {task('04.1').title}✗ wrong0 of 2 points" in article
    assert (
        "Loop C: ok." in article
        and "What stood there?" in article
        and "Diagnosis: one place" in article
    )
    assert page.all("pre", aria_label="Your answer to 04.1") == [
        "def six_loops():\n    return ['ok']"
    ]
    assert "ok" in page.all("code")
    assert "The file was saved as UTF-16, not UTF-8." in page.all("li")
    assert "YOUR CODE HERE" not in (tmp_path / "learner-mina.html").read_text(encoding="utf-8")
    assert "joel" not in (tmp_path / "learner-mina.html").read_text(encoding="utf-8")
    assert page.all("strong", class_="points")[0] == "5 of 9 points"


def test_the_solution_is_in_no_page(tmp_path: Path, repository: Path, whole_course: None) -> None:
    from loopbound.authoring.proof import answer_of

    # Lines that only the solution has, of tasks that nobody has solved.
    results = [handed_in("mina", which.name, "✗" * len(which.tasks)) for which in assignments()]
    write_report(tmp_path, results, names=True)
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    for which in assignments():
        for each in which.tasks:
            own = set(answer_of(repository, each.id).splitlines()) - set(
                answer_of(repository, each.id, stub=True).splitlines()
            )
            assert [line for line in own if len(line.strip()) > 25 and line.strip() in pages] == []


def test_the_best_of_several_submissions_counts(tmp_path: Path) -> None:
    results = [
        handed_in("mina", ONE, "✓✓··", "/srv/in/mina/first.ipynb"),
        handed_in("mina", ONE, "✓✓✓·", "/srv/in/mina/second.ipynb"),
        handed_in("mina", ONE, "✗✗✗✗", "/srv/in/mina/third.ipynb"),
    ]
    index = read(write_report(tmp_path, results, names=True))
    assert [text for text in index.all("td", class_="points") if " of " in text] == ["7 of 9"]
    assert "1 learner, 3 notebooks." in index.all("p")
    page = read(tmp_path / "learner-mina.html")
    assert page.all("strong", class_="points") == ["7 of 9 points"] * 2
    remarks = [text for text in page.all("li") if text.startswith("Another notebook")]
    assert [re.findall(r"\w+\.ipynb|\d+ of \d+", text) for text in remarks] == [
        ["first.ipynb", "5 of 9"],
        ["third.ipynb", "0 of 9"],
    ]


def test_the_lesson_is_linked_from_inside_the_clone(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setattr("loopbound.report.write.repository", lambda: tmp_path)
    write_report(tmp_path / "out" / "pages", [handed_in("mina", FOUR, "✓✓✓✓")], names=True)
    assert (
        "../../notebooks/04-the-global-engine.ipynb"
        in read(tmp_path / "out" / "pages" / "learner-mina.html").links()
    )
    monkeypatch.undo()
    # From elsewhere a link would carry the folders of this machine along.
    write_report(tmp_path / "pages", [handed_in("mina", FOUR, "✓✓✓✓")], names=True)
    page = read(tmp_path / "pages" / "learner-mina.html")
    assert "notebooks/04-the-global-engine.ipynb" in page.all("code")
    assert page.links() == []


def test_folders_of_the_grader_are_not_in_feedback(tmp_path: Path) -> None:
    says = (
        "`send()` raised at /opt/course/src/loopbound/checks/lesson_02.py:222 and"
        " C:\\Python\\Lib\\asyncio\\tasks.py:12, at `/reports/7/stream`."
    )
    write_report(
        tmp_path,
        [with_task(handed_in("mina", ONE, "✗✓✓✓"), result("01.1", RAISED, says))],
        names=True,
    )
    paragraph = next(
        text for text in read(tmp_path / "learner-mina.html").all("p") if text.startswith("send()")
    )
    assert (
        paragraph == "send() raised at …/lesson_02.py:222 and …/tasks.py:12, at /reports/7/stream."
    )


# What learners write is text ----------------------------------------------------------------------

HOSTILE = (
    '</code></pre></style><script>document.title="owned"</script><img src=x onerror=alert(1)>'
    " \x1b[31mred\x1b[0m \u202eltr\u202c \u200b\ud800\x00\x7f\x9b\ufeff --> &amp; \"'"
)


@pytest.mark.parametrize("names", [True, False])
def test_hostile_text_stays_text(names: bool, tmp_path: Path) -> None:
    bad = result("01.1", WRONG, HOSTILE, HOSTILE, HOSTILE)
    results = [
        replace(
            with_task(handed_in("mina", ONE, "✗✓✓✓", f"/srv/in/x/{HOSTILE.replace('/', '')}"), bad),
            learner=HOSTILE,
            notes=(HOSTILE,),
        ),
        unreadable("joel" + HOSTILE, "/srv/in/joel/a.ipynb", HOSTILE),
    ]
    write_report(tmp_path, results, names=names)
    for path in tmp_path.iterdir():
        assert re.fullmatch(r"[a-z0-9-]+\.html", path.name)
        page, text = read(path), path.read_bytes().decode("utf-8")
        assert not {"script", "img"} & {name for name, _, _ in page.elements}
        assert not [key for _, given, _ in page.elements for key in given if key.startswith("on")]
        assert page.comments == [
            " written by loopbound grade; the next report replaces or removes this page "
        ]
        assert [
            sign
            for sign in text
            if unicodedata.category(sign) in ("Cc", "Cf", "Cs") and sign != "\n"
        ] == []
        assert "default-src 'none'" in next(
            given["content"] or ""
            for name, given, _ in page.elements
            if name == "meta" and given.get("http-equiv")
        )


def test_what_cannot_be_seen_gets_a_sign() -> None:
    assert (
        shown("a\x1b[0m\u202e\ud800\r\nb\t\x7f\x85é 👩\u200d💻")
        == "a␛[0m⟨U+202E⟩⟨U+D800⟩\nb\t␡⟨U+0085⟩é 👩\u200d💻"
    )


def test_a_long_answer_is_cut_where_it_is_too_long(tmp_path: Path) -> None:
    long, longer = "x = '" + "y" * 10_000 + "'", "z" * 150_000
    graded = with_task(
        with_task(handed_in("mina", ONE, "✗✗✓✓"), result("01.1", WRONG, answer=long)),
        result("01.2", WRONG, longer, answer=longer),
    )
    write_report(tmp_path, [graded], names=True)
    page = read(tmp_path / "learner-mina.html")
    assert page.all("pre", aria_label="Your answer to 01.1") == [long]
    assert page.all("pre", aria_label="Your answer to 01.2") == [
        "z" * 20_000 + " … (130,000 characters more)"
    ]
    assert (tmp_path / "learner-mina.html").stat().st_size < 60_000


# Without names ------------------------------------------------------------------------------------


def test_no_name_no_path_and_no_file_name_is_left(tmp_path: Path) -> None:
    file = "/home/jane/handed-in/anna-schmidt/last try.ipynb"
    code = (
        "# Anna Schmidt, ANNA's engine\nanna_engine = open('/home/anna/secret.txt')  # with José,"
        " Jose\u0301 and bo\nbook = 'last try.ipynb'"
    )
    results = [
        with_task(
            handed_in("anna-schmidt", ONE, "✗✓✓✓", file),
            result(
                "01.1",
                WRONG,
                f"Saw anna at {file} and /home/jane/handed-in/x.",
                "one of anna",
                code,
            ),
        ),
        # As macOS spells him.
        replace(
            handed_in("Jose\u0301", ONE, "✓✓✓✓", "/home/jane/handed-in/Jose\u0301/work.ipynb"),
            notes=("work.ipynb is old.",),
        ),
        handed_in("bo", ONE, "✓✓✓✓", "C:\\Users\\Jane\\in\\bo\\bo.ipynb"),
        unreadable(
            "anna-schmidt",
            "/home/jane/handed-in/anna-schmidt/04-the-global-engine.ipynb",
            "04-the-global-engine.ipynb is empty.",
        ),
    ]
    write_report(tmp_path, results, names=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.html",
        "learner-01.html",
        "learner-02.html",
        "learner-03.html",
    ]
    for path in tmp_path.iterdir():
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8")).casefold()
        for trace in (
            "anna",
            "schmidt",
            "josé",
            "jane",
            "handed-in",
            "last try",
            "work.ipynb",
            "/home",
            "users\\",
            "secret",
        ):
            assert trace not in text, (path.name, trace)
        assert not re.search(r"\bbo\b", text)
    pages = "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert "[name]_engine = open(" in pages
    assert "This file is empty." in pages and "This file is old." in pages
    assert "learner 1" in pages and "learner 3" in pages


def test_a_name_is_found_in_composed_and_in_decomposed_letters() -> None:
    # macOS takes the letters of file names apart: é is e and an accent of its own there.
    composed, decomposed = "Jos\u00e9", "Jose\u0301"
    for learner in (composed, decomposed):
        file = f"/srv/in/{learner}/work.ipynb"
        naming = Naming([handed_in(learner, ONE, "✓✓✓✓", file)], names=False)
        for spelled in (composed, decomposed):
            assert naming.code(f"# by {spelled}") == "# by [name]"
            assert naming.code(f"/srv/in/{spelled}/work.ipynb is old.") == "This file is old."
            assert naming.code(f"open('/srv/in/{spelled}/a.txt')") == "open('[path]/a.txt')"


@pytest.mark.parametrize(
    ("folder", "everybodys"),
    [("/srv/group-7b/in/bo", "/srv"), ("D:\\group-7b\\in\\bo", "D:\\"), ("/mnt/group-7b", "/mnt")],
)
def test_folders_outside_the_home_are_left_out(folder: str, everybodys: str) -> None:
    slash = "\\" if "\\" in folder else "/"
    file = slash.join([folder, "bo.ipynb"])
    naming = Naming([handed_in("bo", ONE, "✓✓✓✓", file)], names=False)
    parts = folder.split(slash)
    above = [slash.join(parts[:end]) for end in range(3, len(parts) + 1)]
    for path in above:
        for spelled in {path, path.replace("\\", "/"), path.replace("\\", "\\\\")}:
            assert naming.code(f"open('{spelled}{slash}a.txt')") == f"open('[path]{slash}a.txt')"
    assert naming.code(f"open('{everybodys}')") == f"open('{everybodys}')"


@pytest.mark.parametrize(
    ("learners", "file", "code", "shown"),
    [
        (["bo"], "work.ipynb", "work and works", "[file] and [file]s"),
        (["bo"], "day.ipynb", "day, day.ipynb", "day, this file"),
        (["123"], "work.ipynb", "123", "123"),
        (["1234"], "work.ipynb", "1234", "[name]"),
        (["joely"], "work.ipynb", "joely, joelys", "[name], joelys"),
        (["joelle"], "work.ipynb", "joelle, joelles", "[name], [name]s"),
        (["ann-li"], "work.ipynb", "li, ann, Ann Li, annli", "li, [name], [name], [name]"),
        (["anna", "anna-schmidt"], "work.ipynb", "Anna Schmidt", "[name]"),
    ],
)
def test_how_long_a_name_has_to_be_to_be_found(
    learners: list[str], file: str, code: str, shown: str
) -> None:
    results = [handed_in(name, ONE, "✓✓✓✓", f"/srv/in/{file}") for name in learners]
    assert Naming(results, names=False).code(code) == shown


def test_names_are_found_as_words_and_make_no_holes_in_others(tmp_path: Path) -> None:
    code = "a = [7, 'A', 'lines', 'LIST', defines, 'the loop', user]  # 04-the-global-engine"
    names = ("a", "7", "ines", "li", "user-07", "the loop sitter", "04-the-global-engine")
    results = [
        with_task(
            handed_in(name, ONE, "✗✓✓✓"), result("01.1", WRONG, "On loop A: 7 lines.", answer=code)
        )
        for name in names
    ]
    told = "# Ines: inesEngine, getInes, ines_2, ines2, INES, Li, sitter, user-07, User07"
    write_report(
        tmp_path,
        [*results, with_task(handed_in("noor", ONE, "✗✓✓✓"), result("01.1", WRONG, answer=told))],
        names=False,
    )
    answers = [
        text
        for path in tmp_path.glob("learner-*.html")
        for text in read(path).all("pre", aria_label="Your answer to 01.1")
    ]
    assert answers.count(code) == len(names)
    assert (
        "# [name]: [name]Engine, get[name], [name]_2, [name]2, [name], [name], [name], [name],"
        " [name]" in answers
    )


def test_a_notebook_that_ran_has_the_number_of_its_page(tmp_path: Path) -> None:
    source = tmp_path / "a.ipynb"
    source.write_text('{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}')
    others = [handed_in(name, ONE, "✓✓··", f"/srv/in/{name}/a.ipynb") for name in ("joel", "mina")]
    for name in ("aiko", "lea", "noor", "zoe"):
        one = handed_in(name, ONE, "✓✗··", str(source), shown={})
        naming = Naming([one, *others], names=False)
        folder = tmp_path / name
        folder.mkdir()
        write_notebooks(folder, [one], {one.file: source}, names=False, others=others)
        page = naming.page(name).removesuffix(".html")
        assert [path.name for path in folder.iterdir()] == [f"{page}-{ONE}.ipynb"]


def test_numbers_are_stable_and_the_class_list_does_not_give_them() -> None:
    results = [handed_in(f"user {number:02}", ONE, "✓✓✓✓") for number in range(40)]
    order = Naming(results, names=False).order
    assert Naming(results[::-1], names=False).order == order
    assert order != sorted(order) and sorted(order) == [graded.learner for graded in results]
    # The same class with other notebooks: whoever knows only the names learns nothing from the
    # order.
    assert (
        Naming(
            [replace(graded, digest=graded.digest + "!") for graded in results], names=False
        ).order
        != order
    )


def test_with_names_learners_stand_in_alphabetical_order() -> None:
    results = [handed_in(name, ONE, "✓✓✓✓") for name in ("zoe", "Çağla", "bo", "Anna", "danış")]
    assert Naming(results, names=True).order == ["Anna", "bo", "Çağla", "danış", "zoe"]


def test_no_two_learners_share_a_page() -> None:
    names = [
        "anna",
        "Anna",
        "ANNA",
        "an na",
        "an-na",
        "../an/na",
        "",
        "con",
        "高橋",
        "佐藤",
        "index",
        "a" * 200,
        "a" * 201,
    ]
    anna = (
        Naming([handed_in("Anna", ONE, "✓✓✓✓")], names=True)
        .page("Anna")
        .removeprefix("learner-")
        .removesuffix(".html")
    )
    naming = Naming([handed_in(name, ONE, "✓✓✓✓") for name in [*names, anna]], names=True)
    pages = [naming.page(name) for name in [*names, anna]]
    assert len({page.casefold() for page in pages}) == len(pages)
    assert all(re.fullmatch(r"learner-[a-z0-9-]{1,60}\.html", page) for page in pages)


# Files --------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("names", [True, False])
def test_the_same_results_give_the_same_bytes(names: bool, tmp_path: Path) -> None:
    write_report(tmp_path / "one", a_cohort(), names=names)
    # In another order, and with the times of another run.
    again = [
        replace(
            graded, seconds=9.0, tasks=tuple(replace(each, seconds=8.0) for each in graded.tasks)
        )
        for graded in a_cohort()[::-1]
    ]
    write_report(tmp_path / "two", again, names=names)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_pages_of_an_earlier_report_go_and_other_files_stay(tmp_path: Path) -> None:
    write_report(tmp_path, a_cohort(), names=True)
    others = {
        "notes.html": "<!DOCTYPE html>\n<p>learner",
        "learner-old.html": "mine",
        "style.css": "p {}",
        "data.json": "{}",
    }
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.html").mkdir()
    write_report(tmp_path, a_cohort(), names=False)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {
        *others,
        "folder.html",
        "index.html",
        "learner-01.html",
        "learner-02.html",
        "learner-03.html",
    }
    assert all((tmp_path / name).read_text() == text for name, text in others.items())


@pytest.mark.parametrize("name", ["index.html", "learner-mina.html"])
def test_a_page_of_somebody_else_is_not_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("<p>My own page</p>")
    with pytest.raises(Problem, match="was not written by this command, and is not replaced"):
        write_report(tmp_path, a_cohort(), names=True)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "<p>My own page</p>"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_is_not_written_through(tmp_path: Path) -> None:
    write_report(tmp_path / "other", a_cohort(), names=True)
    before = contents(tmp_path / "other")
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "index.html").symlink_to(tmp_path / "other" / "index.html")
    with pytest.raises(Problem, match="is not replaced"):
        write_report(tmp_path / "pages", [], names=True)
    assert contents(tmp_path / "other") == before


def test_a_folder_that_cannot_be_made_is_said_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Problem, match="cannot hold the pages"):
        check_folder(tmp_path / "file" / "pages")
    with pytest.raises(Problem, match="cannot hold the pages"):
        check_folder(tmp_path / "file")


# How it looks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [True, False])
def test_pages_need_nothing_from_elsewhere_and_can_be_read_aloud(
    names: bool, tmp_path: Path
) -> None:
    write_report(tmp_path, a_cohort(), names=names)
    for path in tmp_path.iterdir():
        page, text = read(path), path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|url\(|@import| src=|<link", text)
        kinds = [name for name, _, _ in page.elements]
        assert kinds.count("h1") == kinds.count("main") == kinds.count("title") == 1
        assert ("html", "en") in [(name, given.get("lang")) for name, given, _ in page.elements]
        assert all(given.get("scope") for name, given, _ in page.elements if name == "th")
        assert kinds.count("caption") == kinds.count("table")
        # What scrolls can be reached with the keyboard, and says what it is.
        assert all(
            given.get("tabindex") == "0" and given.get("aria-label")
            for name, given, _ in page.elements
            if name == "pre" or given.get("class") == "scroll"
        )
        headings = [int(name[1]) for name in kinds if re.fullmatch(r"h\d", name)]
        assert all(after - before <= 1 for before, after in itertools.pairwise(headings))


def _tones(sheet: str) -> list[dict[str, str]]:
    """The colours of the themes: by day and by night."""
    return [
        dict(re.findall(r"--(\w+): (#\w{6});", rules))
        for rules in re.findall(r":root \{ (--.*?) color-scheme", sheet)
    ]


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2: 1 to 21."""

    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((light(one), light(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_text_stands_out_in_both_themes() -> None:
    day, night = _tones(SHEET)
    assert day["ink"] == INK and day.keys() == night.keys()
    for tones in (day, night):
        for ground in ("paper", "soft", "passed", "wrong", "raised", "untouched"):
            assert _contrast(tones["ink"], tones[ground]) >= 4.5, ground
        for text in ("muted", "link"):
            assert _contrast(tones[text], tones["paper"]) >= 4.5, text
        assert (
            len({tones[kind] for kind in ("passed", "wrong", "raised", "untouched", "paper")}) == 5
        )
    assert TABLE_SIGNS.keys() == COLOURS.keys() and len({*TABLE_SIGNS.values()}) == 4


def test_three_hundred_learners_are_written_in_seconds(tmp_path: Path, whole_course: None) -> None:
    # What takes longer than it should here is work that grows with the square of the class.
    import time

    results = [
        handed_in(f"person {number:03}", which.name, "✗" * len(which.tasks))
        for number in range(300)
        for which in assignments()
    ]
    began = time.process_time()
    write_report(tmp_path, results, names=False)
    assert time.process_time() - began < 30
    assert len(list(tmp_path.iterdir())) == 301


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    place = chromium_or_skip("no page of the report")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium_ = playwright.chromium.launch(executable_path=place, headless=True, args=FLAGS)
        yield chromium_
        chromium_.close()


def everything() -> Sequence[Graded]:
    """All assignments, and one learner who tries to leave the page."""
    results = [
        handed_in(f"user {number}", which.name, ("✓✗!·" * len(which.tasks))[: len(which.tasks)])
        for number in range(3)
        for which in assignments()
    ]
    return [
        *results,
        with_task(
            handed_in("a" * 80, ONE, "✗" * len(assignment(ONE).tasks)),
            result("01.1", WRONG, HOSTILE + "w" * 2000, answer=HOSTILE + "y" * 10_000),
        ),
    ]


@pytest.mark.xdist_group("browser")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_the_window_in_a_browser(
    width: int, theme: Any, browser: Any, tmp_path: Path, whole_course: None
) -> None:
    index = write_report(tmp_path, everything(), names=True)
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    said: list[str] = []
    try:
        page = context.new_page()
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                said.append(request.url) if not request.url.startswith("file:") else None
            ),
        )
        for path in sorted(tmp_path.iterdir()):
            page.goto(path.as_uri())
            assert page.title() != "owned"
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path.name
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(255, 255, 255)" if theme == "light" else "rgb(20, 25, 31)")
            if folder := os.environ.get("LOOPBOUND_SCREENSHOTS"):
                page.screenshot(
                    path=Path(folder, f"report-{path.stem[:20]}-{theme}-{width}.png"),
                    full_page=True,
                )
        # A sign leads to the place where the check speaks of it.
        page.goto(index.as_uri())
        page.locator("td.wrong a").first.click()
        assert page.evaluate("document.querySelector(':target').innerText").startswith("01.1")
        # On paper the dark theme has no place, and every column of the heat map does.
        page.goto(index.as_uri())
        page.set_viewport_size({"width": 1032, "height": 700})  # A4, lying, at 96 dots an inch
        page.emulate_media(media="print")
        assert (
            page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert (
            page.evaluate("document.querySelector('.heat').getBoundingClientRect().right") <= 1032
        )
    finally:
        context.close()
    assert said == []


def test_standing_has_no_duplicates() -> None:
    results = a_cohort()
    everybody = cohort(results, Naming(results, names=True))
    assert [learner.label for learner in everybody.learners] == ["aiko", "joel", "mina"]
    assert list(everybody.tasks) == [ONE, FOUR]
    assert everybody.went()["01.1"].counts == {PASSED: 1, WRONG: 1, RAISED: 0, NOT_ATTEMPTED: 0}
