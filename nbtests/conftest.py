"""What every test file here relies on."""

from __future__ import annotations

import gc
import math
import os
import re
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from failures import pytest_runtest_makereport  # noqa: F401 - a hook
from run_world import World

from loopbound.paths import repository as clone

# What the slow tests do, each kind a mark; `--quick` leaves them out. They begin in this order if
# no earlier run has been timed: a worker that starts a long file last makes all wait.
KINDS = {
    "browser": ("lessons/browser",),
    "submission": (
        "grading/grade",
        "grading/nbgrader_parity",
        "grading/hostile",
        "grading/nbgrader",
        "grading/benchmark",
        "commands/grade",
    ),
    "server": ("database/server", "lab/server", "database/scratch", "house/run_world"),
    "setup": ("lab/setup", "lab/environment", "guard/wheel"),
    "suite": (
        "suite/fixes",
        "checks/capstone",
        "suite/versions",
        "faults/cases",
        "faults/older",
        "commands/incident",
        "suite/pool_model",
        "suite/hang",
        "suite/run",
        "suite/warm",
        "suite/project",
        "figures/suite_figures",
        "suite/backend",
        "guard/guard",
        "guard/watch",
        "stability/stability",
    ),
    "lesson": ("lessons/runs", "authoring/execute", "commands/notebooks"),
    "claims": tuple(f"lessons/claims_{number:02}" for number in range(12)),
    "answer": ("checks/kernel", "checks/answers", "checks/other_answers"),
}
_KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}
_ORDER = {name: number for number, name in enumerate(_KIND_OF)}
# A file's tests share what they set up, so they stay on one worker; except here, where each test
# stands alone. These come last: whichever worker is free takes the next.
SPREAD = ("lessons/runs", "checks/kernel", "checks/answers", "checks/other_answers")
# Of these the tests of one assignment stay together: what its answers are compared with, such as a
# run of its suite, and its notebook's own cells are run once in a process. The last ones are dear.
BY_ASSIGNMENT = ("checks/answers", "checks/other_answers")
_world = pytest.StashKey[World]()
_left = pytest.StashKey[list[str]]()
_seconds: Counter[str] = Counter()  # of each file, in this run
_TIMED = "loopbound/seconds"


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the clone under test."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """What a process remembers of its learner: here tests share it, in any order."""
    for module, name in (("cells", "_hints_given"), ("cells", "_passed"), ("progress", "_said")):
        if imported := sys.modules.get(f"loopbound.learner.{module}"):
            getattr(imported, name).clear()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick",
        action="store_true",
        help=f"leave the slow tests out: those marked {', '.join(KINDS)}",
    )


def pytest_configure(config: pytest.Config) -> None:
    for kind in KINDS:
        config.addinivalue_line("markers", f"{kind}: set for whole files by conftest.py")
    # A shell that starts us in the background has Ctrl-C ignored, and nohup a terminal's end. What
    # we start would inherit that. It does not inherit a handler.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in ("SIGHUP", "SIGQUIT", "SIGTERM", "SIGCHLD", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _nothing)
    # A reader's shell may ask for warnings or for asyncio's debug mode; kernels would print what
    # that says.
    for name in ("PYTHONWARNINGS", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONSTARTUP"):
        os.environ.pop(name, None)
    # Without bytecode each of the many interpreters would compile all that it imports, for seconds.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # The frozen standard library of Python 3.11 makes the kernel's debugger warn; the lab sets the
    # same.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    # Tests neither count as the reader's progress nor depend on it.
    os.environ["LOOPBOUND_PROGRESS"] = "off"


def _name(path: Path) -> str:
    """A test file as `KINDS` names it: its folder, and what follows ``test_``."""
    return f"{path.parent.name}/{path.stem.removeprefix('test_')}"


def _assignment(nodeid: str) -> str:
    """The number of the assignment that a test is about; "" where it has none in its name."""
    found = re.search(r"\[(\d\d)", nodeid)
    return found[1] if found else ""


def _nothing(number: int, frame: object) -> None:
    """What an ignored signal does."""


@pytest.hookimpl(tryfirst=True)  # before the workers start
def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        session.config.stash[_world] = World()


@pytest.hookimpl(trylast=True)  # when the workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    _end_world(session.config)
    config = session.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and hasattr(config, "cache") and not hasattr(config, "workerinput"):
        config.cache.set(_TIMED, {**config.cache.get(_TIMED, {}), **_seconds})
    if config.stash.get(_left, []) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _seconds[_name(Path(report.location[0]))] += report.duration


def pytest_unconfigure(config: pytest.Config) -> None:
    _end_world(config)  # a start that failed half-way has no end


def _end_world(config: pytest.Config) -> None:
    if _world in config.stash:
        world = config.stash[_world]
        del config.stash[_world]
        config.stash[_left] = world.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return (config.getoption("quick") and _name(collection_path) in _KIND_OF) or None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if kind := _KIND_OF.get(_name(item.path)):
            item.add_marker(kind)
    timed = config.cache.get(_TIMED, {}) if hasattr(config, "cache") else {}

    def place(item: pytest.Item) -> tuple[bool, float, int, int]:
        name = _name(item.path)
        order = _ORDER.get(name, len(_ORDER))
        seconds = timed.get(name, 0.0 if order == len(_ORDER) else math.inf)
        number = _assignment(item.nodeid) if name in BY_ASSIGNMENT else ""
        return name in SPREAD, -seconds, order, -int(number or 0)

    items.sort(key=place)  # a stable sort: inside a file nothing moves


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    # What is here now stays to the end. A collection of garbage, which each check asks for, would
    # go through all of it, and that takes longer than most checks.
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if left := config.stash.get(_left, []):
        terminalreporter.section("left by the tests", red=True)
        for line in left:
            terminalreporter.write_line(line)
    if config.getoption("quick"):
        terminalreporter.write_line(
            f"--quick left out {len(_KIND_OF)} files of these kinds: {', '.join(KINDS)}."
        )
    # A reader who predicted, ran and saved has notebooks that differ from the committed ones, as
    # they should.
    if terminalreporter.stats.get("failed"):
        from loopbound.authoring.changed import restore_hint

        if said := restore_hint(clone()):
            terminalreporter.write_line(said)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    # xdist's own groups (marks and --dist=loadgroup) do nothing under pytest 9.2: pytest-xdist
    # #1386.
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            name = _name(Path(file))
            if name in BY_ASSIGNMENT and (number := _assignment(nodeid)):
                return number
            return nodeid if name in SPREAD else file

    return ByFile(config, log)
