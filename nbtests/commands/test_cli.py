"""The command line itself: quick to answer, and with the right exit code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from patience import LONG

from loopbound import cli


def loopbound(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loopbound", *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LONG,
        env=os.environ | more,
    )


def test_help_names_every_command_and_imports_little(repository: Path) -> None:
    code = (
        "import sys\nfrom loopbound.cli import main\ntry: main(['--help'])\nexcept SystemExit:"
        " pass\nheavy = {'jupyterlab', 'nbformat', 'sqlalchemy', 'matplotlib', 'asyncpg',"
        " 'psycopg', 'asyncio'} & set(sys.modules)\nsys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    named = re.findall(r"^    (\w+)\b", done.stdout, re.MULTILINE)
    assert all(callable(cli._function_of(name)) for name in named)
    # lab.py has to answer before the package is installed, so it keeps a list of its own.
    done = subprocess.run(
        [sys.executable, str(repository / "lab.py"), "--help"], capture_output=True, text=True
    )
    listed = re.findall(r"^    python3 lab\.py (\w*) ", done.stdout, re.MULTILINE)
    assert sorted({word or "lab" for word in listed}) == sorted(named)


@pytest.mark.parametrize(
    "words",
    [["no-such-command"], ["lab", "--port", "0"], ["lab", "--port", "many"], ["--no-such-option"]],
)
def test_what_is_not_a_command_ends_with_2(words: list[str]) -> None:
    done = loopbound(*words)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr and "error:" in done.stderr


def test_a_problem_is_said_to_people() -> None:
    done = loopbound("run", "no-such-lesson")
    assert done.returncode == 1
    assert done.stderr.startswith("loopbound: ") and "no-such-lesson" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 3


def test_ctrl_c_ends_with_130_and_no_traceback() -> None:
    # The command is one that a reader would interrupt, with the interrupt raised in it by Python
    # itself.
    code = (
        "import signal, sys, time\n"
        "from loopbound import cli\n"
        "from loopbound.commands import doctor\n"
        "def slow():\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    time.sleep(30)\n"
        "doctor.doctor_command = slow\n"
        "sys.exit(cli.main(['doctor']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 130
    assert done.stderr.strip() == "loopbound: stopped."


def test_pytest_gets_its_own_options(tmp_path: Path) -> None:
    done = loopbound(
        "test",
        "-n",
        "0",
        "--collect-only",
        "-q",
        "-k",
        "pytest_gets_its_own_options",
        "nbtests/commands/test_cli.py",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_cli.py::test_pytest_gets_its_own_options" in done.stdout


def test_the_doctor_finds_this_environment_fit() -> None:
    done = loopbound("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("Python", "jupyterlab", "sqlalchemy", "asyncpg", "PostgreSQL", "Fonts"):
        assert f"ok   {name}" in done.stdout


def test_the_doctor_names_what_is_off_and_what_to_do() -> None:
    done = loopbound("doctor", DATABASE_URL="postgresql://reader:wrong@127.0.0.1:9/nothing")
    assert done.returncode == 1
    assert "OFF  PostgreSQL" in done.stdout and "DATABASE_URL" in done.stdout
    assert "ok   Python" in done.stdout, "one thing that is off does not hide the others"
    assert "Traceback" not in done.stdout + done.stderr


def test_the_doctor_works_where_a_loop_is_running() -> None:
    code = (
        "import asyncio\nfrom loopbound.doctor import examine\nasync def cell(): return"
        " examine()\nprint([r.ok for r in asyncio.run(cell())])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=LONG
    )
    assert done.returncode == 0, done.stderr
    assert "False" not in done.stdout and done.stderr == ""
