"""The catalogue's cases: small projects and programs that run each kind of fault, its cures, and
what does not cure it.

They are in ``notebooks/faults``, with an environment of their own for the clients that the course
itself does not need. Each runs in a process and a database of its own.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopbound.database import ScratchDatabase, scratch_database
from loopbound.paths import repository
from loopbound.suite.folding import defined_in, folded, imports_of
from loopbound.suite.run import UNWANTED
from loopbound.suite.versions.environments import python_of

LIMIT = 60.0
"""Seconds for one case; the longest needs a few."""
ENVIRONMENT = "faults"
"""The group of ``notebooks/faults/environment`` that the cases need."""


@dataclass(frozen=True)
class Case:
    """One case, as ``cases.toml`` has it.

    Attributes:
        name: its name there.
        kind: the id of its kind in the catalogue.
        signs: what is printed where it is not cured; one of them, or a failure without one.
        cures: names of cures that make it pass.
        not_cures: what does not.
        runs: the file that it runs, where its folder serves several cases.
        left: cure → sessions that it leaves on the server at the end of the process.
        both_orders: its tests are run in the opposite order, too.
        posix: it needs fork.
        course: it runs in the course's own environment.
        ways: answers to the tree's first questions, each a way as far as its owner knows it.
        like: public reports and earlier cases that it stands for.
        needs: versions with which it fails as found, or can be written at all.
        older: names of cures that hold only on older versions.
    """

    name: str
    kind: str
    signs: tuple[str, ...]
    cures: tuple[str, ...]
    not_cures: tuple[str, ...]
    folder: Path
    tests: bool
    runs: str
    words: tuple[str, ...]
    client: str
    left: dict[str, int]
    both_orders: bool
    posix: bool
    course: bool
    ways: tuple[tuple[str, ...], ...]
    like: tuple[str, ...]
    needs: tuple[str, ...]
    older: tuple[str, ...]

    @property
    def database(self) -> bool:
        """Whether it uses PostgreSQL."""
        if self.client:
            return self.client.endswith("-pool")
        return any("DATABASE_URL" in file.read_text("utf-8") for file in self.folder.glob("*.py"))

    @property
    def fits_here(self) -> bool:
        """Whether this system can run it."""
        return not self.posix or hasattr(os, "fork")

    def files(self, cure: str = "") -> dict[str, str]:
        """Name → text of its files with a cure, or as found: what is run, and what is shown."""
        texts = {
            path.name: path.read_text("utf-8")
            for path in sorted(self.folder.glob("*.py"))
            if not self.runs
            or path.name == self.runs
            or not path.name.startswith(("main", "test_"))
        }
        default = re.search(r'"CURE", "([^"]*)"', "".join(texts.values()))
        value = cure or (default[1] if default else None)
        files = {name: folded(text, value) for name, text in texts.items()}
        if self.tests:
            words = ["-o", "asyncio_mode=auto", *self.words, *_file()["options"].get(cure, ())]
            settings = dict(word.split("=", 1) for word in words if word != "-o")
            lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
            files["pyproject.toml"] = "[tool.pytest.ini_options]\n" + "".join(lines)
        return files

    def changes(self, cure: str) -> Iterator[Change]:
        """What a cure changes in its files, place by place; settings last."""
        found = self.files()
        for name, text in self.files(cure).items():
            before, after = found[name].splitlines(), text.splitlines()
            code = text if name.endswith(".py") else ""
            bound, defined = imports_of(code), defined_in(code)
            plain = "\n".join(filter(_no_import, before))
            there = set(re.findall(r"\w+", plain))
            # Defined as found, too, but only the cure uses it: a reader has to write it.
            lone = {
                each: statement
                for each, statement in defined.items()
                if statement in plain and not _has(plain.replace(statement, ""), each)
            }
            matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
            for tag, first, last, start, end in matcher.get_opcodes():
                old, new = _trimmed(before[first:last]), _trimmed(after[start:end])
                if tag == "equal" or not (old or new):
                    continue
                own = [lone[each] for each in lone if _has("\n".join(new), each)]
                words = set(re.findall(r"\w+", "\n".join([*own, *new])))
                used = {word for word in words & bound.keys() if _new(word, there, own, plain)}
                needed = sorted(bound[word] for word in used)
                yield Change(name, _place(after, start), old, new, tuple(needed), tuple(own))


@dataclass(frozen=True)
class Change:
    """One place of a file that a cure changes.

    Attributes:
        file: its name.
        place: the function in which they stand; empty at the top level.
        old: the lines as found; empty where lines are only added.
        new: the lines with the cure.
        imports: statements that the new lines need.
        own: definitions at the top level that they need.
    """

    file: str
    place: str
    old: tuple[str, ...]
    new: tuple[str, ...]
    imports: tuple[str, ...]
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseRun:
    """What one case did.

    Attributes:
        case, cure: names; the cure is "" for the case as found.
        reverse: its tests ran in the opposite order.
        code: its exit code; None where it had to be ended.
        output: what it printed.
        left: sessions on the server when its work was done.
    """

    case: str
    cure: str
    reverse: bool
    code: int | None
    output: str
    left: int


def folder() -> Path:
    """Where the cases are."""
    return repository() / "notebooks" / "faults"


def _trimmed(lines: Sequence[str]) -> tuple[str, ...]:
    """Lines as far left as they go, without blank ones at the ends."""
    return tuple(textwrap.dedent("\n".join(lines)).strip("\n").splitlines())


def _has(text: str, word: str) -> bool:
    return re.search(rf"\b{word}\b", text) is not None


def _new(word: str, there: set[str], own: Sequence[str], plain: str) -> bool:
    """Whether a word is not in the code as found, but for definitions that only the cure uses."""
    for statement in own:
        plain = plain.replace(statement, "")
    return word not in there or not _has(plain, word)


def _no_import(line: str) -> bool:
    return not line.startswith(("import ", "from "))


def _place(lines: Sequence[str], number: int) -> str:
    """The head of the function around a line, or nothing."""
    depth = len(lines[number]) - len(lines[number].lstrip()) if number < len(lines) else 0
    for line in reversed(lines[:number]):
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent < depth:
            if line.lstrip().startswith(("def ", "async def ")):
                return line.strip().rstrip(":")
            depth = indent
    return ""


@functools.cache
def _file() -> dict[str, Any]:
    return tomllib.loads((folder() / "cases.toml").read_text(encoding="utf-8"))


def cases() -> dict[str, Case]:
    """All of them, by name."""
    found = {}
    for name, said in _file().items():
        if name != "options":
            place = folder() / "cases" / said.get("folder", name)
            runs = said.get("runs", "")
            found[name] = Case(
                name,
                said["kind"],
                tuple(said["signs"]),
                tuple(said["cures"]),
                tuple(said.get("not", ())),
                place,
                runs.startswith("test_") if runs else not (place / "main.py").is_file(),
                runs,
                tuple(said.get("words", ())),
                said.get("client", ""),
                said.get("left", {}),
                said.get("both_orders", False),
                said.get("posix", False),
                said.get("course", False),
                tuple(map(tuple, said["ways"])),
                tuple(said.get("like", ())),
                tuple(said.get("needs", ())),
                tuple(said.get("older", ())),
            )
    return found


def run_cases(jobs: Iterable[tuple[str, str, bool]], python: Path | None = None) -> list[CaseRun]:
    """Run cases, two at a time; results in the order of the jobs.

    Args:
        jobs: for each its case, the cure ("" for none), and whether its tests run in reverse.
        python: the interpreter of an environment with other versions; the cases' own by default.

    Raises:
        NoNetwork: the packages of their environment cannot be fetched.
        Problem: it cannot be made.
    """
    wanted = list(jobs)
    known = cases()
    with (
        tempfile.TemporaryDirectory(prefix="loopbound-cases-") as top,
        contextlib.ExitStack() as stack,
    ):
        users = {case for case in {case for case, _, _ in wanted} if known[case].database}
        with ThreadPoolExecutor(4) as threads:
            made = list(
                threads.map(
                    lambda job: scratch_database("case") if job[0] in users else None, wanted
                )
            )
        for each in filter(None, made):
            stack.enter_context(each)
        given = [
            _job(number, known[case], cure, reverse, made[number], Path(top))
            for number, (case, cure, reverse) in enumerate(wanted)
        ]
        codes: dict[str, int | str] = {}
        for given_python, own in (
            (Path(sys.executable), [job for job in given if job["course"]]),
            (python, [job for job in given if not job["course"]]),
        ):
            if own:
                home = given_python or python_of(ENVIRONMENT, folder() / "environment")
                codes |= _run(home, own)
        return [
            _read(job, *one, codes.get(job["name"], "hung"))
            for job, one in zip(given, wanted, strict=True)
        ]


def _job(
    number: int,
    case: Case,
    cure: str,
    reverse: bool,
    database: ScratchDatabase | None,
    top: Path,
) -> dict[str, Any]:
    words = ["main.py"]
    if case.tests:
        # pytest's own tracebacks, which readers paste, cost a second; Python's nearly nothing.
        words = ["pytest", f"--tb={'native' if cure else 'auto' if reverse else 'long'}"]
    variables = {"DATABASE_URL": database.url} if database else {}
    # A copy of its own: no configuration is found above it, and nothing is written into the clone.
    place = top / str(number) / case.folder.name
    place.mkdir(parents=True)
    for name, text in case.files(cure).items():
        (place / name).write_text(text, encoding="utf-8")
    return {
        "name": str(number),
        "folder": str(place),
        "words": words,
        "environment": {
            **variables,
            **({"CLIENT": case.client} if case.client else {}),
            **({"CURE": cure} if cure else {}),
        },
        "reverse": reverse,
        "limit": LIMIT,
        "output": str(top / f"{number}.txt"),
        "course": case.course,
        "count": database is not None,
        "left": case.left.get(cure, 0) if cure in (*case.cures, *case.older) else None,
    }


def _run(python: Path, jobs: Sequence[dict[str, Any]]) -> dict[str, int | str]:
    variables = {name: text for name, text in os.environ.items() if not UNWANTED.match(name)}
    done = subprocess.run(
        [str(python), "-X", "utf8", str(folder() / "forker.py")],
        input="".join(json.dumps(job) + "\n" for job in jobs),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=variables,
    )
    if done.returncode:
        raise RuntimeError(
            f"the cases' process ended with {done.returncode}: {done.stderr[-2000:]}"
        )
    return {said["name"]: said["code"] for said in map(json.loads, done.stdout.splitlines())}


def _read(job: dict[str, Any], case: str, cure: str, reverse: bool, code: int | str) -> CaseRun:
    output = Path(job["output"])
    left = Path(f"{output}.left")
    return CaseRun(
        case,
        cure,
        reverse,
        code if isinstance(code, int) else None,
        output.read_text(encoding="utf-8", errors="replace"),
        int(left.read_text()) if left.is_file() else 0,
    )
