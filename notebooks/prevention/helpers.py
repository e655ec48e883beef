"""What lesson 11 does with copies, programs and repositories, so that its cells can be about what a
measure proves.
"""

from __future__ import annotations

import html
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from IPython.display import HTML, display
from loopbound import scratch_database
from loopbound.problem import Problem
from loopbound.suite import SuiteRun, run_suites
from loopbound.suite.project import lay_out

__all__ = [
    "DESK",
    "by_order",
    "columns",
    "commits",
    "desk_runs",
    "excerpt",
    "folded",
    "guard_said",
    "monitored",
    "plain",
    "read",
    "shell",
    "shortest",
    "show",
    "try_steps",
    "verdict",
    "workflow_steps",
]

HERE = Path(__file__).resolve().parent
DESK = HERE / "report_desk"
LIMIT = 1200  # seconds, for a program that ends by itself in a few
# A suite's, whatever else is installed here.
PLUGINS = "pytest_asyncio.plugin,pytest_timeout,loopbound.guard.plugin"


def excerpt(text: str, after: str, until: str = "") -> str:
    """The part of `text` that begins after `after` and ends before `until`."""
    part = text.partition(after)[2]
    return (part.partition(until)[0] if until else part).strip("\n")


def read(name: str) -> str:
    """The text of a file of this folder."""
    return (HERE / name).read_text(encoding="utf-8")


def plain(name: str) -> str:
    """The same without blank lines and those that have Chinese in them: the documents' comments and
    messages.
    """
    return "".join(
        line for line in read(name).splitlines(keepends=True) if line.isascii() and line.strip()
    )


@contextmanager
def desk(overlay: str = "") -> Iterator[Path]:
    """A copy of the report desk, with an overlay of this folder laid over it."""
    with tempfile.TemporaryDirectory(prefix="loopbound-desk-", ignore_cleanup_errors=True) as made:
        copy = Path(made).resolve() / "report_desk"
        lay_out(DESK, HERE / overlay if overlay else None, copy)
        yield copy


def show(name: str, lines: tuple[int, int] | None = None) -> None:
    """Show a file of this folder under its name, or the lines from one number to another."""
    first, last = lines or (1, None)
    _, _, inside = name.partition("/")
    text = "\n".join([f"# {inside}", *read(name).splitlines()[first - 1 : last]])
    language = {".py": "python", ".toml": "toml", ".yml": "yaml"}.get(Path(name).suffix, "")
    code = {"text/plain": text, "text/markdown": f"```{language}\n{text}\n```"}
    display(code, raw=True)


def folded(name: str) -> HTML:
    """A file of this folder whole, for those who open it."""
    _, _, inside = name.partition("/")
    text = html.escape(read(name).strip())
    return HTML(f"<details><summary>{inside}, the whole file</summary><pre>{text}</pre></details>")


def shell(command: str, overlay: str = "") -> str:
    """What a command of pytest's or loopbound's prints in the report desk's folder."""
    (done,) = commands([shlex.split(command)], overlay)
    return done.stdout.strip()


def verdict(said: str) -> str:
    """What `loopbound stability` says of the orders and of the tests that depend on them, without
    what differs from run to run: the seconds, and the server's address.
    """
    orders, tests, *_ = said.split("\n\n")
    orders = re.sub(r"(?m) +(seconds|\d+\.\d)$", "", orders)
    tests = re.sub(r"connection to \S+", "connection to the server", tests)
    return orders + "\n\n" + wrapped(tests, 6)


def wrapped(text: str, indent: int) -> str:
    """A text whose lines fit a narrow page, broken between words; what follows is indented."""
    wrap = partial(textwrap.wrap, width=92, subsequent_indent=" " * indent)
    lines = (
        wrap(each, break_long_words=False, break_on_hyphens=False) for each in text.split("\n")
    )
    return "\n".join(part for line in lines for part in line)


def shortest(said: str) -> set[str]:
    """The names of the tests in the shortest run that fails, as it says."""
    return set(re.findall(r"::(\w+)", excerpt(said, "to repeat it:", "\n")))


def desk_runs(orders: Sequence[str]) -> list[SuiteRun]:
    """Run the report desk's suite once in each of these orders."""
    return run_suites([{"project": DESK, "order": order} for order in orders])


def by_order(orders: Sequence[str], runs: Sequence[SuiteRun]) -> dict[str, list[str]]:
    """Rows of an outcome grid: number and order of a run, and how each test ended; the tests as the
    first run has them.
    """
    return {
        f"{number}: {order}": [run.symptoms[test] for test in runs[0].symptoms]
        for number, (order, run) in enumerate(zip(orders, runs, strict=True), 1)
    }


def columns(runs: Sequence[SuiteRun]) -> list[str]:
    """The tests as an outcome grid heads its columns: the file, and a name's last words."""
    names = []
    for test in runs[0].symptoms:
        path, _, function = test.partition("::")
        names.append(f"{Path(path).name}\n…{'_'.join(function.split('_')[-2:])}")
    return names


def guard_said(output: str) -> str:
    """What the loop guard printed of a run's first crossing, in lines that fit a narrow page; without
    one, its line for the run.
    """
    crossing = excerpt(output, "- loop guard -", "\n---").strip("-\n")
    return wrapped(crossing, 8) or excerpt(output, "= loop guard =").splitlines()[1]


def workflow_steps() -> list[str]:
    """The commands of the new workflow that are pytest's or loopbound's; the others set the runner
    up.
    """
    lines = re.findall(
        r"^ +- run: (.*)$", read("guarded/.github/workflows/tests.yml"), re.MULTILINE
    )
    return [
        line.replace("${{ github.run_number }}", "1")
        for line in lines
        if line.split()[0] in ("pytest", "loopbound")
    ]


def try_steps(overlay: str = "") -> dict[str, str]:
    """What becomes of each of these steps on the report desk: "ok" or "fails", by its first word."""
    steps = [shlex.split(step) for step in workflow_steps()]
    names = [words[words[0] == "loopbound"] for words in steps]
    done = commands(steps, overlay)
    return {
        name: "fails" if each.returncode else "ok" for name, each in zip(names, done, strict=True)
    }


def commands(
    given: Sequence[Sequence[str]], overlay: str = ""
) -> list[subprocess.CompletedProcess[str]]:
    """Run commands in a copy of the report desk, with a scratch database.

    Raises:
        Problem: one ended with an exit code above 1: it could not do its work.
    """
    with (
        desk(overlay) as folder,
        scratch_database("lesson-11", schema=read("report_desk/schema.sql")) as db,
    ):
        variables = {"DATABASE_URL": db.url, "PYTEST_PLUGINS": PLUGINS}
        results = [run([sys.executable, "-m", *words], folder, **variables) for words in given]
    for words, done in zip(given, results):
        if done.returncode not in (0, 1):
            said = (done.stderr or done.stdout).strip().splitlines() or ["It said nothing."]
            raise Problem(
                f"{' '.join(words)} ended with exit code {done.returncode}.\nIt says: {said[-1]}"
            )
    return results


def monitored(suite: Mapping[str, str], seconds: int = 600) -> tuple[str, str]:
    """Run the documents' monitor on a suite that fails or hangs, until the monitor ends.

    Args:
        suite: its files, below `tests/`.
        seconds: what the monitor's own time-out is set to; long for a suite that ends by itself,
            on a slow machine too.

    Returns:
        What it told its readers before it ended, "a failure" or "nothing"; and its own last words.
    """
    with tempfile.TemporaryDirectory(
        prefix="loopbound-monitor-", ignore_cleanup_errors=True
    ) as made:
        folder = Path(made).resolve()
        lay_out(
            {"pytest.ini": "[pytest]\n"} | {f"tests/{name}": text for name, text in suite.items()},
            None,
            folder / "backend",
        )
        script = folder / "monitor_test_stability.py"
        script.write_text(
            read(f"as-written/{script.name}").replace("timeout=60", f"timeout={seconds}"),
            encoding="utf-8",
        )
        done = run([sys.executable, script.name], folder)
    return "a failure" if "❌" in done.stdout else "nothing", done.stderr.strip().splitlines()[-1]


def commits() -> dict[str, str]:
    """What becomes of commits of a red suite in a repository whose author has installed the
    documents' hook.

    Returns:
        Who commits, and how → what `commit` says; at the end, the hooks that the clone has. Where
        git is not installed, one line that says so.
    """
    if shutil.which("git") is None:
        return {"no commit": "git is not installed (https://git-scm.com), so this is not shown"}
    with tempfile.TemporaryDirectory(prefix="loopbound-team-", ignore_cleanup_errors=True) as made:
        author, clone = Path(made).resolve() / "author", Path(made).resolve() / "clone"
        lay_out({"README.md": "# Report desk\n"}, None, author)
        git(author, "init", "--quiet")
        found = {"the author (before the hook)": commit(author)}
        hook = author / ".git" / "hooks" / "pre-commit"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(read("as-written/pre-commit"), encoding="utf-8", newline="\n")
        hook.chmod(0o755)
        red = author / "backend" / "tests" / "test_reports.py"
        red.parent.mkdir(parents=True)
        (author / "backend" / "pytest.ini").write_text("[pytest]\n")
        red.write_text("def test_total():\n    assert 2 + 3 == 6\n")
        found["the author"] = commit(author)
        found["the author (--no-verify)"] = commit(author, "--no-verify")
        git(author.parent, "clone", "--quiet", str(author), str(clone))
        (clone / "README.md").write_text("# Our report desk\n")
        found["a colleague (in a clone)"] = commit(clone)
        active = [
            path.name for path in (clone / ".git" / "hooks").glob("*") if path.suffix != ".sample"
        ]
    return found | {"hooks in the clone": " ".join(active) or "none"}


def commit(folder: Path, *options: str) -> str:
    """Commit everything in a folder: "committed", or "stopped" and what pytest says at its end.

    Raises:
        Problem: it was stopped by something else.
    """
    git(folder, "add", "--all")
    done = git(folder, "commit", "--quiet", "--message", "Change the desk", *options)
    if done.returncode == 0:
        return "committed"
    said = re.search(r"\d+ failed", done.stdout + done.stderr)
    if said is None:
        raise Problem(
            "git could not commit.\n"
            f"It says: {(done.stderr.strip() or 'nothing.').splitlines()[-1]}"
        )
    return f"stopped: {said[0]}"


def git(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, with none of the reader's own settings."""
    nothing = {f"GIT_CONFIG_{kind}": os.devnull for kind in ("GLOBAL", "SYSTEM")}
    who = {
        f"GIT_{role}_{what}": "desk@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return run(["git", *words], folder, **nothing, **who, **variables)


def run(words: Sequence[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder; `pytest` and `loopbound` are those of this environment."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "PYTEST_", "GITHUB_"))
    }
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    own = {
        "PATH": path,
        "PYTHONUTF8": "1",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    return subprocess.run(
        words,
        cwd=folder,
        env=kept | own | variables,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        stdin=subprocess.DEVNULL,
        timeout=LIMIT,
    )
