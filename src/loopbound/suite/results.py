"""What a run of a suite gives back: plain data, in the order in which it happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from loopbound.database import Session


@dataclass(frozen=True)
class TestResult:
    """One test's outcome.

    id
        pytest's node id, ``tests/api/test_auth.py::test_login``; a file's path where the file could
    not be imported. outcome
        "passed", "failed" (its call failed), "error" (its setup or teardown did, or its import),
    "skipped", "hung". phase
        The phase that decided: "setup", "call", "teardown", or "collection" where a file could not
    be imported. symptom
        "ok", "different loop", "operation in progress", "loop closed", "hung", "process ended", or
    an exception's type name. seconds
        All phases together.
    error
        "Type: first line of the text", "" where it passed.
    traceback
        pytest's own text, paths relative to the project.
    """

    __test__ = False  # pytest would take its name for a class of tests

    id: str
    outcome: str
    phase: str
    symptom: str
    seconds: float
    error: str = ""
    traceback: str = ""


@dataclass(frozen=True)
class PoolEvent:
    """One thing that happened to a record of a connection pool.

    test, phase
        Node id and "setup", "call" or "teardown"; "" outside any test.
    kind
        "connect", "checkout", "checkin", "invalidate", "close" or "dispose".
    record
        The pool's record, numbered from 1 in order of first sight; 0 for "dispose".
    loop
        "loop 1", "loop 2" … in order of first sight; "" outside any loop.
    born_on
        Loop of the record's connection, "" where it has none.
    """

    test: str
    phase: str
    kind: str
    record: int
    loop: str
    born_on: str


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite.

    tests
        In the order in which they ran; a test that a hang or a dead process kept from running is
    not among them. hung, hung_test, stacks, sessions
        Whether the limit ended it, the test that ran then (None: no test did), every thread's
        stack, and the database's sessions with what each waits for, all read before the end.
    seconds
        From the start of its process to its end.
    output
        What pytest printed; of more than a megabyte the beginning and the end.
    trace
        What happened in the connection pools, where that was asked for.
    leftovers
        The database's sessions when the last test's fixtures were done with.
    warnings
        "Category: text" of each warning that pytest recorded.
    exit_code
        pytest's, or the process's.
    not_run
        Ids that were collected and had no turn.
    """

    tests: tuple[TestResult, ...]
    hung: bool
    hung_test: str | None
    seconds: float
    output: str
    stacks: str
    sessions: tuple[Session, ...]
    trace: tuple[PoolEvent, ...]
    leftovers: tuple[Session, ...]
    warnings: tuple[str, ...]
    exit_code: int
    not_run: tuple[str, ...] = ()

    @property
    def passed(self) -> list[str]:
        """Ids of the tests that passed."""
        return [test.id for test in self.tests if test.outcome == "passed"]

    @property
    def failed(self) -> dict[str, str]:
        """Id to symptom of the tests whose call failed."""
        return {test.id: test.symptom for test in self.tests if test.outcome == "failed"}

    @property
    def errors(self) -> dict[str, str]:
        """Id to symptom of the tests whose setup or teardown failed, and of files that could not be
        imported.
        """
        return {test.id: test.symptom for test in self.tests if test.outcome == "error"}

    @property
    def symptoms(self) -> dict[str, str]:
        """Id to symptom of every test that ran."""
        return {test.id: test.symptom for test in self.tests}

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dump`: passed, failed, errors, hung, seconds."""
        return {
            "passed": self.passed,
            "failed": self.failed,
            "errors": self.errors,
            "hung": self.hung,
            "seconds": round(self.seconds, 3),
        }

    def __repr__(self) -> str:
        said = [f"{len(self.passed)} passed"]
        said += [
            f"{len(some)} {word}"
            for some, word in ((self.failed, "failed"), (self.errors, "errors"))
            if some
        ]
        return f"<SuiteRun: {', '.join(said + ['hung'] * self.hung)}>"
