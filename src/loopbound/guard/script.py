"""The guard without pytest: for a script, a worker, or production's log."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

from loopbound.faults.installed import versions_here
from loopbound.guard import hooks
from loopbound.guard.cures import Settings
from loopbound.guard.watcher import ERROR, Crossing, Watcher
from loopbound.guard.words import Words

_log = logging.getLogger("loopbound.guard")


@contextlib.contextmanager
def watch(*engines: Any, tell: Callable[[str], None] | None = None) -> Iterator[Watcher]:
    """Tell of each object that crosses from one event loop to another meanwhile.

    Args:
        engines: AsyncEngine objects that are there already; later ones are seen without it.
        tell: gets the four lines of a crossing as one text; default: an error of the logger
            ``loopbound.guard``, or a line of level INFO where a driver gets away with it.

    Yields:
        The watcher; its `crossings` are the latest.
    """
    words = Words(os.getcwd(), versions_here(), Settings())
    watcher = hooks.start()

    def say(crossing: Crossing) -> None:
        text = "\n".join(words.lines(crossing))
        if tell is not None:
            tell(text)
        else:
            severe = crossing.severity == ERROR
            _log.log(logging.ERROR if severe else logging.INFO, "loop crossing\n%s", text)

    watcher.listeners.append(say)
    try:
        for engine in engines:
            hooks.know(engine)
        yield watcher
    finally:
        watcher.listeners.remove(say)
        hooks.stop()
