"""Code as a lesson shows it: a part of the file that is run, highlighted."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopbound.suite import listing

CODE = '''"""A file."""

import pytest


@pytest.fixture
async def engine():
    """It ends
    with its test.
    """
    engine = make()  # type: ignore[no-untyped-call]
    yield engine  # its pool has a connection


async def test_engine(engine): ...
'''
FIXTURE = """@pytest.fixture
async def engine():
    engine = make()
    yield engine  # its pool has a connection"""


def test_a_part_is_shown_highlighted_without_what_is_for_tools(tmp_path: Path) -> None:
    file = tmp_path / "conftest.py"
    file.write_text(CODE, encoding="utf-8")
    part = listing(file, "@pytest.fixture", "async def test_")
    assert part == repr(part) == FIXTURE
    assert part._repr_markdown_() == f"```python\n{FIXTURE}\n```"
    whole = listing(CODE)
    assert whole.startswith("import pytest\n\n@pytest") and whole.endswith(
        "test_engine(engine): ..."
    )


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no line has 'def nothing'"):
        listing(CODE, "def nothing")
