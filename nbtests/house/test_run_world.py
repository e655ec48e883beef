"""A run of the tests has a world of its own, says what was left in it, and survives an error of
pytest itself.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
from run_world import ENDING

from loopbound.database import server_address

HERE = Path(__file__).parents[1]


def run(
    folder: Path, code: str, *words: str, before: str = "", **environment: str
) -> tuple[int, str]:
    """Run one file of tests with the course's conftest; exit code and what was printed."""
    (folder / "conftest.py").write_text((HERE / "conftest.py").read_text(encoding="utf-8"))
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    (folder / "test_it.py").write_text(code)
    done = subprocess.run(
        [
            *(["sh", "-c", f'{before}; exec "$@"', "sh"] if before else []),
            *(sys.executable, "-m", "pytest", "-p", "no:asyncio", "-p", "no:anyio", *words),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(HERE / "support")} | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def commands(word: str) -> list[str]:
    """The command lines with a word in them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        found += [words] if word in words else []
    return found


def test_the_tests_of_a_run_share_a_world_that_is_gone_afterwards(tmp_path: Path) -> None:
    code = (
        "import os, tempfile\nfrom loopbound.database import describe\n"
        "def test_world():\n"
        "    with open('said', 'a') as file:\n"
        "        print(os.environ['LOOPBOUND_CACHE'], describe()['folder'], tempfile.gettempdir(),"
        " file=file)\n"
    )
    (tmp_path / "test_too.py").write_text(code)
    status, said = run(tmp_path, code, "-n2")
    assert status == 0, said
    first, second = (tmp_path / "said").read_text().splitlines()
    cache, server, temporary = first.split()
    assert first == second
    assert cache != os.environ["LOOPBOUND_CACHE"]
    assert server.startswith(cache)
    assert Path(temporary).parent == Path(cache).parent
    assert len(temporary) < 24, "sockets lie below it"
    assert not Path(cache).parent.exists()
    assert commands(cache) == []


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_what_tests_leave_fails_the_run_and_is_named(tmp_path: Path, workers: str) -> None:
    mark = secrets.token_hex(8)
    code = (
        "import subprocess, sys, tempfile\n"
        "def test_leaves():\n"
        "    tempfile.mkdtemp(prefix='left-folder-')\n"
        f"    code = 'import time; time.sleep(600) #{mark}'\n"
        "    left = subprocess.Popen([sys.executable, '-c', code],"
        " start_new_session=True)\n"
        "    left.returncode = 0\n"
    )
    # It sleeps for longer than any run waits for it: nothing is proved by waiting.
    status, said = run(tmp_path, code, workers, **{ENDING: "0"})
    assert status == 1, said
    assert "1 passed" in said
    assert mark in said
    assert "left-folder-" in said
    assert commands(mark) == []


def test_what_tests_leave_on_the_developers_server_is_named(tmp_path: Path) -> None:
    code = (
        "import psycopg\nfrom loopbound.database import server_address\n"
        "def test_leaves():\n"
        "    with psycopg.connect(**server_address().libpq(), autocommit=True) as admin:\n"
        "        admin.execute('CREATE ROLE loopbound_learner_left_1')\n"
        "        admin.execute('CREATE SCHEMA left_1 AUTHORIZATION loopbound_learner_left_1')\n"
    )
    address = server_address()
    try:
        status, said = run(tmp_path, code, DATABASE_URL=address.url())
    finally:
        with psycopg.connect(**address.libpq(), autocommit=True) as admin:
            admin.execute("DROP SCHEMA IF EXISTS left_1")
            admin.execute("DROP ROLE IF EXISTS loopbound_learner_left_1")
    assert status == 1, said
    assert "1 passed" in said
    assert "role loopbound_learner_left_1" in said


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
def test_what_tests_start_has_default_signals(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "ASK = 'import signal; print(*[one.name for one in signal.valid_signals() if"
        ' signal.getsignal(one) is signal.SIG_IGN and one.name not in ("SIGPIPE", "SIGXFSZ")])\'\n'
        "def test_signals():\n"
        "    asked = subprocess.run([sys.executable, '-c', ASK], capture_output=True, text=True)\n"
        "    assert asked.stdout.strip() == '', asked\n"
    )
    status, said = run(tmp_path, code, "-n1", before="trap '' HUP INT QUIT TERM USR1 CHLD")
    assert status == 0, said


def test_an_error_inside_pytest_hides_no_failure(tmp_path: Path) -> None:
    code = (
        "import pytest, _pytest._code.code as drawing\n"
        "def broken(*arguments, **options):\n"
        "    raise SystemError('AST constructor recursion depth mismatch')\n"
        "@pytest.fixture\n"
        "def fails():\n"
        "    assert 'set-up' == 'readable'\n"
        "def test_before(): pass\n"
        "def test_fails():\n"
        "    drawing.getstatementrange_ast = broken\n"
        "    assert 2 * 2 == 5, 'readable words'\n"
        "def test_set_up_fails(fails): pass\n"
        "def test_after(): pass\n"
    )
    status, said = run(tmp_path, code, "-n1")
    assert status == 1, said
    assert "INTERNALERROR" not in said
    assert "1 failed, 2 passed, 1 error" in said
    assert "readable words" in said
    assert "set-up" in said
    assert "pytest could not draw it: SystemError: AST constructor recursion depth" in said


def test_quick_says_what_it_left_out(tmp_path: Path) -> None:
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "test_browser.py").write_text("def test_dear(): pass\n")
    code = "def test_cheap(): pass\n"
    status, said = run(tmp_path, code, "--quick")
    assert status == 0
    assert "1 passed" in said
    assert "--quick left out" in said
    assert "browser, submission" in said
    assert "2 passed" in run(tmp_path, code)[1]
