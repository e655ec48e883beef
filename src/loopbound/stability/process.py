"""One run of a suite: a process that is listened to, bounded, and ended with all it has started."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.problem import Problem

PROGRAM = Path(__file__).parent / "child" / "loopbound_order.py"
TURN = 0.2  # seconds: how late Ctrl-C may be heard on Windows
EVIDENCE = 3.0  # seconds in which a hung process may say where it is
ENDING = 3.0  # seconds between asking a process to end and killing it
_FRAME = re.compile(r'File "([^"]+)", line (\d+) in (\S+)')
_COMPLAINT = re.compile(r"ERROR|E  |.{0,80}: error:|(INTERNALERROR> )?[\w.]{1,80}(Error|Warning): ")
# Of a pytest that has started this process.
_UNWANTED = re.compile(r"PYTEST_(CURRENT_TEST|VERSION|XDIST_\w+)$")


@dataclass
class Run:
    """What one run of a sequence of tests gave.

    Attributes:
        tests: those that it had to run, in order.
        groups: for each of them its file and classes, outermost first.
        outcomes: test → "passed", "failed" or "skipped"; of those that ran.
        errors: failed test → the first line of its error.
        texts: failed test → what pytest says of it.
        guards: failed test → the loop guard's lines, where the suite runs with it.
        left_by: test → what it left in its process.
        left: what was left at the end.
        hung: it was ended because of the time: what was running.
        crashed: the process ended before its time: how.
        seconds: what it took.
        root: the folder that names of tests begin in.
        arguments: the words that pytest took for paths.
        words: those that switch another plugin's order off.
    """

    tests: list[str] = field(default_factory=list)
    groups: list[list[str]] = field(default_factory=list)
    outcomes: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    guards: dict[str, list[str]] = field(default_factory=dict)
    left_by: dict[str, list[str]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    hung: str = ""
    crashed: str = ""
    seconds: float = 0.0
    root: str = ""
    arguments: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        """The tests that failed, hung, or ended the process."""
        return [test for test in self.tests if self.outcomes.get(test) == "failed"]

    @property
    def not_run(self) -> list[str]:
        """The tests that it did not come to."""
        return [test for test in self.tests if test not in self.outcomes]


@dataclass(frozen=True)
class Suite:
    """A suite, and how it is run.

    Attributes:
        folder: where pytest starts.
        python: the interpreter.
        words: for pytest.
        seed: of everything random but the order: the same in each run.
    """

    folder: Path
    python: str
    words: tuple[str, ...]
    seed: int

    def run(
        self,
        order: Sequence[str] | None,
        limit: float,
        words: Sequence[str] | None = None,
    ) -> Run:
        """Run tests once.

        Args:
            order: which ones, in this order; None: all, in the suite's own.
            limit: seconds, after which the run is ended.
            words: for pytest, in place of the suite's: run as they say. These few tests are looked
                at closely, too: which names of the project's modules they change.

        Raises:
            Problem: pytest could not begin.
        """
        with tempfile.TemporaryDirectory(
            prefix="loopbound-stability-", ignore_cleanup_errors=True
        ) as made:
            top = Path(made)
            given = {
                "words": list(self.words if words is None else words),
                "order": None if order is None else list(order),
                "seed": self.seed,
                "plain": words is not None,
                "cache": str(top / "cache"),
                "stacks": str(top / "stacks.txt"),
            }
            (top / "given.json").write_text(json.dumps(given), encoding="utf-8")
            child = _Child(self, top)
            try:
                child.listen(limit)
            finally:
                child.end()
            output = (top / "output.txt").read_text(encoding="utf-8", errors="replace")
        return child.result(output)


class _Child:
    """The process of a run, and what it has said."""

    def __init__(self, suite: Suite, top: Path) -> None:
        self._suite = suite
        self._top = top
        self._run = Run()
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._test = self._phase = ""
        self._collected = self._ended = False
        self._code = 0
        self._kept: list[str] = []  # threads that keep the process from ending
        self._unread: list[dict[str, str]] = []
        kept = {name: value for name, value in os.environ.items() if not _UNWANTED.match(name)}
        # Another order of sets and dictionaries is no other order of tests.
        kept.setdefault("PYTHONHASHSEED", str(suite.seed % 2**32))
        # A group of its own: Ctrl-C reaches this process alone, which ends it in good order.
        apart: dict[str, Any] = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}  # type: ignore[attr-defined]
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        with open(top / "output.txt", "wb") as output:
            try:
                self._process = subprocess.Popen(
                    [suite.python, str(PROGRAM), str(top / "given.json")],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    cwd=suite.folder,
                    env=kept,
                    **apart,
                )
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise Problem(
                    f"{suite.python} cannot be started: {reason}.\nGive the path of the project's"
                    " interpreter: --python .venv/bin/python (Windows: .venv\\Scripts\\python.exe)."
                ) from None
        self._began = time.monotonic()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # a line that was cut by the end
                said = json.loads(line)
                if isinstance(said, dict):
                    self._lines.put(said)
        self._lines.put(None)

    def listen(self, limit: float) -> None:
        """Until it has ended, or `limit` seconds after its start."""
        until = self._began + limit
        while not self._ended:
            try:
                said = self._lines.get(timeout=min(TURN, max(until - time.monotonic(), 0.001)))
            except queue.Empty:
                # What a test has forked may keep the pipe open.
                if self._process.poll() is not None and self._lines.empty():
                    return
                if time.monotonic() >= until:
                    self._hang(limit)
                    return
                continue
            if said is None:
                return
            self._hear(said)
        # Handlers for the exit run now; a thread that is no daemon may hold it up for ever.
        until = time.monotonic() + ENDING if self._kept else max(until, time.monotonic() + ENDING)
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TURN)
        if self._process.poll() is None:
            self._run.left += [f"the process, kept by thread {name}" for name in self._kept]

    def _hear(self, said: dict[str, Any]) -> None:
        run, kind, test = self._run, said["kind"], said.get("id", "")
        if kind == "collected":
            self._collected = True
            run.tests, run.groups = said["tests"], said["groups"]
            run.root, run.arguments, run.words = said["root"], said["arguments"], said["words"]
        elif kind == "unread":
            self._unread.append(said)
        elif kind == "phase":
            self._test, self._phase = test, said["phase"]
        elif kind == "failed":
            run.outcomes[test] = "failed"
            run.errors.setdefault(test, said["error"])
            run.texts[test] = f"{run.texts.get(test, '')}{said['text']}\n"
            if said["guard"]:
                run.guards.setdefault(test, said["guard"])
        elif kind == "skipped":
            run.outcomes.setdefault(test, "skipped")
        elif kind == "done":
            run.outcomes.setdefault(test, "passed")
            run.left_by[test] = said["left"]
            self._test = self._phase = ""
        elif kind == "end":
            self._ended, self._code, run.left = True, said["code"], said["left"]
            self._kept = said["threads"]

    def _hang(self, limit: float) -> None:
        """Take the evidence."""
        places: list[str] = []
        if hasattr(signal, "SIGUSR2"):
            with contextlib.suppress(OSError):
                self._process.send_signal(signal.SIGUSR2)
            until = time.monotonic() + EVIDENCE
            while time.monotonic() < until:
                with contextlib.suppress(queue.Empty):
                    said = self._lines.get(timeout=TURN)
                    if said is None:
                        break
                    if said["kind"] == "where":
                        places = said["places"]
                        break
                    self._hear(said)  # what it said before
            places = places or self._stack()
        run = self._run
        if self._test:
            run.hung = f"{self._test} ({self._phase})"
            run.outcomes[self._test] = "failed"
            error = f"it still ran when the {limit:g} seconds of the run were over"
            run.errors.setdefault(
                self._test, error + "".join(f", at {each}" for each in places[:1])
            )
        else:
            run.hung = "pytest, at no test" if self._collected else "the collection of the tests"
        if places:
            run.hung += " at " + ", ".join(places[:3])

    def _stack(self) -> list[str]:
        """The innermost line of the project, where the interpreter waits in C."""
        folder = os.path.join(self._suite.folder.resolve(), "")
        with contextlib.suppress(OSError):
            text = (self._top / "stacks.txt").read_text(encoding="utf-8", errors="replace")
            for path, line, function in _FRAME.findall(text):
                if path.startswith(folder) and "site-packages" not in path:
                    return [f"{path[len(folder) :]}:{line} in {function}"]
        return []

    def end(self) -> None:
        """End it and everything that it has started."""
        self._run.seconds = time.monotonic() - self._began
        process = self._process
        if sys.platform == "win32":
            if process.poll() is None:
                subprocess.run(
                    ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True
                )
        else:
            try:
                if process.poll() is None:
                    # As Ctrl-C: pytest takes down what its fixtures have set up.
                    process.send_signal(signal.SIGINT)
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(ENDING)
            finally:  # also when Ctrl-C comes a second time
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._reader.join(ENDING)
        if process.stdout is not None and not self._reader.is_alive():
            process.stdout.close()

    def result(self, output: str) -> Run:
        """What it gave.

        Raises:
            Problem: pytest could not begin.
        """
        run = self._run
        while not self._lines.empty():
            said = self._lines.get()
            if said is not None and not run.hung:
                self._hear(said)
        if run.hung:
            return run
        ran = self._code in (0, 1) or (bool(run.tests) and not run.not_run)
        if self._ended and self._collected and ran:
            return run
        if self._unread:
            first = self._unread[0]
            error = [line for line in first["text"].splitlines() if line.strip()][-1:]
            raise Problem(
                f"pytest cannot read {first['id']}: {''.join(error).removeprefix('E ').strip()}\n"
                "Mend it first: without its tests there is no order to compare."
            )
        if self._collected and run.tests:
            # A test may end the process, or stop pytest.
            code = self._code if self._ended else self._process.returncode
            run.crashed = f"signal {-code}" if code < 0 else f"exit code {code}"
            if self._test:
                run.outcomes[self._test] = "failed"
                run.errors.setdefault(self._test, f"the process ended in it, with {run.crashed}")
                run.crashed += f" in {self._test} ({self._phase})"
            return run
        raise Problem(self._why(output))

    def _why(self, output: str) -> str:
        """Why pytest ran no test."""
        if "No module named 'pytest'" in output:
            return (
                f"{self._suite.python} has no pytest.\nGive the project's interpreter:"
                " --python .venv/bin/python (Windows: .venv\\Scripts\\python.exe)."
            )
        if self._code == 5 or (self._collected and not self._run.tests):
            return (
                f"pytest finds no tests in {self._suite.folder.resolve()}.\n"
                "Give the project's folder, or that of its tests: loopbound stability PATH."
            )
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        said = [line for line in lines if _COMPLAINT.match(line)] or lines[-1:]
        text = " ".join(said[:2]) or f"exit code {self._code}"
        return f"pytest did not run: {textwrap.shorten(text, 300, placeholder=' ...')}"
