"""`loopbound run` and `loopbound format`, as typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from small_notebooks import code, printed, saved


def _loopbound(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loopbound", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


def _outputs(path: Path) -> list[list[str]]:
    return [
        [*output["text"]]
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        for output in cell["outputs"]
    ]


def test_run_write_keeps_stable_outputs_and_is_repeatable(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "one.ipynb",
        code("engine", "import time\nprint(object())\nprint(f'{time.perf_counter() % 1:.6f} s')"),
    )
    first = _loopbound("run", "--write", path)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("one.ipynb: written (1 cells,")
    written = path.read_bytes()
    assert _outputs(path)[0][0] == "<object object at 0x…>\n"
    assert _loopbound("format", "--check", path).returncode == 0
    again = _loopbound("run", "--write", path)
    assert again.stdout.startswith("one.ipynb: ran, nothing to write")
    assert path.read_bytes() == written  # the measured time is another one, and no news
    assert _loopbound("run", path).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["one.ipynb"]


def test_run_shows_what_changed(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "one.ipynb",
        code("symptom", "print('different loop')", outputs=[printed("ok\n")]),
    )
    before = path.read_bytes()
    done = _loopbound("run", path)
    assert done.returncode == 1
    assert "one.ipynb, cell 'symptom': the output differs from the committed one" in done.stderr
    assert "-stdout: ok" in done.stderr and "+stdout: different loop" in done.stderr
    assert path.read_bytes() == before


def test_run_write_refuses_where_something_is_wrong(tmp_path: Path) -> None:
    path = saved(tmp_path / "one.ipynb", code("fail", "1 / 0"), code("after", "print(1)"))
    before = path.read_bytes()
    done = _loopbound("run", "--write", path)
    assert done.returncode == 1
    assert (
        "ZeroDivisionError: division by zero" in done.stderr and "were not written" in done.stderr
    )
    assert path.read_bytes() == before


def test_run_write_keeps_what_was_saved_meanwhile(tmp_path: Path) -> None:
    source = (
        "import json, pathlib\nfile = pathlib.Path('one.ipynb')\n_ ="
        " file.write_text(file.read_text() + ' ')\nprint('saved')"
    )
    path = saved(tmp_path / "one.ipynb", code("save", source))
    done = _loopbound("run", "--write", path)
    assert done.returncode == 1 and "was changed while it ran" in done.stderr
    assert path.read_text(encoding="utf-8").endswith("}\n ")


def test_format_checks_then_mends(tmp_path: Path) -> None:
    path = saved(tmp_path / "one.ipynb", code("count", "one = 1"))
    good = path.read_bytes()
    notebook = json.loads(good)
    notebook["cells"][0]["execution_count"] = 4
    path.write_text(json.dumps(notebook), encoding="utf-8")
    bad = path.read_bytes()
    checked = _loopbound("format", "--check", path)
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
