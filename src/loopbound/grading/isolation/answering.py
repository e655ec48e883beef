"""The kernel that a learner's cells run in: it carries the grader's own request out beside the
cells, sends nothing that is not read, and sees what each cell left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, ClassVar

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel

from loopbound.grading.isolation.channel import REQUEST

__all__ = ["AnsweringKernel", "LeftOvers", "run_commands_quietly", "say_little"]

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
_LONGEST = 2_000  # characters of an error's text, and of a row of its traceback
_ROWS = 60
# Whose timers and tasks run in a kernel that has no work.
_ITS_OWN = ("ipykernel", "IPython", "tornado", "zmq", "jupyter_client", "asyncio")


class AnsweringKernel(IPythonKernel):
    """An IPython kernel with one request more.

    That one passes no name of the notebook, no transformer, no hook and no ``run_cell``.
    """

    report: ClassVar[Callable[[str, str, Mapping[str, Any]], None]]
    noted: ClassVar[Callable[[], None]]
    """Called behind each cell of the notebook."""

    async def do_execute(
        self, code: str, silent: bool, *arguments: Any, **more: Any
    ) -> dict[str, Any]:
        if not code.startswith(REQUEST):
            # So input() raises an error and waits for nothing.
            more["allow_stdin"] = False
            try:
                return await super().do_execute(  # type: ignore[no-untyped-call]
                    code, silent, *arguments, **more
                )
            except Exception as error:  # the cell took away what the kernel itself works with
                said = {"ename": type(error).__name__, "evalue": str(error), "traceback": []}
                return {"status": "error", "execution_count": 0, "payload": [], **said}
            finally:
                type(self).noted()
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
            content = content | {
                "ename": str(content.get("ename", ""))[:_LONGEST],
                "evalue": str(content.get("evalue", ""))[:_LONGEST],
                "traceback": [str(row)[:_LONGEST] for row in content["traceback"][:_ROWS]],
            }
        return send(stream, msg_or_type, content, *arguments, **more)

    session.send = sparing
    OutStream.write = lambda self, text: len(text)  # type: ignore[method-assign, assignment]


_INSTALLERS = ("pip", "conda", "mamba", "micromamba", "uv")
_INSTALLS = re.compile(
    r"\s*(?:\S*python\S*\s+-m\s+)?(?:\S*/)?(?:sudo\s+)?"
    rf"(?:{'|'.join(_INSTALLERS)}|pip3|apt|apt-get|brew)\b"
)


def run_commands_quietly(shell: Any) -> None:
    """Let ``!command`` run without the terminal that IPython would give it: here is none. What
    installs packages is passed over, for nothing can be installed, and so is ``%reset``: it would
    take away what the course's own cells have defined.
    """

    def system(command: str) -> None:
        command = shell.var_expand(command, depth=1)
        if not _INSTALLS.match(command):
            nowhere = subprocess.DEVNULL
            ended = subprocess.run(
                command,
                shell=True,
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
            )
            shell.user_ns["_exit_code"] = ended.returncode

    shell.system = shell.system_piped = shell.system_raw = system
    for name in (*_INSTALLERS, "reset"):
        shell.register_magic_function(lambda line: None, "line", name)


class LeftOvers:
    """What a cell can leave in its kernel so that its own code speaks up later: threads, tasks,
    timers, processes, an alarm.

    Threads of libraries, and those that wait for work, are none of these.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, names: Mapping[str, Any]) -> None:
        self._loop = loop
        self._names = names

    def found(self, settle: float = 0.0) -> list[str]:
        """A word each; empty where none of the notebook's code goes on.

        ``settle``: seconds for what is ending at this moment.
        """
        until = time.monotonic() + settle
        while (words := self._found()) and time.monotonic() < until:
            time.sleep(0.002)
        return words

    def _found(self) -> list[str]:
        words = []
        here = threading.get_ident()
        if any(
            self._runs_own_code(frame)
            for thread, frame in sys._current_frames().items()
            if thread != here
        ) or any(isinstance(thread, threading.Timer) for thread in threading.enumerate()):
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

    def _runs_own_code(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_globals is self._names:
                return True
            frame = frame.f_back
        return False


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
