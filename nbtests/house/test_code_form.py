"""The form of the code, and that its tools and the workflow look at all of it."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

# Only one command needs it, and `lab.py` installs it then.
WITH_EXTRA = {"uv"}


def project(repository: Path) -> dict[str, Any]:
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]


def undeclared(package: Path, requirements: list[str]) -> list[str]:
    """The modules that a package imports and no requirement brings, as "file: module"."""
    declared = {_normal(re.match(r"[\w.-]+", line)[0]) for line in requirements}
    brought_by = importlib.metadata.packages_distributions()
    found = set()
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in {name.partition(".")[0] for name in names} - {package.name}:
                bringing = {_normal(each) for each in brought_by.get(name, ())}
                if name not in sys.stdlib_module_names and not bringing & declared:
                    found.add(f"{file.relative_to(package)}: {name}")
    return sorted(found)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize(
    "tool", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=" ".join
)
def test_a_tool_finds_nothing(tool: tuple[str, ...], repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *tool], cwd=repository, capture_output=True, encoding="utf-8"
    )
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def test_what_is_imported_is_declared(repository: Path) -> None:
    declared = [*project(repository)["optional-dependencies"]["course"], *WITH_EXTRA]
    assert undeclared(repository / "src" / "loopbound", declared) == []


def test_an_import_that_is_not_declared_is_found(tmp_path: Path) -> None:
    package = tmp_path / "made"
    package.mkdir()
    (package / "one.py").write_text(
        "import json\nimport made.two\nfrom . import two\nimport yaml\n\n"
        "def later():\n    from psycopg.rows import dict_row\n    import nowhere_to_be_found\n"
    )
    assert undeclared(package, ["PyYAML>=6"]) == ["one.py: nowhere_to_be_found", "one.py: psycopg"]
    assert undeclared(package, ["pyyaml", "psycopg[binary]>=3"]) == ["one.py: nowhere_to_be_found"]


def test_the_workflow_runs_every_python_on_every_system(repository: Path) -> None:
    workflow = yaml.safe_load((repository / ".github/workflows/test.yml").read_text("utf-8"))
    job = workflow["jobs"]["test"]
    low, high = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", project(repository)["requires-python"]
    ).groups()
    assert job["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest", "windows-latest"],
        "python": [f"3.{minor}" for minor in range(int(low), int(high))],
    }
    for each in workflow["jobs"].values():
        assert each["steps"][-1] == {"run": ".ci/run"}


def test_hooks_fetch_nothing_and_run_what_the_tests_run(repository: Path) -> None:
    hooks = yaml.safe_load((repository / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [each["repo"] for each in hooks] == ["local"]
    entries = [hook["entry"] for hook in hooks[0]["hooks"]]
    for words in ("ruff check ", "ruff format ", "mypy'", "python3 lab.py format --check"):
        assert len([entry for entry in entries if words in entry]) == 1


def test_a_report_of_a_bug_asks_for_the_doctor(repository: Path) -> None:
    form = yaml.safe_load((repository / ".github/ISSUE_TEMPLATE/bug.yml").read_text("utf-8"))
    first = form["body"][0]
    assert "python3 lab.py doctor" in first["attributes"]["label"]
    assert first["validations"]["required"]
