"""A crossing in four lines: born, used, object, cure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from loopbound.guard.cures import Settings, cure_line, cures_for, facts_of
from loopbound.guard.watcher import MAYBE, Crossing, Loop, Moment, Thing

_STATES = {
    "closed": "; that loop is closed",
    "awake": "; that loop still runs",
    "waits": "; that loop still runs, but its thread waits for another one",
}


class Words:
    """Says what crossed.

    Args:
        top: files below it are named without it.
        versions: package → version.
        settings: the configuration's.
    """

    def __init__(self, top: str, versions: Mapping[str, str], settings: Settings) -> None:
        self._top = os.path.join(top, "")
        self._versions = versions
        self._settings = settings

    def place(self, text: str) -> str:
        """A ``file:line`` as its user names it."""
        return text.removeprefix(self._top).replace(os.sep, "/")

    def moment(self, moment: Moment) -> str:
        """Where something happened, and on which loop."""
        parts = []
        if moment.test:
            parts.append(f"in {moment.test} ({moment.phase})")
        if moment.fixture:
            parts.append(f"fixture {moment.fixture}")
        if moment.place:
            parts.append(f"at {self.place(moment.place)}")
        if moment.loop is not None:
            parts.append(f"on {self.loop(moment.loop, moment.test)}")
        return ", ".join(parts) or "at a place that is not known"

    def loop(self, loop: Loop, test: str = "") -> str:
        """A loop, with who runs it and where it was first seen."""
        notes = [loop.runner]
        if loop.test and loop.test != test:
            notes.append(f"since {loop.test}")
        if loop.thread:
            notes.append(f"thread {loop.thread}")
        return f"loop {loop.number} ({', '.join(notes)})"

    def state(self, moment: Moment) -> str:
        """Whether a moment's loop is closed by now, as the end of a line."""
        return _STATES["closed"] if moment.loop and moment.loop.state() == "closed" else ""

    def thing(self, thing: Thing) -> str:
        """Which object it is."""
        owner = thing.owner
        at = f" made at {self.place(owner.place)}" if owner and owner.place else ""
        if thing.what == "psycopg_pool":
            return f"the pool of psycopg_pool{at}"
        if thing.what != "connection":
            return f"the {thing.what}{at}"
        if owner is None:
            return "a connection of asyncpg.connect"
        driver = f" ({owner.driver})" if owner.driver else ""
        return f"a connection of the {owner.what}{at}{driver}"

    def cures(self, crossing: Crossing) -> list[str]:
        """What holds here, cheapest first."""
        cures = cures_for(crossing.kind, facts_of(crossing), self._versions, self._settings)
        return [cure_line(cure, self._versions, self._settings) for cure in cures]

    def lines(self, crossing: Crossing) -> list[str]:
        """The four lines."""
        thing = self.thing(crossing.thing)
        if crossing.session is not None and crossing.kind == "session-object":
            thing += f"; its session was made {self.moment(crossing.session)}"
        mild = "; it binds only what has to wait" if crossing.severity == MAYBE else ""
        return [
            f"born:   {self.moment(crossing.born)}{_STATES.get(crossing.state, '')}",
            f"used:   {self.moment(crossing.used)}, by {crossing.act}{mild}",
            f"object: {thing} [{crossing.kind}]",
            f"cure:   {self.cures(crossing)[0]}",
        ]

    def data(self, crossing: Crossing) -> dict[str, Any]:
        """The same as plain data."""
        cures = self.cures(crossing)
        return {
            "kind": crossing.kind,
            "severity": crossing.severity,
            "test": crossing.used.test,
            "phase": crossing.used.phase,
            "object": self.thing(crossing.thing),
            "act": crossing.act,
            "born": self._data(crossing.born),
            "used": self._data(crossing.used),
            "state": crossing.state,
            "session": self._data(crossing.session) if crossing.session else None,
            "cure": cures[0],
            "cures": cures,
            "lines": self.lines(crossing),
        }

    def _data(self, moment: Moment) -> dict[str, Any]:
        return {
            "test": moment.test,
            "phase": moment.phase,
            "fixture": moment.fixture,
            "place": self.place(moment.place),
            "loop": moment.loop.number if moment.loop else None,
        }
