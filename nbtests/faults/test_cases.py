"""The catalogue, executed: each case fails with its signs, each cure cures it, each non-cure does not.

All of them run once, before the first test; the tests look at what came out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopbound.authoring.execute import read_notebook
from loopbound.course.manifest import lesson, notebooks_folder
from loopbound.faults.catalogue import BY_ID, KINDS
from loopbound.faults.explain import explain
from loopbound.faults.tree import ROOT, Leaf, Question, drawn, follow, paths
from loopbound.paths import repository
from loopbound.suite.cases import Case, CaseRun, cases, run_cases
from loopbound.suite.versions.environments import NoNetwork
from loopbound.suite.versions.observed import number, stored

CASES = cases()
HERE = {name: case for name, case in CASES.items() if case.fits_here}
# What no machine of ours can run: it needs the loop that only Windows has.
ELSEWHERE = {"loop-type"}
# What a cured run must not print: something was left for the garbage collector, or was lost.
COMPLAINTS = (
    "Task was destroyed",
    "was never retrieved",
    "Exception closing",
    "Exception terminating",
    "was never awaited",
    "ResourceWarning",
    "Unclosed ",
    "Exception ignored",
)
# Kinds whose cures are those of any client.
CLIENTS = {case.kind for case in CASES.values() if case.client}

Runs = dict[tuple[str, str, bool], CaseRun]


def jobs() -> Iterator[tuple[str, str, bool]]:
    for name, case in HERE.items():
        for cure in ("", *case.cures, *case.not_cures):
            yield name, cure, False
            if case.both_orders:
                yield name, cure, True


@pytest.fixture(scope="module")
def runs() -> Runs:
    wanted = list(jobs())
    try:
        return dict(zip(wanted, run_cases(wanted), strict=True))
    except NoNetwork as reason:
        pytest.skip(str(reason).splitlines()[0])


def of(runs: Runs, case: Case, *cures: str) -> list[CaseRun]:
    return [run for (name, cure, _), run in runs.items() if name == case.name and cure in cures]


def told(run: CaseRun) -> str:
    return f"{run.case} with {run.cure or 'nothing'}: code {run.code}\n{run.output[-3000:]}"


# -- the cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_as_found_it_fails_with_its_signs(case: Case, runs: Runs) -> None:
    for run in of(runs, case, ""):
        assert run.code is not None, "it hangs"
        assert case.signs
        for sign in case.signs:
            assert sign in run.output, told(run)


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_each_cure_cures_it_and_leaves_nothing_behind(case: Case, runs: Runs) -> None:
    for run in of(runs, case, *case.cures):
        assert run.code == 0, told(run)
        assert not [sign for sign in (*case.signs, *COMPLAINTS) if sign in run.output], told(run)
        assert run.left == case.left.get(run.cure, 0), told(run)


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_what_is_said_not_to_cure_does_not(case: Case, runs: Runs) -> None:
    for run in of(runs, case, *case.not_cures):
        assert run.code != 0 or any(sign in run.output for sign in case.signs), told(run)


def test_the_orders_are_two(runs: Runs) -> None:
    """A run in reverse fails in another test, which a run in the same order cannot do."""
    for name in ("engine_per_test", "wide_fixture"):
        first, second = (runs[name, "", reverse].output for reverse in (False, True))
        assert "FAILED test_it.py::test_two" in first
        assert "FAILED test_it.py::test_one" in second


def test_every_cell_of_the_catalogue_is_a_run() -> None:
    for kind in KINDS:
        mine = [case for case in CASES.values() if case.kind == kind.id]
        if kind.id in ELSEWHERE:
            assert mine == []
            continue
        assert {cure for case in mine for cure in (*case.cures, *case.older)} == {
            cure.name for cure in kind.cures
        }, kind.id
        assert {each for case in mine for each in case.not_cures} == set(kind.not_cures), kind.id


# -- explain ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_explain_names_the_kind_first_and_is_never_wrong_and_sure(case: Case, runs: Runs) -> None:
    for run in of(runs, case, ""):
        answer = explain(run.output)
        assert answer.kinds[:1] == (case.kind,), told(run)
        assert (
            len(answer.kinds) == 2
            or answer.sure
            or BY_ID[case.kind].other
            or case.kind == "open-transaction"
        )
        # What it says first cures; of a loop that already runs the text does not say whose it is.
        first = answer.cures[0][1] in case.cures or case.name == "sync_playwright"
        assert first or not answer.sure, f"{answer}\n{told(run)}"
        assert len(answer.lines) <= 10
    for run in of(runs, case, *case.not_cures):
        answer = explain(run.output)
        assert not answer.sure or case.kind in answer.kinds, f"{answer}\n{told(run)}"


def test_explain_finds_nothing_in_what_passes(runs: Runs) -> None:
    wrong = [
        f"{run.case} with {run.cure}: {answer.kinds}"
        for run in runs.values()
        if run.cure in CASES[run.case].cures and (answer := explain(run.output)).kinds
    ]
    assert wrong == []
    for run in runs.values():
        if CASES[run.case].tests and run.cure in CASES[run.case].cures:
            said = str(explain(run.output))
            assert said.startswith("kind:    none: the text shows no failure of this kind\n"), said


def test_explain_names_a_line_of_the_case(runs: Runs) -> None:
    """Where a traceback has one: the deepest line of the case itself."""
    answer = explain(runs["engine_per_test", "", False].output)
    source = CASES["engine_per_test"].files()["backend.py"].splitlines()
    line = next(number for number, text in enumerate(source, 1) if "session.scalar(" in text)
    assert f"backend.py:{line}" in str(answer)
    assert "clients.py:" in str(explain(runs["httpx_per_run", "", False].output))


def test_the_example_of_first_aid_is_what_its_case_prints(runs: Runs) -> None:
    """Line by line, but for versions and the numbers of lines in other packages."""
    source = cell_source(notebooks_folder() / "first-aid.ipynb", "explain-it")
    example = source.partition("r'''\n")[2].partition("'''")[0]
    printed = "".join(plain(runs["engine_per_test", "", True].output).split())
    pieces = [piece for line in example.splitlines() for piece in plain(line).split(">>")]
    assert [piece for piece in pieces if "".join(piece.split()) not in printed] == []
    assert len(pieces) > 8 and explain(example).kinds[:1] == ("engine-in-a-row",)


def plain(text: str) -> str:
    """Text without versions, line numbers of packages, and folders before the case's files."""
    text = re.sub(r"\d+\.\d+\.\d+", "N", re.sub(r"(?<=asyncpg\.py:)\d+", "N", text))
    return re.sub(r"running at \S*/test_it", "running at test_it", text)


def cell_source(path: Path, identity: str) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "".join(next(cell["source"] for cell in cells if cell["id"] == identity))


# -- the tree --------------------------------------------------------------------------------------


def below(way: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The whole ways through the tree that begin so."""
    return [path for path in paths() if path[: len(way)] == way]


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_the_tree_leads_to_the_cheapest_cure_that_works(case: Case, runs: Runs) -> None:
    assert case.ways
    for way in case.ways:
        ends = below(way)
        assert ends, f"{way} is no way into the tree"
        for path in ends:
            leaf, ruled_out = follow(path)
            kind = BY_ID[case.kind]
            assert leaf.kind == case.kind or (leaf.kind == "any-client" and case.kind in CLIENTS)
            if "pytest-asyncio 0.22 or older" in path:
                assert leaf.cure == "event-loop-fixture"  # test_older.py runs it
                continue
            if case.client and leaf.cure not in case.cures:
                # One client stands for all there.
                assert set(path) & {
                    "a thread with a loop of its own",
                    "TestClient, one request after another",
                }
                continue
            for run in of(runs, case, leaf.cure):
                assert run.code == 0, told(run)
            assert leaf.cure in case.cures, path
            order = [cure.name for cure in kind.cures]
            cheaper = order[: order.index(leaf.cure)]
            assert not [cure for cure in cheaper if cure in case.cures and cure not in ruled_out], (
                path
            )


def test_every_leaf_is_reached_and_run() -> None:
    reached = {path for case in CASES.values() for way in case.ways for path in below(way)}
    assert {follow(path)[0].kind for path in set(paths()) - reached} <= ELSEWHERE


def test_every_report_and_every_failing_loop_case_has_its_way() -> None:
    """The names of the reports and of the loop cases that were given to be re-made."""
    said = [name for case in CASES.values() for name in case.like]
    assert len(said) == len(set(said))
    assert len([name for name in said if "#" in name]) == 12  # eleven; one of them shows two kinds
    assert len([name for name in said if "#" not in name]) == 15


def test_the_versions_that_the_tree_asks_for_are_those_that_were_observed() -> None:
    needs = {cure.name: cure.needs for cure in BY_ID["engine-in-a-row"].cures}
    for cure in ("session-loop", "dispose", "explicit-loop", "function-engine", "null-pool"):
        seen = [
            (number(row["versions"]["pytest-asyncio"]), row["observed"][f"incident, {cure}"])
            for row in stored()["environments"].values()
            if f"incident, {cure}" in row["observed"]
        ]
        fails = {version for version, text in seen if text != "33 passed"}
        passes = {version for version, text in seen if text == "33 passed"}
        assert passes
        if needs[cure]:
            least = number(needs[cure][0].partition(">=")[2])
            assert max(fails)[:2] < least == min(passes)[:2], cure
        else:
            assert not fails, f"{cure} on pytest-asyncio {fails}"


def test_a_loop_factory_is_for_suites_whose_sync_tests_ask_for_no_async_fixture() -> None:
    """The factory does not make the loop of such a fixture: the case `sync_test` shows it."""
    ends = [path for path in paths() if follow(path)[0].cure == "explicit-loop"]
    assert ends
    for path in ends:
        assert "no sync test asks for an async fixture" in path[-1]
        assert "1.4" in path[-1]  # the version that the test above compares with the observed ones
    assert "explicit-loop" in CASES["sync_test"].not_cures


def test_the_tree_is_small_enough_to_be_drawn() -> None:
    def depth(at: Question | Leaf) -> int:
        return 0 if isinstance(at, Leaf) else 1 + max(map(depth, at.answers.values()))

    assert depth(ROOT) <= 5
    for path in paths():
        leaf, _ = follow(path)
        assert leaf.cure in {cure.name for cure in BY_ID[leaf.kind].cures}, path


def test_the_tree_is_given_as_a_figure_takes_it() -> None:
    question, answers = drawn()
    assert question.splitlines() == ["What crossed?", ROOT.how]
    assert len(answers) == len(ROOT.answers)
    assert (
        drawn(Leaf("engine-in-a-row", "null-pool"))
        == "null-pool: create_async_engine(url, poolclass=NullPool)"
    )
    for path in paths():
        leaf, _ = follow(path)
        if (leaf.kind, leaf.cure) == ("engine-in-a-row", "dispose"):  # there are two of this name
            of_tests = "tests, one loop each" in path
            assert ("each test" in drawn(leaf), "asyncio.run" in drawn(leaf)) == (
                of_tests,
                not of_tests,
            ), path


def test_a_part_of_the_tree_is_drawn_by_its_answers() -> None:
    engine = "a pooled connection of an engine"
    _, answers = drawn(only=[engine, "a forked process", "yes"], others="lesson 10")
    assert answers.keys() == {engine, "something else"}
    assert answers["something else"] == "lesson 10"
    _, further = answers[engine]
    assert further.keys() == {"a forked process", "something else"}
    _, ends = further["a forked process"]
    assert ends.keys() == {"yes", "something else"} and ends["yes"].startswith("dispose-before")
    assert drawn(only=["no such answer"]) == drawn()


def test_a_yes_or_no_is_never_asked_without_how_to_tell() -> None:
    def asked(at: Question | Leaf) -> Iterator[Question]:
        if isinstance(at, Question):
            yield at
            for then in at.answers.values():
                yield from asked(then)

    questions = list(asked(ROOT))
    assert len(questions) > 40
    assert [each.ask for each in questions if "yes" in each.answers and not each.how] == []


def test_a_question_to_which_several_answers_lead_is_drawn_once() -> None:
    end = Leaf("engine-in-a-row", "null-pool")
    again = Question("Again?", {"yes": end, "no": Question("Inner?", {"a": end})}, how="Look.")
    once = Question("Once?", {"a": end, "b": end})
    root = Question("Root?", {"1": again, "2": Question("Two?", {"x": again, "y": once})})
    _, answers = drawn(root)
    asked, ends = answers["1"]
    assert asked == "A: Again?\nLook." and ends["no"][0] == "Inner?"
    _, further = answers["2"]
    assert further["x"] == "go on at A" and further["y"][0] == "Once?"


def said_of(path: tuple[str, ...]) -> tuple[str, ...]:
    """A way through the tree as the figure's text has it: a line for each answer."""
    at: Question | Leaf = ROOT
    words = []
    for answer in path:
        assert isinstance(at, Question)
        at = at.answers[answer]
        asked = f"{at.ask} {at.how}".strip() if isinstance(at, Question) else drawn(at)
        words.append(f"{answer}: {asked}")
    return tuple(words)


def ways_in(text: str) -> Iterator[tuple[str, ...]]:
    """The ways that nested lines tell, those through a letter too."""
    way, ways = list[str](), list[tuple[str, ...]]()
    for line in text.splitlines():
        inner = line.lstrip()
        if inner.startswith("- "):
            way[(len(line) - len(inner)) // 2 :] = [inner[2:]]
            ways.append(tuple(way))
    lettered = re.compile(r"(.*): ([A-Z]): (.*)")
    at = {found[2]: (way, found[3]) for way in ways if (found := lettered.fullmatch(way[-1]))}

    def told(way: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield tuple(lettered.sub(r"\1: \3", line) for line in way)
        answer, _, letter = way[-1].partition(": go on at ")
        if letter:
            there, question = at[letter]
            for further in ways:
                if len(further) > len(there) and further[: len(there)] == there:
                    for rest in told(further[len(there) :]):
                        yield (*way[:-1], f"{answer}: {question}", *rest)

    for way in ways:
        yield from told(way)


def test_lessons_draw_every_way_through_the_tree_and_have_no_tree_of_their_own() -> None:
    told, trees = set[tuple[str, ...]](), 0
    for name in ("09", "09d", "10", "10d"):
        page = read_notebook(repository() / "notebooks" / lesson(name).file)
        for cell in page.cells:
            if cell["cell_type"] == "code" and "decision_tree(" in cell["source"]:
                assert "tree.drawn(" in cell["source"]
                for output in cell["outputs"]:
                    told |= set(ways_in(output["data"]["text/plain"]))
                trees += 1
    assert trees == 5
    assert [path for path in paths() if said_of(path) not in told] == []


@pytest.mark.parametrize(
    "answers", [["no such thing"], [], ["a callback of another thread", "yes"]]
)
def test_an_answer_that_leads_nowhere_is_refused(answers: list[str]) -> None:
    with pytest.raises((KeyError, ValueError)):
        follow(answers)


def test_fork_is_asked_for_where_there_is_one() -> None:
    assert ("forked" in HERE) == hasattr(os, "fork")
