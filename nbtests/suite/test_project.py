"""A suite's copy: what is copied, what an overlay adds, replaces, deletes and takes out."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from loopbound.problem import Problem
from loopbound.suite.project import lay_out, without

CONFTEST = """\
import os
import asyncio, json as reading
from collections.abc import (
    AsyncIterator,
    Iterator,
)

import pytest
from app.db.session import SessionFactory, engine


@pytest.fixture
def folder(tmp_path):
    return os.fspath(tmp_path)


@pytest.fixture(scope="function")
async def db_session() -> AsyncIterator[object]:
    await asyncio.sleep(0)
    async with SessionFactory() as session:
        yield session


def db_rows() -> Iterator[int]:
    return reading.loads("[]")
"""


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text("utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "scanner"
    for name, text in {
        "app/session.py": "engine = 1\n",
        "tests/conftest.py": CONFTEST,
        "pytest.ini": "[pytest]\n",
        "fixes/dispose/tests/conftest.py": "",
        "app/__pycache__/session.pyc": "",
        ".pytest_cache/README": "",
        "app/fixes/kept.py": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_a_copy_leaves_out_overlays_and_caches(project: Path, tmp_path: Path) -> None:
    before = files(project)
    lay_out(project, None, tmp_path / "copy")
    assert set(files(tmp_path / "copy")) == {
        "app/session.py",
        "app/fixes/kept.py",
        "tests/conftest.py",
        "pytest.ini",
    }
    assert files(project) == before


def test_a_mapping_is_written_without_its_indentation(tmp_path: Path) -> None:
    text = """
        def test_title():
            assert 'ä'
    """
    lay_out({"tests/api/test_title.py": text}, None, tmp_path / "copy")
    assert files(tmp_path / "copy") == {
        "tests/api/test_title.py": "def test_title():\n    assert 'ä'\n"
    }


@pytest.mark.parametrize("form", ["mapping", "folder"])
def test_an_overlay_adds_replaces_and_deletes(project: Path, tmp_path: Path, form: str) -> None:
    overlay: object = {
        "overlay.toml": 'delete = ["pytest.ini"]\nremove = ["db_session"]',
        "app/session.py": "engine = 2\n",
        "tests/more/conftest.py": "def db_session(): pass\n",
    }
    if form == "folder":
        lay_out(overlay | {"overlay.toml": ""}, None, tmp_path / "overlay")
        (tmp_path / "overlay" / "overlay.toml").write_text(overlay["overlay.toml"])
        overlay = tmp_path / "overlay"
    lay_out(project, overlay, tmp_path / "copy")
    made = files(tmp_path / "copy")
    assert set(made) == {
        "app/session.py",
        "app/fixes/kept.py",
        "tests/conftest.py",
        "tests/more/conftest.py",
    }
    assert made["app/session.py"] == "engine = 2\n"
    assert "db_session" not in made["tests/conftest.py"] and "folder" in made["tests/conftest.py"]
    # What the overlay brings itself stays, whatever its name.
    assert made["tests/more/conftest.py"] == "def db_session(): pass\n"


def test_a_fixture_goes_with_the_imports_that_it_alone_used() -> None:
    text, found = without(CONFTEST, ["db_session", "db_rows"])
    assert found == {"db_session"}  # the other one is no fixture
    assert (
        text
        == """\
import os
import json as reading
from collections.abc import Iterator

import pytest
from app.db.session import engine


@pytest.fixture
def folder(tmp_path):
    return os.fspath(tmp_path)




def db_rows() -> Iterator[int]:
    return reading.loads("[]")
""".replace("Iterator\n\nimport", "Iterator\n\nimport")
    )
    compile(text, "conftest.py", "exec")


def test_an_import_that_was_unused_before_stays() -> None:
    # It may be there for what importing it does: `engine` above is used by nobody.
    assert "engine" in without(CONFTEST, ["db_session"])[0]


def test_a_file_without_the_fixture_stays_as_it_is() -> None:
    assert without("x  =  1\n", ["db_session"]) == ("x  =  1\n", set())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("remove = [", r"overlay\.toml of the overlay cannot be read: "),
        ("remov = []", "has 'remov'; known are remove and delete"),
        ('remove = "db_session"', "remove is a list of names"),
        ('remove = ["db_sessoin"]', "removes db_sessoin: no fixture below tests/ has that name"),
        ('delete = ["tox.ini"]', r"deletes tox\.ini, which the project does not have"),
        ('delete = ["../scanner/pytest.ini"]', "is no file below the project"),
    ],
)
def test_an_overlay_that_does_not_fit(
    project: Path, tmp_path: Path, settings: str, message: str
) -> None:
    with pytest.raises(Problem, match=message):
        lay_out(project, {"overlay.toml": settings}, tmp_path / "copy")
    assert (project / "pytest.ini").exists()


def test_a_missing_overlay(project: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="There is no overlay folder"):
        lay_out(project, tmp_path / "dispos", tmp_path / "copy")


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({}, b"# \xe4", "overlay/overlay.toml is not UTF-8"),
        (
            {"test_a.py": b"def ("},
            b"remove = ['engine']",
            "removes fixtures, but tests.test_a.py is no Python: invalid syntax",
        ),
        ({"test_a.py": b"# \xe4"}, b"remove = ['engine']", "tests/test_a.py is not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_named(
    files: dict[str, bytes], settings: bytes, message: str, tmp_path: Path
) -> None:
    for place in ("project/tests", "overlay"):
        (tmp_path / place).mkdir(parents=True)
    for name, data in files.items():
        (tmp_path / "project" / "tests" / name).write_bytes(data)
    (tmp_path / "overlay" / "overlay.toml").write_bytes(settings)
    with pytest.raises(Problem, match=message):
        lay_out(tmp_path / "project", tmp_path / "overlay", tmp_path / "copy")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right on Windows")
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "lost").symlink_to("nowhere")
    with pytest.raises(
        Problem, match=r"cannot be copied for a run: .*lost\nIt says: .*No such file"
    ) as caught:
        lay_out(tmp_path / "project", None, tmp_path / "copy")
    assert len(str(caught.value).splitlines()) == 2


def test_the_copy_of_a_read_only_project_can_be_changed(tmp_path: Path) -> None:
    for place in ("project", "overlay"):
        (tmp_path / place / "tests").mkdir(parents=True)
        (tmp_path / place / "tests" / "test_a.py").write_text(place)
    paths = [path for place in ("project", "overlay") for path in (tmp_path / place).rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        lay_out(tmp_path / "project", tmp_path / "overlay", tmp_path / "copy")
        copied = [tmp_path / "copy" / "tests", tmp_path / "copy" / "tests" / "test_a.py"]
        assert (
            all(path.stat().st_mode & stat.S_IWUSR for path in copied)
            and copied[1].read_text() == "overlay"
        )
    finally:
        for path in paths:
            path.chmod(0o755)
