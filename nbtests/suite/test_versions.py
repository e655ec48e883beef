"""The environments of other versions, what is observed in them, and what is stored of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import LONG

from loopbound.commands.versions import differences, observe_one, tidy, versions_command
from loopbound.problem import Problem
from loopbound.suite import fixes
from loopbound.suite.versions import environments as made
from loopbound.suite.versions import expect_here, observed
from loopbound.suite.versions.observed import OBSERVED, number, stored
from loopbound.suite.versions.probes import (
    FIXTURE_OPTION,
    NO_SUCH_OPTION,
    SCOPES,
    TEST_OPTION,
    matrix,
    matrix_fact,
)

LOOPBOUND = [sys.executable, "-m", "loopbound"]


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    return tomllib.loads((made.project() / "uv.lock").read_text(encoding="utf-8"))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of its own; as root everybody can enter it, as the server would need."""
    folder = Path(tempfile.mkdtemp(prefix="loopbound-test-cache-"))
    folder.chmod(folder.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    monkeypatch.setenv("LOOPBOUND_CACHE", str(folder))
    yield folder
    shutil.rmtree(folder)


def environment(name: str) -> Path:
    """The interpreter of an environment; the test is skipped where its packages cannot be had."""
    try:
        return made.python_of(name)
    except made.NoNetwork as reason:
        pytest.skip(str(reason).splitlines()[0])


# -- the lock --------------------------------------------------------------------------------------


def test_every_environment_is_a_group_that_excludes_the_others(lock: dict[str, Any]) -> None:
    project = tomllib.loads((made.project() / "pyproject.toml").read_text(encoding="utf-8"))
    names = [environment.name for environment in made.environments()]
    assert set(names) == set(project["dependency-groups"]) - {"backend"}
    assert [{"group": name} for name in names] == project["tool"]["uv"]["conflicts"][0]
    topics = {topic for environment in made.environments() for topic in environment.runs}
    assert topics == {"incident", "matrix", "plugin", "pool"}


def test_the_lock_is_portable_and_has_one_source(lock: dict[str, Any]) -> None:
    packages = [package for package in lock["package"] if "virtual" not in package["source"]]
    assert {package["source"].get("registry") for package in packages} == {
        "https://pypi.org/simple"
    }
    files = [
        file
        for package in packages
        for file in [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
    ]
    assert {file["url"].split("/")[2] for file in files} == {"files.pythonhosted.org"}
    assert all(file["hash"].startswith("sha256:") for file in files)
    for name, newest in (("asyncpg", 15), ("sqlalchemy", 15), ("greenlet", 15)):
        for package in (package for package in packages if package["name"] == name):
            # asyncpg 0.30 has no wheels for 3.14 or 3.15, and its group asks for none there.
            last = 13 if (name, package["version"][:4]) == ("asyncpg", "0.30") else newest
            wheels = [wheel["url"] for wheel in package["wheels"]]
            for minor in range(11, last + 1):
                for system in ("win_amd64", "manylinux", "macosx"):
                    # SQLAlchemy has a wheel of pure Python for what it does not compile for.
                    fitting = [
                        url
                        for url in wheels
                        if (f"cp3{minor}-" in url and system in url) or "-py3-none-any" in url
                    ]
                    assert fitting, f"{name} {package['version']} for {minor}, {system}"


def test_the_lock_belongs_to_the_project_file() -> None:
    environment("asyncio-1-5")  # or skipped without a network
    command = [
        made._uv(),
        "lock",
        "--check",
        "--no-config",
        "--project",
        made.project(),
        "--python",
        sys.executable,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if made._NO_NETWORK.search(done.stderr):
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr


# -- environments ----------------------------------------------------------------------------------


def test_an_environment_has_the_versions_of_the_lock(lock: dict[str, Any]) -> None:
    versions = made.versions_in(environment("asyncio-0-21"))
    assert number(versions["pytest-asyncio"])[:2] == (0, 21)
    locked = {
        (package["name"], package["version"]) for package in lock["package"] if "version" in package
    }
    assert {pair for pair in versions.items() if pair[0] != "python"} <= locked


def test_it_is_made_once_and_used_again(cache: Path) -> None:
    python = environment("asyncio-0-24")
    made_at = (python.parents[1] / "pyvenv.cfg").stat()
    assert cache in python.parents
    assert made.python_of("asyncio-0-24") == python
    assert (python.parents[1] / "pyvenv.cfg").stat().st_ino == made_at.st_ino
    assert not list(cache.rglob("*.partial"))


def test_a_broken_one_is_made_again_and_leavings_go(cache: Path) -> None:
    python = environment("asyncio-0-24")
    home = python.parents[1]
    python.unlink()
    left = home.with_name(f"{home.name}.0123.partial")
    left.mkdir()
    assert made.python_of("asyncio-0-24") == python
    subprocess.run([python, "-c", "import pytest_asyncio"], check=True)
    assert not left.exists()


def test_two_at_once_make_one(cache: Path) -> None:
    environment("asyncio-0-24")
    shutil.rmtree(cache / "versions")
    found: list[Path] = []
    program = (
        "import sys; from loopbound.suite.versions.environments import python_of;"
        " print(python_of('asyncio-0-24'))"
    )
    threads = [
        threading.Thread(target=lambda: found.append(made.python_of("asyncio-0-24")))
        for _ in range(2)
    ]
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said, _ = other.communicate(timeout=LONG)
    assert {*map(str, found), said.strip()} == {str(found[0])} and len(found) == 2
    subprocess.run([found[0], "-c", "import pytest_asyncio"], check=True)
    assert not list(cache.rglob("*.partial"))


def test_one_that_nobody_used_for_long_goes(cache: Path) -> None:
    old, new = cache / "versions" / "0123", cache / "versions" / "4567"
    for folder in (old, new):
        (folder / "asyncio-0-20").mkdir(parents=True)
    long_ago = time.time() - (made.FORGET_AFTER_DAYS + 1) * 86400
    for path in (old / "asyncio-0-20", old):
        os.utime(path, (long_ago, long_ago))
    environment("asyncio-0-24")
    assert not old.exists() and new.exists()


def test_without_a_network_it_says_so_in_two_lines(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "nothing"))
    with pytest.raises(
        made.NoNetwork, match="asyncio-0-24 cannot be fetched: no network.\nConnect once"
    ) as raised:
        made.python_of("asyncio-0-24")
    assert str(raised.value).count("\n") == 1
    assert [
        path
        for path in (cache / "versions").rglob("*")
        if path.is_dir() and path.name.startswith("asyncio")
    ] == []


def test_without_uv_it_says_so_in_two_lines(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(Problem, match="uv is not installed.*\nRun: python3 lab.py versions"):
        made.python_of("asyncio-0-24")


def test_an_unknown_name_names_the_known() -> None:
    with pytest.raises(
        Problem, match="no environment is called 'asyncio-9'.\nThere are: asyncio-0-18, "
    ):
        made.chosen(["asyncio-9"])


def test_one_that_this_python_cannot_have_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert made.Environment("asyncpg-0-30", (), "3.10").fits_here is False
    assert made.Environment("asyncpg-0-30", (), "3.99").fits_here is True
    monkeypatch.setattr(
        made,
        "environments",
        lambda: [made.Environment("old", (), "3.10"), made.Environment("any", ())],
    )
    assert [environment.name for environment in made.chosen([])] == ["any"]
    with pytest.raises(Problem, match="old has no packages for this Python.\nIts newest is 3.10"):
        made.chosen(["old"])


# -- what is stored --------------------------------------------------------------------------------


def test_the_stored_rows_are_whole_and_in_one_form(lock: dict[str, Any]) -> None:
    rows = stored()
    assert (
        OBSERVED.read_text(encoding="utf-8")
        == json.dumps(tidy(rows), indent=2, ensure_ascii=False) + "\n"
    )
    locked = {
        (package["name"], package["version"]) for package in lock["package"] if "version" in package
    }
    assert rows["environments"].keys() == {environment.name for environment in made.environments()}
    for environment in made.environments():
        kept = rows["environments"][environment.name]
        assert {pair for pair in kept["versions"].items() if pair[0] != "python"} <= locked
        facts = kept["observed"]
        if "matrix" in environment.runs:
            assert {
                matrix_fact(fixture, test) for fixture in SCOPES for test in SCOPES
            } <= facts.keys()
        if "incident" in environment.runs:
            assert {f"incident, {fix}" for fix in fixes()} == {
                fact
                for fact in facts
                if fact.startswith("incident, ") and fact.removeprefix("incident, ") in fixes()
            }
        if "plugin" in environment.runs:
            assert "mode when unset" in facts
        if "pool" in environment.runs:
            assert "NullPool, engine.begin(), loop after loop" in facts


def test_where_an_option_is_unknown_no_cell_claims_an_outcome() -> None:
    for name, kept in stored()["environments"].items():
        facts = kept["observed"]
        for fixture in (*SCOPES, None):
            for test in (*SCOPES, None):
                asked = [
                    option
                    for option, scope in ((FIXTURE_OPTION, fixture), (TEST_OPTION, test))
                    if scope
                ]
                if matrix_fact(fixture, test) in facts:
                    unknown = any(facts[f"option {option}"] == "unknown" for option in asked)
                    assert (facts[matrix_fact(fixture, test)] == NO_SUCH_OPTION) == unknown, (
                        name,
                        fixture,
                        test,
                    )


def test_rows_of_a_fact_come_oldest_first() -> None:
    rows = observed("mode when unset")
    ages = [number(row.versions["pytest-asyncio"]) for row in rows]
    assert ages == sorted(ages) and len(ages) > 5
    asked = ["nothing set, two tests", "event_loop fixture asked for"]
    assert [row.fact for row in observed(*asked)][:4] == asked * 2
    assert [row.fact for row in expect_here(*asked)] == asked
    with pytest.raises(Problem, match="no such fact: mode of travel"):
        observed("mode of travel")


def test_here_takes_the_nearest_that_is_not_newer() -> None:
    def at(fact: str, pytest_asyncio: str, **installed: str) -> str:
        return expect_here(fact, installed={"pytest-asyncio": pytest_asyncio, **installed})[
            0
        ].environment

    today = {"sqlalchemy": "2.1.9", "asyncpg": "0.32.0"}
    assert at("mode when unset", pytest_asyncio="1.5.0", **today) == "asyncio-1-5"
    assert at("mode when unset", pytest_asyncio="1.5.7", **today) == "asyncio-1-5"
    assert at("mode when unset", pytest_asyncio="1.2.0", **today) == "asyncio-1-0"
    assert at("mode when unset", pytest_asyncio="0.23.8", **today) == "asyncio-0-23"
    pool = "default pool, engine.begin(), loop after loop"
    assert at(pool, pytest_asyncio="1.5.0", **today) == "asyncio-1-5"
    assert (
        at(pool, pytest_asyncio="1.5.0", sqlalchemy="2.0.60", asyncpg="0.32.0") == "sqlalchemy-2-0"
    )
    assert (
        at("incident, as found", pytest_asyncio="1.5.0", sqlalchemy="2.0.58", asyncpg="0.32.0")
        == "sqlalchemy-2-0"
    )


def test_here_says_so_where_nothing_fits() -> None:
    row = expect_here("mode when unset", installed={"pytest-asyncio": "0.17.2"})[0]
    assert (row.environment, row.observed) == (
        "",
        "not known: nothing as old as pytest-asyncio 0.17.2 was run",
    )
    row = expect_here("mode when unset", installed={})[0]
    assert row.observed == "not known: pytest-asyncio is not installed here"


def test_here_fits_what_is_installed() -> None:
    assert all(row.environment for row in expect_here())


def test_cells_with_an_unknown_option_are_not_run() -> None:
    everything, without = matrix()
    assert len(everything) == 28 and without == {}
    few, without = matrix([TEST_OPTION])
    assert [probe.name for probe in few] == [matrix_fact(None, None), matrix_fact("session", None)]
    assert len(without) == 26 and set(without.values()) == {NO_SUCH_OPTION}


# -- comparing -------------------------------------------------------------------------------------


def test_a_changed_row_is_found() -> None:
    before = stored()
    assert differences(before, before) == []
    now = json.loads(json.dumps(before))
    kept = now["environments"]["asyncio-0-21"]
    kept["observed"]["mode when unset"] = "auto"
    kept["versions"]["pytest"] = "8.0.0"
    del kept["observed"]["nothing set, two tests"]
    now["environments"]["asyncio-2-0"] = kept
    found = differences(before, now)
    assert any(line.startswith("asyncio-0-21: version of pytest: stored '8.4") for line in found)
    assert "asyncio-0-21: mode when unset: stored 'strict', now 'auto'" in found
    assert "asyncio-0-21: nothing set, two tests: stored 'a loop each', now 'nothing'" in found
    assert "asyncio-2-0: nothing is stored of it" in found
    assert len(found) == 4


def only(rows: dict[str, Any], name: str, facts: Any) -> dict[str, Any]:
    """The stored rows of one environment, of these facts alone."""
    kept = rows["environments"][name]
    chosen = {fact: seen for fact, seen in kept["observed"].items() if fact in facts}
    return {"environments": {name: {**kept, "observed": chosen}}}


@pytest.mark.parametrize(
    ("name", "topics"),
    [
        ("asyncio-0-21", ["incident", "plugin"]),
        ("asyncio-0-26", ["incident", "matrix"]),
        ("sqlalchemy-2-1-3", ["pool"]),
    ],
)
def test_a_shorter_part_sees_what_is_stored(name: str, topics: list[str]) -> None:
    environment(name)
    now = {"environments": {name: observe_one(name, topics, fixes=["session-loop"])}}
    assert differences(only(stored(), name, now["environments"][name]["observed"]), now) == []


def test_the_command_compares_writes_and_names_a_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the quickest environment, with a stored file of its own."""
    environment("asyncio-0-19")
    file = tmp_path / "observed.json"
    monkeypatch.setattr("loopbound.commands.versions.OBSERVED", file)
    monkeypatch.setattr("loopbound.commands.versions.stored", lambda: stored(file))
    assert versions_command(["asyncio-0-19"], None, write=True) == 0
    assert json.loads(file.read_text(encoding="utf-8"))["environments"] == {
        "asyncio-0-19": stored()["environments"]["asyncio-0-19"]
    }
    file.write_text(
        file.read_text(encoding="utf-8").replace('"a loop each"', '"one loop"'), encoding="utf-8"
    )
    capsys.readouterr()
    assert versions_command(["asyncio-0-19"], tmp_path / "now.json", write=False) == 1
    said = capsys.readouterr().out
    assert "asyncio-0-19: nothing set, two tests: stored 'one loop', now 'a loop each'\n" in said
    assert said.endswith(" 1 differ.\n")
    assert (tmp_path / "now.json").is_file()


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no SIGINT for one process of a console"
)
def test_ctrl_c_ends_what_runs_and_writes_nothing() -> None:
    environment("asyncio-0-26")
    before = OBSERVED.read_bytes()
    process = subprocess.Popen(
        [*LOOPBOUND, "versions", "asyncio-0-26", "--write"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watched = psutil.Process(process.pid)
    until = time.monotonic() + 60
    children: list[psutil.Process] = []
    while not children and time.monotonic() < until:
        with contextlib.suppress(psutil.Error):  # one that has ended while we look
            children = [
                child
                for child in watched.children(recursive=True)
                if "loopbound_child" in " ".join(child.cmdline())
            ]
        time.sleep(0.02)
    assert children
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert not any(child.is_running() for child in children)
    assert OBSERVED.read_bytes() == before
