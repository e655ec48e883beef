"""A copy of the course in which the real nbgrader works, with an exchange and homes of its own.

Its import takes seconds, so the commands of one step run one after the other in one process: this
    file, run as a script.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from forked_kernels import fork_kernels

from loopbound.course.manifest import Assignment
from loopbound.course.solutions import grade_id_of
from loopbound.paths import repository

TIME_LIMIT = 1800.0  # seconds, for one process of commands: only what hangs meets it


@dataclass(frozen=True)
class Call:
    """One nbgrader command: its words, and the learner who gives it in a folder of their own (or
    the facilitator, in the course).

    ``may_fail``: whether the commands behind it are given all the same where it fails.
    """

    words: tuple[str, ...]
    learner: str = ""
    may_fail: bool = False


class Course:
    """A working nbgrader course in a folder: solutions, exercises and the configuration are the
    repository's.
    """

    def __init__(self, folder: Path, which: Sequence[Assignment]) -> None:
        self.root = folder / "course"
        self.exchange = folder / "exchange"
        self.homes = folder / "homes"
        # nbgrader leaves a folder there for each look at its gradebook.
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True)
        self.exchange.mkdir(parents=True)
        self.exchange.chmod(0o777)
        for each in which:
            for kind in ("solutions", "exercises"):
                shutil.copytree(
                    repository() / kind / each.name,
                    self.root / kind / each.name,
                    ignore=shutil.ignore_patterns(".ipynb_checkpoints"),
                )
        shutil.copy(repository() / "nbgrader_config.py", self.root)

    def home(self, learner: str = "") -> Path:
        """The folder in which a learner works; the course itself for the facilitator."""
        return self.homes / learner if learner else self.root

    def replace(self, which: Assignment, cell_id: str, source: str) -> None:
        """Give a cell of an assignment another source, before it is generated."""
        path = self.root / "solutions" / which.file
        notebook = nbformat.read(path, as_version=4)
        next(cell for cell in notebook.cells if cell.id == cell_id).source = source
        nbformat.write(notebook, path)

    def run(self, *calls: Call) -> str:
        """Give these commands in turn; returns what they logged.

        Fails with that text where one of them does.
        """
        listed = []
        for call in calls:
            own = self.homes / (call.learner or "facilitator")
            self.home(call.learner).mkdir(parents=True, exist_ok=True)
            words = [*call.words, f"--Exchange.root={self.exchange}"]
            if call.learner:
                words += ["--course=loopbound", f"--student={call.learner}"]
            places = {
                f"JUPYTER_{kind}_DIR": str(own / f".{kind.lower()}")
                for kind in ("CONFIG", "DATA", "RUNTIME")
            }
            listed.append(
                {
                    "words": words,
                    "may_fail": call.may_fail,
                    "folder": str(self.home(call.learner)),
                    "environment": places | {"IPYTHONDIR": str(own / ".ipython")},
                }
            )
        # nbgrader looks for its helper program, alembic, on the PATH.
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        )
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__],
            input=json.dumps(listed),
            capture_output=True,
            text=True,
            timeout=TIME_LIMIT,
            encoding="utf-8",
            env=os.environ
            | {"PATH": path, "PYTHONUTF8": "1"}
            | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary)),
            cwd=self.root,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stderr

    def hand_in(
        self,
        learner: str,
        which: Assignment,
        answers: Mapping[str, str],
        sources: Mapping[str, str] | None = None,
    ) -> None:
        """Write answers into a learner's fetched notebook: cell sources, by task id.

        ``sources`` replace those of other cells, by grade_id.
        """
        path = self.home(learner) / which.file
        notebook = nbformat.read(path, as_version=4)
        wanted = {grade_id_of(task, "answer"): source for task, source in answers.items()} | dict(
            sources or {}
        )
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
            cell.source = wanted.pop(grade_id, cell.source)
        assert not wanted, f"no such cells: {list(wanted)}"
        path.chmod(0o644)
        nbformat.write(notebook, path)

    def points(self, which: Assignment) -> dict[str, dict[str, float]]:
        """The points in nbgrader's gradebook: per learner and task id.

        A task without a grade is not there.
        """
        query = """
            SELECT submitted_assignment.student_id, base_cell.name, grade.auto_score
            FROM grade
            JOIN base_cell ON base_cell.id = grade.cell_id
            JOIN submitted_notebook ON submitted_notebook.id = grade.notebook_id
            JOIN submitted_assignment ON submitted_assignment.id = submitted_notebook.assignment_id
            JOIN assignment ON assignment.id = submitted_assignment.assignment_id
            WHERE assignment.name = ?
        """
        tasks = {grade_id_of(task.id, "check"): task.id for task in which.tasks}
        points: dict[str, dict[str, float]] = {}
        with closing(sqlite3.connect(self.root / "gradebook.db")) as gradebook:
            for learner, cell, score in gradebook.execute(query, (which.name,)):
                points.setdefault(learner, {})[tasks[cell]] = score
        return points


def _run(calls: Sequence[Mapping[str, Any]]) -> int:
    """Run the commands as `nbgrader WORDS` would, up to the first that fails."""
    # jsonschema can check IRIs with it, which nobody asks for here; its import takes seconds.
    sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]
    from nbgrader.apps import NbGraderApp
    from traitlets.config import Application

    if sum("autograde" in call["words"] for call in calls) > 1:
        # Each notebook gets a kernel, and each kernel would import the same.
        fork_kernels("asyncpg", "loopbound.checks", "sqlalchemy.dialects.postgresql.asyncpg")
    for call in calls:
        os.chdir(call["folder"])
        os.environ.update(call["environment"])
        print(f"$ nbgrader {' '.join(call['words'])}", file=sys.stderr, flush=True)
        try:
            NbGraderApp.launch_instance(call["words"])
        except SystemExit as end:
            if end.code and not call["may_fail"]:
                return 1
        finally:
            # A command is an application of its own, and one process has one application at a time.
            type(Application.instance()).clear_instance()
    return 0


if __name__ == "__main__":
    sys.exit(_run(json.load(sys.stdin)))
