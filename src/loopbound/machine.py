"""What this machine and its Python give to a process: cores, how much of one it gets now, and
syntax trees from any thread.
"""

from __future__ import annotations

import ast
import math
import os
import threading
import time

__all__ = ["cores", "slowness", "syntax_tree"]

_PROBE = 0.02  # seconds of the computation that measures the machine


def cores() -> int:
    """Cores that this process may use: a container or taskset may allow fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slowness(probe: float = _PROBE) -> float:
    """How many times as long as alone a piece of work takes now: 1.0 on an idle machine.

    Measured: the seconds of the clock that go by while this thread works for `probe` seconds.
    Limits of time are multiplied by it, so that nothing depends on what else the machine does.
    Where that was long it is measured again, and the least counts: one pause is no busy machine.
    """
    least = math.inf
    for _ in range(3):
        began, idle = time.perf_counter(), time.thread_time()
        while (worked := time.thread_time() - idle) < probe:
            pass
        least = min(least, (time.perf_counter() - began) / worked)
        if least < 2:
            break
    return max(1.0, least)


def syntax_tree(source: str) -> ast.Module:
    """The syntax tree of a program, from any thread.

    One at a time: CPython 3.11 counts the depth of all threads' trees together, and then raises
    "SystemError: AST constructor recursion depth mismatch".

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: as `ast.parse`.
    """
    with _tree:
        return ast.parse(source)


_tree = threading.Lock()
