"""Which claims of the incident documents are settled: by which cell a reader sees it, by which test
it is proved.

The tests are found by pytest's own collection, the cells by their metadata; nothing is listed by
hand.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loopbound.authoring.pages import Course, claim_exists, claims_of, read_course
from loopbound.course.manifest import claims as documents_claims
from loopbound.course.manifest import lessons, wanted_claims
from loopbound.paths import repository
from loopbound.problem import Problem


@dataclass
class Claim:
    """One claim: ``tests`` and ``cells`` hold pytest node ids and ``notebook#cell``; ``verdicts``
    what the tests say.
    """

    identity: str
    verdicts: list[str] = field(default_factory=list)
    observed: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)


def settled(folder: Path, course: Course) -> dict[str, Claim]:
    """Every claim that a test in ``folder`` (``test_claims_*.py``) or a cell names, by id, sorted.

    Raises ``Problem`` where pytest is not installed or a test file cannot be read.
    """
    found: dict[str, Claim] = {}
    for node, identity, words in _marked_tests(folder):
        known = found.setdefault(identity, Claim(identity))
        version = words.get("since") or words.get("until")
        verdict = f"{words['verdict']} {version}" if version else words["verdict"]
        if verdict not in known.verdicts:
            known.verdicts.append(verdict)
        if words["observed"] not in known.observed:
            known.observed.append(words["observed"])
        known.tests.append(node)
    for page in course.pages:
        for cell in page.cells:
            for identity in claims_of(cell):
                found.setdefault(identity, Claim(identity)).cells.append(
                    f"{page.file}#{cell['id']}"
                )
    return dict(sorted(found.items()))


def gaps(claims: dict[str, Claim], wanted: tuple[str, ...]) -> list[str]:
    """What is missing or contradicts itself, a sentence each: a claim without test, without cell,
    with two verdicts.
    """
    wrong = []
    for identity in sorted({*claims, *wanted}):
        claim = claims.get(identity, Claim(identity))
        if not claim_exists(identity):
            wrong.append(f"{identity}: the incident documents make no such claim")
        if not claim.tests:
            wrong.append(
                f"{identity}: has no test"
                + (f", yet {claim.cells[0]} carries it" if claim.cells else "")
            )
        if not claim.cells:
            wrong.append(
                f"{identity}: no cell carries it"
                + (f", yet {claim.tests[0]} settles it" if claim.tests else "")
            )
        if len(claim.verdicts) > 1:
            wrong.append(f"{identity}: tests disagree: {' / '.join(claim.verdicts)}")
    return wrong


def of_the_course() -> tuple[dict[str, Claim], list[str]]:
    """The course's claims, and what is missing of them, a sentence each."""
    root = repository()
    claims = settled(root / "nbtests", read_course(root, lessons()))
    return claims, gaps(claims, wanted_claims())


def summary(claims: Collection[Claim]) -> str:
    """``72 claims: 15 holds, 24 holds with a correction, …``, in a sentence."""
    verdicts = Counter(verdict for claim in claims for verdict in claim.verdicts)
    counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    return f"{len(claims)} claims: {counted}."


def listing(claims: Mapping[str, Claim], missing: Iterable[str]) -> list[str]:
    """The lines of ``loopbound claims``."""
    texts = documents_claims()
    lines = []
    for claim in claims.values():
        verdict = " / ".join(claim.verdicts) or "no verdict"
        lines.append(f"{claim.identity}  {verdict}: {texts.get(claim.identity, '?')}")
        lines += [f"     {text}" for text in claim.observed]
        lines += [f"     cell {place}" for place in claim.cells]
        lines += [f"     test {node}" for node in claim.tests]
    return [*lines, "", summary(claims.values()), *missing]


def _marked_tests(folder: Path) -> list[tuple[str, str, dict[str, str]]]:
    if importlib.util.find_spec("pytest") is None:
        raise Problem(
            "the claims' tests need pytest, which is not installed.\nRun: python3 lab.py test"
        )
    files = sorted(str(file) for file in folder.rglob("test_claims_*.py"))
    if not files:
        return []
    # A process of its own: the same test files may be loaded in this one, by the pytest that asks.
    options = [
        "--collect-only",
        "-q",
        "-p",
        "loopbound.authoring.collecting",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(folder.parent),
    ]
    options += ["-p", "no:asyncio", "-p", "no:anyio"]  # the lessons' plugins: not for these tests
    options += [
        "-o",
        "addopts=--import-mode=importlib",
        "-o",
        f"pythonpath={folder.name}/support notebooks",
        "-o",
        "markers=claim: settles a claim",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        rows = Path(scratch, "claims.json")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *files],
            env=kept | {"LOOPBOUND_CLAIMS": str(rows), "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
        )
        if done.returncode or not rows.exists():
            said = [
                line for line in (done.stdout + done.stderr).splitlines() if line.startswith("E ")
            ]
            raise Problem(
                "the claims' tests cannot be collected.\n"
                + (said[-1][1:].strip() if said else done.stderr.strip()[-300:])
            )
        return [
            (node, identity, words)
            for node, identity, words in json.loads(rows.read_text(encoding="utf-8"))
        ]
