"""The process that a suite runs in: started, listened to, bounded, ended with everything that it
has started.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg

from loopbound.database import ScratchDatabase, Session
from loopbound.problem import Problem
from loopbound.suite.warm import forked

PROGRAM = Path(__file__).parent / "child" / "loopbound_child.py"
STACKS_SECONDS = 3.0  # to wait for a hung process to write its stacks
LOOKS = 12  # until connections that the last test has closed are gone from the server
END_SECONDS = 3.0  # between asking a process to end and killing it
TURN_SECONDS = 0.2  # how late Ctrl-C may be heard on Windows


class Child:
    """The suite's process, and what it has said.

    Args:
        python: its interpreter.
        folder: the project's copy; the files for its orders and its output lie beside it.
        given: what `child/loopbound_child.py` is to do.
        variables: its environment.
        scratch: its database.
        warm: the variables of the warm process that forks it; None where it is to be started.

    Raises:
        Problem: the interpreter cannot be started.
    """

    def __init__(
        self,
        python: str,
        folder: Path,
        given: Mapping[str, Any],
        variables: Mapping[str, str],
        scratch: ScratchDatabase,
        warm: Mapping[str, str] | None,
    ) -> None:
        self.lines: list[dict[str, Any]] = []
        self.leftovers: list[Session] = []
        self.sessions: list[Session] = []
        self.hung = False
        self.seconds = 0.0
        self.output = folder.parent / "output.txt"
        self.stacks = folder.parent / "stacks.txt"
        self._scratch = scratch
        self._wrote_stacks = threading.Event()
        self._ended = threading.Event()
        orders = folder.parent / "given.json"
        orders.write_text(
            json.dumps({**given, "stacks": str(self.stacks), "variables": variables}),
            encoding="utf-8",
        )
        # A group of its own: Ctrl-C reaches the caller alone, who ends it in good order.
        apart: dict[str, Any] = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        with open(self.output, "wb") as output:
            try:
                # A Popen whose two pipes are there, or as much of one as a run needs.
                self.process: Any = (
                    forked(python, PROGRAM, orders, output, warm) if warm else None
                ) or subprocess.Popen(
                    [python, str(PROGRAM), str(orders)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    cwd=folder,
                    env=variables,
                    **apart,
                )
            except OSError as error:
                raise Problem(
                    f"The interpreter {python} cannot be started:"
                    f" {(error.strerror or str(error)).lower()}."
                ) from None
        self._began = time.perf_counter()
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._listen, self._await)
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, limit: float, stop: threading.Event) -> None:
        """Until it has ended, or `limit` seconds after its start: then the evidence is taken.

        Raises:
            KeyboardInterrupt: `stop` was set.
        """
        deadline = self._began + limit
        while not self._ended.wait(min(TURN_SECONDS, max(deadline - time.perf_counter(), 0))):
            if stop.is_set():
                raise KeyboardInterrupt
            if time.perf_counter() >= deadline:
                self.hung = True
                self._take_evidence()
                return

    def end(self) -> None:
        """End it and everything that it has started, and let go of it."""
        self.seconds = time.perf_counter() - self._began
        with contextlib.suppress(psutil.Error):
            leader = psutil.Process(self.process.pid)
            family = leader.children(recursive=True)
            for member in [*family, leader]:
                with contextlib.suppress(psutil.Error):
                    member.terminate()
            # Its end is waited for in one place only, `_await`: another waiter could take the
            # exit code away.
            until = time.perf_counter() + END_SECONDS
            if not self._ended.wait(END_SECONDS):
                with contextlib.suppress(psutil.Error):
                    leader.kill()
            for member in psutil.wait_procs(family, timeout=max(until - time.perf_counter(), 0.1))[
                1
            ]:
                with contextlib.suppress(psutil.Error):
                    member.kill()
        if os.name == "posix":
            # What it has started and left to itself when it ended.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for thread in self._threads:
            thread.join(END_SECONDS)
        with contextlib.suppress(OSError):
            self.process.stdout.close()

    def _take_evidence(self) -> None:
        with contextlib.suppress(psycopg.Error):
            self.sessions = self._scratch.sessions()
        self._order("stacks")
        # One that does not hear us has had them written by faulthandler's own timer meanwhile.
        self._wrote_stacks.wait(STACKS_SECONDS)

    def _listen(self) -> None:
        for line in self.process.stdout:
            try:
                said = json.loads(line)
            except ValueError:  # the last line of a process that was ended while it wrote
                continue
            # From an interpreter that is none, or a test.
            if not isinstance(said, dict) or "kind" not in said:
                continue
            if said["kind"] == "last":
                with contextlib.suppress(psycopg.Error):
                    self.leftovers = self._scratch.sessions(LOOKS)
                self._order("go on")
            elif said["kind"] == "stacks":
                self._wrote_stacks.set()
            else:
                self.lines.append(said)

    def _await(self) -> None:
        self.process.wait()
        self._ended.set()

    def _order(self, word: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(word.encode() + b"\n")
            self.process.stdin.flush()
