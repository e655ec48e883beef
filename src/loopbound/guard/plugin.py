"""The guard as a plugin for pytest: there after installation, silent until asked.

``pytest --loop-guard``, or ``loop_guard = error`` (``warn``, ``off``) in the configuration. It
never changes an outcome but by its own error, and raises nothing into the application.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from loopbound.guard.report import Book
    from loopbound.guard.watcher import Crossing, Thing, Watcher
    from loopbound.guard.words import Words

MODES = ("error", "warn", "off")
NAME = "loop_guard_running"
TITLE = "loop guard"
# What a test may fail by because of an object that only what waits binds, or of a lock left behind.
_LOOPS = re.compile(
    r"different (event )?loop|[Ee]vent loop is closed|another operation is in progress|PoolTimeout"
)
_WAITS = re.compile(r"[Tt]ime-?d? ?out|LockNotAvailable|QueryCancell?ed|[Dd]eadlock")


_Failed: Any = pytest.fail.Exception


class LoopCrossing(_Failed):  # type: ignore[misc] # pytest gives it no type
    """A test in which an object crossed from one event loop to another."""


class LoopCrossingWarning(pytest.PytestWarning):
    """The same as a warning."""


# As pytest's own do: the summary then names the class alone.
LoopCrossing.__module__ = "builtins"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options."""
    group = parser.getgroup("loop guard")
    group.addoption(
        "--loop-guard",
        action="store_true",
        help="fail a test in which a connection, pool or lock crosses from one event loop to"
        " another, and say what cures it",
    )
    group.addoption(
        "--loop-guard-report",
        metavar="FILE",
        # With a space, pytest would look for its configuration beside a FILE that is there already.
        help="--loop-guard-report=FILE.html or FILE.json: also write what crossed to a file;"
        " switches the guard on",
    )
    parser.addini(
        "loop_guard",
        "error, warn or off: what a crossing does; --loop-guard alone means error",
        default="",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Before a conftest.py makes an engine."""
    _begin(early_config, early_config.known_args_namespace)


def pytest_configure(config: pytest.Config) -> None:
    """The mark; and the guard, where it was loaded after the first conftest.py."""
    config.addinivalue_line(
        "markers", "loop_guard(mode): error, warn or off for this test, in place of the setting"
    )
    _begin(config, config.option)
    guard: Any = config.pluginmanager.get_plugin(NAME)
    if guard is not None:
        guard.configured(config)


def _begin(config: pytest.Config, options: Any) -> None:
    asked = options.loop_guard or options.loop_guard_report
    mode = str(config.getini("loop_guard")).strip().lower()
    if mode and mode not in MODES:
        raise pytest.UsageError(f"loop_guard is {', '.join(MODES)}, not {mode!r}.")
    if asked and mode in ("", "off"):
        mode = "error"
    target = options.loop_guard_report
    if target and Path(target).suffix not in (".html", ".json"):
        raise pytest.UsageError(
            f"--loop-guard-report takes FILE.html or FILE.json, not {target!r}."
        )
    if mode not in ("", "off") and not config.pluginmanager.has_plugin(NAME):
        config.pluginmanager.register(Guard(mode), NAME)


class Guard:
    """The hooks of a run in which the guard is on."""

    def __init__(self, mode: str) -> None:
        from loopbound.guard import hooks

        self.mode = mode
        self.watcher: Watcher = hooks.start()
        self._new: list[Crossing] = []
        self._left: list[Thing] = []
        self._words: Words | None = None
        self._book: Book | None = None
        self._config: pytest.Config | None = None
        self.watcher.listeners.append(self._new.append)

    def configured(self, config: pytest.Config) -> None:
        """The configuration is complete."""
        from loopbound.guard.report import Book

        self._config = config
        self._book = Book()

    @property
    def words(self) -> Words:
        """Made when the first crossing is told: asking for versions takes milliseconds."""
        if self._words is None:
            from loopbound.faults.installed import versions_here
            from loopbound.guard.words import Words

            config = self._config
            top = str(config.rootpath) if config else os.getcwd()
            self._words = Words(top, versions_here(), _settings(config))
        return self._words

    # -- where a test is ---------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """The set-up begins."""
        self.watcher.test, self.watcher.phase = item.nodeid, "setup"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """The test's own part begins."""
        mark = item.get_closest_marker("asyncio")
        given = mark.kwargs if mark else {}
        self.watcher.loop_scope = str(given.get("loop_scope") or given.get("scope") or "")
        self.watcher.phase = "call"

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """The teardown begins."""
        self.watcher.phase, self.watcher.loop_scope = "teardown", ""

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, None, None]:
        """A fixture is set up; one may ask for another."""
        watcher = self.watcher
        before = watcher.fixture, watcher.loop_scope
        watcher.fixture = f"{fixturedef.argname} ({fixturedef.scope})"
        watcher.loop_scope = getattr(fixturedef.func, "_loop_scope", None) or ""
        yield
        watcher.fixture, watcher.loop_scope = before

    # -- what comes of it --------------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[Any]
    ) -> Generator[None, Any, None]:
        """Fail a phase in which something crossed, or explain its failure."""
        found, self._new[:] = list(self._new), []
        mark = item.get_closest_marker("loop_guard")
        mode = mark.args[0] if mark and mark.args and mark.args[0] in MODES else self.mode
        errors = _errors(found)
        passed = call.excinfo is None and not getattr(item, "_excinfo", None)
        if errors and mode == "error" and passed:
            try:
                raise LoopCrossing(
                    self._safely("a loop crossing", self._text, errors), pytrace=False
                )
            except LoopCrossing:
                call.excinfo = pytest.ExceptionInfo.from_current()
        outcome = yield
        if call.when == "teardown":
            self.watcher.test = self.watcher.phase = ""
            self._left = self._safely([], self.watcher.left_open) or self._left
        if mode != "off":
            own = bool(errors) and passed
            self._safely(None, self._tell, item, outcome.get_result(), found, mode, own)

    def _tell(
        self, item: pytest.Item, report: Any, found: list[Crossing], mode: str, own: bool
    ) -> None:
        """Say below a failure what is known of it, or warn; and keep it for the table.

        Args:
            item: the test.
            report: of a phase of it.
            found: what crossed in that phase.
            mode: what a crossing does.
            own: a failure would be the guard's own error.
        """
        errors = _errors(found)
        if errors and mode == "warn" and report.passed:
            self._warn(item, self._text(errors))
        text = self._explained(report, found) if report.failed and not own else ""
        if text:
            _add(report, text)
        if found or text:
            report.loop_guard = {
                "crossings": [self.words.data(each) for each in found],
                "explained": text,
            }

    def _safely(self, otherwise: Any, function: Callable[..., Any], *words: Any) -> Any:
        """What a function of the guard gives; `otherwise` where it fails: the suite goes on."""
        try:
            return function(*words)
        except Exception as error:
            self.watcher.failed(error)
            return otherwise

    def _text(self, crossings: list[Crossing]) -> str:
        text = "\n".join(self.words.lines(crossings[0]))
        more = len(crossings) - 1
        return text + (f"\n(and {more} more of this test, in the table)" if more else "")

    def _explained(self, report: pytest.TestReport, found: list[Crossing]) -> str:
        """What the guard knows of a failure that came without it."""
        errors = _errors(found)
        if errors:
            return self._text(errors)
        said = str(report.longrepr)
        if found and _LOOPS.search(said):
            return self._text(found)
        if _WAITS.search(said):
            left = self._left or self.watcher.left_open(report.nodeid)
            if left:
                return "\n".join(self._left_lines(left[0]))
        from loopbound.faults.explain import explain

        answer = explain(f"=== test session starts ===\n{said}")
        known = [line for line in answer.lines if not line.startswith(("yours", "seen", "maker"))]
        return "\n".join(known) if answer.kinds and answer.sure else ""

    def _left_lines(self, thing: Thing) -> list[str]:
        from loopbound.faults.cures import cure_named

        out = thing.out or thing.born
        cure = cure_named("open-transaction", "close-it")
        return [
            f"born:   {self.words.moment(thing.born)}{self.words.state(thing.born)}",
            f"used:   taken from its pool {self.words.moment(out)}, and never given back",
            f"object: {self.words.thing(thing)}: its transaction is still open, and keeps its locks"
            " [open-transaction]",
            f"cure:   {cure.name}: {cure.do}",
        ]

    def _warn(self, item: pytest.Item, text: str) -> None:
        # Told to pytest, not raised: a filter may make errors of warnings.
        message = LoopCrossingWarning(f"{item.nodeid}: a loop crossing\n{text}")
        path, line, _ = item.location
        item.ihook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": warnings.WarningMessage(
                    message, LoopCrossingWarning, path, line or 0
                ),
                "when": "runtest",
                "nodeid": item.nodeid,
                "location": None,
            }
        )

    # -- the end -----------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Also of another process, under xdist."""
        if self._book is not None:
            self._book.add(report)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker of xdist hands over its loops."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["loop_guard"] = self._safely({"broken": self.watcher.broken}, self._own)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        given = getattr(node, "workeroutput", {}).get("loop_guard")
        if given and self._book is not None:
            self._book.worker(node.gateway.id, given)

    def _own(self) -> dict[str, Any]:
        # Without a test, such as at import or after the last one.
        stray = [self.words.data(each) for each in self._new]
        return {
            "loops": [
                {
                    "number": loop.number,
                    "runner": loop.runner,
                    "thread": loop.thread,
                    "state": loop.state(),
                    "tests": loop.tests,
                }
                for loop in self.watcher.loops
            ],
            "stray": stray,
            "left": [self._left_lines(thing) for thing in self._left],
            "broken": self.watcher.broken,
        }

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """The table, and the file."""
        book = self._book
        if book is None or hasattr(config, "workerinput"):
            return
        book.worker("", self._safely(None, self._own) or {"broken": self.watcher.broken})
        terminalreporter.write_sep("=", TITLE)
        for line in self._safely([self.watcher.broken], book.lines):
            terminalreporter.write_line(line)
        target = config.getoption("loop_guard_report")
        if target:
            try:
                book.write(Path(config.invocation_params.dir, target))
                terminalreporter.write_line(f"written: {target}")
            except OSError as error:
                reason = error.strerror or str(error)
                terminalreporter.write_line(f"{target} could not be written: {reason}", red=True)

    def pytest_unconfigure(self) -> None:
        """Everything is put back."""
        from loopbound.guard import hooks

        if self.watcher.listeners:
            self.watcher.listeners.remove(self._new.append)
            hooks.stop()


def _errors(found: list[Crossing]) -> list[Crossing]:
    """The crossings that are faults."""
    return [each for each in found if each.severity == "error"]


def _settings(config: pytest.Config | None) -> Any:
    """What the configuration says of pytest-asyncio's loops."""
    from loopbound.guard.cures import Settings

    # By its entry point, or by PYTEST_PLUGINS, -p or a conftest.py.
    names = ("asyncio", "pytest_asyncio", "pytest_asyncio.plugin")
    if config is None or not any(map(config.pluginmanager.hasplugin, names)):
        return Settings()

    def value(name: str) -> str:
        given = getattr(config.option, name, None)
        try:
            return str(given or config.getini(name) or "")
        except (ValueError, KeyError):  # a plugin from before that option
            return ""

    path = config.inipath
    return Settings(
        path.name if path else "",
        value("asyncio_default_fixture_loop_scope"),
        value("asyncio_default_test_loop_scope"),
    )


def _add(report: pytest.TestReport, text: str) -> None:
    """Print a text below a failure."""
    add = getattr(report.longrepr, "addsection", None)
    if add is not None:
        add(TITLE, text)
    else:
        report.sections.append((TITLE, text))
