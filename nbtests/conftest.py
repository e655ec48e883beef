"""What every test file here relies on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The longest pieces of work, in the order in which they should begin: a worker that starts one of them last makes all wait.
LONGEST_FIRST = ("test_lab_", "test_browser", "test_notebooks", "test_lessons")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The top folder of the clone under test."""
    return Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    # A reader's shell may ask for warnings or for asyncio's debug mode; kernels would print what that says.
    for name in ("PYTHONWARNINGS", "PYTHONASYNCIODEBUG", "PYTHONDEVMODE", "PYTHONSTARTUP"):
        os.environ.pop(name, None)
    # The frozen standard library of Python 3.11 makes the kernel's debugger warn; the lab sets the same.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        starts = [number for number, name in enumerate(LONGEST_FIRST) if item.path.name.startswith(name)]
        return starts[0] if starts else len(LONGEST_FIRST)

    items.sort(key=place)  # a stable sort: inside a file nothing moves
