"""The package's floors: a module imports from floors below its own, or from its own; never in a
circle.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

# From the ground up. What is not named here has no floor yet, and the test says so.
FLOORS = (
    ("problem", "files", "machine", "outcomes", "paths", "terminal"),  # the ground
    ("faults",),  # the catalogue: without anything of the course
    ("guard", "scan", "stability"),  # tools for the reader's own suite: from the catalogue alone
    ("loops", "database"),  # the laboratory
    ("recorder",),
    ("experiments",),
    ("suite",),
    ("figures",),
    ("course",),  # the course
    ("checks",),
    ("authoring",),  # for authors
    ("grading",),  # for facilitators
    ("report",),
    ("learner", "doctor"),
    ("commands",),
    ("cli",),
    ("__main__", ""),  # "": the package itself, which opens every floor to notebooks
)
# What `pip install loopbound` is for. They import nothing of the course, and of other packages only
# what stands here.
TOOLS: dict[str, set[str]] = {
    "faults": set(),
    "guard": {"pytest", "sqlalchemy"},
    "scan": set(),
    "stability": {"pytest"},
}
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imports(package: Path) -> dict[str, dict[str, int]]:
    """What each module of a package imports of it: {module: {module: line}}, names without the
    package's.
    """
    files = {_module(file, package): file for file in sorted(package.rglob("*.py"))}
    return {name: dict(_targets(name, file, package.name, files)) for name, file in files.items()}


def _module(file: Path, package: Path) -> str:
    parts = file.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _targets(
    name: str, file: Path, package: str, files: dict[str, Path]
) -> Iterator[tuple[str, int]]:
    """The modules that a module's import statements reach, wherever in it they stand."""
    folder = name if file.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            here = [package, *filter(None, folder.split("."))]
            base = ".".join(here[: len(here) - node.level + 1]) + "." if node.level else ""
            found = [
                f"{base}{node.module or ''}.{alias.name}".replace("..", ".") for alias in node.names
            ]
        else:
            continue
        for words in (path.split(".") for path in found):
            if words[0] == package:
                # The longest beginning that is a module: the rest is a name in it.
                ends = range(len(words), 0, -1)
                reached = next(
                    ".".join(words[1:end]) for end in ends if ".".join(words[1:end]) in files
                )
                if reached != name:
                    yield reached, node.lineno


def wrong_imports(package: Path) -> list[str]:
    """What breaks the rule, a line each: a module without a floor, an import upwards, a circle."""
    graph = imports(package)
    wrong = []
    for name, targets in graph.items():
        floor = FLOOR.get(name.partition(".")[0])
        if floor is None:
            wrong.append(f"{name}: has no floor")
            continue
        for target, line in targets.items():
            if FLOOR.get(target.partition(".")[0], 99) > floor:
                wrong.append(f"{name}:{line}: imports {target or package.name}, which is above it")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        wrong.append(f"a circle: {' <- '.join(error.args[1])}")
    return wrong


def heavy_imports(package: Path) -> list[str]:
    """What a tool imports beside the standard library, itself, other tools and `problem`."""
    wrong = []
    for name, targets in imports(package).items():
        tool = name.partition(".")[0]
        if tool not in TOOLS:
            continue
        light = {"problem", *TOOLS}
        reached = {target.partition(".")[0] for target in targets} - light
        file = next(p for p in package.rglob("*.py") if _module(p, package) == name)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            outside = {each.partition(".")[0] for each in names} - sys.stdlib_module_names
            reached |= outside - TOOLS[tool] - {package.name}
        wrong += [f"{name}: imports {each or package.name}" for each in sorted(reached)]
    return wrong


def test_the_tools_import_nothing_of_the_course(repository: Path) -> None:
    assert heavy_imports(repository / "src" / "loopbound") == []


def test_an_import_of_the_course_in_a_tool_is_found(package: Path) -> None:
    (package / "guard").mkdir()
    (package / "guard" / "__init__.py").write_text("import os, pytest\n")
    assert heavy_imports(package) == []
    (package / "guard" / "__init__.py").write_text(
        "def later():\n    import psutil\n    from loopbound.database import server\n"
    )
    assert heavy_imports(package) == ["guard: imports database", "guard: imports psutil"]


def test_imports_lead_downwards(repository: Path) -> None:
    assert wrong_imports(repository / "src" / "loopbound") == []


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of two floors that follows the rule."""
    made = tmp_path / "loopbound"
    (made / "database").mkdir(parents=True)
    (made / "__init__.py").write_text("")
    (made / "cli.py").write_text("from loopbound.database import server\nmain = server\n")
    (made / "database" / "__init__.py").write_text("from loopbound.database.server import *\n")
    (made / "database" / "server.py").write_text("")
    (made / "database" / "reach.py").write_text("from . import server\n")
    assert wrong_imports(made) == []
    return made


@pytest.mark.parametrize(
    "line",
    [
        "from loopbound.cli import main",
        "import loopbound.cli",
        "from loopbound import cli",
        "from loopbound import main",
        "from ..cli import main",
        "from .. import cli",
        "def later():\n    from loopbound.cli import main",
    ],
)
def test_an_import_that_leads_upwards_is_found(line: str, package: Path) -> None:
    (package / "database" / "server.py").write_text(line + "\n")
    assert any("which is above it" in wrong for wrong in wrong_imports(package))


def test_a_circle_on_one_floor_is_found(package: Path) -> None:
    (package / "database" / "server.py").write_text("def f():\n    from .reach import server\n")
    (wrong,) = wrong_imports(package)
    assert wrong.startswith("a circle: ")


def test_a_module_without_a_floor_is_found(package: Path) -> None:
    (package / "attic.py").write_text("")
    assert wrong_imports(package) == ["attic: has no floor"]
