"""First aid: each cure of the catalogue has lines to paste, each message its kind and lesson.

That the lines cure is shown where they are run: in ``nbtests/faults/test_cases.py``.
"""

from __future__ import annotations

from html import unescape

import pytest

from loopbound.course.manifest import notebooks_folder
from loopbound.faults.catalogue import BY_ID, KINDS
from loopbound.faults.explain import Answer, explain
from loopbound.faults.model import Kind
from loopbound.faults.signs import MESSAGES
from loopbound.learner.first_aid import cure_lines, messages
from loopbound.problem import Problem


def answered(kind: Kind, cure: str, *facts: str) -> str:
    """What is shown for one cure of a kind, under some facts."""
    answer = Answer((kind.id,), True, (), facts=frozenset(facts), cures=((kind.id, cure),))
    return str(cure_lines(answer))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.id)
def test_every_cure_has_its_lines(kind: Kind) -> None:
    for cure in kind.cures:
        text = answered(kind, cure.name, *cure.where.replace("!", "not-").split())
        assert cure.do in text and cure.price in text
        # Only Windows has the loop that this one is about: no case runs it.
        assert ("\n# " in text) == (kind.id != "loop-type"), text
        assert "CURE" not in text and "**options" not in text
    assert all(cure.name in str(cure_lines(kind.id)) for cure in kind.cures[:1])


def test_lines_are_those_of_the_circumstances() -> None:
    kind = BY_ID["engine-in-a-row"]
    assert "async def dispose_after_each_test():" in answered(kind, "dispose", "pytest")
    assert "(anyio_backend)" in answered(kind, "dispose", "pytest", "anyio-plugin")
    assert "# your program, in async def job(): add" in answered(kind, "dispose", "program")
    celery = answered(kind, "one-loop", "celery", "program")
    assert "# your program: add\nrunner = asyncio.Runner()\n" in celery
    assert "return runner.run(count())" in celery
    wide = answered(BY_ID["fixture-and-test"], "same-loop-scope", "pytest")
    assert '@pytest_asyncio.fixture(scope="session", loop_scope="session")' in wide
    assert 'pytestmark = pytest.mark.asyncio(loop_scope="session")' in wide
    mismatch = answered(BY_ID["fixture-and-test"], "same-loop-scope", "scope-mismatch")
    assert 'scope="session", loop_scope="session"' in mismatch and "pytestmark" in mismatch
    both = str(cure_lines("engine-in-a-row"))
    assert "runner.run(job())" in both and 'asyncio_default_test_loop_scope = "session"' in both


def test_lines_bring_their_imports_once() -> None:
    kind = BY_ID["engine-in-a-row"]
    text = answered(kind, "function-engine", "pytest")
    for line in (
        "import pytest_asyncio",
        "from sqlalchemy.ext.asyncio import create_async_engine",
        "from backend import Session  # your own module with the engine",
    ):
        assert text.count(line) == 1, text
    assert "import os" not in answered(kind, "null-pool", "pytest")
    # What only the cure uses is written out, though the case defines it as found, too.
    kept = answered(BY_ID["contended-primitive"], "lock-per-loop", "pytest")
    assert "at the top: add\nimport weakref\n\nby_loop = weakref.WeakKeyDictionary()\n" in kept


def test_of_two_kinds_each_cure_says_which_it_is_for() -> None:
    cures = (("engine-in-a-row", "session-loop"), ("fixture-and-test", "same-loop-scope"))
    shown = str(cure_lines(Answer(("engine-in-a-row", "fixture-and-test"), False, (), cures=cures)))
    assert "   For: engine-in-a-row and fixture-and-test.\n" in shown
    assert "   For: fixture-and-test.\n" in shown
    assert "For:" not in answered(BY_ID["engine-in-a-row"], "session-loop", "pytest")


def test_an_option_that_the_header_shows_as_set_is_not_added_again() -> None:
    error = "E   RuntimeError: Task <Task pending> got Future <Future pending cb=[BaseProtocol"
    error += "._on_waiter_completed()]> attached to a different loop"
    scopes = "asyncio_default_fixture_loop_scope={}, asyncio_default_test_loop_scope={}"

    def options(*set_to: str) -> list[str]:
        header = f"asyncio: mode=Mode.AUTO, {scopes.format(*set_to)}\n" if set_to else ""
        text = str(cure_lines(explain(f"{header}plugins: asyncio-1.5.0\ntest_it.py .F\n{error}")))
        return [
            line.removeprefix("asyncio_default_").removesuffix('_loop_scope = "session"')
            for line in text.splitlines()
            if line.startswith("asyncio_") or "nothing to add" in line
        ]

    assert options() == options("None", "function") == ["fixture", "test"]
    assert options("session", "function") == ["test"]
    assert options("function", "session") == ["fixture"]
    assert [line.partition(",")[0] for line in options("session", "session")] == [
        "# pyproject.toml: nothing to add"
    ]


def test_without_a_kind_it_leads_on() -> None:
    assert "table below" in str(cure_lines(explain("ValueError: nothing of this kind")))
    with pytest.raises(Problem, match="no kind 'engine'.\nKinds: .*engine-in-a-row"):
        cure_lines("engine")


def test_the_table_has_every_message_with_a_kind_and_a_lesson() -> None:
    rows = messages().html.split("<tr>")[2:]
    first = (row.partition("</td>")[0].partition(">")[2] for row in rows)
    said = [unescape(cell.replace("<wbr>", "")) for cell in first]
    found = [phrase for cell in said for phrase in cell.split("<br>")]
    assert sorted(found) == sorted(phrase for group in MESSAGES.values() for phrase in group)
    for row in rows:
        kinds = [part.partition("</code>")[0] for part in row.split("<code>")[1:]]
        files = [part.partition('"')[0] for part in row.split('href="')[1:]]
        assert kinds and {BY_ID[kind].lesson for kind in kinds} == {
            name.partition("-")[0] for name in files
        }
        assert all((notebooks_folder() / name).is_file() for name in files), row


@pytest.mark.parametrize(
    ("phrase", "kinds"),
    [
        ("attached to a different loop", "engine-in-a-row fixture-and-test two-awake-loops"),
        ("cannot be called from a running event loop", "loop-already-runs"),
        ("requested an async fixture", "async-not-handled"),
        ("Exception terminating connection", "engine-in-a-row"),
    ],
)
def test_a_message_leads_to_its_kinds(phrase: str, kinds: str) -> None:
    line = next(line for line in messages().text.splitlines() if phrase in line)
    assert line.rpartition(": ")[2].replace(",", "") == kinds
