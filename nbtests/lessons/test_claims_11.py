"""What lessons 11 and 11d say about the incident documents' measures for the future, executed as they
stand; and what stands in their place.
"""

import shutil
import sys
import tomllib
from importlib.metadata import version

import pytest
import yaml
from claims import claim
from prevention.helpers import (
    DESK,
    HERE,
    commit,
    commits,
    desk,
    git,
    monitored,
    run,
    workflow_steps,
)

from loopbound.problem import Problem
from loopbound.scan.scan import scan
from loopbound.suite import run_suite, run_suites

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(scope="module")
def runs():
    """The report desk four times as the documents' workflow runs it, and in other ways."""
    guarded, null = HERE / "guarded", HERE / "null-pool"
    guard = ["-p", "loopbound.guard.plugin"]
    watched = {"project": DESK, "options": [*guard, "--loop-guard"]}
    cured = {"project": DESK, "overlay": guarded, "options": guard}
    return run_suites(
        [{"project": DESK}] * 4
        + [{"project": DESK, "order": order} for order in ("reverse", "random:4")]
        + [watched, {**watched, "order": "reverse"}]
        + [{**cured, "order": order} for order in ("default", "reverse", "random:4")]
        + [{"project": DESK, "overlay": null, "order": "reverse"}]
    )


@claim(
    "B34",
    verdict="refuted",
    observed=(
        "pytest has no option --count: it ends with exit code 4 and runs nothing; the option is a"
        " plugin's that the documents do not install"
    ),
)
def test_pytest_does_not_know_count():
    with pytest.raises(Problem) as caught:
        run_suite(DESK, options=["--count=5"])
    said = str(caught.value)
    assert "exit code 4" in said and "unrecognized arguments: --count=5" in said


@claim(
    "B46",
    verdict="refuted",
    observed=(
        "the hook stops its author's commit of a red suite, not the one with --no-verify, and not a"
        " colleague's: a clone has no hook"
    ),
)
@needs_git
def test_a_hook_of_git_protects_its_author_alone():
    assert list(commits().items()) == [
        ("the author (before the hook)", "committed"),
        ("the author", "stopped: 1 failed"),
        ("the author (--no-verify)", "committed"),
        ("a colleague (in a clone)", "committed"),
        ("hooks in the clone", "none"),
    ]


def test_without_git_the_hook_s_cell_says_that_it_shows_nothing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    ((who, what),) = commits().items()
    assert who == "no commit" and "git is not installed" in what and "stopped" not in what


@claim(
    "B47",
    verdict="refuted",
    observed=(
        "its run and the three repetitions pass on a real PostgreSQL; the same five tests fail in"
        " reverse and in a random order"
    ),
)
def test_four_runs_in_one_order_prove_one_order(runs):
    assert [len(run.passed) for run in runs[:4]] == [5] * 4
    for other in runs[4:6]:
        assert set(other.failed.values()) == {"different loop"}
        assert {test.partition("::")[0] for test in other.failed} == {"tests/test_reports.py"}
    written = yaml.safe_load((HERE / "as-written" / "test.yml").read_text(encoding="utf-8"))
    job = written["jobs"]["test"]
    steps = [step.get("run", "") for step in job["steps"]]
    assert "for i in {1..3}" in steps[-1] and "pytest tests/ -q || exit 1" in steps[-1]
    # What the lesson says of the file itself.
    assert "ports" not in job["services"]["postgres"]
    assert "env" not in job["steps"][-1] and "DATABASE_URL" in job["steps"][-2]["env"]


@claim(
    "B48",
    verdict="refuted",
    observed=(
        "on a suite that fails it ends with a NameError, because send_alert is defined nowhere; on"
        " one that hangs it ends with its own time-out's exception: no alert, and no monitor"
    ),
)
def test_the_monitor_ends_where_it_should_alert():
    told, last = monitored({"test_reports.py": "def test_total(): assert 2 + 3 == 6"})
    assert told == "a failure" and last == "NameError: name 'send_alert' is not defined"
    # It hangs for longer than pytest takes to start and the limit together.
    hung = {"test_stream.py": "import time\ndef test_stream(): time.sleep(20)"}
    told, last = monitored(hung, seconds=2)
    assert told == "nothing" and last.startswith("subprocess.TimeoutExpired: Command '['pytest'")


# What the lesson shows besides the claims


def test_the_guard_explains_what_another_order_meets(runs):
    usual, reverse = runs[6:8]
    assert len(usual.passed) == 5 and "0 crossings (5 tests, 3 loops)" in usual.output
    assert "engine made at app/database.py:5" in reverse.output
    for word in ("born:   ", "used:   ", "object: ", "cure:   session-loop"):
        assert word in reverse.output


def test_the_cured_desks_pass_in_every_order(runs):
    for cured in runs[8:]:
        assert len(cured.passed) == 5
    assert "0 crossings" in runs[8].output, "loop_guard in its pyproject.toml switches the guard on"


def test_the_scan_tells_the_desk_as_found_from_the_cured_ones():
    for overlay, places in (
        ("", ["app/database.py:5"]),
        ("pre-ping", ["app/database.py:5"]),
        ("guarded", []),
        ("null-pool", []),
    ):
        with desk(overlay) as folder:
            assert "\nengine = create_async_engine(" in (folder / "app/database.py").read_text()
            found = [each for each in scan(folder).findings if each.counts]
            assert [f"{each.file}:{each.line}" for each in found] == places


def test_the_new_workflow_has_what_the_old_one_lacks():
    text = (HERE / "guarded/.github/workflows/tests.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["test"]
    assert job["timeout-minutes"] and job["services"]["postgres"]["ports"] and job["env"]
    assert [step.split()[:2] for step in workflow_steps()] == [
        ["loopbound", "scan"],
        ["pytest"],
        ["loopbound", "stability"],
    ]


def test_the_files_to_copy_name_this_version_and_the_plugin_of_each_setting():
    """What a reader copies: the wheel that `pip wheel` makes of the course, and its plugins."""
    wanted = (HERE / "guarded/requirements-test.txt").read_text(encoding="utf-8").split()
    assert wanted[-1] == f"./tools/loopbound-{version('loopbound')}-py3-none-any.whl"
    assert {"pytest-asyncio>=1.3", "pytest-timeout>=2.4"} <= {*wanted}
    settings = tomllib.loads((HERE / "guarded/pyproject.toml").read_text(encoding="utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]
    assert options["loop_guard"] == "error" and options["timeout"]


@needs_git
def test_pre_commit_runs_the_versioned_hook(tmp_path):
    """In a clone: its file has come along, and does nothing until it is installed there."""
    with desk() as folder:
        shutil.copy(HERE / "guarded" / ".pre-commit-config.yaml", folder)
        git(folder, "init", "--quiet")
        assert commit(folder) == "committed"
        clone = tmp_path / "clone"
        git(tmp_path, "clone", "--quiet", str(folder), str(clone))

    def pre_commit(*words):
        return run([sys.executable, "-m", "pre_commit", *words], clone, **home)

    home = {"PRE_COMMIT_HOME": str(tmp_path / "home")}
    (clone / "README.md").write_text("# Our report desk\n")
    assert commit(clone) == "committed"
    assert pre_commit("install").returncode == 0
    (clone / "README.md").write_text("# Our own report desk\n")
    git(clone, "add", "--all")
    stopped = git(clone, "commit", "--message", "Name the desk", **home)
    assert stopped.returncode == 1 and "ENGINE_OVER_FUNCTION_LOOPS" in stopped.stderr
    assert pre_commit("run", "--all-files").returncode == 1
    shutil.copy(HERE / "guarded" / "pyproject.toml", clone)
    assert pre_commit("run", "--all-files").returncode == 0


def test_a_step_that_cannot_work_is_named():
    from prevention.helpers import commands

    with pytest.raises(Problem) as caught:
        commands([["loopbound", "scan", "no-such-folder"]])
    assert str(caught.value).startswith("loopbound scan no-such-folder ended with exit code 2.\n")
