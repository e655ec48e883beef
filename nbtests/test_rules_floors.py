"""The package's floors: a module imports from floors below its own, or from its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

# From the ground up. What is not named here has no floor yet, and the test says so.
FLOORS = {
    "problem": 0,
    "paths": 0,
    "files": 0,
    "database": 1,
    "loops": 2,
    "recorder": 3,
    "suite": 4,
    "figures": 5,
    "course": 6,
    "progress": 6,
    "lessons": 7,
    "checks": 7,
    "exercises": 8,
    "grading": 8,
    "report": 8,  # draws what grading found; `grading/command.py` calls it
    "guard": 9,
    "doctor": 9,
    "prompt": 9,
    "workshop": 9,
    "lab": 9,
    "cli": 10,
    "__main__": 11,
    "__init__": 12,  # what notebooks import from: it opens every floor
}


def upward_imports(package: Path) -> list[str]:
    """The imports in a package that lead upwards, a line each."""
    wrong = []
    for file in sorted(package.rglob("*.py")):
        parts = file.relative_to(package).with_suffix("").parts
        if parts[0] not in FLOORS:
            wrong.append(f"{file.relative_to(package)}: has no floor")
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            for target in _targets(node, package, parts):
                if FLOORS.get(target, 99) > FLOORS[parts[0]]:
                    wrong.append(
                        f"{file.relative_to(package)}:{node.lineno}: imports {target}, which is"
                        " above it"
                    )
    return wrong


def _targets(node: ast.AST, package: Path, parts: tuple[str, ...]) -> list[str]:
    """The names of the floors that an import statement reaches."""
    name = package.name
    if isinstance(node, ast.Import):
        found = [alias.name.split(".") for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        # Relative imports are resolved from the folder that the file is in.
        here = [name, *parts[:-1]]
        base = here[: len(here) - node.level + 1] if node.level else []
        module = [*base, *(node.module.split(".") if node.module else [])]
        found = [[*module, alias.name] for alias in node.names] if module == [name] else [module]
    else:
        return []
    own = [path for path in found if path[0] == name]
    names = [path[1] if len(path) > 1 else "__init__" for path in own]
    # `from loopbound import NamedLoop` goes through the facade.
    return [
        (
            target
            if (package / target).is_dir() or (package / f"{target}.py").is_file()
            else "__init__"
        )
        for target in names
    ]


def test_imports_lead_downwards(repository: Path) -> None:
    assert upward_imports(repository / "src" / "loopbound") == []


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
def test_an_import_that_leads_upwards_is_found(line: str, tmp_path: Path) -> None:
    package = tmp_path / "loopbound"
    (package / "database").mkdir(parents=True)
    (package / "cli.py").write_text("from loopbound.database import server\nmain = server\n")
    (package / "database" / "__init__.py").write_text("")
    (package / "database" / "server.py").write_text("")
    assert upward_imports(package) == []
    (package / "database" / "server.py").write_text(line + "\n")
    assert len(upward_imports(package)) == 1


def test_a_module_without_a_floor_is_found(tmp_path: Path) -> None:
    (tmp_path / "attic.py").write_text("")
    assert upward_imports(tmp_path) == ["attic.py: has no floor"]
