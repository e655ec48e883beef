"""Waiting in tests: for the thing itself, and deadlines that know how busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

# A wait that ends when the thing is there costs nothing by being allowed to be long.
LONG = 240.0
_PROBE_SECONDS = 0.1


def eventually(condition: Callable[[], object], seconds: float = LONG) -> bool:
    """Wait until a condition holds.

    Returns:
        Whether it did; False after a time that no machine needs.
    """
    until, pause = time.monotonic() + seconds, 0.01
    while not (held := bool(condition())) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)
    return held


def slowness() -> float:
    """How many times as long as alone a piece of work takes now: 1.0 on an idle machine.

    Measured: the seconds of the clock that go by while this thread works for a tenth of a second.
    """
    began, worked = time.monotonic(), time.thread_time()
    while time.thread_time() - worked < _PROBE_SECONDS:
        pass
    return max(1.0, (time.monotonic() - began) / _PROBE_SECONDS)


def scaled(seconds: float) -> float:
    """A deadline that leaves a piece of work as much time as `seconds` do on an idle machine."""
    return seconds * slowness()
