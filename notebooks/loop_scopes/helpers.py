"""What lessons 08 and 08d do with suites and their settings, so that their cells can be about loop scopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from loopbound.figures import Figure, outcome_grid
from loopbound.suite import BACKEND, Listing, SuiteRun, listing, run_suites

HERE = Path(__file__).resolve().parent
FIXTURES, TESTS = "asyncio_default_fixture_loop_scope", "asyncio_default_test_loop_scope"

WORDS = {"AssertionError": "different loop", "Failed": "refused"}
"""What the symptoms of these lessons' tests mean: they compare loops, and pytest refuses async tests."""


def show(name: str | Path, begin: str = "", end: str = "") -> Listing:
    """A file, named from the folder of this one, or a part of it, as a notebook shows it."""
    return listing(HERE / name, begin, end)


def suite(folder: str, settings: Mapping[str, str]) -> dict[str, object]:
    """A job for `run_suites`: the files of a folder, with settings.

    A setting is an option of pytest, in `pyproject.toml`. One whose name has a dot is text that is added to the file of this
    name. The mode is auto, where it is not set.
    """
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted((HERE / folder).glob("*.py"))}
    options = {"asyncio_mode": "auto"} | {name: value for name, value in settings.items() if "." not in name}
    lines = [f"{name} = '{value}'" for name, value in options.items() if value]
    files["pyproject.toml"] = "\n".join(["[tool.pytest.ini_options]", *lines])
    for name in settings.keys() - options.keys():
        files[name] = files.get(name, "") + settings[name]
    return {"project": files}


def run_each(folder: str, settings: Mapping[str, Mapping[str, str]], test: str = "") -> dict[str, SuiteRun]:
    """Run the suite of a folder, or one test of it, with each of these settings, see `suite`."""
    jobs = [suite(folder, each) | ({"tests": [test]} if test else {}) for each in settings.values()]
    return dict(zip(settings, run_suites(jobs), strict=True))


def run_one(folder: str, test: str) -> str:
    """What the one test of a file gave, with no loop option set."""
    (run,) = run_suites([suite(folder, {}) | {"tests": [test]}])
    (ended,) = run.tests
    return f"{ended.id.rpartition('::')[2]}: {WORDS.get(ended.symptom, ended.symptom)}"


def run_pairs(folder: str, scopes: Sequence[str], test: str) -> dict[tuple[str, str], SuiteRun]:
    """Run one test with each pair of loop scopes, of fixtures and of tests."""
    pairs = list(product(scopes, scopes))
    jobs = [suite(folder, {FIXTURES: f, TESTS: t}) | {"tests": [test]} for f, t in pairs]
    return dict(zip(pairs, run_suites(jobs), strict=True))


def run_backend(scopes: Sequence[str]) -> dict[str, SuiteRun]:
    """Run the backend's suite with each pair of loop scopes."""
    pairs = list(product(scopes, scopes))
    words = [["-o", f"{FIXTURES}={f}", "-o", f"{TESTS}={t}"] for f, t in pairs]
    runs = run_suites([{"project": BACKEND, "options": options} for options in words])
    return {f"fixtures: {f}, tests: {t}": run for (f, t), run in zip(pairs, runs, strict=True)}


def results(runs: Mapping[tuple[str, str], SuiteRun]) -> dict[tuple[str, str], str]:
    """What the one test of each run gave."""
    return {pair: "ScopeMismatch" if "ScopeMismatch" in run.tests[0].error else run.tests[0].symptom for pair, run in runs.items()}


def where_it_breaks(runs: Mapping[str, SuiteRun]) -> dict[str, list[str]]:
    """Row → what its tests and its teardowns gave, apart from ok."""

    def at(run: SuiteRun, phase: str) -> str:
        return ", ".join(sorted({test.symptom for test in run.tests if test.phase == phase} - {"ok"})) or "ok"

    return {name: [at(run, "call"), at(run, "teardown")] for name, run in runs.items()}


def grid(
    runs: Mapping[str, SuiteRun], columns: Mapping[str, str], title: str, **words: str
) -> Figure:
    """A row for each run: what its tests gave.

    columns
        Test → the head of its column.
    words
        Symptom → the word for it, in place of `WORDS`.
    """
    words = WORDS | words
    said = {
        name: {test.id.rpartition("::")[2].partition("[")[0]: words.get(test.symptom, test.symptom) for test in run.tests}
        for name, run in runs.items()
    }
    rows = {name: [tests[test] for test in columns] for name, tests in said.items()}
    return outcome_grid(rows, list(columns.values()), title)


def said(text: str, *words: str) -> str:
    """The lines and sentences of a text in which words stand, each once."""
    parts = [part.strip() for part in text.replace(". ", ".\n").splitlines()]
    return "\n".join(dict.fromkeys(part for part in parts if any(word in part for word in words)))


def apart(test: str, cures: Sequence[str], only: bool = True) -> dict[str, SuiteRun]:
    """Run a test file with the backend under each of these cures, or as found: alone, or as the last of its suite's files."""
    name = f"tests/{test}"
    text = {name: (HERE / "apart" / test).read_text(encoding="utf-8")}
    jobs = []
    for cure in cures:
        fix = BACKEND / "fixes" / cure
        own = {} if cure == "as found" else {path.relative_to(fix).as_posix(): path.read_text(encoding="utf-8") for path in fix.rglob("*.*")}
        jobs.append({"project": BACKEND, "overlay": own | text, "tests": [name] if only else []})
    return dict(zip(cures, run_suites(jobs), strict=True))


def cure(name: str, begin: str, end: str = "") -> Listing:
    """A part of a cure's `conftest.py`, as a notebook shows it."""
    return listing(BACKEND / "fixes" / name / "tests" / "conftest.py", begin, end)


def loop_options(name: str) -> Listing:
    """The loop options that a cure sets in `pyproject.toml`."""
    return listing(said((BACKEND / "fixes" / name / "pyproject.toml").read_text(encoding="utf-8"), "loop_scope"))
