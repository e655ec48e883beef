"""What every test file here relies on."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

# The longest pieces of work, in the order in which they should begin: a worker that starts one of
# them last makes all wait.
LONGEST_FIRST = (
    "test_lab_setup",
    "test_browser",
    "test_lessons_run",
    "test_hostile",
    "test_versions",
    "test_exercises",
    "test_prompt",
    "test_nbgrader",
    "test_pool_model",
    "test_fixes",
    "test_suite_hang",
    "test_incident",
    "test_claims_0",
    "test_lab_server",
    "test_database_server",
    "test_lessons_",
)
# A file's tests share what they set up, so they stay on one worker; except here, where each test is
# long and alone.
SPREAD = ("test_lessons_run",)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the clone under test."""
    return Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    # A shell that starts us in the background has Ctrl-C ignored, and what we start would inherit
    # that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        starts = [
            number for number, name in enumerate(LONGEST_FIRST) if item.path.name.startswith(name)
        ]
        return starts[0] if starts else len(LONGEST_FIRST)

    items.sort(key=place)  # a stable sort: inside a file nothing moves


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    # A reader who predicted, ran and saved has notebooks that differ from the committed ones, as
    # they should.
    if terminalreporter.stats.get("failed"):
        from loopbound.authoring.changed import hint

        if said := hint(Path(__file__).resolve().parents[1]):
            terminalreporter.write_line(said)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    # xdist's own groups (marks and --dist=loadgroup) do nothing under pytest 9.2: pytest-xdist
    # #1386.
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if Path(file).stem in SPREAD else file

    return ByFile(config, log)
