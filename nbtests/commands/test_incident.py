"""`loopbound incident`: what it prints, writes and refuses, and Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from as_found import FIVE
from patience import LONG, eventually
from suite_processes import suites_of

from loopbound.cli import main
from loopbound.commands.incident import incident_command, table, write_json
from loopbound.files import check_writable
from loopbound.problem import Problem
from loopbound.suite import BACKEND, SuiteRun, TestResult, fixes, incident
from loopbound.terminal import ProgressLine

INCIDENT = [sys.executable, "-m", "loopbound", "incident"]


def command(*words: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*INCIDENT, *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LONG,
    )


def test_as_found_twice_with_json(tmp_path: Path) -> None:
    before = sorted(path for path in BACKEND.rglob("*"))
    target = tmp_path / "out.json"
    done = command("--repeat", 2, "--json", target)
    assert done.returncode == 0, done.stderr
    told = json.loads(target.read_text("utf-8"))
    assert list(told) == ["fix", "order", "runs"] and (told["fix"], told["order"]) == (
        None,
        "default",
    )
    for run in told["runs"]:
        assert list(run) == ["passed", "failed", "errors", "hung", "seconds"]
        assert set(run["failed"]) == FIVE and set(run["failed"].values()) == {"different loop"}
        assert (len(run["passed"]), run["errors"], run["hung"]) == (28, {}, False)
    assert done.stdout.rstrip().endswith("28 passed, 5 failed  (2 of 2 runs)")
    assert "\ntests/api/test_status.py\n" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "test_get_status_forbidden" in line]
    assert line.split("  ")[-1] == "failed: different loop"
    assert len([line for line in done.stderr.splitlines() if line.startswith("run ")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]
    assert sorted(path for path in BACKEND.rglob("*")) == before


def test_alone_each_passes() -> None:
    run = incident(order="alone")
    assert len(run.passed) == 33 and not run.hung


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--fix", "dispos"], "loopbound: There is no fix 'dispos'; there are: "),
        (
            ["--order", "random"],
            "loopbound: There is no order 'random'; there are: default, reverse, random:SEED",
        ),
        (["--json", "nowhere/out.json"], "loopbound: nowhere/out.json cannot be written"),
    ],
)
def test_what_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, (out, said) = main(["incident", *words]), capsys.readouterr()
    assert (code, out) == (1, "")
    assert said.replace("\\", "/").startswith(message) and len(said.splitlines()) <= 3


def test_a_number_of_runs_is_a_number() -> None:
    done = command("--repeat", "0")
    assert done.returncode == 2 and "a whole number from 1 to 1000, not '0'" in done.stderr


def test_the_fixes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["incident", "--fix", "list"]) == 0
    assert capsys.readouterr().out.split() == fixes()


def test_without_a_backend_no_fixes_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys.modules["loopbound.suite.incident"], "BACKEND", tmp_path / "signal_scanner"
    )
    with pytest.raises(Problem, match="The incident's backend is missing"):
        incident_command("list", "default", 1, None)


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGINT for one process of a console"
)
def test_ctrl_c_ends_the_suites_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    process = subprocess.Popen(
        [*INCIDENT, "--repeat", "50", "--json", str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert eventually(lambda: suites_of(process.pid))
    found = suites_of(process.pid)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=LONG)
    assert process.returncode == 130 and out == ""
    assert "loopbound: stopped." in said and "Traceback" not in said
    assert not [child for child in found if child.is_running()]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGHUP, and its SIGTERM cannot be heard"
)
@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP"])
def test_kill_and_a_closed_terminal_leave_no_folder(number: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*INCIDENT, "--repeat", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert eventually(lambda: list(tmp_path.glob("*/output.txt")))
    process.send_signal(getattr(signal, number))
    out, said = process.communicate(timeout=LONG)
    assert (process.returncode, out) == (130, "") and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no named pipes in folders, and links need a right"
)
def test_only_a_file_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Problem, match="it exists and is no file"):
        write_json(tmp_path / "pipe", {})
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    write_json(tmp_path / "link.json", {"runs": []})
    assert (tmp_path / "link.json").is_symlink() and json.loads(
        (tmp_path / "real.json").read_text()
    ) == {"runs": []}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_name_that_is_too_long_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be written: ") as caught:
        check_writable(tmp_path / ("a" * 260))
    assert len(str(caught.value).splitlines()) == 1


def test_a_moving_line_fits_a_small_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "20")
    with ProgressLine() as progress:
        progress.pass_by("running the incident with session-loop-rollback, order random:7")
        assert sys.stderr.getvalue() == "\r\x1b[Krunning the inciden"


def run_of(**outcomes: str) -> SuiteRun:
    tests = tuple(
        TestResult(
            f"test_{name[0]}.py::{name}",
            outcome,
            "call",
            "ok" if outcome == "passed" else "different loop",
            0.5,
        )
        for name, outcome in outcomes.items()
    )
    return SuiteRun(tests, False, None, 1.0, "", "", (), (), (), (), 0)


def test_a_table_of_runs_that_differ() -> None:
    lines = list(table([run_of(a1="passed", b1="failed"), run_of(a1="failed", b1="failed")]))
    assert lines == [
        "\ntest_a.py",
        "  a1    0.50 s  passed (1 of 2), failed: different loop (1 of 2)",
        "\ntest_b.py",
        "  b1    0.50 s  failed: different loop",
        "",
        "1 passed, 1 failed  (1 of 2 runs)",
        "0 passed, 2 failed  (1 of 2 runs)",
    ]


def test_a_table_in_an_order_that_mixes_the_files() -> None:
    lines = list(table([run_of(a1="passed", b1="passed", a2="passed")]))
    assert lines == [
        "  test_a.py::a1    0.50 s  passed",
        "  test_b.py::b1    0.50 s  passed",
        "  test_a.py::a2    0.50 s  passed",
        "",
        "3 passed",
    ]
