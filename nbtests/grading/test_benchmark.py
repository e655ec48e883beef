"""The benchmark of the grader measures what it says, and counts nobody who did not grade."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from patience import LONG

from loopbound.course.manifest import assignment
from loopbound.paths import repository

SCRIPT = repository() / "benchmarks" / "grading.py"
WHICH = assignment("02")
UNSURE = "nbmake"  # installed for whoever asked for the extra, and for nobody else


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_grading", SCRIPT)
    assert spec and spec.loader
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def bench(benchmark: ModuleType) -> Iterator[Any]:
    made = benchmark.Bench(WHICH, 1)
    yield made
    made.close()


def test_ours_and_both_floors_are_measured_and_who_is_missing_is_named(tmp_path: Path) -> None:
    target = tmp_path / "measured.json"
    words = [
        "--assignment",
        WHICH.name,
        "--rounds",
        "1",
        "--floor",
        "1",
        "--peers",
        "1",
        "--json",
        str(target),
        "ours-alone",
        UNSURE,
    ]
    done = subprocess.run(
        [sys.executable, SCRIPT, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
        timeout=LONG,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads(target.read_text(encoding="utf-8"))
    rows = {row["key"]: row for row in measured["rows"]}
    assert [*rows, *measured["not_measured"]] == ["floor", "lean", "ours-alone", UNSURE]
    assert measured["failed"] == {} and measured["assignment"] == WHICH.name
    ours = rows["ours-alone"]
    assert ours["submissions"] == 1 and len(ours["seconds"]) == 1
    assert ours["ratio"] == pytest.approx(ours["seconds"][0] / ours["floor"][0])
    assert min(rows["floor"]["seconds"]) > 0 < min(rows["lean"]["seconds"])
    assert all(row["what"] in done.stdout for row in rows.values())
    assert (f"{UNSURE} is not installed" in done.stdout) is (UNSURE in measured["not_measured"])


def test_no_two_submissions_are_alike_and_their_scripts_have_the_same_cells(
    benchmark: ModuleType, bench: Any
) -> None:
    one, other = bench.handed(2)
    assert (
        one.notebook.read_bytes() != other.notebook.read_bytes()
        and one.lean.read_bytes() != other.lean.read_bytes()
    )
    cells = [
        cell
        for cell in json.loads(one.notebook.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    script = one.script.read_text(encoding="utf-8")
    assert "".join(f"{''.join(cell['source'])}\n\n" for cell in cells) == script
    assert "BEGIN SOLUTION" not in script and "YOUR CODE HERE" not in script


def test_a_cell_that_awaits_at_its_top_runs_in_the_script(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    cells = [
        "import asyncio\nasync def reports():\n    return asyncio.get_running_loop(), 6",
        "first, count = await reports()",
        "again, _ = await reports()\nprint(count, first is again)",
    ]
    script = tmp_path / "script.py"
    script.write_text(benchmark.as_script(cells), encoding="utf-8")
    assert (
        subprocess.run(
            [sys.executable, script], capture_output=True, text=True, timeout=LONG, check=True
        ).stdout
        == "6 True\n"
    )
    assert "_awaited" not in benchmark.as_script(cells[:1])


def test_who_has_not_given_full_points_is_not_counted(
    benchmark: ModuleType, bench: Any, tmp_path: Path
) -> None:
    handed = bench.handed(1)
    with pytest.raises(benchmark.NotGraded, match=f"{WHICH.tasks[0].id}.* not passed"):
        benchmark.ticked(bench, [handed[0].notebook])  # nobody has executed it
    # And this one has no answers.
    shutil.copy(repository() / "exercises" / WHICH.file, handed[0].notebook)
    with pytest.raises(benchmark.NotGraded, match=r"1 of 1 .* \(0, ''\)"):
        benchmark.run_ours(bench, handed, tmp_path, 1)
