"""What the scan says: its codes, and one finding."""

from __future__ import annotations

from dataclasses import dataclass, field

SEVERITIES = ("info", "warning", "error")


@dataclass(frozen=True)
class Code:
    """What a code means.

    Attributes:
        says: the fault in a clause.
        kind: its kind in the catalogue; empty: it is no fault of a loop.
        lesson: where the course explains it, if the catalogue does not say it.
    """

    says: str
    kind: str = ""
    lesson: str = ""


CODES = {
    "ENGINE_OVER_FUNCTION_LOOPS": Code(
        "one pooled engine serves several event loops", "engine-in-a-row"
    ),
    "FIXTURE_TEST_LOOP_MISMATCH": Code(
        "an async fixture and what uses its object run on different loops", "fixture-and-test"
    ),
    "NULLPOOL_NOT_ENOUGH": Code(
        "NullPool does not help where a session or connection itself crosses", "session-object"
    ),
    "DEAD_EVENT_LOOP_OVERRIDE": Code(
        "an event_loop fixture that pytest-asyncio never uses", "event-loop-override"
    ),
    "EVENT_LOOP_OVERRIDE_PINNED": Code(
        "an event_loop fixture that holds only on this old pytest-asyncio", "event-loop-override"
    ),
    "STRICT_MODE_ASYNC_FIXTURE": Code("an async fixture that no plugin runs", "async-not-handled"),
    "ASYNCIO_RUN_GLOBAL_ENGINE": Code(
        "a new loop for each call reaches a global pooled engine", "engine-in-a-row", "09"
    ),
    "TESTCLIENT_PORTAL_LOOP": Code(
        "TestClient's own loops reach a global pooled engine", "engine-in-a-row", "08"
    ),
    "LOOP_IN_SYNC_FIXTURE": Code(
        "a sync fixture runs a loop of its own on an engine that tests use", "fixture-and-test"
    ),
    "NESTED_ASYNCIO_RUN": Code("a loop is started where one already runs", "loop-already-runs"),
    "SYNC_DISPOSE_ASYNC_ENGINE": Code(
        "a sync dispose() of an async engine cannot close its connections", "missing-greenlet"
    ),
    "DUPLICATED_ENGINE_FIXTURE": Code("an engine is made in several test files", "", "08"),
    "UNUSED_ANYIO_BACKEND": Code("an anyio_backend fixture that no test uses", "", "08"),
    "CONFIG_SCOPE_UNSET": Code("asyncio_default_fixture_loop_scope is not set", "", "08"),
    "OTHER_DRIVER_URL": Code("an engine and a driver of different kinds", "", "03"),
}


@dataclass
class Finding:
    """One finding.

    Attributes:
        code: one of `CODES`.
        severity: ``"error"``, ``"warning"`` or ``"info"``.
        file: relative to the scanned folder.
        line: its line.
        why: what is wrong here, one or two sentences.
        cure: what to do, for the versions that are there.
        also: further places: (file, line, what is there).
        first: first line of the statement, for a comment that ignores it.
        last: its last line.
    """

    code: str
    severity: str
    file: str
    line: int
    why: str
    cure: str
    also: list[tuple[str, int, str]] = field(default_factory=list)
    first: int = 0
    last: int = 0

    @property
    def kind(self) -> str:
        """Its kind in the catalogue of faults, or ""."""
        return CODES[self.code].kind

    @property
    def lesson(self) -> str:
        """The lesson that explains it."""
        from loopbound.faults.catalogue import BY_ID

        said = CODES[self.code]
        return said.lesson or BY_ID[said.kind].lesson

    @property
    def counts(self) -> bool:
        """Whether it is more than a note."""
        return self.severity != "info"

    @property
    def rank(self) -> tuple[str, int, str]:
        return self.file, self.line, self.code
