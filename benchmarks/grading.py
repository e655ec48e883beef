"""What grading one submission costs: the course's grader and other graders, each against a fresh
`python script.py` with the same cells.

    .venv/bin/python benchmarks/grading.py [--assignment NAME] [--rounds N] [--json FILE] [WHO …]
    .venv/bin/python benchmarks/grading.py --rounds 0 --scaling --bad

The floor is one process a submission, one after the other, with the code cells of its notebook:
    nothing is scored, stored or walled in.
The lean floor is the same without the cells that only show something: the course's grader leaves
these out, and one that draws imports matplotlib. The ratio to that one is what its speed owes to
nothing left out. A few of both run before each contestant and behind it, and its ratios are to
these; every second round goes the other way round. So the machine's noise meets all. A contestant
counts only if it gave every submission full points, which is asked of its own records after each
run. What it needs once for an assignment (nbgrader's generated course, otter's zip file) is not
measured; what it does once for each start is.

`--scaling` grades more and more submissions: seconds each, and the grader's memory. `--bad` adds
one that does not end to good ones, and compares what it costs with the seconds that it may take.
The other graders come with the extra `peers`; who is not installed is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from loopbound.checks.watch import LIMIT
from loopbound.course.manifest import Assignment, assignments
from loopbound.course.solutions import grade_id_of, nbgrader_of
from loopbound.database import server_address
from loopbound.files import check_writable, replace_text
from loopbound.grading.grade import Limits
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.submission import template
from loopbound.learner.cells import solution_source
from loopbound.paths import repository
from loopbound.problem import Problem

ROOT = repository()
PATIENCE = 1800.0  # seconds for one run of anything
PACKAGES = (
    "ipykernel",
    "jupyter_client",
    "nbclient",
    "nbgrader",
    "otter-grader",
    "papermill",
    "nbmake",
    "sqlalchemy",
    "asyncpg",
)
AWAITED = """import ast as _ast, asyncio as _asyncio
_runner = _asyncio.Runner()
def _awaited(cell):
    _runner.run(eval(compile(cell, "<cell>", "exec", _ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), globals()))
"""


class NotGraded(Exception):
    """A contestant did not give full points to what had earned them, so its seconds say nothing."""


@dataclass(frozen=True)
class Handed:
    """A submission: a notebook in a folder of its learner, and its code cells as a script, with and
    without those that only show something.
    """

    learner: str
    notebook: Path
    script: Path
    lean: Path


@dataclass(frozen=True)
class Contestant:
    """A way to grade: its key and what it is, for how many submissions, and ``run``, from
    submissions and an empty folder to seconds for all.
    """

    key: str
    what: str
    submissions: int
    run: Callable[[Sequence[Handed], Path], float]
    module: str = ""
    package: str = ""


@dataclass(frozen=True)
class Floor:
    """Seconds of some scripts that ran next to each other, of either kind."""

    full: tuple[float, ...]
    lean: tuple[float, ...]


@dataclass
class Row:
    """What was measured of a contestant: seconds a submission and those of the two floors beside
    it, a value each a run.
    """

    key: str
    what: str
    submissions: int
    seconds: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)
    lean: list[float] = field(default_factory=list)

    def add(self, seconds: float, before: Floor, behind: Floor) -> None:
        self.seconds.append(seconds)
        self.floor.append(statistics.mean([*before.full, *behind.full]))
        self.lean.append(statistics.mean([*before.lean, *behind.lean]))

    @property
    def ratios(self) -> list[float]:
        return [seconds / floor for seconds, floor in zip(self.seconds, self.floor, strict=True)]

    @property
    def lean_ratios(self) -> list[float]:
        return [seconds / floor for seconds, floor in zip(self.seconds, self.lean, strict=True)]


def main() -> int:
    options = arguments()
    if options.json:
        check_writable(options.json)  # before the runs, which take minutes
    server_address()  # as long as we are a client of the server, nobody has to start it
    which = named_assignment(options.assignment)
    bench = Bench(which, options.floor)
    measured = about(which, options)
    print(
        f"{which.name}, {which.points} points; Python {measured['python']}, {sys.platform},"
        f" {measured['cores']} cores\n",
        flush=True,
    )
    try:
        if options.rounds:
            measured |= compare(bench, contestants(bench, options), options)
        if options.scaling:
            measured["scaling"] = scaling(bench, options.scaling)
        if options.bad:
            measured["bad"] = bad(bench, options.submissions, options.bad)
    finally:
        bench.close()
    if options.json:
        replace_text(options.json, json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    return 1 if measured.get("failed") else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "who", nargs="*", metavar="WHO", help="measure these only; --list names them"
    )
    parser.add_argument(
        "--list", action="store_true", help="name the contestants, and do nothing else"
    )
    parser.add_argument(
        "--assignment",
        default="04-the-global-engine",
        metavar="NAME",
        help="what is graded (%(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        metavar="N",
        help="runs of each contestant (%(default)s); 0 leaves them out",
    )
    parser.add_argument(
        "--submissions",
        type=int,
        default=20,
        metavar="N",
        help="for the course's grader (%(default)s)",
    )
    parser.add_argument(
        "--peers",
        type=int,
        default=20,
        metavar="N",
        help="for others that grade many in one process (%(default)s)",
    )
    parser.add_argument(
        "--slow-peers",
        type=int,
        default=3,
        metavar="N",
        help="for those that take a process each (%(default)s)",
    )
    parser.add_argument(
        "--floor",
        type=int,
        default=3,
        metavar="N",
        help="scripts of either floor between two contestants (%(default)s)",
    )
    parser.add_argument(
        "--scaling",
        type=int,
        nargs="*",
        metavar="N",
        help="also grade so many submissions (20 100 300)",
    )
    parser.add_argument(
        "--bad",
        type=int,
        nargs="?",
        const=3,
        metavar="N",
        help="also add one that does not end, so many times (3)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the measurements there")
    options = parser.parse_args()
    if (
        min(options.submissions, options.peers, options.slow_peers, options.floor) < 1
        or options.rounds < 0
    ):
        parser.error("at least one submission, and no negative numbers")
    if options.scaling == []:
        options.scaling = [20, 100, 300]
    known = {each.key: each for each in contestants(None, options)}
    if options.list:
        print("\n".join(f"{each.key:<10}{each.what}" for each in known.values()))
        sys.exit(0)
    if unknown := set(options.who) - set(known):
        parser.error(
            f"no such contestant: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    return options


def named_assignment(name: str) -> Assignment:
    known = {which.name: which for which in assignments()}
    if name not in known:
        raise Problem(f"there is no assignment {name}.\nThere are {', '.join(known)}.")
    return known[name]


def about(which: Assignment, options: argparse.Namespace) -> dict[str, Any]:
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "assignment": which.name,
        "python": platform.python_version(),
        "platform": sys.platform,
        "cores": os.cpu_count(),
        "packages": packages,
        "rounds": options.rounds,
        "floor_scripts": options.floor,
    }


# Submissions --------------------------------------------------------------------------------------


class Bench:
    """A folder with submissions, which are made when they are asked for, and the environment in
    which everything runs.
    """

    def __init__(self, which: Assignment, floor: int) -> None:
        self.which = which
        self.folder = Path(tempfile.mkdtemp(prefix="loopbound-benchmark-"))
        self.released = json.loads((ROOT / "exercises" / which.file).read_text(encoding="utf-8"))
        self.answers = {
            grade_id_of(task.id, "answer"): solution_source(task.id) for task in which.tasks
        }
        self._made: list[Handed] = []
        self._floor = floor
        self._turns = iter(cycle(range(20)))
        self._shown = set(template(which).shown)
        places = {
            f"JUPYTER_{kind}_DIR": str(self.folder / f"jupyter-{kind.lower()}")
            for kind in ("CONFIG", "DATA", "RUNTIME")
        }
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
        )
        # No check keeps a learner's progress: that is another part of the course. And nobody's own
        # settings matter.
        self.environment = (
            os.environ | places | {"PATH": path, "IPYTHONDIR": str(self.folder / "ipython")}
        )
        self.environment |= {"LOOPBOUND_PROGRESS": "off", "PYTHONUTF8": "1"}

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def empty(self) -> Path:
        """An empty folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    def handed(self, count: int) -> list[Handed]:
        """So many submissions with the right answers, no two alike."""
        while len(self._made) < count:
            learner = f"learner-{len(self._made) + 1:03}"
            self._made.append(self.hand_in(learner, self.folder / "submissions"))
        return self._made[:count]

    def hand_in(self, learner: str, where: Path, spoilt: dict[str, str] | None = None) -> Handed:
        """Write a submission.

        ``spoilt`` is code that comes behind an answer, by the answer's ``grade_id``.
        """
        notebook = json.loads(json.dumps(self.released))
        sources: list[str] = []
        checks = 0
        for cell in notebook["cells"]:
            grade_id = nbgrader_of(cell).get("grade_id", "")
            if grade_id in self.answers:
                # Nobody's cell has the content of somebody else's, so nothing can be known from
                # before.
                cell["source"] = (
                    f"{self.answers[grade_id]}\n# {learner}\n{(spoilt or {}).get(grade_id, '')}".rstrip()
                )
            if cell["cell_type"] == "code":
                sources.append("".join(cell["source"]))
                checks += bool(nbgrader_of(cell).get("grade"))
        assert checks == len(self.which.tasks), "the exercise has not a check for each task"
        folder = where / learner
        folder.mkdir(parents=True)
        handed = Handed(
            learner, folder / self.which.file.name, folder / "script.py", folder / "lean.py"
        )
        handed.notebook.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
        handed.script.write_text(as_script(sources), encoding="utf-8")
        handed.lean.write_text(
            as_script([source for source in sources if source not in self._shown]), encoding="utf-8"
        )
        return handed

    def run(self, command: Sequence[str | Path], cwd: Path) -> float:
        """Run a command; its seconds. Raises ``NotGraded`` where it fails."""
        began = time.perf_counter()
        done = subprocess.run(
            [str(word) for word in command],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=PATIENCE,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            said = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise NotGraded(f"it ended with exit code {done.returncode}:\n{said}")
        return seconds

    def python(self, *words: str | Path, cwd: Path) -> float:
        return self.run([sys.executable, *words], cwd)

    def floor(self) -> Floor:
        """Run some scripts of both floors.

        A check that is not passed raises, and ends its script with an error.
        """
        several = [self.handed(20)[turn] for turn in islice(self._turns, self._floor)]
        both = [
            [self.python(script, cwd=each.script.parent) for script in (each.script, each.lean)]
            for each in several
        ]
        full, lean = zip(*both, strict=True)
        return Floor(full, lean)


def as_script(cells: Sequence[str]) -> str:
    """The cells one after the other.

    One that awaits at its top, which only a notebook may, runs on a loop that lasts.
    """
    parts = []
    for cell in cells:
        try:
            compile(cell, "<cell>", "exec")
            parts.append(cell)
        except SyntaxError:
            parts.append(f"_awaited({cell!r})")
    return "\n\n".join(
        [*([AWAITED] if any(part.startswith("_awaited(") for part in parts) else []), *parts, ""]
    )


# Contestants --------------------------------------------------------------------------------------


def contestants(bench: Bench | None, options: argparse.Namespace) -> list[Contestant]:
    """Everybody, whether installed or not. Without a bench, to be named only."""
    many, peers, few = options.submissions, options.peers, options.slow_peers

    def ours(jobs: int) -> Callable[[Sequence[Handed], Path], float]:
        return lambda handed, folder: run_ours(bench, handed, folder, jobs)

    def fresh(jobs: int) -> Callable[[Sequence[Handed], Path], float]:
        return lambda handed, folder: run_fresh(bench, handed, folder, jobs)

    def peer(
        run: Callable[[Bench, Sequence[Handed], Path], float],
    ) -> Callable[[Sequence[Handed], Path], float]:
        return lambda handed, folder: run(bench, handed, folder)

    return [
        Contestant("ours-2", "loopbound grade, two at a time", many, ours(2)),
        Contestant("ours-1", "loopbound grade, one at a time", many, ours(1)),
        Contestant("ours-alone", "loopbound grade, one alone", 1, ours(1)),
        Contestant("fresh-2", "loopbound, fresh kernels, two at a time", many, fresh(2)),
        Contestant("fresh-1", "loopbound, fresh kernels, one at a time", many, fresh(1)),
        Contestant(
            "nbclient", "nbclient, a kernel each", peers, peer(run_nbclient), "nbclient", "nbclient"
        ),
        Contestant("nbmake", "pytest --nbmake", peers, peer(run_nbmake), "nbmake", "nbmake"),
        Contestant(
            "nbgrader", "nbgrader autograde", peers, peer(run_nbgrader), "nbgrader", "nbgrader"
        ),
        Contestant(
            "papermill",
            "papermill, a process each",
            few,
            peer(run_papermill),
            "papermill",
            "papermill",
        ),
        Contestant(
            "otter", "otter run, a process each", few, peer(run_otter), "otter", "otter-grader"
        ),
    ]


def side_by_side(handed: Sequence[Handed], folder: Path, suffix: str = "") -> Path:
    """Copies of the submissions in a folder of their own: a folder a learner, or with a suffix a
    file a learner.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for each in handed:
        target = (
            folder / f"{each.learner}{suffix}"
            if suffix
            else folder / each.learner / each.notebook.name
        )
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(each.notebook, target)
    return folder


def in_full(bench: Bench, gradebook: Path, handed: Sequence[Handed]) -> None:
    """Raises ``NotGraded`` where the course's gradebook does not hold full points for everybody."""
    with Gradebook(gradebook) as book:
        points = {graded.learner: (graded.points, graded.problem) for graded in book.all()}
    if short := {
        each.learner: points.get(each.learner)
        for each in handed
        if points.get(each.learner) != (bench.which.points, "")
    }:
        learner, found = next(iter(short.items()))
        raise NotGraded(
            f"{len(short)} of {len(handed)} have not the {bench.which.points} points that they"
            f" earned; {learner} has {found}"
        )


def ticked(bench: Bench, executed: Sequence[Path]) -> None:
    """Raises ``NotGraded`` where the checks in these executed notebooks do not say that everything
    is passed.
    """
    for path in executed:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        said = "\n".join(
            "".join(output.get("data", {}).get("text/plain", ""))
            for cell in cells
            for output in cell.get("outputs", ())
        )
        if missing := [task.id for task in bench.which.tasks if f"✓ {task.id} " not in said]:
            raise NotGraded(f"{path.name}: {', '.join(missing)} not passed")


def run_ours(bench: Bench, handed: Sequence[Handed], folder: Path, jobs: int) -> float:
    book = folder / "grades.sqlite"
    seconds = bench.python(
        "-m",
        "loopbound",
        "grade",
        side_by_side(handed, folder / "in"),
        "--gradebook",
        book,
        "--jobs",
        str(jobs),
        cwd=folder,
    )
    in_full(bench, book, handed)
    return seconds


FRESH = """
import sys
from pathlib import Path
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.isolation.processes import Processes
from loopbound.grading.handed import found
from loopbound.grading.run import grade_all

processes = Processes(warm=False)
try:
    with Gradebook(Path(sys.argv[2])) as book, found([Path(sys.argv[1])]) as hand_ins:
        grade_all(hand_ins.notebooks, int(sys.argv[3]), book.store, processes)
finally:
    processes.close()
"""


def run_fresh(bench: Bench, handed: Sequence[Handed], folder: Path, jobs: int) -> float:
    """The same grader where nothing can be forked, as on Windows."""
    book = folder / "grades.sqlite"
    seconds = bench.python(
        "-c", FRESH, side_by_side(handed, folder / "in"), book, str(jobs), cwd=folder
    )
    in_full(bench, book, handed)
    return seconds


NBCLIENT = """
import sys, nbformat
from nbclient import NotebookClient

for path in sys.argv[1:]:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    nbformat.write(notebook, path)
"""


def run_nbclient(bench: Bench, handed: Sequence[Handed], folder: Path) -> float:
    side_by_side(handed, folder, ".ipynb")
    paths = sorted(folder.glob("*.ipynb"))
    seconds = bench.python("-c", NBCLIENT, *paths, cwd=folder)
    ticked(bench, paths)
    return seconds


def run_nbmake(bench: Bench, handed: Sequence[Handed], folder: Path) -> float:
    side_by_side(handed, folder, ".ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    seconds = bench.python(
        "-m", "pytest", "-q", "--nbmake", "--overwrite", "--nbmake-timeout=600", cwd=folder
    )
    ticked(bench, sorted(folder.glob("*.ipynb")))
    return seconds


def run_papermill(bench: Bench, handed: Sequence[Handed], folder: Path) -> float:
    side_by_side(handed, folder, ".ipynb")
    (folder / "executed").mkdir()
    paths = sorted(folder.glob("*.ipynb"))
    seconds = sum(
        bench.python(
            "-m",
            "papermill",
            "--no-progress-bar",
            path.name,
            Path("executed", path.name),
            cwd=folder,
        )
        for path in paths
    )
    ticked(bench, [folder / "executed" / path.name for path in paths])
    return seconds


def run_nbgrader(bench: Bench, handed: Sequence[Handed], folder: Path) -> float:
    """One command for all, in a copy of the course in which they have been collected."""
    sys.path.append(str(ROOT / "nbtests"))
    from nbgrader_course import Call, Course

    name = bench.which.name
    try:
        course = Course(folder, [bench.which])
        course.run(Call(("generate_assignment", name, "--force")))
        for each in handed:
            target = course.root / "submitted" / each.learner / name / each.notebook.name
            target.parent.mkdir(parents=True)
            shutil.copyfile(each.notebook, target)
        began = time.perf_counter()
        course.run(Call(("autograde", name)))
        seconds = time.perf_counter() - began
    except AssertionError as error:
        raise NotGraded("\n".join(str(error).splitlines()[-15:])) from None
    points = course.points(bench.which)
    wanted = {task.id: float(task.points) for task in bench.which.tasks}
    if short := [each.learner for each in handed if points.get(each.learner) != wanted]:
        raise NotGraded(
            f"{len(short)} of {len(handed)} have not full points; {short[0]} has"
            f" {points.get(short[0])}"
        )
    return seconds


OTTER = """OK_FORMAT = False
from otter.test_files import test_case

name = {identity!r}
points = {points}

@test_case(points={points})
def graded(env):
    env["check"]({identity!r}, env)
"""


@cache
def otters_zip(bench: Bench) -> Path:
    """What `otter generate` makes of our checks, a test file each."""
    folder = bench.empty()
    (folder / "tests").mkdir()
    for task in bench.which.tasks:
        (folder / "tests" / f"task_{task.id.replace('.', '_')}.py").write_text(
            OTTER.format(identity=task.id, points=task.points), encoding="utf-8"
        )
    bench.python(
        "-m",
        "otter",
        "generate",
        "-t",
        "tests",
        "-o",
        "autograder.zip",
        "--no-config",
        "--no-requirements",
        "--no-environment",
        cwd=folder,
    )
    return folder / "autograder.zip"


def run_otter(bench: Bench, handed: Sequence[Handed], folder: Path) -> float:
    """Its own tests call our checks, so their cells are left out of the notebooks: each check runs
    once, as everywhere.
    """
    autograder = otters_zip(bench)
    seconds = 0.0
    for each in handed:
        notebook = json.loads(each.notebook.read_text(encoding="utf-8"))
        notebook["cells"] = [
            cell for cell in notebook["cells"] if not nbgrader_of(cell).get("grade")
        ]
        place = folder / each.learner
        place.mkdir()
        (place / each.notebook.name).write_text(json.dumps(notebook), encoding="utf-8")
        seconds += bench.python(
            "-m",
            "otter",
            "run",
            each.notebook.name,
            "-a",
            autograder,
            "-o",
            ".",
            "--no-logo",
            cwd=place,
        )
        scores = json.loads((place / "results.json").read_text(encoding="utf-8"))["tests"]
        if (earned := sum(test.get("score", 0.0) for test in scores)) != bench.which.points:
            raise NotGraded(
                f"{each.learner} has {earned} of {bench.which.points} points: {scores}"[:1500]
            )
    return seconds


# Measuring ----------------------------------------------------------------------------------------


def compare(
    bench: Bench, everybody: list[Contestant], options: argparse.Namespace
) -> dict[str, Any]:
    """The contestants in turn, with some of the floor's scripts between them; prints the table."""
    missing, failed = {}, {}
    rows: dict[str, Row] = {}
    present: list[Contestant] = []
    for each in everybody:
        if options.who and each.key not in options.who:
            continue
        if each.module and importlib.util.find_spec(each.module) is None:
            missing[each.key] = f"{each.package} is not installed"
        else:
            present.append(each)
            rows[each.key] = Row(each.key, each.what, each.submissions)
    floors: list[Floor] = []
    bench.floor()  # not counted: compiles modules that nobody has imported yet

    def attempt(each: Contestant, count: int) -> float | None:
        folder = bench.empty()
        try:
            return each.run(bench.handed(count), folder)
        except (NotGraded, subprocess.TimeoutExpired) as error:
            failed[each.key] = str(error)
            return None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # Not counted either, and a contestant that cannot grade is found out before the long runs.
    for each in present:
        attempt(each, 1)
    for number in range(options.rounds):
        before = bench.floor()
        floors.append(before)
        for each in present if number % 2 == 0 else present[::-1]:
            if each.key in failed:
                continue
            seconds = attempt(each, each.submissions)
            behind = bench.floor()
            floors.append(behind)
            if seconds is not None:
                rows[each.key].add(seconds / each.submissions, before, behind)
            before = behind
    good = [row for row in rows.values() if row.seconds and row.key not in failed]
    full, lean = (
        [seconds for floor in floors for seconds in getattr(floor, kind)]
        for kind in ("full", "lean")
    )
    middle, lean_middle = ([statistics.median(seconds)] * len(full) for seconds in (full, lean))
    own = [
        Row("floor", "the floor: python script.py", len(full), full, middle, lean_middle),
        Row("lean", "the lean floor: without showing", len(lean), lean, middle, lean_middle),
    ]
    print_rows(f"{options.rounds} {'round' if options.rounds == 1 else 'rounds'}", [*own, *good])
    for key, why in (missing | failed).items():
        print(f"not measured: {key}: {why}")
    print(flush=True)
    return {
        "rows": [as_data(row) for row in (*own, *good)],
        "not_measured": missing,
        "failed": failed,
    }


def print_rows(title: str, rows: Sequence[Row]) -> None:
    print(
        f"{title:<42}{'submissions':>11}{'seconds each':^30}{'ratio to the floor':^26}{'to the lean floor':^26}"
    )
    for row in rows:
        ratios = "".join(
            f"{spread(values, 2, '×'):^26}" for values in (row.ratios, row.lean_ratios)
        )
        print(
            f"{row.what:<42}{row.submissions:>11}{spread(row.seconds, 3, ' s'):^30}{ratios}",
            flush=True,
        )


def spread(values: Sequence[float], digits: int, unit: str) -> str:
    return (
        f"{statistics.median(values):.{digits}f}{unit} ({min(values):.{digits}f} to"
        f" {max(values):.{digits}f})"
    )


def as_data(row: Row) -> dict[str, Any]:
    return asdict(row) | {
        "ratio": statistics.median(row.ratios),
        "lean_ratio": statistics.median(row.lean_ratios),
    }


# How it grows -------------------------------------------------------------------------------------


class Memory:
    """Watches the resident memory of a grader and of its warm process, which is one of its
    children; what that one forks is not counted.
    """

    EVERY = 0.05  # seconds

    def __init__(self, pid: int) -> None:
        self.peak = 0  # bytes
        self._grader = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        warm: psutil.Process | None = None
        while not self._over.wait(self.EVERY):
            try:
                if warm is None or not warm.is_running():
                    warm = next(
                        (
                            child
                            for child in self._grader.children()
                            if "loopbound.grading.isolation.warm" in child.cmdline()
                        ),
                        None,
                    )
                self.peak = max(
                    self.peak,
                    self._grader.memory_info().rss + (warm.memory_info().rss if warm else 0),
                )
            except psutil.Error:
                continue  # one of them has ended

    def close(self) -> int:
        self._over.set()
        self._thread.join()
        return self.peak


def scaling(bench: Bench, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Seconds a submission and peak memory, for more and more submissions, two at a time."""
    print(
        f"{'two at a time':<42}{'submissions':>11}{'seconds each':>16}{'ratio to the floor':>22}{'to the lean floor':>20}{'peak memory':>14}"
    )
    found = []
    before = bench.floor()
    for size in sizes:
        handed, folder = bench.handed(size), bench.empty()
        side_by_side(handed, folder / "in")
        book = folder / "grades.sqlite"
        words = [
            sys.executable,
            "-m",
            "loopbound",
            "grade",
            str(folder / "in"),
            "--gradebook",
            str(book),
            "--jobs",
            "2",
        ]
        began = time.perf_counter()
        with subprocess.Popen(
            words,
            cwd=folder,
            env=bench.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as grader:
            memory = Memory(grader.pid)
            try:
                grader.wait(PATIENCE)
            finally:
                grader.kill()
                peak = memory.close()
        seconds = (time.perf_counter() - began) / size
        in_full(bench, book, handed)
        shutil.rmtree(folder)
        behind = bench.floor()
        row = Row("ours-2", "loopbound grade, two at a time", size)
        row.add(seconds, before, behind)
        before = behind
        found.append(as_data(row) | {"peak_bytes": peak})
        print(
            f"{'':<42}{size:>11}{seconds:>14.3f}"
            f" s{row.ratios[0]:>21.2f}×{row.lean_ratios[0]:>19.2f}×{peak / 2**20:>11.0f} MB",
            flush=True,
        )
    print()
    return found


def bad(bench: Bench, good: int, rounds: int) -> list[dict[str, Any]]:
    """What one submission with an endless loop adds to good ones, beside the seconds after which it
    is ended.
    """
    task = bench.which.tasks[0]
    answer = grade_id_of(task.id, "answer")
    function = next(
        line.split("(")[0].split()[-1]
        for line in bench.answers[answer].splitlines()
        if line.startswith(("def ", "async def "))
    )
    kinds = {
        "its cell does not end": ("while True:\n    pass", Limits().cell),
        "its function does not end": (
            f"def {function}(*given, **named):\n    while True:\n        pass",
            LIMIT,
        ),
    }
    print(
        f"{f'one endless loop among {good} good ones':<48}{'at a time':>10}{'deadline':>12}{'that task took':^28}{'added to all':^28}"
    )
    found = []
    for kind, (code, deadline) in kinds.items():
        place = bench.empty()
        # In the middle of the row: the first or the last one would meet a busy or an idle
        # neighbour.
        endless = bench.hand_in(f"learner-{good // 2:03}-endless", place, {answer: code})
        for jobs in (1, 2):
            added, took = [], []
            for number in range(rounds):
                order = (None, endless) if number % 2 == 0 else (endless, None)
                seconds = {each: graded_in(bench, good, each, jobs) for each in order}
                added.append(seconds[endless][0] - seconds[None][0])
                took.append(seconds[endless][1])
            found.append(
                {"what": kind, "jobs": jobs, "deadline": deadline, "took": took, "added": added}
            )
            print(
                f"{kind:<48}{jobs:>10}{deadline:>10.0f}"
                f" s{spread(took, 2, ' s'):^28}{spread(added, 2, ' s'):^28}",
                flush=True,
            )
    print()
    return found


def graded_in(bench: Bench, good: int, endless: Handed | None, jobs: int) -> tuple[float, float]:
    """Seconds for good submissions and perhaps an endless one, and of its first task, the only one
    that loses its points.
    """
    folder = bench.empty()
    handed = bench.handed(good)
    side_by_side([*handed, *([endless] if endless else [])], folder / "in")
    book = folder / "grades.sqlite"
    seconds = bench.python(
        "-m",
        "loopbound",
        "grade",
        folder / "in",
        "--gradebook",
        book,
        "--jobs",
        str(jobs),
        cwd=folder,
    )
    in_full(bench, book, handed)
    took = 0.0
    if endless:
        with Gradebook(book) as stored:
            (graded,) = [graded for graded in stored.all() if graded.learner == endless.learner]
        if [task.points for task in graded.tasks] != [
            0,
            *(task.points for task in bench.which.tasks[1:]),
        ]:
            raise NotGraded(
                f"the endless one has {graded.points} of {graded.of} points:"
                f" {[(task.task, task.outcome) for task in graded.tasks]}"
            )
        took = graded.tasks[0].seconds
    shutil.rmtree(folder)
    return seconds, took


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Problem, NotGraded) as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
