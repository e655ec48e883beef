"""Runs a learner's code on named loops of its own, within a limit of time, and notes what it did
and what it left.

A check never runs on the kernel's loop: code that works on that one alone is found out, and the
check works while it runs. What comes out of a `Watch` is plain data.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import Any

from loopbound.checks.plain import plain
from loopbound.database import ScratchDatabase, scratch_database
from loopbound.loops import NamedLoop
from loopbound.machine import slowness
from loopbound.recorder import Recorder, symptom_of

__all__ = [
    "DID_NOT_END",
    "LIMIT",
    "RAISED_ERROR",
    "RETURNED",
    "STUB",
    "Watch",
    "one_at_a_time",
]

LIMIT = 5.0  # seconds for one step of a learner's code
MOST_SLOW = 6  # a machine is taken for as slow as that at most: the grader's own limit is a minute
_GRACE = 1.0  # and for what blocks its thread to be ended from outside

RETURNED, RAISED_ERROR, STUB, DID_NOT_END = "returned", "raised", "stub", "did not end"

# asyncpg leaves a coroutine of its own behind when a connection meets another loop: that is no
# mistake of the learner's.
_NEVER_AWAITED = re.compile(
    r"coroutine '(?!Connection\._cancel')(?:[^']*\.)?([^'.]+)' was never awaited"
)


# What an error's text says of the check's own frames and of files: a learner knows the functions by
# their names, and no path of this machine.
_OWN_STEP = re.compile(r"Watch\._noted\(\)")
_OWN_LOCALS = re.compile(r"\b_\w+\.<locals>\.")
_PLACE = re.compile(
    r"(?: running at| at|, defined at| created at)"
    r" (?:[A-Za-z]:)?[/\\](?:[^<>:]*[/\\])?(?P<file>[^/\\<>:]+\.py):(?P<line>\d+)"
)
_CELL = re.compile(r"(?:\S*[/\\])?\b\d{5,}\.py\b")  # as ipykernel names a cell's file

_stopping = threading.Lock()


class _TakesTooLong(BaseException):
    """Raised from outside in a thread that a learner's code blocks; ``except Exception`` does not
    stop it.
    """


class Watch:
    """A context manager around one observation. Its steps run on named loops, which it closes at
    its end.

    ``names`` is the learner's namespace: frames that run in it are the learner's own. ``counts``:
    whether connections that are open at the end are counted; not where an experiment leaves some on
    purpose, or the task judges them in words of its own. ``limit``: seconds for a step on a machine
    that does nothing else.
    """

    def __init__(self, names: Mapping[str, Any], limit: float = LIMIT, counts: bool = True) -> None:
        self._names = names
        self._counts = counts
        self.limit = limit * min(int(slowness()), MOST_SLOW)
        self._loops: dict[str, NamedLoop] = {}
        self._steps: list[dict[str, Any]] = []
        self._databases: list[ScratchDatabase] = []
        self._connections = 0
        self._recorder: Recorder | None = None
        self._stuck = False

    def __enter__(self) -> Watch:
        self._recorder = Recorder()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # While the loops are open: closing one drops its sockets, and a connection that only that
        # closes was left behind.
        for database in self._databases if self._counts else ():
            self._connections += self.connected(database)
        for loop in self._loops.values():
            loop.close()
        assert self._recorder is not None
        self._recorder.stop()
        for database in self._databases:
            database.close()

    def loop(self, name: str) -> NamedLoop:
        """The loop of this name, made at the first call."""
        if name not in self._loops:
            self._loops[name] = NamedLoop(name)
        return self._loops[name]

    def close(self, name: str) -> None:
        """Close a loop now, as a test's loop is closed behind it."""
        self._loops.pop(name).close()

    def database(self) -> ScratchDatabase:
        """A scratch database; connections to it that are still open at the end are counted."""
        database = scratch_database("check")
        self._databases.append(database)
        return database

    def connected(self, database: ScratchDatabase) -> int:
        """How many sessions the server sees in a database now; one that was closed a moment ago may
        still be leaving.
        """
        return len(database.sessions(looks=30))

    @property
    def recorder(self) -> Recorder:
        assert self._recorder is not None
        return self._recorder

    @property
    def well(self) -> bool:
        """Whether every step so far has returned: further ones would only repeat the news."""
        return all(step["outcome"] == RETURNED for step in self._steps)

    def step(self, loop: str, called: str, call: Callable[[], Any]) -> Any:
        """Call a function on a loop's thread, await what it returns if that can be awaited, and
        note how it ended.

        ``called`` is the call as feedback prints it. Gives the value, or None where there is none.
        """
        note: dict[str, Any] = {"called": called, "loop": loop, "tasks": []}
        self._steps.append(note)
        if self._stuck:
            note["outcome"] = DID_NOT_END
            return None
        value = _bounded(self.loop(loop), self._noted(note, call), note, self.limit + _GRACE)
        self._stuck = note.get("stuck", False)
        note.pop("thread", None)
        return value

    def plain_step(self, called: str, call: Callable[[], Any]) -> Any:
        """Call a plain function in a thread without a loop, and note how it ended.

        Gives its value or None.
        """
        note: dict[str, Any] = {"called": called, "loop": "", "tasks": []}
        self._steps.append(note)
        value = _bounded(None, self._noted(note, call, awaits=False), note, self.limit)
        if note["outcome"] == DID_NOT_END:
            # It may have waited for a step on one of the loops.
            free = [_freed(loop) for loop in self._loops.values()]
            note["stuck"] |= not all(free)
        note.pop("thread", None)
        return value

    async def _noted(
        self, note: dict[str, Any], call: Callable[[], Any], awaits: bool = True
    ) -> Any:
        note["thread"] = threading.get_ident()
        value = None
        try:
            if awaits:
                async with asyncio.timeout(self.limit) as limit:
                    value = call()
                    if inspect.isawaitable(value):
                        value = await value
            else:
                value = call()
        except _TakesTooLong:
            note["outcome"] = DID_NOT_END
        except BaseException as error:
            if awaits and isinstance(error, TimeoutError) and limit.expired():
                note["outcome"] = DID_NOT_END
            else:
                self._note_error(note, error)
        else:
            note["value"] = plain(value)
            note["outcome"] = RETURNED
        finally:
            # from here on an exception from outside would hit the loop's own code, which then could
            # not close it
            with _stopping:
                note["thread"] = None
        if awaits:
            note["tasks"] = await _left_tasks()
        return value

    def _note_error(self, note: dict[str, Any], error: BaseException) -> None:
        frames, here = [], error.__traceback__
        while here is not None:
            frames.append((here.tb_frame, here.tb_lineno))
            here = here.tb_next
        own = [
            (frame.f_code.co_name, line) for frame, line in frames if frame.f_globals is self._names
        ]
        in_own_code = bool(frames) and frames[-1][0].f_globals is self._names
        if isinstance(error, NotImplementedError) and in_own_code and not error.args:
            note["outcome"] = STUB
            return
        first = str(error)[:5_000].splitlines()  # by accident an error's text may have 100 MB
        note["outcome"] = RAISED_ERROR
        note["error"] = _in_names_of_the_learner(
            f"{type(error).__name__}: {first[0]}" if first else type(error).__name__, note["called"]
        )
        note["symptom"] = symptom_of(error)
        note["where"], note["line"] = own[-1] if own else ("", 0)

    def data(self, **more: Any) -> dict[str, Any]:
        """What was observed, as plain data; for use after the ``with`` block."""
        warned = [event.text for event in self.recorder.events if event.kind == "warned"]
        never_awaited = [found[1] for text in warned if (found := _NEVER_AWAITED.search(text))]
        return {
            "steps": self._steps,
            "never_awaited": sorted(set(never_awaited)),
            "connections": self._connections,
            "asides": self.recorder.asides,
            "events": [asdict(event) for event in self.recorder.events if event.kind != "warned"],
            **more,
        }


def one_at_a_time(home: asyncio.AbstractEventLoop, connection: Any) -> None:
    """Let a connection's loop stand still while another loop, in another thread, sends something.

    asyncpg is made for one thread. Between the moment at which a query is sent and the one at which
    asyncpg has noted it down, another thread may already read the answer, and that is a
    segmentation fault. So the loop that reads is held until the one that sent has its next turn.

    Args:
        home: the loop on which the connection was opened.
        connection: asyncpg's own connection.
    """
    goes_on = threading.Event()
    goes_on.set()

    def careful(send: Callable[[Any], None], data: Any) -> None:
        here = asyncio._get_running_loop()
        if here is not home and home.is_running() and goes_on.is_set():
            goes_on.clear()
            stands = threading.Event()

            def stand() -> None:
                stands.set()
                goes_on.wait(LIMIT)
                goes_on.set()  # for what was sent without a loop, or by one that is stuck

            home.call_soon_threadsafe(stand)
            stands.wait(LIMIT)  # a loop that is blocked reads nothing either
            if here:
                here.call_soon(goes_on.set)
        send(data)

    transport = connection._transport
    for name in ("write", "writelines"):
        setattr(transport, name, partial(careful, getattr(transport, name)))


def _in_names_of_the_learner(text: str, called: str) -> str:
    """An error's text without the check's own frames and without paths: the task of a step is named
    by the call that it makes.
    """
    text = _OWN_STEP.sub(f"{called.partition('(')[0]}()", text)
    text = _OWN_LOCALS.sub("", text)
    text = _PLACE.sub(
        lambda found: (
            f" in line {found['line']} of your cell" if _CELL.fullmatch(found["file"]) else ""
        ),
        text,
    )
    return _CELL.sub("your cell", text)


async def _left_tasks() -> list[str]:
    """Names the coroutines of tasks that are still pending on this loop, and cancels them."""
    await asyncio.sleep(0)  # for what is over but for its last callback
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=1)
    return sorted(getattr(task.get_coro(), "__name__", "task") for task in left)


def _bounded(loop: NamedLoop | None, coro: Any, note: dict[str, Any], seconds: float) -> Any:
    """Runs a coroutine on a loop (None: a coroutine that never waits, without one) and gives up
    after some seconds.
    """
    outcome: Future[Any] = Future()

    def serve() -> None:
        try:
            value = loop.run(coro, step="answer") if loop else _without_loop(coro)
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(value)

    # A daemon: what cannot be stopped must not keep the kernel from ending.
    waiter = threading.Thread(target=serve, name="check", daemon=True)
    waiter.start()
    until = time.monotonic() + seconds
    try:
        # Short waits: on Windows a longer one cannot be interrupted.
        while not wait([outcome], timeout=0.2).done:
            if time.monotonic() > until:
                _stop(waiter, outcome, note, loop)
                break
    except KeyboardInterrupt:
        _stop(waiter, outcome, note, loop)
        raise
    note.setdefault("outcome", DID_NOT_END)
    if outcome.done() and outcome.exception() is None:
        return outcome.result()
    return None


def _stop(
    waiter: threading.Thread, outcome: Future[Any], note: dict[str, Any], loop: NamedLoop | None
) -> None:
    # First the learner's code itself, which may be a loop without an await; then the step that
    # waits for it.
    with _stopping:
        _raise_in(note.get("thread"), _TakesTooLong)
    if not wait([outcome], timeout=_GRACE).done:
        if loop is not None:
            _raise_in(waiter.ident, KeyboardInterrupt)
        wait([outcome], timeout=4)  # longer than a step on a loop has for its end
    note["stuck"] = not outcome.done() or isinstance(outcome.exception(), KeyboardInterrupt)


def _freed(loop: NamedLoop) -> bool:
    """Whether a loop serves again after a step on it was given up. One that blocks the loop's
    thread is ended there, since nothing of the loop's own can be running then.
    """
    if loop.left_running:
        turn = threading.Event()
        loop.loop.call_soon_threadsafe(turn.set)
        if not turn.wait(_GRACE * slowness()):
            _raise_in(loop.thread, _TakesTooLong)
            turn.wait(_GRACE * slowness())
    return not loop.left_running


def _raise_in(thread: int | None, kind: type[BaseException]) -> None:
    if thread is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


def _without_loop(coro: Any) -> Any:
    with contextlib.closing(coro):
        try:
            coro.send(None)
        except StopIteration as returned:
            return returned.value
    raise RuntimeError("a plain step awaited something")
