"""`loopbound grade` at the prompt: its exit codes, what it says where something is in the way, and
how it ends when it is ended.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import psycopg
import pytest
from hostile import POINTS, code_cell, right, saved
from hostile import Place as HostilePlace
from patience import LONG, eventually

from loopbound.cli import main
from loopbound.course.manifest import assignment
from loopbound.database import server_address
from loopbound.database.sweep import lock_number
from loopbound.grading import gradebook
from loopbound.grading.grade import Limits
from loopbound.grading.isolation import processes
from loopbound.grading.isolation.databases import ROLE, Databases

FULL = sum(POINTS[task] for task in ("01.1", "01.2", "01.4"))
ENDLESS = "while True: pass"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is graded in this process is right and ends: its time is not the subject."""
    patient = functools.partial(Limits, cell=200, check=200, suite=200, notebook=500)
    monkeypatch.setattr("loopbound.grading.grade.Limits", patient)


def hand_in(folder: Path, name: str, cell: str = "", file: str = "answers.ipynb") -> Path:
    """A learner's notebook with right answers, and a cell of its own before the first of them."""
    notebook = right()
    if cell:
        notebook["cells"].insert(3, code_cell(cell))
    home = folder / name
    home.mkdir(parents=True, exist_ok=True)
    return saved(HostilePlace(home, home, home, 0, ""), notebook, file)


def grade(*words: str | Path) -> int:
    return main(["grade", *map(str, words)])


def test_no_such_path_and_nothing_to_grade(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert grade("nobody") == 1
    assert capsys.readouterr().err == "loopbound: there is no nobody.\n"
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "notes.md").write_text("no notebook", encoding="utf-8")
    assert grade("team") == 1
    assert capsys.readouterr().err.startswith("loopbound: there is nothing to grade in team")
    assert not (tmp_path / "loopbound-grades.sqlite").exists()


def test_what_cannot_be_read_has_its_line_and_the_others_their_points(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_in(tmp_path / "team", "mina")
    tried = "[1, 2, 3][7]"
    hand_in(tmp_path / "team", "mina", tried, file="again.ipynb")
    (tmp_path / "team" / "tala").mkdir()
    (tmp_path / "team" / "tala" / "other.ipynb").write_text(
        '{"cells": [{"cell_type": "code", "source": "x = 1", "metadata": {}}]}', encoding="utf-8"
    )
    strange = tmp_path / "team" / "an\x1b[31m\nother ✿"
    strange.mkdir()
    (strange / "x\ny.ipynb").write_text("[]", encoding="utf-8")
    assert grade("team", "--json", "grades.json", "--notebooks", "ran") == 1
    said = capsys.readouterr().out
    assert (
        "tala, other.ipynb: no exercise of this course is in other.ipynb." in said
        and "Assignments: 01-what-a-loop-is" in said
    )
    assert "mina has 2 notebooks of 01-what-a-loop-is" in said and "\x1b" not in said
    rows = json.loads((tmp_path / "grades.json").read_text(encoding="utf-8"))["submissions"]
    assert sorted((row["points"], bool(row["problem"])) for row in rows) == [
        (0, True),
        (0, True),
        (FULL, False),
        (FULL, False),
    ]
    # The notebooks as they ran: the traceback of what raised, and what each check said.
    ran = [
        nbformat.from_dict(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted((tmp_path / "ran").iterdir())
    ]
    assert len(ran) == 2
    cells = [cell for cell in ran[0].cells if cell.source == tried] or [
        cell for cell in ran[1].cells if cell.source == tried
    ]
    (error,) = cells[0].outputs
    assert error.ename == "IndexError"
    assert any("[1, 2, 3][7]" in line for line in error.traceback), "where it raised"
    for notebook in ran:
        for number, cell in enumerate(notebook.cells):
            cell.setdefault("id", str(number))  # as the exercise has it, but for a cell of ours
        nbformat.validate(notebook)
        said = "".join(str(cell.get("outputs", "")) for cell in notebook.cells)
        assert "✓ 01.1 passed, 2 of 2" in said and "· 01.3 not attempted" in said
    assert grade("team/mina", "--notebooks", "ran") == 0
    told = capsys.readouterr()
    assert "2 of 2 were graded before" in told.err
    assert "2 had been graded before and did not run" in told.out
    (tmp_path / "ran" / "learner-mina-01-what-a-loop-is.ipynb").write_text("mine")
    assert grade("team/mina", "--again", "--notebooks", "ran") == 1
    assert "was not written by this command, and is not replaced" in capsys.readouterr().err


def test_a_gradebook_that_cannot_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradebook, "LOCK_SECONDS", 0.2)
    hand_in(tmp_path / "team", "mina")

    def refused(file: Path) -> str:
        assert grade("team", "--gradebook", file) == 1
        return capsys.readouterr().err

    assert "is a folder, or its folder does not exist" in refused(tmp_path / "team")
    assert "is a folder, or its folder does not exist" in refused(
        tmp_path / "nowhere" / "grades.sqlite"
    )
    text = tmp_path / "grades.txt"
    text.write_text("mina: 7 points\n" * 200, encoding="utf-8")
    assert "is no gradebook of this course" in refused(text) and text.read_text(
        encoding="utf-8"
    ).startswith("mina: 7")
    other = tmp_path / "other.sqlite"
    with contextlib.closing(sqlite3.connect(other)) as book:
        book.execute("CREATE TABLE assignment (name)")
        book.commit()
    assert "a database of something else" in refused(other)
    with contextlib.closing(sqlite3.connect(other)) as book:
        assert book.execute("SELECT name FROM sqlite_master").fetchall() == [("assignment",)]
    older = tmp_path / "older.sqlite"
    with contextlib.closing(sqlite3.connect(older)) as book:
        book.executescript("CREATE TABLE submission (id INTEGER); CREATE TABLE task (task TEXT)")
    assert "is no gradebook of this course" in refused(older)
    locked = tmp_path / "locked.sqlite"
    with contextlib.closing(sqlite3.connect(locked, isolation_level=None)) as book:
        book.execute("CREATE TABLE submission (id)")
        book.execute("BEGIN EXCLUSIVE")
        assert "is locked by another program" in refused(locked)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or sys.platform != "linux",
    reason="a small disk is mounted, which only root may do",
)
def test_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        hand_in(tmp_path / "team", "mina")
        assert grade("team", "--gradebook", disk / "grades.sqlite") == 0
        with contextlib.suppress(OSError), open(disk / "full", "wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        hand_in(tmp_path / "team", "omar")
        capsys.readouterr()
        assert grade("team", "--gradebook", disk / "grades.sqlite") == 1
        said = capsys.readouterr().err
        assert "disk is full" in said or "disk i/o error" in said, said
        assert (
            grade(
                "team/mina", "--gradebook", disk / "grades.sqlite", "--json", disk / "grades.json"
            )
            == 1
        )
        assert "grades.json cannot be written: no space left on device" in capsys.readouterr().err
        (disk / "full").unlink()
        assert grade("team", "--gradebook", disk / "grades.sqlite") == 0
        assert "1 of 2 were graded before" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_target_that_cannot_be_written_is_found_out_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_in(tmp_path / "team", "mina")
    for target in ("nowhere/grades.json", "team"):
        assert grade("team", "--json", target) == 1
        said = capsys.readouterr().err
        assert f"{target} cannot be written" in said and "1 of 1" not in said
    assert grade("team", "--html", "team/mina/answers.ipynb") == 1
    assert not (tmp_path / "loopbound-grades.sqlite").exists()


class Started:
    """A grader in a process of its own, at work on a notebook that never ends after one that is
    right.

    A cell's time is up after some seconds, so more such notebooks wait behind the first one: a busy
    machine may need longer to send a signal. `alone` takes them away again.
    """

    def __init__(self, folder: Path) -> None:
        self.mark = secrets.token_hex(8)
        hand_in(folder / "team", "mina")
        hand_in(folder / "team", "omar", ENDLESS)
        self.others = [
            hand_in(folder / "team", f"other{number:02}", ENDLESS).parent for number in range(30)
        ]
        self.stderr = folder / "stderr.txt"
        with open(self.stderr, "wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "loopbound", "grade", "team", "--jobs", "1"],
                cwd=folder,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=os.environ | {"LOOPBOUND_MARK": self.mark},
            )
        assert eventually(lambda: "1 of 32: mina" in self.said() and self.family()), self.said()
        began = self.worked()
        assert eventually(lambda: self.worked() > began + 1), "it is in the endless cell by then"
        assert self.process.poll() is None, self.said()

    def alone(self) -> None:
        for folder in self.others:
            shutil.rmtree(folder)

    def said(self) -> str:
        return self.stderr.read_text(encoding="utf-8")

    def worked(self) -> float:
        """Seconds of a processor that its family has used."""
        seconds = 0.0
        for pid in self.family():
            with contextlib.suppress(psutil.Error):
                seconds += sum(psutil.Process(pid).cpu_times()[:2])
        return seconds

    def family(self) -> list[int]:
        """The living processes that carry its mark, but for the database's own keeper."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if (
                    process.status() != psutil.STATUS_ZOMBIE
                    and process.environ().get("LOOPBOUND_MARK") == self.mark
                    and any("loopbound.grading" in word for word in process.cmdline())
                ):
                    found.append(process.pid)
        return found


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    made = Started(tmp_path)
    yield made
    if made.process.poll() is None:
        made.process.kill()
    made.process.wait()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_is_stopped_and_goes_on(
    number: signal.Signals, started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started.process.send_signal(number)
    assert started.process.wait(LONG) == 130, started.said()
    assert "loopbound: stopped." in started.said() and "Traceback" not in started.said()
    assert eventually(lambda: not started.family()), started.family()
    started.alone()
    hand_in(tmp_path / "team", "omar")
    assert grade("team") == 0
    said = capsys.readouterr()
    assert (
        "1 of 2 were graded before" in said.err
        and f"{FULL} of {assignment('01').points}" in said.out
    )


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_a_killed_grader_leaves_nothing_for_long(
    started: Started, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [
        path
        for path in Path(os.path.realpath(os.environ.get("TMPDIR", "/tmp"))).glob(
            "loopbound-grading-*"
        )
        if owner(path) == started.process.pid
    ]
    assert len(folders) == 1
    started.process.kill()
    started.process.wait()
    assert eventually(lambda: not started.family()), started.family()
    started.alone()
    hand_in(tmp_path / "team", "omar")
    assert grade("team") == 0
    assert "1 of 2 were graded before" in capsys.readouterr().err
    assert not folders[0].exists()


def owner(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((folder / "grader").read_text(encoding="ascii").split()[0])
    return 0


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_roles_and_databases_of_a_killed_grader_are_swept(tmp_path: Path) -> None:
    code = (
        "import os\nfrom loopbound.grading.isolation.databases import Databases,"
        " SubmissionDatabases\nlent = SubmissionDatabases(Databases(), False)\ngiven ="
        " lent.answer({'op': 'database', 'tables': True})\nprint(given['name'], lent._role[0],"
        " flush=True)\nos.kill(os.getpid(), 9)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=False
    )
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    database, role = ran.stdout.split()
    assert role.startswith(ROLE)
    with psycopg.connect(**server_address().libpq(), autocommit=True) as admin:

        def there() -> tuple[bool, bool]:
            found = admin.execute(
                "SELECT EXISTS (SELECT FROM pg_database WHERE datname = %s), EXISTS (SELECT FROM"
                " pg_roles WHERE rolname = %s)",
                [database, role],
            ).fetchone()
            assert found is not None
            return found

        held = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND (classid::bigint"
            " << 32 | objid::bigint) = %s)"
        )
        assert eventually(
            lambda: admin.execute(held, [lock_number(database)]).fetchone() == (False,)
        )
        Databases().close()
        assert there() == (False, False)


def test_without_namespaces_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "strongest_isolation", lambda: "groups")
    hand_in(tmp_path / "team", "mina")
    assert grade("team") == 0
    assert "No namespaces can be made here" in capsys.readouterr().err
