"""`loopbound explain`: the same answer in every form in which a text comes, and none where there is none."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from loopbound.commands.explain import explain_command
from loopbound.faults.catalogue import BY_ID, KINDS
from loopbound.faults.explain import explain
from loopbound.faults.index import index
from loopbound.faults.reading import WHOLE, taken
from loopbound.faults.signs import FOLLOWERS, GLOBAL, LIBRARIES, MESSAGES, SITUATIONS
from loopbound.problem import Problem
from loopbound.suite import run_suite

REDIS = """\
Traceback (most recent call last):
  File "/srv/app/health.py", line 12, in check
    return await client.ping()
  File "/usr/lib/python3/dist-packages/redis/asyncio/client.py", line 610, in execute_command
    return await conn.retry.call_with_retry(
  File "/usr/lib/python3/dist-packages/redis/asyncio/connection.py", line 411, in disconnect
    self._writer.close()
  File "/usr/lib/python3.12/asyncio/base_events.py", line 545, in _check_closed
    raise RuntimeError('Event loop is closed')
RuntimeError: Event loop is closed
"""
PROJECT = {
    "backend.py": """
        import os
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine
        engine = create_async_engine(os.environ["DATABASE_URL"])
        async def ask():
            async with engine.connect() as connection:
                return await connection.scalar(text("select 1"))
        """,
    "test_it.py": """
        from backend import ask
        async def test_one(): assert await ask() == 1
        async def test_two(): assert await ask() == 1
        """,
}


@pytest.fixture(scope="module")
def printed() -> str:
    """What pytest prints of an engine under a loop a test, with short tracebacks."""
    run = run_suite(PROJECT, options=["--tb=short", "-o", "asyncio_mode=auto"])
    assert len(run.failed) == 1
    return run.output


# -- the form of a text ----------------------------------------------------------------------------


def wrapped(text: str) -> str:
    """As a narrow terminal breaks it: anywhere."""
    return "\n".join(
        line[at : at + 60] for line in text.splitlines() for at in range(0, len(line) + 1, 60)
    )


def each_line(before: str) -> Callable[[str], str]:
    return lambda text: "".join(before + line for line in text.splitlines(keepends=True))


FORMS: dict[str, Callable[[str], str | bytes]] = {
    "as it is": str,
    "bytes": str.encode,
    "UTF-16, from PowerShell": lambda text: text.encode("utf-16"),
    "beside Chinese, in its old encoding": lambda text: ("错误\n" * 300 + text).encode(
        "gbk", "replace"
    ),
    "lines of Windows": lambda text: text.replace("\n", "\r\n"),
    "Docker Compose": each_line("web_1    | "),
    "GitHub Actions": each_line("2026-11-28T03:11:37.0000000Z "),
    "a log of Kubernetes": each_line("2026-11-28T03:11:37.123456789Z stdout F "),
    "journald": each_line("Nov 28 03:11:37 host python[411]: "),
    "quoted in a mail": each_line("> "),
    "in colours": lambda text: re.sub(r"(\w+Error)", "\x1b[1m\x1b[31m\\1\x1b[0m", text),
    "colours without their escape": lambda text: re.sub(r"(\w+Error)", "[1;31m\\1[0m", text),
    "in an exception group": each_line("  | "),
    "a line of JSON": lambda text: json.dumps({"level": "error", "message": text}),
    "HTML": lambda text: text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
    "broken at 60 columns": wrapped,
    "below other output": lambda text: "starting\n" * 300 + text + "done\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_form_of_a_text_does_not_matter(
    form: Callable[[str], str | bytes], printed: str
) -> None:
    assert explain(form(REDIS)).kinds == ("redis-client",)
    assert explain(form(printed)).kinds[0] == "engine-in-a-row"


def test_ten_lines_name_the_maker_the_line_and_a_cure_for_these_versions(printed: str) -> None:
    answer = explain(printed)
    said = str(answer)
    assert len(answer.lines) <= 10
    assert "asyncpg (_on_waiter_completed in the message)" in said
    assert "backend.py:7, in ask" in said
    assert "session-loop: " in said and "pytest-asyncio 1." in said
    # A fixture could have opened the connection.
    assert not answer.sure and "or kind: fixture and test" in said


def test_what_a_log_says_of_an_exception_that_was_not_retrieved_decides_nothing(
    printed: str,
) -> None:
    # With pool_pre_ping the pool ends the connection that crossed, and asyncio logs what was left.
    log = """
---------------------------- Captured log setup ----------------------------
ERROR    asyncio:base_events.py:1821 Future exception was never retrieved
future: <Future finished exception=ConnectionDoesNotExistError('connection was closed in the middle of operation')>
asyncpg.exceptions.ConnectionDoesNotExistError: connection was closed in the middle of operation
"""
    answer = explain(printed + log)
    assert answer.kinds == explain(printed).kinds and not answer.sure


def test_a_version_in_the_text_comes_before_the_one_that_is_installed(printed: str) -> None:
    assert "session-loop" in str(explain(printed))
    old = "plugins: asyncio-0.21.2, anyio-4.3.0\n" + printed
    assert "session-loop" not in str(explain(old))
    assert "dispose: " in str(explain(old)) or "null-pool: " in str(explain(old))


def test_a_windows_path_of_a_library_is_not_yours() -> None:
    text = REDIS.replace("/usr/lib/python3/dist-packages/", "C:\\Venv\\Lib\\site-packages\\")
    text = text.replace("/usr/lib/python3.12/", "C:\\Python312\\Lib\\").replace(
        "/srv/app/", "C:\\srv\\"
    )
    answer = explain(text)
    assert answer.kinds == ("redis-client",)
    assert "C:/srv/health.py:12, in check" in str(answer)


def test_a_windows_path_with_a_folder_whose_name_begins_with_n_is_whole() -> None:
    folder = "C:\\Users\\nina\\new\\"
    text = REDIS.replace("/usr/lib/python3/dist-packages/", "C:\\Venv\\Lib\\site-packages\\")
    text = text.replace("/usr/lib/python3.12/", "C:\\Python312\\Lib\\").replace("/srv/app/", folder)
    once = json.dumps({"level": "error", "message": text})
    for form in (text, once, json.dumps({"log": once}), json.dumps(text.replace("\n", "\r\n"))):
        answer = explain(form)
        assert answer.kinds == ("redis-client",), form
        assert "C:/Users/nina/new/health.py:12, in check" in answer.lines[3], form
    short = f"_____ test_two _____\nE   RuntimeError: Event loop is closed\n\n{folder}test_it.py:7: RuntimeError\n"
    assert "C:/Users/nina/new/test_it.py:7" in str(explain(short))


LONG = """\
=================================== FAILURES ===================================
___________________________________ test_two ___________________________________

    async def test_two():
>       await client.ping()

test_it.py:7:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _

    def switch(awaitable):
        if not in_greenlet():
            raise MissingGreenlet(
                "greenlet_spawn has not been called; is IO attempted here?"
            )
>       return awaitable
E       RuntimeError: Event loop is closed

/srv/.venv/lib/python3.12/site-packages/redis/asyncio/client.py:9: RuntimeError
"""


def test_what_pytest_quotes_of_a_source_is_no_message() -> None:
    """In long tracebacks whole functions stand, with the strings of errors that they do not raise."""
    assert explain(LONG).kinds == ("redis-client",)
    assert explain(each_line("app-1  | ")(LONG)).kinds == ("redis-client",)
    assert "greenlet" not in str(explain(LONG))


def test_a_message_is_counted_once() -> None:
    """Though several phrases find it."""
    whole = "RuntimeError: Task <Task pending coro=<ask() running at /srv/t.py:3>> got Future <Future pending> attached to a different loop\n"
    assert "attached to a different loop (2 times)" in str(explain(whole * 2))


def test_the_plugin_that_is_missing_is_the_cure() -> None:
    failed = (
        "FAILED test_it.py::test_one - Failed: async def functions are not natively supported\n"
    )
    session = "=== test session starts ===\nplugins: {}\ncollected 1 item\n" + failed
    assert "install-plugin" in str(explain(session.format("cov-7.0")))
    assert "install-plugin" not in str(explain(session.format("asyncio-1.5.0, cov-7.0")))
    assert "install-plugin" not in str(explain(failed))  # nothing is known of the plugins


def test_a_cut_off_message_is_still_known() -> None:
    cut = "E   RuntimeError: Task <Task pending name='Task-5' coro=<test_two() running at /srv/t.py:3> got Future <Future pending cb=[BaseProtocol._on_waiter_completed()]> attached to a different lo"
    assert explain(cut).kinds[0] == "engine-in-a-row"
    assert "/srv/t.py:3, in test_two" in str(explain(cut))


# -- what it does not know -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no text"),
        (" \n\t\n", "There is no text"),
        (" " * 100_000, "There is no text"),  # at once: this took a minute
        (bytes(range(256)) * 200, "not text"),
        (gzip.compress(REDIS.encode()), "not text"),
        (Path(sys.executable).read_bytes()[:100_000], "not text"),
        (b'File "' * 300_000, "not known"),
        ("all is well", "not known"),
        ("Traceback (most recent call last):\nValueError: three", "ValueError: three"),
        ("the event loop is open, and everything is attached", "not known"),
    ],
)
def test_it_says_what_it_does_not_know(text: str | bytes, said: str) -> None:
    answer = explain(text)
    assert answer.kinds == () and not answer.sure
    assert said in str(answer)


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ("..\n===== 33 passed, 1 warning in 65.10s (0:01:05) =====\n", True),
        ("4 passed, 1 xfailed in 1.02s", True),
        ("PytestDeprecationWarning: a mark is old\n4 passed, 1 warning in 1.02s", True),
        ("..\n------\nRan 3 tests in 0.001s\n\nOK\n", True),
        ("Ran 3 tests in 0.001s\n\nFAILED (errors=1)\n", False),
        ("1 failed, 3 passed in 1.02s\n4 passed in 1.01s", False),
        ("ERROR in worker\nKeyError: 'name'\n4 passed in 1.02s", False),
    ],
)
def test_a_run_without_a_failure_is_called_one(text: str, passed: bool) -> None:
    answer = explain(text)
    assert answer.kinds == ()
    assert ("none: the text shows no failure of this kind" in answer.lines[0]) == passed, answer
    assert ("not known" in answer.lines[0]) != passed


def test_what_was_seen_is_counted_once_for_each_time_that_it_happened(printed: str) -> None:
    said = "attached to a different loop"
    assert f"seen:    {said} (once)" in str(explain(printed))
    last = f"RuntimeError: Task got Future <Future pending> {said}\n"
    summary = f"\nFAILED test_it.py::test_two - {last}"
    log = f"---------- Captured log call ----------\nERROR app:x.py:1 it failed\n{REDIS}{last}"
    assert f"{said} (once)" in str(explain(printed + log + summary))
    assert "Event loop is closed (3 times)" in str(explain(f"ERROR in worker\n{REDIS}" * 3))
    assert "Event loop is closed (4 times)" in str(
        explain("RuntimeError: Event loop is closed\n" * 4)
    )


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("RuntimeError: Event loop is closed", {"left-open", "any-client"}),
        (
            "got Future <Future pending> attached to a different loop",
            {"engine-in-a-row", "fixture-and-test"},
        ),
        (
            "asyncpg.exceptions._base.InterfaceError: cannot perform operation: another operation is in progress",
            {"concurrent-tasks", "engine-in-a-row"},
        ),
    ],
)
def test_a_message_that_does_not_decide_names_both_kinds_and_what_decides(
    text: str, kinds: set[str]
) -> None:
    answer = explain(text)
    assert set(answer.kinds) == kinds and not answer.sure
    assert list(answer.lines[:2]) == [
        f"{head} {BY_ID[kind].name} ({kind}), if {BY_ID[kind].tell}"
        for head, kind in zip(("kind:   ", "or kind:"), answer.kinds, strict=True)
    ]


def tried(*frames: str, last: str) -> str:
    """A traceback with these frames, given as "path:function"."""
    pairs = [frame.rpartition(":") for frame in frames]
    lines = [f'  File "{path}", line 7, in {function}\n' for path, _, function in pairs]
    return "Traceback (most recent call last):\n" + "".join(lines) + last


LIBRARY = "/srv/.venv/lib/python3.12/site-packages/"


@pytest.mark.parametrize(
    ("text", "kind", "sure"),
    [
        # The same message, too late: in a finalizer, or in a task that closes a client.
        (
            "Exception ignored in: <function Connection.__del__ at 0x1>\n"
            + tried(
                LIBRARY + "redis/asyncio/connection.py:__del__",
                last="RuntimeError: Event loop is closed",
            ),
            "left-open",
            True,
        ),
        (
            "Task exception was never retrieved\nfuture: <Task finished coro=<AsyncClient.aclose() done>>\n"
            + tried(LIBRARY + "httpx/_client.py:aclose", last="RuntimeError: Event loop is closed"),
            "left-open",
            False,
        ),
        # Of a client that runs the application under test, and the driver in it, the driver speaks.
        (
            tried(
                LIBRARY + "httpx/_client.py:send",
                LIBRARY + "redis/asyncio/client.py:execute",
                last="RuntimeError: Event loop is closed",
            ),
            "redis-client",
            True,
        ),
        # A library that the catalogue does not know is named all the same.
        (
            tried(
                LIBRARY + "celery/app/trace.py:run",
                LIBRARY + "coolmq/client.py:send",
                last="RuntimeError: Task <Task pending> got Future <Future pending> attached to a different loop",
            ),
            "any-client",
            True,
        ),
        # uvloop says of a transport that the server has closed what it says after its loop's end.
        (
            tried(
                LIBRARY + "coolmq/client.py:send",
                last="RuntimeError: unable to perform operation on <TCPTransport closed=True reading=False 0x7>; the handler is closed",
            ),
            "lost-connection",
            False,
        ),
        (
            tried(
                LIBRARY + "asyncpg/connection.py:fetchval",
                last="asyncpg.exceptions.ConnectionDoesNotExistError: connection was closed in the middle of operation",
            ),
            "lost-connection",
            False,
        ),
        # Before Python 3.10 a lock is bound when it is made; a framework below it is no client.
        (
            tried(
                LIBRARY + "coolweb/app.py:handle",
                "/srv/app/views.py:show",
                "/usr/lib/python3.8/asyncio/locks.py:acquire",
                last="RuntimeError: Task <Task pending coro=<handle() running at /srv/.venv/lib/python3.8/site-packages/coolweb/app.py:6>> got Future <Future pending> attached to a different loop",
            ),
            "contended-primitive",
            True,
        ),
        # No driver has added its callback to this future.
        (
            "RuntimeError: Task <Task pending name='Task-8' coro=<send() running at /srv/app.py:7>> got Future <Future pending> attached to a different loop",
            "contended-primitive",
            False,
        ),
        (
            "RuntimeError: Task <Task pending coro=<stop() running at /srv/app.py:7>> got Future <Task pending coro=<work() running at /srv/bot.py:3>> attached to a different loop",
            "any-client",
            False,
        ),
        # SQLAlchemy before 2.0.2 closes a collected connection as if it were in its greenlet.
        (
            "Exception during reset or similar\n"
            + tried(
                LIBRARY + "sqlalchemy/pool/base.py:_finalize_fairy",
                LIBRARY + "sqlalchemy/util/_concurrency_py3k.py:await_only",
                last="sqlalchemy.exc.MissingGreenlet: greenlet_spawn has not been called; can't call await_only() here.",
            ),
            "left-open",
            True,
        ),
        # pytest before 9 named the loop's fixture without quotes.
        (
            "ScopeMismatch: You tried to access the function scoped fixture event_loop with a session scoped request object.",
            "fixture-and-test",
            True,
        ),
        (
            "RuntimeError: <pymongo._asyncio_lock.Condition object at 0x7 [locked]> is bound to a different event loop",
            "mongo-client",
            True,
        ),
        # A library of asyncio's, under trio.
        (
            tried(
                LIBRARY + "trio/_core/_run.py:run",
                LIBRARY + "aiohttp/client.py:_request",
                last="RuntimeError: Timeout context manager should be used inside a task",
            ),
            "loop-type",
            True,
        ),
        # An error that was handled while another one came.
        (
            "Task exception was never retrieved\nfuture: <Task finished coro=<AsyncClient.aclose() done, defined at "
            + LIBRARY
            + "httpx/_client.py:2011> exception=RuntimeError('Event loop is closed')>\n"
            + tried(LIBRARY + "coolsdk/loops.py:run", last="RuntimeError: no running event loop\n")
            + "\nDuring handling of the above exception, another exception occurred:\n\n"
            + tried(LIBRARY + "httpx/_client.py:aclose", last=""),
            "left-open",
            False,
        ),
        # What asyncio called, where the end is cut off.
        (
            tried(
                LIBRARY + "httpcore/_async/http11.py:aclose",
                "/usr/lib/python3.10/asyncio/base_events.py:call_soon",
                last='    self._check_closed()\n  File "/usr/local/li',
            ),
            "httpx-client",
            True,
        ),
        # Without pytest-asyncio: its own fixtures are missing, a test's coroutine is left.
        (
            "E       fixture 'event_loop' not found\n>       available fixtures: cache, capfd, tmp_path\n>       use 'pytest --fixtures [testpath]' for help on them.",
            "async-not-handled",
            True,
        ),
        (
            "E       fixture 'event_loop' not found\n>       available fixtures: cache, event_loop_policy, unused_tcp_port\n>       use 'pytest --fixtures [testpath]' for help on them.",
            "event-loop-override",
            True,
        ),
        (
            "test_it.py:7: RuntimeWarning: coroutine 'test_time' was never awaited",
            "async-not-handled",
            True,
        ),
        (
            "pytest.PytestRemovedIn9Warning: 'test_one' requested an async fixture 'api', with no plugin or hook that handled it.",
            "async-not-handled",
            True,
        ),
        # A log that a console has broken, its own words before each line.
        (
            "".join(
                f"2025-04-25 22:16:09.515 [warning] [server stderr]      {part}\n"
                for part in (
                    "Psycopg cannot use the",
                    "'ProactorEventLoop' to run",
                    "in async mode.",
                )
            ),
            "loop-type",
            True,
        ),
        # Who makes the loops is seen by the frames around.
        (
            tried(
                LIBRARY + "celery/app/trace.py:trace_task",
                LIBRARY + "sqlalchemy/dialects/postgresql/asyncpg.py:_start_transaction",
                last="RuntimeError: Task <Task pending> got Future <Future pending cb=[BaseProtocol._on_waiter_completed()]> attached to a different loop",
            ),
            "engine-in-a-row",
            True,
        ),
        (
            tried(
                "/usr/lib/python3.12/multiprocessing/process.py:run",
                LIBRARY + "sqlalchemy/dialects/postgresql/asyncpg.py:_start_transaction",
                last="RuntimeError: Task <Task pending> got Future <Future pending cb=[BaseProtocol._on_waiter_completed()]> attached to a different loop",
            ),
            "fork",
            False,
        ),
        (
            tried(
                LIBRARY + "uvicorn/server.py:serve",
                LIBRARY + "sqlalchemy/dialects/postgresql/asyncpg.py:_start_transaction",
                last="RuntimeError: Task <Task pending> got Future <Future pending cb=[BaseProtocol._on_waiter_completed()]> attached to a different loop",
            ),
            "startup-loop",
            False,
        ),
        (
            "Cell In[5], line 1\n----> 1 asyncio.run(main())\n\nRuntimeError: asyncio.run() cannot be called from a running event loop",
            "loop-already-runs",
            True,
        ),
        (
            tried(
                LIBRARY + "psycopg_pool/pool_async.py:getconn",
                last="psycopg_pool.PoolTimeout: couldn't get a connection after 30.00 sec",
            ),
            "psycopg-pool",
            False,
        ),
    ],
)
def test_frames_decide_what_a_message_leaves_open(text: str, kind: str, sure: bool) -> None:
    answer = explain(text)
    assert (answer.kinds[0], answer.sure) == (kind, sure), str(answer)


def test_a_library_that_is_not_known_is_named() -> None:
    text = tried(
        "/srv/jobs.py:main",
        LIBRARY + "coolmq/client.py:send",
        last="RuntimeError: Event loop is closed",
    )
    assert "maker:   coolmq, by its frames" in str(explain(text))
    assert "yours:   /srv/jobs.py:7, in main" in str(explain(text))


def test_another_fault_is_called_one() -> None:
    answer = explain(
        "sqlalchemy.exc.TimeoutError: QueuePool limit of size 5 overflow 10 reached, connection timed out"
    )
    assert answer.kinds == ("pool-exhausted",) and answer.sure
    assert answer.lines[0].startswith("kind:    another fault")


def test_two_faults_in_one_text_are_both_named() -> None:
    other = "\nERROR in worker\nTraceback (most recent call last):\nRuntimeError: asyncio.run() cannot be called from a running event loop\n"
    answer = explain(REDIS + other)
    assert {*answer.kinds, *answer.also} == {"redis-client", "loop-already-runs"}


def test_a_value_that_pytest_shows_of_a_function_is_no_error() -> None:
    value = "RuntimeError('Event loop is closed')"
    for shown in (f"self = <Pool>, last = {value}", f"last       = {value}"):
        text = f"____________ test_one ____________\n\n{shown}\n\nE       ValueError: three\n"
        assert explain(text).kinds == ()
        assert "ValueError: three" in str(explain(text))


def test_an_error_that_is_not_explained_is_named() -> None:
    assert "not explained: KeyError: 'name'" in str(
        explain(REDIS + "\nERROR next\nTraceback (most recent call last):\nKeyError: 'name'\n")
    )


def test_no_control_character_of_a_text_is_said() -> None:
    """A log of a stranger's would reach into the terminal by one."""
    error = "Traceback (most recent call last):\nValueError: \x9b2Jth\x00ree\x07\x1bc\n"
    for text in (error, f"{REDIS}\nERROR next\n{error}".replace("health", "\x9b2Jhealth")):
        said = str(explain(text))
        assert "ValueError: 2Jthreec" in said
        assert said.replace("\n", "").isprintable()


# -- long texts ------------------------------------------------------------------------------------


class Repeated(io.RawIOBase):
    """A hundred megabytes, or so, that take no room."""

    def __init__(self, middle: bytes, line: bytes = b"INFO all is well\n") -> None:
        half = memoryview(line * (50_000_000 // len(line)))
        self.parts = [half, memoryview(middle), half]

    def read(self, size: int = -1) -> bytes:
        if not self.parts:
            return b""
        part, self.parts[0] = self.parts[0][:size], self.parts[0][size:]
        if not self.parts[0]:
            self.parts.pop(0)
        return bytes(part)


@pytest.mark.parametrize("line", [b"INFO all is well\n", b"x"], ids=["lines", "one line"])
def test_a_hundred_megabytes_are_searched_in_bounded_memory(line: bytes) -> None:
    data, left_out = taken(Repeated(REDIS.encode(), line))
    assert len(data) < 2 * WHOLE and left_out > 90_000_000
    answer = explain(data, left_out=left_out)
    assert answer.kinds == ("redis-client",)
    assert "MB were only searched" in str(answer)


def test_of_a_long_text_nothing_is_taken_twice_and_what_is_left_out_is_counted() -> None:
    """Wherever the error stands: also over the places where one part of the stream ends."""
    line, error = b"INFO all is well\n", REDIS.encode()
    for place in (0, 499_900, 3_999_900, 4_999_700, 5_199_000, 5_990_000):
        before = line * (place // len(line))
        text = before + error + line * ((6_000_000 - len(before)) // len(line))
        data, left_out = taken(io.BytesIO(text))
        assert data.count(error) == 1
        assert left_out + len(data) == len(text)


def test_a_text_of_nothing_but_messages_is_read_once() -> None:
    """The time for each message does not grow with their number; else this takes minutes."""
    assert explain(b"got Future < Event loop is closed " * 100_000).kinds[0] == "engine-in-a-row"


# -- the command -----------------------------------------------------------------------------------


def test_the_command_reads_a_file_and_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "said.txt"
    file.write_text(REDIS, encoding="utf-8")
    assert explain_command(file, None) == 0
    first = capsys.readouterr().out
    done = subprocess.run(
        [sys.executable, "-m", "loopbound", "explain"],
        input=REDIS,
        capture_output=True,
        encoding="utf-8",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == first and first.startswith("kind:    a Redis client on a second loop\n")
    file.write_text("nothing")
    assert explain_command(file, None) == 1


def test_what_cannot_be_read_or_asked_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be read"):
        explain_command(tmp_path / "missing", None)
    file = tmp_path / "said.txt"
    file.write_text(REDIS)
    for python in (str(tmp_path / "python"), sys.executable + "-that-is-not-there"):
        with pytest.raises(Problem, match="does not answer as a Python"):
            explain_command(file, python)


def test_another_interpreter_is_asked_for_its_versions() -> None:
    bare = textwrap.dedent(REDIS).replace("redis/asyncio", "asyncpg/x").replace("redis", "asyncpg")
    assert explain(bare, python=sys.executable).kinds == explain(bare).kinds


def test_it_imports_the_standard_library_only(repository: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'src'); import loopbound.faults.explain\n"
        "named = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names\n"
        "ours = {name for name in sys.modules if name.startswith('loopbound')}\n"
        "print(sorted(named), [name for name in ours if 'faults' not in name and name not in ('loopbound', 'loopbound.problem')])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=repository, capture_output=True, text=True
    )
    assert done.stdout.split("] ")[0].replace("'__main__', ", "") == "['loopbound'", done.stderr
    assert done.stdout.endswith("[]\n")


# -- the catalogue ---------------------------------------------------------------------------------


def test_every_word_of_a_sign_is_a_fact_that_can_be_seen() -> None:
    known = {
        *MESSAGES,
        *SITUATIONS,
        "by-any",
        "other-client",
        "first-test",
        "later-test",
        "program",
        "no-asyncio-plugin",
    }
    known |= {f"text:{name}" for name in MESSAGES} | {f"by:{name}" for name in LIBRARIES}
    known |= {f"header:scopes-{word}" for word in ("unset", "equal", "differ")}
    for kind in KINDS:
        words = [sign.facts for sign in kind.signs] + [cure.where for cure in kind.cures]
        assert {word.lstrip("!") for line in words for word in line.split()} <= known, kind.id
    assert set(GLOBAL) <= set(SITUATIONS) and set(MESSAGES) >= FOLLOWERS


def test_every_message_and_library_is_a_sign_of_some_kind() -> None:
    used = {
        word.lstrip("!") for kind in KINDS for sign in kind.signs for word in sign.facts.split()
    }
    assert set(MESSAGES) - used == set()


def test_kinds_are_whole() -> None:
    assert len(BY_ID) == len(KINDS)
    for kind in KINDS:
        for text in (kind.name, kind.binds, kind.tell, kind.look, kind.mistaken_for):
            assert text and text == text.strip() and not text.endswith("."), kind.id
        names = [(cure.name, cure.where) for cure in kind.cures]
        assert names and len(set(names)) == len(names), kind.id
        assert all(cure.do and cure.price for cure in kind.cures), kind.id


def test_every_kind_names_a_lesson_that_there_is() -> None:
    from loopbound.course.manifest import lessons

    numbers = {lesson.number for lesson in lessons()}
    assert {kind.lesson for kind in KINDS} <= numbers


MANUAL = "asyncpg.exceptions._base.InterfaceError: cannot use Connection.transaction() in a manually started transaction"


@pytest.mark.parametrize(
    ("frame", "kinds"),
    [
        ("/app/jobs.py", ("concurrent-tasks", "two-awake-loops")),
        (
            "/lib/sqlalchemy/dialects/postgresql/asyncpg.py",
            ("two-awake-loops", "concurrent-tasks"),
        ),
    ],
)
def test_a_transaction_that_is_open_already_is_a_race_or_a_second_loop(
    frame: str, kinds: tuple[str, ...]
) -> None:
    """Sessions of SQLAlchemy refuse two tasks, a connection of asyncpg does not."""
    answer = explain(
        f'Traceback (most recent call last):\n  File "{frame}", line 3, in book\n{MANUAL}\n'
    )
    assert answer.kinds == kinds and not answer.sure


HANDED_IN = """Traceback (most recent call last):
  File "/usr/lib/python3.11/asyncio/runners.py", line 118, in run
  File "/app/db.py", line 11, in numbers
  File "/lib/sqlalchemy/dialects/postgresql/asyncpg.py", line 909, in _start_transaction
RuntimeError: Task <Task pending name='Task-4' coro=<build() running at /app/reports.py:17>
 cb=[_chain_future.<locals>._call_set_state() at asyncio/futures.py:394]> got Future <Future
 pending cb=[BaseProtocol._on_waiter_completed()]> attached to a different loop
"""


def test_a_task_that_a_thread_handed_in_may_be_on_a_second_loop_awake() -> None:
    answer = explain(HANDED_IN)
    assert answer.kinds == ("two-awake-loops", "engine-in-a-row") and not answer.sure
    alone = explain(HANDED_IN.replace("_chain_future.<locals>._call_set_state", "done"))
    assert alone.kinds == ("engine-in-a-row",) and alone.sure


def test_where_each_thread_waits_is_a_hang() -> None:
    answer = explain(
        "test_checkout.py ..Timeout (0:00:30)!\nThread 0x00007f00 (most recent call first):\n"
        '  File "/usr/lib/python3.11/selectors.py", line 468 in select\n'
    )
    assert answer.kinds == ("open-transaction",) and not answer.sure


def test_a_notebook_shows_the_same_lines_as_a_table() -> None:
    answer = explain("RuntimeError: … got Future <Future pending> attached to a different loop")
    shown = answer._repr_html_()
    assert shown.count("<tr>") == len(answer.lines) > 5
    assert "&lt;" not in str(answer) and "<b>kind:</b>" in shown
    assert explain("")._repr_html_().startswith("<pre>There is no text.")


def test_the_index_names_what_a_message_is_beside_a_thread() -> None:
    kinds = {phrase: kinds for said, kinds in index() for phrase in said}
    assert kinds["attached to a different loop"] == (
        "engine-in-a-row",
        "fixture-and-test",
        "two-awake-loops",
    )
    assert kinds["decryption failed or bad record mac"] == ("fork",)
