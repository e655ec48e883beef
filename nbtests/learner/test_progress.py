"""Progress is kept in one file: by many kernels at once, through kill -9 and damage, and never at a
check's cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from patience import LONG

from loopbound.authoring.execute import run_notebook
from loopbound.checks import CheckFailed
from loopbound.learner import progress
from loopbound.learner.cells import check
from loopbound.learner.progress import Entry, ProgressFile, progress_path
from loopbound.outcomes import NOT_ATTEMPTED, OUTCOMES, PASSED, RAISED, WRONG
from loopbound.paths import repository
from loopbound.problem import Problem

RIGHT = "async def all_reports(users, fetch): return await asyncio.gather(*map(fetch, users))"
SLOW = "async def all_reports(users, fetch): return [await fetch(user) for user in users]"


def names_of(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {"asyncio": asyncio}
    exec(code, names)
    return names


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The progress file that this test's processes use."""
    path = tmp_path / "kept" / "progress.jsonl"
    monkeypatch.setenv("LOOPBOUND_PROGRESS", str(path))
    return path


def kernel(code: str) -> str:
    """What a new process prints, as a restarted kernel would."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LONG,
        env=os.environ | {"PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_outcomes_are_those_of_the_checks() -> None:
    assert OUTCOMES == (NOT_ATTEMPTED, RAISED, WRONG, PASSED)


def test_the_tests_do_not_write_to_the_readers_own_file() -> None:
    assert progress_path() is None
    with pytest.raises(CheckFailed):
        check("01.2", {})
    assert ProgressFile().entries() == {}


def test_the_file_is_in_the_data_folder_unless_it_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LOOPBOUND_PROGRESS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = progress_path()
    assert (
        path is not None
        and path.is_absolute()
        and path.name == "progress.jsonl"
        and path.parent.name == "loopbound"
    )
    if sys.platform == "linux":
        assert path == tmp_path / "loopbound" / "progress.jsonl"
    monkeypatch.setenv("LOOPBOUND_PROGRESS", "~/mine.jsonl")
    assert progress_path() == Path.home() / "mine.jsonl"


def test_the_best_outcome_stays_and_everything_is_counted(file: Path) -> None:
    kept = ProgressFile()
    for outcome, points in (("not attempted", 0), ("wrong", 0), ("raised", 0)):
        kept.checked("01.2", outcome, points)
    assert (kept.entry("01.2").outcome, kept.entry("01.2").points) == ("wrong", 0)
    kept.checked("01.2", "passed", 3)
    kept.checked("01.2", "raised", 0)
    kept.hinted("01.2", 1)
    kept.hinted("01.1", 2)
    entry = ProgressFile().entry("01.2")
    assert (entry.outcome, entry.points, entry.checks, entry.hints, entry.passed) == (
        "passed",
        3,
        5,
        1,
        True,
    )
    assert entry.last.startswith("20") and entry.last.endswith("+00:00")
    assert ProgressFile().entry("01.1") == Entry(
        "01.1", hints=2, last=ProgressFile().entry("01.1").last
    )


def test_a_clone_has_entries_of_its_own(file: Path) -> None:
    for clone in ("/home/reader/loopbound", "C:\\Users\\Zoë\\loopbound", "/home/\udcff"):
        ProgressFile(clone=clone).checked("01.2", "passed", 3)
    ProgressFile(clone="C:\\Users\\Zoë\\loopbound").checked("01.1", "wrong", 0)
    assert list(ProgressFile(clone="C:\\Users\\Zoë\\loopbound").entries()) == ["01.1", "01.2"]
    assert (
        list(ProgressFile(clone="/home/\udcff").entries())
        == list(ProgressFile(clone="/home/reader/loopbound").entries())
        == ["01.2"]
    )
    assert ProgressFile().entries() == {}
    assert ProgressFile().clone == os.path.normcase(repository())


def test_a_check_in_a_cell_is_written_down(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CheckFailed):
        check("01.2", names_of(SLOW))
    assert (ProgressFile().entry("01.2").outcome, ProgressFile().entry("01.2").points) == (
        "wrong",
        0,
    )
    check("01.2", names_of(RIGHT))
    assert (ProgressFile().entry("01.2").outcome, ProgressFile().entry("01.2").points) == (
        "passed",
        3,
    )
    assert capsys.readouterr() == ("", "")


def test_hints_and_solutions_survive_a_restarted_kernel(file: Path) -> None:
    said = [kernel("from loopbound import hint; print(repr(hint('01.3')))") for _ in range(3)]
    assert [text.count("**Hint ") for text in said] == [1, 2, 2]
    ask = "from loopbound import solution; print(repr(solution('01.2')))"
    assert "is shown after a pass" in kernel(ask)
    check("01.2", names_of(RIGHT))
    assert "asyncio.gather" in kernel(ask)


def test_a_solution_that_is_run_by_the_commands_is_no_progress(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.ipynb"
    nbformat.write(
        new_notebook(
            cells=[
                new_code_cell(f"import asyncio\nfrom loopbound import check\n{RIGHT}"),
                new_code_cell('check("01.2")'),
            ]
        ),
        path,
    )
    result = run_notebook(path)
    assert not result.problems and "passed" in str(result.notebook.cells[1].outputs)
    assert not file.exists()


# A learner does not wait long for a lock; a busy machine must not fail the test for that.
WRITER = """
import sys
from loopbound.learner import progress
from loopbound.learner.progress import ProgressFile
progress._LOCK_SECONDS = 200
kept = ProgressFile(clone=sys.argv[1], say=lambda text: sys.exit(text))
for number in range(int(sys.argv[2])):
    kept.checked(f"0{1 + number % 9}.1", "wrong", 0)
    print(number + 1, flush=True)
"""


def test_several_kernels_write_at_once_and_lose_nothing(file: Path) -> None:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, "one" if number else "two", "45"],
            stdout=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [writer.wait(LONG) for writer in writers] == [0, 0, 0, 0]
    assert [
        sum(entry.checks for entry in ProgressFile(clone=clone).entries().values())
        for clone in ("one", "two")
    ] == [135, 45]


def test_threads_of_one_process_do_not_lose_anything_either(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "_LOCK_SECONDS", 200)
    threads = [
        threading.Thread(
            target=lambda: [ProgressFile().checked("01.1", "wrong", 0) for _ in range(20)]
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert ProgressFile().entry("01.1").checks == 80


def test_kill_9_at_any_moment_loses_nothing_that_was_written(file: Path) -> None:
    chance = random.Random(4)
    before = 0
    for _ in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, "one", "100000"], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.05))
        writer.kill()
        told = int((writer.communicate()[0].split() or ["1"])[-1])
        said: list[str] = []
        kept = ProgressFile(clone="one", say=said.append)
        now = sum(entry.checks for entry in kept.entries().values())
        # The last one may be written and not told of.
        assert before + told <= now <= before + told + 1 and said == []
        before = now
    ProgressFile(clone="one").checked("01.1", "passed", 2)
    assert ProgressFile(clone="one").entry("01.1").passed
    assert not list(file.parent.glob("*damaged*"))


def test_drafts_of_killed_processes_are_cleared_away(file: Path) -> None:
    file.parent.mkdir()
    old, new, other = (
        file.parent / name
        for name in (".loopbound-0a1b2c3d.partial", ".loopbound-4e5f6a7b.partial", "mine.partial")
    )
    for draft in (old, new, other):
        draft.write_text("{")
    for draft in (old, other):
        os.utime(draft, (time.time() - 3600,) * 2)
    ProgressFile().checked("01.1", "wrong", 0)
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)


def written(file: Path) -> bytes:
    """A file with four good entries."""
    for task in ("01.1", "01.2", "02.1", "04.2"):
        ProgressFile().checked(task, "passed", 2)
    return file.read_bytes()


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda content: content[:-20], 3),  # the end is missing
        (lambda content: content[: len(content) // 2], 1),
        (lambda content: b"", 0),
        (lambda content: b"\x00" * len(content), 0),
        (lambda content: content.replace(b'"01.2"', b'"0\xff.2"'), 3),
        (
            lambda content: content.replace(
                b'"02.1", "outcome": "passed"', b'"02.1", "outcome": "excellent"'
            ),
            3,
        ),
        (
            lambda content: content.replace(
                b'"01.1", "outcome": "passed", "points": 2',
                b'"01.1", "outcome": "passed", "points": -2',
            ),
            3,
        ),
        (lambda content: content.replace(b'"hints": 0', b'"hints": "0"', 1), 3),
        # The header may say more, an entry may not.
        (lambda content: content.replace(b"}", b', "more": 1}', 2), 3),
        (lambda content: b"<<<<<<< mine\n" + content, 4),
        (lambda content: content + b"[" * 100_000, 4),
        (lambda content: content.replace(b"\n", b"\r\n") + b"null\n", 4),
    ],
)
def test_a_damaged_file_is_set_aside_and_the_rest_goes_on(
    file: Path, damage: Any, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = damage(written(file))
    file.write_bytes(damaged)
    assert len(ProgressFile().entries()) == left  # reading alone changes nothing
    assert file.read_bytes() == damaged
    ProgressFile().checked("05.1", "wrong", 0)
    assert len(ProgressFile().entries()) == left + 1
    (aside,) = file.parent.glob("progress.damaged-*.jsonl")
    assert aside.read_bytes() == damaged
    said = capsys.readouterr()
    assert (
        said.err == ""
        and len(said.out.splitlines()) == 1
        and str(aside) in said.out
        and f"{left} entr" in said.out
    )
    ProgressFile().checked("05.1", "wrong", 0)  # the file is whole again
    assert len(list(file.parent.glob("progress.damaged-*"))) == 1 and capsys.readouterr().out == ""


def test_whole_files_of_another_version_are_left_alone(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(file)
    newer = file.read_text().replace('"version": 1', '"version": 2')
    file.write_text(newer)
    ProgressFile().checked("05.1", "wrong", 0)
    assert file.read_text() == newer and ProgressFile().entries() == {}
    assert "another version" in capsys.readouterr().out


def in_the_way(folder: Path) -> Path:
    (folder / "a file").write_text("")
    return folder / "a file" / "progress.jsonl"


def a_folder(folder: Path) -> Path:
    (folder / "progress.jsonl").mkdir()
    return folder / "progress.jsonl"


def read_only(folder: Path) -> Path:
    if os.name == "nt" or os.geteuid() == 0:
        pytest.skip("nothing is read-only for this user")
    (folder / "home").mkdir(mode=0o500)
    return folder / "home" / "loopbound" / "progress.jsonl"


def full(folder: Path) -> Path:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    return Path("/dev/full")


@pytest.mark.parametrize("place", [in_the_way, a_folder, read_only, full])
def test_where_nothing_can_be_written_a_check_says_so_once_and_works(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = place(tmp_path)
    monkeypatch.setenv("LOOPBOUND_PROGRESS", str(path))
    for _ in range(2):
        assert check("01.2", names_of(RIGHT)).points == 3
    said = capsys.readouterr()
    assert (
        said.err == ""
        and len(said.out.splitlines()) == 1
        and str(path) in said.out
        and said.out.startswith("Your progress is not kept")
    )


def test_a_home_without_a_place_for_data_fails_no_check(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no home")

    monkeypatch.delenv("LOOPBOUND_PROGRESS")
    monkeypatch.setattr(progress.platformdirs, "user_data_dir", broken)
    assert check("01.2", names_of(RIGHT)).points == 3
    assert "no home" in capsys.readouterr().out


def test_a_lock_that_nobody_gives_back_delays_and_fails_no_check(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ProgressFile().checked("01.1", "passed", 2)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            (
                "import fasteners, time; lock ="
                f" fasteners.InterProcessLock({str(file) + '.lock'!r}); print(lock.acquire(),"
                " flush=True); time.sleep(60)"
            ),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline()
        monkeypatch.setattr(progress, "_LOCK_SECONDS", 0.2)
        assert ProgressFile().entry("01.1").passed  # reading goes on without it
        ProgressFile().checked("01.1", "passed", 2)
        assert "locked by another process" in capsys.readouterr().out  # it did not wait for the end
    finally:
        holder.kill()
        holder.communicate()
    ProgressFile().checked("01.1", "passed", 2)
    assert ProgressFile().entry("01.1").checks == 2


def test_the_file_is_one_that_a_person_can_read(file: Path) -> None:
    rows = [json.loads(line) for line in written(file).decode("ascii").splitlines()]
    assert rows[0] == {"loopbound": "progress", "version": 1}
    assert [list(row) for row in rows[1:]] == [
        ["clone", "task", "outcome", "points", "checks", "hints", "last"]
    ] * 4
    assert {row["clone"] for row in rows[1:]} == {os.path.normcase(repository())}
    with pytest.raises(Problem):
        progress._found(b'{"loopbound": "progress", "version": 9}', file)
