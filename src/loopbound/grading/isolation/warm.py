"""A process with everything imported, which forks when it is asked to: what it forks need not
import anything again.

It has no threads, opens no connection and runs no learner's code itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from loopbound.course import manifest
from loopbound.grading.isolation import sandbox
from loopbound.grading.isolation.inside import become, remember, without_debugger

# The last ones of ipykernel and IPython are imported by a kernel that starts.
_IMPORTED = (
    "IPython.core.completerlib",
    "IPython.core.debugger",
    "IPython.core.debugger_backport",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "aiosqlite",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "loopbound.grading.isolation.answering",
    "loopbound.checks",
    "loopbound.suite",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.sqlite.aiosqlite",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "tornado.locks",
    "tornado.platform.asyncio",
    "tornado.queues",
)


def main() -> None:
    """Serve orders that come over the descriptor which the command line names, until its other end
    is closed.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    # Ctrl-C at a terminal reaches the grader, which closes the line.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    without_debugger()
    for name in _IMPORTED:
        importlib.import_module(name)
    for which in manifest.assignments():
        with contextlib.suppress(ModuleNotFoundError):  # one that is being written
            importlib.import_module(f"loopbound.checks.lesson_{which.number}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers are not waited for
    remember()
    gc.collect()
    gc.freeze()
    with contextlib.suppress(OSError):  # the grader may have found nothing to run, and be gone
        control.send(b"warm")
    sandbox.adopt_orphans()
    keepers: set[int] = set()
    while True:
        try:
            words, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 1)
        except ConnectionResetError:  # the grader has gone without having heard that we are warm
            return
        _end_strays(keepers)
        if not words:
            return
        keeper = os.fork()
        keepers.add(keeper)
        if keeper == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            become(json.loads(words), socket.socket(fileno=descriptors[0]))
        for descriptor in descriptors:
            os.close(descriptor)


def _end_strays(keepers: set[int]) -> None:
    """End those who came to us because a learner's code has killed its keeper, and then theirs."""
    for _ in range(100):
        strays = [
            pid
            for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())
            if pid not in keepers
        ]
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


if __name__ == "__main__":
    main()
