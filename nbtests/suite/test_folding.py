"""Folding: a case's choices by CURE are made, and all else in its source stays."""

from __future__ import annotations

import pytest

from loopbound.suite.cases import cases
from loopbound.suite.folding import KEPT, defined_in, folded, imports_of

SOURCE = """\
import os

CURE = os.environ.get("CURE")
options = {"null-pool": {"pool": None}, "ping": {"ping": True}}.get(CURE, {})
engine = make(url, **options)  # one for all

if CURE == "dispose":

    # After each test.
    @fixture
    async def dispose():
        yield


def ask():
    if CURE == "inside":
        return 1
    elif CURE in ("thread", "ping"):
        return 2
    else:
        number = 3 if CURE is None else 4
    # said once
    return number


def nothing():
    if CURE == "inside":
        do()


@(marked if CURE == "marked" else plain)
def test():
    sleep(1 if CURE else 2)  # of the case
"""


@pytest.mark.parametrize(
    ("cure", "there", "gone"),
    [
        (
            None,
            ["engine = make(url)  # one", "    number = 3\n", "    pass\n", "@plain"],
            ["yield"],
        ),
        ("null-pool", ["engine = make(url, pool=None)  # one for all", "number = 4"], ["options"]),
        (
            "dispose",
            ["\n# After each test.\n@fixture\nasync def dispose():\n    yield\n"],
            ["else:"],
        ),
        ("inside", ["def ask():\n    return 1\n", "    do()\n"], ["number", "# said once"]),
        ("ping", ["make(url, ping=True)", "def ask():\n    return 2\n"], ["elif", "return 1"]),
        ("marked", ["@marked\ndef test():\n    sleep(1 if CURE else 2)  # of the case\n"], ["@("]),
    ],
)
def test_a_choice_is_made(cure: str | None, there: list[str], gone: list[str]) -> None:
    text = folded(SOURCE, cure)
    assert [part for part in there if part not in text] == []
    assert [part for part in gone if part in text] == []


def test_the_cases_have_no_choice_left() -> None:
    for case in cases().values():
        for cure in ("", *case.cures, *case.not_cures):
            for name, text in case.files(cure).items():
                lines = [line for line in text.splitlines() if KEPT not in line]
                left = [line for line in lines if "CURE" in line or "**options" in line]
                plain = ("CURE = ", "from ")
                assert [line for line in left if not line.startswith(plain)] == [], (case, name)


def test_a_definition_is_known_by_its_name() -> None:
    source = (
        "import os\nlimit = 1\n\ndef ask():\n    return limit\n\n@mark\ndef test():\n    ask()\n"
    )
    assert defined_in(source) == {"limit": "limit = 1", "ask": "def ask():\n    return limit"}


def test_an_import_is_known_by_the_name_that_it_binds() -> None:
    assert imports_of("import os.path\nfrom a.b import c, d as e\nx = 1\n") == {
        "os": "import os.path",
        "c": "from a.b import c",
        "e": "from a.b import d",
    }
