"""The catalogue's cures on the oldest versions that they claim, and on the last ones where they end.

`test_cases.py` runs all of them on today's versions. Here each runs in the first environment of
`loopbound versions` that fulfils what it needs; one process for each environment runs its share.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopbound.faults.cures import cure_named
from loopbound.faults.installed import meets
from loopbound.suite.cases import Case, CaseRun, cases, run_cases
from loopbound.suite.versions.environments import NoNetwork, environments, python_of
from loopbound.suite.versions.observed import number, stored

CASES = cases()
# The other clients are not in these environments.
THERE = ("", "httpx", "streams", "asyncpg-pool")
TESTS = {
    name: case
    for name, case in CASES.items()
    if case.tests and not case.course and case.client in THERE
}
# Of the programs those whose cures are SQLAlchemy's own.
PROGRAMS = ("engine_per_run", "two_awake_loops", "dispose_in_another_run", "left_open")
VERSIONS = {name: row["versions"] for name, row in stored()["environments"].items()}
PLUGINS = sorted(
    (
        each.name
        for each in environments()
        if each.name.startswith("asyncio") and len(each.runs) > 1
    ),
    key=lambda name: number(VERSIONS[name]["pytest-asyncio"]),
)
SQLALCHEMY = "sqlalchemy-2-0"

Cells = dict[tuple[str, str, str], CaseRun]


def there(needs: tuple[str, ...]) -> list[str]:
    """The environments that fulfil needs, the oldest pytest-asyncio first."""
    return [
        name for name in PLUGINS if all(meets(need, VERSIONS[name]) is not False for need in needs)
    ]


def facts(case: Case) -> set[str]:
    return {"pytest"} if case.tests else {"program"}


def claimed() -> Iterator[tuple[str, str, str]]:
    """For each cure its case, and the environments at the ends of what it claims."""
    for name, case in TESTS.items():
        for cure in case.cures:
            needs = (*case.needs, *cure_named(case.kind, cure, facts(case)).needs)
            yield there(needs)[0], name, cure
        for cure in case.older:
            ends = there(cure_named(case.kind, cure, facts(case)).needs)
            yield from ((ends[end], name, cure) for end in (0, -1))
    for name in PROGRAMS:
        yield from ((SQLALCHEMY, name, cure) for cure in CASES[name].cures)


def beyond() -> Iterator[tuple[str, str, str]]:
    """For each need the environment next to its end, where the cure does not cure."""
    for name, case in TESTS.items():
        for cure in (*case.cures, *case.older):
            needs = cure_named(case.kind, cure, facts(case)).needs
            fitting, faulty = there(needs), there(case.needs)
            if needs and cure != "session-loop":  # `loopbound versions` dates it by the incident
                at = PLUGINS.index(fitting[-1]) + 1 if "<" in needs[0] else None
                near = PLUGINS[PLUGINS.index(fitting[0]) - 1 if at is None else at]
                if near in faulty:
                    yield near, name, cure


CLAIMED, BEYOND = sorted(set(claimed())), sorted(set(beyond()))


@pytest.fixture(scope="module")
def cells() -> Cells:
    wanted = {*CLAIMED, *BEYOND}
    wanted |= {
        (place, name, "")
        for place, name, _ in wanted
        if place == SQLALCHEMY or place in there(CASES[name].needs)
    }
    found: Cells = {}
    try:
        for place in sorted({place for place, _, _ in wanted}):
            jobs = sorted((name, cure, False) for where, name, cure in wanted if where == place)
            for run in run_cases(jobs, python_of(place)):
                found[place, run.case, run.cure] = run
    except NoNetwork as reason:
        pytest.skip(str(reason).splitlines()[0])
    return found


def cured(run: CaseRun) -> bool:
    return run.code == 0 and not any(sign in run.output for sign in CASES[run.case].signs)


def test_each_case_fails_there_as_found(cells: Cells) -> None:
    wrong = [
        f"{place}: {name}\n{run.output[-1500:]}"
        for (place, name, cure), run in cells.items()
        if not cure and not all(sign in run.output for sign in CASES[name].signs)
    ]
    assert wrong == []


@pytest.mark.parametrize("cell", CLAIMED, ids="-".join)
def test_a_cure_holds_at_the_ends_of_what_it_claims(
    cell: tuple[str, str, str], cells: Cells
) -> None:
    run = cells[cell]
    assert cured(run), f"code {run.code}\n{run.output[-3000:]}"
    assert run.left == CASES[run.case].left.get(run.cure, 0)


@pytest.mark.parametrize("cell", BEYOND, ids="-".join)
def test_it_does_not_hold_beyond_them(cell: tuple[str, str, str], cells: Cells) -> None:
    run = cells[cell]
    assert not cured(run), f"{run.cure} holds there, too: the catalogue claims too little"


def test_each_end_is_looked_at() -> None:
    assert {cure for _, _, cure in BEYOND} == {
        "same-loop-scope",
        "explicit-loop",
        "event-loop-fixture",
    }
    assert {place for place, _, _ in CLAIMED} >= {"asyncio-0-21", "asyncio-0-24", "asyncio-1-3"}
