"""Checks are loop-true, bounded and plain: what a learner's code may do to them, and what it may
not.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import textwrap
import threading
import time
from typing import Any

import pytest
from patience import LONG

from loopbound import loops
from loopbound.checks import CheckFailed, judge, observe
from loopbound.checks.plain import plain
from loopbound.checks.verdict import Verdict
from loopbound.checks.watch import DID_NOT_END, RETURNED, Watch
from loopbound.grading.grade import Limits
from loopbound.learner.cells import check, hint, solution
from loopbound.outcomes import NOT_ATTEMPTED, RAISED, WRONG
from loopbound.problem import Problem

OPENED = threading.Event()


def names_of(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"asyncio": asyncio, "time": time, "opened": OPENED}
    exec(compile(textwrap.dedent(code), "<answer>", "exec"), names)
    return names


def verdict(identity: str, code: str) -> Verdict:
    return judge(identity, observe(identity, names_of(code)))


def stepped(code: str, limit: float = 0.4) -> dict[str, Any]:
    """What a watch notes of ``async def answer()`` on loop A."""
    names = names_of(code)
    with Watch(names, limit) as watch:
        watch.step("A", "answer()", lambda: names["answer"]())
    return watch.data()


def test_an_endless_await_is_ended() -> None:
    data = stepped("async def answer(): await asyncio.Event().wait()")
    assert data["steps"][0]["outcome"] == DID_NOT_END and loops.open_loops() == []


def test_an_endless_loop_is_ended_and_leaves_no_thread() -> None:
    before = threading.active_count()
    data = stepped("async def answer():\n    while True: pass")
    assert data["steps"][0]["outcome"] == DID_NOT_END and not data["steps"][0]["stuck"]
    assert loops.open_loops() == [] and threading.active_count() == before


def test_who_swallows_every_exception_is_ended_all_the_same() -> None:
    data = stepped("""
        async def answer():
            while True:
                try:
                    while True: pass
                except Exception: pass
    """)
    assert data["steps"][0]["outcome"] == DID_NOT_END


@pytest.mark.parametrize("waits", ["await asyncio.Event().wait()", "while True: pass"])
def test_a_plain_answer_that_waits_for_a_step_on_a_loop_is_ended_with_it(waits: str) -> None:
    names = names_of(f"async def endless():\n {waits}\ndef answer(A): A.run(endless())")
    before = threading.active_count()
    with Watch(names, 0.4) as watch:
        loop = watch.loop("A")
        watch.plain_step("answer(A)", lambda: names["answer"](loop))
        assert not loop.left_running
    (step,) = watch.data()["steps"]
    assert step["outcome"] == DID_NOT_END and not step["stuck"]
    assert loops.open_loops() == [] and threading.active_count() == before


def test_what_cannot_be_stopped_is_said_so_and_the_check_ends() -> None:
    # No exception reaches a thread that waits in C, and this one waits until the check has ended.
    try:
        data = stepped("async def answer(): opened.wait()")
    finally:
        OPENED.set()
    assert data["steps"][0]["outcome"] == DID_NOT_END and data["steps"][0]["stuck"]
    said = judge("01.2", data | {"most": 0, "started": [], "ended": []})
    assert said.outcome == WRONG and "restart the kernel" in said.says


def test_a_left_over_task_is_noted_and_cancelled() -> None:
    data = stepped("""
        async def stream(): await asyncio.sleep(60)
        kept = []
        async def answer(): kept.append(asyncio.create_task(stream()))
    """)
    assert data["steps"][0] | {"value": None} == data["steps"][0] and data["steps"][0]["tasks"] == [
        "stream"
    ]


def test_a_coroutine_that_is_never_awaited_is_noted() -> None:
    data = stepped("async def stream(): pass\nasync def answer(): stream()")
    assert data["steps"][0]["outcome"] == RETURNED and data["never_awaited"] == ["stream"]


def test_a_connection_left_open_is_counted() -> None:
    names = names_of("""
        from sqlalchemy.ext.asyncio import create_async_engine
        kept = []
        async def answer(url, dispose):
            engine = create_async_engine(url)
            async with engine.connect(): pass
            if dispose: await engine.dispose()
    """)
    found = []
    for dispose in (False, True):
        with Watch(names) as watch:
            url = watch.database().url
            watch.step("A", "answer()", lambda: names["answer"](url, dispose))
        found.append(watch.data()["connections"])
    assert found == [1, 0]


def test_what_works_on_one_other_loop_alone_is_refused() -> None:
    # As with a future made by a cell, on the kernel's loop.
    with loops.NamedLoop("Jupyter's") as kernel:

        async def made() -> asyncio.Future[None]:
            return asyncio.get_running_loop().create_future()

        names = names_of("async def all_reports(users, fetch): await ready")
        names["ready"] = kernel.run(made())
        said = judge("01.2", observe("01.2", names))
        assert said.outcome == RAISED and "belongs to another loop than A" in said.says


def test_a_check_runs_while_a_loop_is_running() -> None:
    async def cell() -> None:
        assert "01.2" in repr(check("01.2", names_of(RIGHT)))

    asyncio.run(cell())


RIGHT = "async def all_reports(users, fetch): return await asyncio.gather(*map(fetch, users))"


def test_the_names_are_those_of_the_caller() -> None:
    names = names_of(RIGHT) | {"check": check}
    exec("seen = check('01.2')", names)
    assert names["seen"].points == 3


@pytest.mark.parametrize(
    ("code", "outcome", "words"),
    [
        ("", NOT_ATTEMPTED, "There is no `all_reports` yet"),
        ("all_reports = 3", WRONG, "is of type int"),
        (
            "async def all_reports(users, fetch): raise NotImplementedError()",
            NOT_ATTEMPTED,
            "as it was handed out",
        ),
        (
            "async def all_reports(users, fetch): raise NotImplementedError('no such user')",
            RAISED,
            "no such user",
        ),
        (
            "async def all_reports(users, fetch): return asynco.gather()",
            RAISED,
            "Is the cell with the imports above run?",
        ),
        (
            "async def all_reports(users): return []",
            RAISED,
            "takes 1 positional argument but 2 were given",
        ),
        (
            "def all_reports(users, fetch): return [f'report for {user}' for user in users]",
            WRONG,
            "0 of 3 fetches",
        ),
        ("async def all_reports(users, fetch): raise SystemExit", RAISED, "SystemExit"),
        (
            "async def all_reports(users, fetch): raise KeyboardInterrupt",
            RAISED,
            "KeyboardInterrupt",
        ),
        (
            (
                "async def all_reports(users, fetch): asyncio.current_task().cancel(); await"
                " asyncio.sleep(1)"
            ),
            RAISED,
            "CancelledError",
        ),
    ],
)
def test_four_outcomes(code: str, outcome: str, words: str) -> None:
    said = verdict("01.2", code)
    assert said.outcome == outcome and words in said.says, said


def test_a_check_that_fails_shows_feedback_and_no_traceback() -> None:
    with pytest.raises(CheckFailed) as caught:
        check("01.2", {})
    lines = caught.value._render_traceback_()
    assert "01.2 All reports at once: not attempted" in lines[0] and not any(
        "Traceback" in line for line in lines
    )
    assert str(caught.value).startswith("· 01.2")


def test_hints_come_one_at_a_time() -> None:
    texts = [repr(hint("01.3")) for _ in range(4)]
    assert [text.count("**Hint ") for text in texts] == [1, 2, 2, 2]


def test_the_solution_opens_after_a_pass_or_on_request() -> None:
    assert "anyway=True" in repr(solution("01.4")) and "call_soon_threadsafe" not in repr(
        solution("01.4")
    )
    shown = repr(solution("01.4", anyway=True))
    assert "call_soon_threadsafe(bell.set)" in shown and "SOLUTION" not in shown
    check("01.2", names_of(RIGHT))
    assert "asyncio.gather" in repr(solution("01.2"))


def test_a_task_is_called_with_or_without_its_zero() -> None:
    assert check("1.2", names_of(RIGHT)).task.id == "01.2"
    assert repr(hint("1.2")).startswith("**Hint 1 of 3") and repr(solution("1.2")).startswith(
        "**01.2 "
    )
    with pytest.raises(Problem, match="there is no task"):
        check("0.12", {})


def test_an_error_names_the_learners_own_functions_and_no_file_of_this_machine() -> None:
    code = """
        def carry(A, B, order, send):
            return B.run(send(A.run(order())))
    """
    said = verdict("02.4", textwrap.dedent(code)).says
    assert "coro=<send()" in said and not any(
        word in said for word in ("Watch", "_observe", "<locals>", ".py")
    ), said


def test_an_unknown_task_is_a_problem_with_the_known_ones() -> None:
    with pytest.raises(Problem, match="01.1, 01.2"):
        check("99.9", {})


def test_plain_values_are_json_and_trust_no_subclass() -> None:
    class Text(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    value = plain({"a": [1, (2.5, None)], 3: {"c", "b"}, "text": Text("mine"), "thing": object()})
    assert json.loads(json.dumps(value)) == value
    assert value == {
        "a": [1, [2.5, None]],
        "3": ["b", "c"],
        "text": {"type": "Text"},
        "thing": {"type": "object"},
    }


def test_importing_the_checks_is_quick_to_ask_for() -> None:
    # The command line and a notebook's first cell must not pay for matplotlib or a server.
    code = (
        "import sys, loopbound; loopbound.check; print('matplotlib' in sys.modules, 'nbformat' in"
        " sys.modules)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True
    )
    assert ended.stdout.split() == ["False", "False"]


def test_a_connection_used_by_two_awake_loops_does_not_end_the_process() -> None:
    """Between a query that loop B sends and what asyncpg notes of it, loop A must not read.

    In a process of its own, because a segmentation fault would end this one. The wait behind what
    is sent gives loop A the time to read the answer, each time.
    """
    code = """
        import asyncio, time
        from functools import partial
        from loopbound.checks.lesson_03 import _connect, _running
        from loopbound.checks.watch import one_at_a_time
        from loopbound.database import scratch_database
        from loopbound.loops import NamedLoop
        from loopbound.recorder import symptom_of

        def slowly(send, data):
            send(data)
            time.sleep(0.2)

        async def ask():
            try:
                await connection.fetchval("select 1")
            except RuntimeError as error:
                return symptom_of(error)

        with scratch_database("two") as database, NamedLoop("A") as A, NamedLoop("B") as B:
            connection = A.run(_connect(database))
            transport = connection._transport
            transport.write = partial(slowly, transport.write)
            one_at_a_time(A.loop, connection)
            with _running(A):
                print(B.run(ask()))
            A.run(asyncio.sleep(0.2))
            print(A.run(connection.fetchval("select 2")))
            A.run(connection.close())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.split("\n")) == (
        0,
        ["different loop", "2", ""],
    ), done.stderr


def test_a_step_ends_before_the_grader_ends_its_check(monkeypatch: pytest.MonkeyPatch) -> None:
    # However slow the machine seems: after that there is no diagnosis, but "did not end".
    monkeypatch.setattr("loopbound.checks.watch.slowness", lambda: 50.0)
    assert Watch({}).limit < Limits().check / 2 + 1
