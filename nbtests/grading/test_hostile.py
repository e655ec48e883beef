"""A submission can harm only itself: every hostile or broken one gets its line, earns what is
right, and leaves its neighbours and the machine alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import hostile
import psutil
import psycopg
import pytest
from hostile import (
    ANY,
    BROKEN,
    CASES,
    GROUPS,
    NAMESPACES,
    POINTS,
    RUNS_AWAY,
    TAMPERS,
    Case,
    Place,
)

from loopbound.database import server_address
from loopbound.grading.grade import Limits
from loopbound.grading.handed import Handed
from loopbound.grading.isolation.processes import Processes, strongest_isolation
from loopbound.grading.results import Graded
from loopbound.grading.run import grade_all
from loopbound.machine import slowness

pytestmark = [
    # The first test of a batch waits for all of it.
    pytest.mark.timeout(3000),
    pytest.mark.skipif(
        sys.platform != "linux",
        reason=(
            "warm processes and isolation are Linux's; elsewhere the grader uses fresh processes"
        ),
    ),
]

STRONGEST = strongest_isolation() if sys.platform == "linux" else GROUPS
# Behind every kind of isolation and in fresh processes: of each kind of submission some.
EVERYWHERE = (
    "endless loop",
    "os._exit",
    "process",
    "daemon",
    "asyncio patched",
    "a forged report",
    "malformed JSON",
    "a file that shadows a library",
    "solutions read",
    "every connection taken",
)
# What ends a submission of these kinds, or sees through it, is the same behind all isolation. They
# are run behind the weaker ones, the others behind the strongest that this machine has.
SAME = (RUNS_AWAY, TAMPERS, BROKEN)
NEIGHBOUR = ("01.2", "01.4")  # what the good ones answer


@dataclass
class Batch:
    """What one processes made of its cases."""

    results: dict[str, Graded] = field(default_factory=dict)
    neighbours: list[Graded] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def run(cases: tuple[Case, ...], folder: Path, isolation: str, warm: bool) -> Batch:
    """Grade the cases in one run of the grader, with good submissions between them."""
    batch, mark = Batch(), secrets.token_hex(8)
    gradebook = folder / "gradebook.sqlite"
    with contextlib.closing(sqlite3.connect(gradebook)) as book:
        book.execute("CREATE TABLE grade (points)")
    neighbour = Place(folder, folder, gradebook, 0, mark)
    good = hostile.saved(neighbour, hostile.right("01", NEIGHBOUR), "good.ipynb")
    server_address()  # the server that all share must not carry the mark
    before = os.environ.get("LOOPBOUND_MARK")
    os.environ["LOOPBOUND_MARK"] = (
        mark  # whoever is forked from the processes's processes carries it
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        handed: dict[object, list[Handed]] = {}
        for number, case in enumerate(cases):
            home = folder / f"case-{number}"
            home.mkdir()
            path = case.write(Place(home, good, gradebook, server.getsockname()[1], mark))
            some = handed.setdefault(case.limits, [])
            some += [
                *([Handed(good, "good")] if len(some) % 4 == 0 else []),
                Handed(path, case.name),
            ]
        files = contents(folder)
        outside = set(Path("/tmp").iterdir())
        processes = Processes(isolation, warm)
        made: list[str] = []
        make = processes.databases._made
        processes.databases._made = lambda *arguments, **more: (
            made.append((database := make(*arguments, **more)).name) or database
        )

        def done(graded: Graded) -> None:
            if graded.learner == "good":
                batch.neighbours.append(graded)
            else:
                batch.results[graded.learner] = graded

        try:
            for limits, some in handed.items():
                # A deadline has to leave what is right on a busy machine its time. A suite's stays:
                # the check that asks for one has a bound of its own, which must not come first.
                slow = slowness(probe=0.1)
                limits = Limits(
                    slow * limits.cell, slow * limits.check, limits.suite, slow * limits.notebook
                )
                grade_all([*some, Handed(good, "good")], 2, done, processes, limits)
            warm_one = [processes._warm.pid] if processes._warm else []
            batch.left += [
                f"process {pid}: {words}" for pid, words in marked(mark) if pid not in warm_one
            ]
            batch.left += [
                f"folder of sockets: {path}"
                for path in processes.folder.iterdir()
                if path.name != "grader"
            ]
        finally:
            processes.close()
            if before is None:
                del os.environ["LOOPBOUND_MARK"]
        with contextlib.suppress(BlockingIOError):
            server.setblocking(False)
            server.accept()[0].close()
            batch.left.append("a connection to a server outside" if isolation == NAMESPACES else "")
    batch.left += [f"process {pid} after the end: {words}" for pid, words in marked(mark)]
    batch.left += [f"file {name}" for name in sorted(files.items() ^ contents(folder).items())]
    batch.left += [
        f"file {path}" for path in set(Path("/tmp").iterdir()) - outside if mark in path.name
    ]
    with psycopg.connect(**processes.databases.address.libpq(), autocommit=True) as admin:
        batch.left += [
            f"database {name}"
            for (name,) in admin.execute(
                "SELECT datname FROM pg_database WHERE datname = ANY(%s)", [made]
            )
        ]
        batch.left += [
            f"role {name}"
            for (name,) in admin.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)",
                [processes.databases._mark],
            )
        ]
        batch.left += [
            f"session of {name}"
            for (name,) in admin.execute(
                "SELECT usename FROM pg_stat_activity WHERE starts_with(usename, %s)",
                [processes.databases._mark],
            )
        ]
    batch.left = [words for words in batch.left if words]
    return batch


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder; pipes and links by their kind."""
    found = {}
    for path in folder.rglob("*"):
        plain = path.is_file() and not path.is_symlink()
        found[repr(path)] = (
            hashlib.sha256(path.read_bytes()).hexdigest() if plain else oct(path.lstat().st_mode)
        )
    return found


def marked(mark: str) -> list[tuple[int, str]]:
    """The processes, but for this one, whose environment or words carry a mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = " ".join(process.cmdline())
            if (
                process.pid != os.getpid()
                and process.status() != psutil.STATUS_ZOMBIE
                and (mark in words or process.environ().get("LOOPBOUND_MARK") == mark)
            ):
                found.append((process.pid, words))
    return found


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Batch]]:
    """The batches that were asked for, each run once."""
    made: dict[str, Batch] = {}

    def batch(name: str) -> Batch:
        if name not in made:
            isolation = name.partition("-")[0]
            if isolation == NAMESPACES and STRONGEST != NAMESPACES:
                pytest.skip("this machine lets nobody make namespaces")
            cases = tuple(
                case
                for case in CASES
                if (isolation, case.name) in {(w, c.name) for n, w, c in RUNS if n == name}
            )
            made[name] = run(
                cases, tmp_path_factory.mktemp(name), isolation, warm=not name.endswith("fresh")
            )
        return made[name]

    return SimpleNamespace(of=batch)


def kinds_for(case: Case) -> list[str]:
    """The isolation that a case is run behind: one kind, or each for a chosen few and for those
    that earn different points behind each.
    """
    if case.name in EVERYWHERE or case.earns_in:
        return list(case.isolation)
    weaker = GROUPS in case.isolation and (case.kind in SAME or STRONGEST == GROUPS)
    return [GROUPS if weaker else NAMESPACES]


RUNS = [(isolation, isolation, case) for case in CASES for isolation in kinds_for(case)]
RUNS += [(f"{NAMESPACES}-fresh", NAMESPACES, case) for case in CASES if case.name in EVERYWHERE]
RUNS.sort(key=lambda run: run[0])
NAMES = list(dict.fromkeys(name for name, _, _ in RUNS))


@pytest.mark.parametrize(
    ("name", "isolation", "case"),
    RUNS,
    ids=[f"{name}-{case.kind}-{case.name}".replace(" ", "_") for name, _, case in RUNS],
)
def test_it_earns_what_is_right_and_gets_its_line(
    name: str, isolation: str, case: Case, batches: SimpleNamespace
) -> None:
    graded = batches.of(name).results[case.name]
    wanted = case.points(isolation)
    if wanted is None:
        assert graded.problem and not graded.tasks, graded
        said = graded.problem
    else:
        assert not graded.problem, graded
        earned = {task.task: task.points for task in graded.tasks}
        assert earned == {
            task: earned[task] if points == ANY else points for task, points in wanted.items()
        }, [(task.task, task.points, task.says) for task in graded.tasks]
        lines = [f"{task.outcome} {task.diagnosis} {task.says}" for task in graded.tasks]
        said = "\n".join([*lines, *graded.notes])
    if isolation not in case.earns_in:
        assert [words for words in case.says if words not in said] == [], said
    assert "Traceback" not in said and "\x1b" not in said
    said.encode()  # nothing that cannot be stored


@pytest.mark.parametrize("name", NAMES)
def test_its_neighbours_earn_all(name: str, batches: SimpleNamespace) -> None:
    neighbours = batches.of(name).neighbours
    assert len(neighbours) > len({case.name for other, _, case in RUNS if other == name}) / 4
    full = sum(POINTS[task] for task in NEIGHBOUR)
    assert [
        (graded.points, graded.problem, [task.says for task in graded.tasks])
        for graded in neighbours
        if graded.points != full
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_it_is_left(name: str, batches: SimpleNamespace) -> None:
    assert batches.of(name).left == []


def test_each_row_of_the_table_has_its_tests(repository: Path) -> None:
    text = (repository / "workshop" / "safety.md").read_text(encoding="utf-8")
    rows = [
        [part.strip() for part in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| ")
    ][1:]
    isolation = {case.name: case.isolation for case in CASES}
    named: list[str] = []
    for threat, here, elsewhere, _, tests in rows:
        names = [name.strip("`") for name in tests.split(", ")]
        named += names
        assert here.startswith("holds"), threat
        # What a column promises is what the cases can be run behind.
        assert {elsewhere.startswith("holds")} == {GROUPS in isolation[name] for name in names}, (
            threat
        )
    assert sorted(named) == sorted(isolation)
