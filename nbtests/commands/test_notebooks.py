"""`loopbound run` and `loopbound format`: as typed once, then in this process, which is cheaper."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_notebooks import code, printed, saved

from loopbound.cli import main


def _typed(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loopbound", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def _loopbound(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """The same in this process."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main([*map(str, words)])
    return subprocess.CompletedProcess(words, code, stdout.getvalue(), stderr.getvalue())


def _outputs(path: Path) -> list[list[str]]:
    return [
        [*output["text"]]
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        for output in cell["outputs"]
    ]


ENGINE = "import time\nprint(object())\nprint(f'{time.perf_counter() % 1:.6f} s')"
SAVE = (
    "import json, pathlib\nfile = pathlib.Path('save.ipynb')\n_ ="
    " file.write_text(file.read_text() + ' ')\nprint('saved')"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notebooks, before they are written."""
    made = tmp_path_factory.mktemp("notebooks")
    saved(made / "engine.ipynb", code("engine", ENGINE))
    saved(made / "fail.ipynb", code("fail", "1 / 0"), code("after", "print(1)"))
    saved(made / "save.ipynb", code("save", SAVE))
    return made


@pytest.fixture(scope="module")
def failing(folder: Path) -> bytes:
    """The notebook that fails, before it is run."""
    return (folder / "fail.ipynb").read_bytes()


@pytest.fixture(scope="module")
def written(folder: Path, failing: bytes) -> subprocess.CompletedProcess[str]:
    """`run --write` of them all, as typed."""
    return _typed("run", "--write", *sorted(folder.iterdir()))


def test_run_write_keeps_stable_outputs_and_is_repeatable(
    folder: Path, written: subprocess.CompletedProcess[str]
) -> None:
    assert "engine.ipynb: written (1 cells," in written.stdout
    assert "engine.ipynb" not in written.stderr
    path = folder / "engine.ipynb"
    before = path.read_bytes()
    assert _outputs(path)[0][0] == "<object object at 0x…>\n"
    assert _loopbound("format", "--check", path).returncode == 0
    again = _loopbound("run", "--write", path)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("engine.ipynb: ran, nothing to write")
    assert path.read_bytes() == before  # the measured time is another one, and no news
    assert {file.name for file in folder.iterdir()} == {
        "engine.ipynb",
        "fail.ipynb",
        "save.ipynb",
    }


def test_run_write_refuses_where_something_is_wrong(
    folder: Path, failing: bytes, written: subprocess.CompletedProcess[str]
) -> None:
    assert written.returncode == 1
    assert "ZeroDivisionError: division by zero" in written.stderr
    assert "2 of 3 notebooks failed and were not written." in written.stderr
    assert (folder / "fail.ipynb").read_bytes() == failing


def test_run_write_keeps_what_was_saved_meanwhile(
    folder: Path, written: subprocess.CompletedProcess[str]
) -> None:
    assert "was changed while it ran" in written.stderr
    assert (folder / "save.ipynb").read_text(encoding="utf-8").endswith("}\n ")


def test_run_shows_what_changed(
    folder: Path, written: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    path = saved(
        tmp_path / "one.ipynb",
        code("symptom", "print('different loop')", outputs=[printed("ok\n")]),
    )
    before = path.read_bytes()
    done = _loopbound("run", path, folder / "engine.ipynb")
    assert done.returncode == 1
    assert "engine.ipynb: ran (1 cells," in done.stdout
    assert "one.ipynb: 1 problem (1 cells," in done.stdout
    assert "1 of 2 notebooks failed." in done.stderr
    assert "one.ipynb, cell 'symptom': the output differs from the committed one" in done.stderr
    assert "-stdout: ok" in done.stderr
    assert "+stdout: different loop" in done.stderr
    assert path.read_bytes() == before


def test_format_checks_then_mends(tmp_path: Path) -> None:
    path = saved(tmp_path / "one.ipynb", code("count", "one = 1"))
    good = path.read_bytes()
    notebook = json.loads(good)
    notebook["cells"][0]["execution_count"] = 4
    path.write_text(json.dumps(notebook), encoding="utf-8")
    bad = path.read_bytes()
    checked = _typed("format", "--check", path)
    assert (checked.returncode, path.read_bytes()) == (1, bad)
    assert "one.ipynb, cell 'count': execution_count is set" in checked.stdout
    assert _loopbound("format", path).returncode == 0
    assert path.read_bytes() == good
    assert (
        _loopbound("format", path).stdout,
        _loopbound("format", "--check", path).returncode,
    ) == ("", 0)


def test_mistakes_are_answered_in_a_line_or_two(tmp_path: Path) -> None:
    (tmp_path / "broken.ipynb").write_text("{")
    (tmp_path / "latin.ipynb").write_bytes(b'{"cells": "\xe9"}')
    for words, said in [
        (["run", "77"], "there is no lesson '77'"),
        (["run", tmp_path / "nowhere.ipynb"], "there is no lesson"),
        (["run", tmp_path / "broken.ipynb"], "broken.ipynb is not JSON"),
        (["format", tmp_path / "latin.ipynb"], "is not UTF-8 text"),
    ]:
        done = _loopbound(*words)
        assert done.returncode == 1
        assert said in done.stderr and done.stderr.startswith("loopbound: ")
        assert len(done.stderr.splitlines()) <= 3 and "Traceback" not in done.stderr
