"""Every claim that the lessons settle has a test, and every test a cell that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from claims import claim
from small_notebooks import LESSONS, good_course

from loopbound.authoring.claims import Claim, gaps, listing, settled
from loopbound.authoring.pages import read_course
from loopbound.course.manifest import claims, lessons, wanted_claims
from loopbound.problem import Problem
from loopbound.report.claims_page import claims_page

# What the first five lessons owe, whatever else they settle.
OWED = {
    "A01",
    "A02",
    "A03",
    "A12",
    "A13",
    "A14",
    "A15",
    "A16",
    "A17",
    "B01",
    "B02",
    "B08",
    "B09",
    "B10",
    "B11",
    "B12",
    "B13",
    "B18",
    "B49",
}


@pytest.fixture(scope="module")
def found(repository: Path) -> dict[str, Claim]:
    """The course's claims, collected once: that takes a run of pytest over all their tests."""
    return settled(repository / "nbtests", read_course(repository, lessons()))


def test_every_claim_has_a_test_and_a_cell(found: dict[str, Claim]) -> None:
    if missing := gaps(found, wanted_claims()):
        pytest.fail("\n".join(missing), pytrace=False)


def test_the_manifest_wants_what_is_owed() -> None:
    assert set(wanted_claims()) >= OWED


def test_the_listing_names_verdict_observation_cell_and_test(found: dict[str, Claim]) -> None:
    lines = listing(found, ["a gap"])
    for known in found.values():
        assert any(line.startswith(f"{known.identity}  {known.verdicts[0]}: ") for line in lines)
        for part in (*known.observed, *known.cells, *known.tests):
            assert any(line.strip().endswith(part) for line in lines), part
    assert lines[-2].startswith(f"{len(found)} claims: ") and lines[-1] == "a gap"


def test_every_claim_of_the_documents_is_on_the_page(
    found: dict[str, Claim], tmp_path: Path
) -> None:
    text = claims_page(found, tmp_path)
    for identity in claims():
        assert text.count(f'<th scope="row">{identity}</th>') == (identity in found)


# A small repository with two lessons that carry A01 and A02, and tests as a lesson's author writes
# them.
TESTS = """
import pytest
from claims import claim

@claim("A01", verdict="refuted", observed="the first symptom of three")
@pytest.mark.parametrize("loop", ["A", "B"])
def test_message(loop): ...

@claim("A02", verdict="holds since", since="Python 3.11", observed="two tasks took turns")
def test_turns(): ...
"""


def _settled(tmp_path: Path, tests: str):
    root = good_course(tmp_path / "course")
    (root / "nbtests" / "support").mkdir(parents=True)
    (root / "nbtests" / "support" / "claims.py").write_text(
        Path(__file__).parents[1].joinpath("support", "claims.py").read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    (root / "nbtests" / "test_claims_small.py").write_text(tests, encoding="utf-8")
    return settled(root / "nbtests", read_course(root, LESSONS))


def test_tests_and_cells_are_found(tmp_path: Path) -> None:
    found = _settled(tmp_path, TESTS)
    assert list(found) == ["A01", "A02"]
    assert found["A01"].tests == ["nbtests/test_claims_small.py::test_message"]
    assert found["A01"].cells == ["00-start-here.ipynb#second-loop"]
    assert found["A02"].verdicts == ["holds since Python 3.11"]
    assert gaps(found, ("A01", "A02")) == []


def test_gaps_are_found(tmp_path: Path) -> None:
    tests = (
        TESTS.replace('"A02"', '"A03"').replace("def test_turns", "def test_other")
        + '\n@claim("A01", verdict="holds", observed="nothing else was raised")\ndef test_again():'
        " ...\n"
    )
    assert gaps(_settled(tmp_path, tests), ("A01", "A02", "B55")) == [
        "A01: tests disagree: refuted / holds",
        "A02: has no test, yet 01-what-a-loop-is.ipynb#second-loop carries it",
        "A03: no cell carries it, yet nbtests/test_claims_small.py::test_other settles it",
        "B55: the incident documents make no such claim",
        "B55: has no test",
        "B55: no cell carries it",
    ]


def test_a_test_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="cannot be collected"):
        _settled(tmp_path, "import no_such_module")


@pytest.mark.parametrize(
    "words",
    [
        {"verdict": "maybe", "observed": "the engine opened nothing"},
        {"verdict": "holds since", "observed": "the engine opened nothing"},
        {"verdict": "holds until", "since": "1.0", "observed": "the engine opened nothing"},
        {"verdict": "holds", "since": "1.0", "observed": "the engine opened nothing"},
        {"verdict": "holds", "observed": "yes"},
    ],
)
def test_a_claim_is_marked_in_full(words: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="B09"):
        claim("B09", **words)
