"""One engine on several loops in a row: the experiment that the lessons repeat."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from loopbound.loops import NamedLoop
from loopbound.recorder import Recorder, symptom_of

__all__ = ["outcome_on", "through_loops"]


def outcome_on(loop: NamedLoop, coroutine: Coroutine[Any, Any, object]) -> str:
    """Run a coroutine on a loop and say how it ended: "ok", or its error's symptom."""
    try:
        loop.run(coroutine)
    except Exception as error:
        return symptom_of(error)
    return symptom_of(None)


def through_loops(
    engine: AsyncEngine,
    ask: Callable[[AsyncEngine], Coroutine[Any, Any, object]],
    names: Iterable[str] = "ABCDEFG",
) -> tuple[list[str], Recorder]:
    """Use an engine once on each of several loops; each loop is closed before the next one opens.

    In the end the pool forgets its connections: no loop that could close them is left.

    Args:
        engine: what all of them share.
        ask: what runs on each loop, given the engine.
        names: the names of the loops.

    Returns:
        The outcomes in order, as `outcome_on` says them, and the recording.
    """
    outcomes = []
    with Recorder(engine) as log:
        for name in names:
            with NamedLoop(name) as loop:
                outcomes.append(outcome_on(loop, ask(engine)))
        engine.sync_engine.dispose(close=False)
    return outcomes, log
