"""Waiting in tests: for the thing itself, and deadlines that know how busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

from loopbound.machine import slowness

# A wait that ends when the thing is there costs nothing by being allowed to be long.
LONG = 900.0


def eventually(condition: Callable[[], object], seconds: float = LONG) -> bool:
    """Wait until a condition holds.

    Returns:
        Whether it did; False after a time that no machine needs.
    """
    until, pause = time.monotonic() + seconds, 0.01
    while True:
        before = time.thread_time()
        held = bool(condition())
        if held or time.monotonic() >= until:
            return held
        # A look that is dear, through all processes of the machine say, is taken less often.
        time.sleep(max(pause, min(10 * (time.thread_time() - before), 1.0)))
        pause = min(pause * 1.5, 0.2)


def scaled(seconds: float) -> float:
    """A deadline that leaves a piece of work as much time as `seconds` do on an idle machine."""
    return seconds * slowness(probe=0.1)
