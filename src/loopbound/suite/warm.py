"""Suites' processes that are forked by a warm one, which has imported pytest and the libraries.

What it does is told in `child/loopbound_child.py`. It is started at the first run with its
interpreter, and ends with this process, or when it has had nothing to do for a while.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO

POSSIBLE = sys.platform == "linux"

_lock = threading.Lock()
# By interpreter: its warm process, that one's variables and the line to it.
_started: dict[str, tuple[subprocess.Popen[bytes], Mapping[str, str], socket.socket]] = {}


class Forked:
    """A process that the warm one has forked: as much of `subprocess.Popen` as a run needs."""

    def __init__(self, pid: int, stdin: IO[bytes], stdout: IO[bytes], told: IO[bytes]) -> None:
        self.pid, self.stdin, self.stdout = pid, stdin, stdout
        self.returncode: int | None = None
        self._told = told

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        with self._told:
            self.returncode = int(self._told.readline() or -signal.SIGKILL)
        return self.returncode


def forked(
    python: str, program: Path, orders: Path, output: IO[bytes], variables: Mapping[str, str]
) -> Forked | None:
    """A process for a suite; None where a warm one is not to be had.

    Args:
        python: the interpreter.
        program: what the warm process runs.
        orders: the file for the fork.
        output: becomes the fork's standard error.
        variables: the environment of the warm process.
    """
    if not POSSIBLE:
        return None
    reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
    ours = os.fdopen(writes[0], "wb"), os.fdopen(reads[1], "rb"), os.fdopen(reads[2], "rb")
    theirs = [reads[0], writes[1], output.fileno(), writes[2]]
    # An error: it cannot be started, or has ended meanwhile, as one does that has nothing to do.
    with contextlib.suppress(OSError), _lock:
        socket.send_fds(_line(python, program, variables), [os.fsencode(orders)], theirs)
    for end in (reads[0], writes[1], writes[2]):
        os.close(end)
    if pid := ours[2].readline():
        return Forked(int(pid), *ours)
    for stream in ours:
        stream.close()
    return None


def _line(python: str, program: Path, variables: Mapping[str, str]) -> socket.socket:
    """The line to a warm process of this interpreter with these variables."""
    known = _started.get(python)
    if not known or known[0].poll() is not None or known[1] != variables:
        _end(python)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            process = subprocess.Popen(
                [python, str(program), "warm", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env=variables,
                start_new_session=True,  # Ctrl-C reaches the caller alone
            )
            failed.pop_all()
        _started[python] = process, variables, ours
    return _started[python][2]


@atexit.register
def end() -> None:
    """End the warm processes, if there are any; the next run starts another."""
    for python in list(_started):
        _end(python)


def _end(python: str) -> None:
    if python in _started:
        process, _, line = _started.pop(python)
        line.close()
        process.kill()  # what it has forked goes on
        process.wait()
