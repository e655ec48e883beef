"""The kernel that a learner's cells run in: it carries the grader's own request out beside the
cells, sends nothing that is not read, and sees what a cell left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel

from loopbound.grading.isolation.channel import REQUEST

__all__ = ["AnsweringKernel", "Leavings", "say_little"]

_UNREAD = frozenset(
    {
        "stream",
        "display_data",
        "update_display_data",
        "execute_result",
        "clear_output",
        "execute_input",
        "comm_open",
        "comm_msg",
        "comm_close",
    }
)
_LONGEST = 2_000  # characters of an error's text
_ROWS = 60  # of a traceback, each five times as long
# Whose timers and tasks run in a kernel that has no work.
_ITS_OWN = ("ipykernel", "IPython", "tornado", "zmq", "jupyter_client", "asyncio")


class AnsweringKernel(IPythonKernel):
    """An IPython kernel with one request more.

    That one passes no name of the notebook, no transformer, no hook and no ``run_cell``.
    """

    report: ClassVar[Callable[[str, str, Mapping[str, Any]], None]]

    async def do_execute(
        self, code: str, silent: bool, *arguments: Any, **more: Any
    ) -> dict[str, Any]:
        if not code.startswith(REQUEST):
            # So input() raises an error and waits for nothing.
            more["allow_stdin"] = False
            return await super().do_execute(  # type: ignore[no-untyped-call]
                code, silent, *arguments, **more
            )
        task, nonce = code.removeprefix(REQUEST).split()
        # A kernel that runs has a shell.
        type(self).report(task, nonce, self.shell.user_ns)  # type: ignore[union-attr]
        return {"status": "ok", "execution_count": 0, "user_expressions": {}, "payload": []}


def say_little(session: Any) -> None:
    """Keep a kernel from sending what no grader reads: an answer's outputs are no part of its
    grade, and a flood would slow the others down.
    """
    send = session.send

    def sparing(
        stream: Any, msg_or_type: Any, content: Any = None, *arguments: Any, **more: Any
    ) -> Any:
        kind = msg_or_type if isinstance(msg_or_type, str) else msg_or_type.get("msg_type")
        if kind in _UNREAD:
            return None
        if isinstance(content, dict) and "traceback" in content:
            rows = [str(row)[: 5 * _LONGEST] for row in content["traceback"][:_ROWS]]
            content = content | {
                "evalue": str(content.get("evalue", ""))[:_LONGEST],
                "traceback": rows,
            }
        return send(stream, msg_or_type, content, *arguments, **more)

    session.send = sparing
    OutStream.write = lambda self, text: len(text)  # type: ignore[method-assign, assignment]


class Leavings:
    """What a cell can leave in its kernel so that it speaks up later: threads, tasks, timers,
    processes, an alarm.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = set(threading.enumerate())
        self._native = _native_threads()

    def found(self, settle: float = 0.0) -> list[str]:
        """A word each; empty where the kernel is as it was.

        ``settle``: seconds for what is ending at this moment.
        """
        until = time.monotonic() + settle
        while (words := self._found()) and time.monotonic() < until:
            time.sleep(0.002)
        return words

    def _found(self) -> list[str]:
        words = []
        threads = [
            thread
            for thread in threading.enumerate()
            if thread not in self._threads and thread.is_alive()
        ]
        if threads or _native_threads() > self._native:
            words.append("thread")
        with contextlib.suppress(Exception):  # it may have closed or changed this loop in any way
            if any(_foreign(_home_of(task.get_coro())) for task in asyncio.all_tasks(self._loop)):
                words.append("task")
            if any(
                not handle.cancelled() and _foreign(_home_of(handle._callback))
                for handle in self._loop._scheduled  # type: ignore[attr-defined]  # private
            ):
                words.append("timer")
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                words.append("process")
        if hasattr(signal, "getitimer") and any(
            signal.getitimer(which)[0]
            for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
        ):
            words.append("alarm")
        return words


def _native_threads() -> int:
    if sys.platform != "linux":
        return 0
    return len(os.listdir("/proc/self/task"))


def _home_of(thing: Any) -> str:
    """The module in which something that can be called, or a coroutine, was written."""
    thing = getattr(thing, "func", thing)  # of functools.partial
    thing = getattr(thing, "__func__", thing)
    frame = getattr(thing, "cr_frame", None) or getattr(thing, "gi_frame", None)
    if frame is not None:
        return str(frame.f_globals.get("__name__", ""))
    return str(getattr(thing, "__module__", "") or "")


def _foreign(home: str) -> bool:
    return not any(home == known or home.startswith(f"{known}.") for known in _ITS_OWN)
