"""Suites' processes that are forked by a warm one, which has imported pytest and the libraries.

What it does is told in `child/loopbound_child.py`. It is started at the first run, and ends with
this process, or when it has had nothing to do for a while.
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

POSSIBLE = sys.platform == "linux" and hasattr(os, "pidfd_open")

_lock = threading.Lock()
_processes: list[subprocess.Popen[bytes]] = []  # the last one is in use
_line: socket.socket | None = None
_variables: Mapping[str, str] = {}


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
    program: Path, orders: Path, output: IO[bytes], variables: Mapping[str, str]
) -> Forked | None:
    """A process for a suite; None where a warm one is not to be had.

    Args:
        program: what the warm process runs.
        orders: the file for the fork.
        output: becomes the fork's standard error.
        variables: the environment of the warm process.
    """
    if not POSSIBLE:
        return None
    reads, writes = zip(*(os.pipe() for _ in range(3)), strict=True)
    ours = open(writes[0], "wb"), open(reads[1], "rb"), open(reads[2], "rb")
    theirs = reads[0], writes[1], writes[2]
    # An error: it has ended meanwhile, as one does that has had nothing to do.
    with contextlib.suppress(OSError), _lock:
        descriptors = [*theirs[:2], output.fileno(), theirs[2]]
        socket.send_fds(_warm(program, variables), [os.fsencode(orders)], descriptors)
    for end in theirs:
        os.close(end)
    if pid := ours[2].readline():
        return Forked(int(pid), *ours)
    for stream in ours:
        stream.close()
    return None


def _warm(program: Path, variables: Mapping[str, str]) -> socket.socket:
    """The line to the warm process, started where there is none with these variables."""
    global _line, _variables
    _processes[:] = [process for process in _processes if process.poll() is None]
    if not (_processes and _line and _variables == variables):
        if _line:
            _line.close()  # the one before ends with its last fork
        _line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            _processes.append(
                subprocess.Popen(
                    [sys.executable, str(program), "warm", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    cwd="/",
                    env=variables,
                    start_new_session=True,  # Ctrl-C reaches the caller alone
                )
            )
        _variables = variables
    return _line


@atexit.register
def _end() -> None:
    for process in _processes:
        process.kill()
        process.wait()
