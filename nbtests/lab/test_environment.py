"""environment.yml, as conda and as Binder read it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from patience import LONG


@pytest.fixture(scope="module")
def environment(repository: Path) -> dict:
    return yaml.safe_load((repository / "environment.yml").read_text("utf-8"))


@pytest.fixture(scope="module")
def project(repository: Path) -> dict:
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]


def specs(environment: dict) -> list[str]:
    return [line for line in environment["dependencies"] if isinstance(line, str)]


def test_every_match_spec_parses(environment: dict) -> None:
    from rattler import MatchSpec

    names = {
        str(getattr(MatchSpec(line).name, "normalized", MatchSpec(line).name))
        for line in specs(environment)
    }
    assert names == {"python", "pip"}, "anything else belongs into pyproject.toml"
    assert environment["channels"] == ["conda-forge"]


def test_the_python_pin_is_x_y_and_one_that_the_course_supports(
    environment: dict, project: dict
) -> None:
    pin = next(line for line in specs(environment) if line.startswith("python"))
    assert (found := re.fullmatch(r"python=(3\.\d+)", pin)), f"repo2docker ignores {pin!r}"
    assert SpecifierSet(project["requires-python"]).contains(found[1])


def test_the_packages_are_pyprojects(environment: dict) -> None:
    assert [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)] == [
        ["-e .[course]"]
    ]


@pytest.mark.parametrize(
    "name", ["binder", ".binder", "requirements.txt", "setup.py", "runtime.txt", "Pipfile"]
)
def test_nothing_makes_binder_look_elsewhere(repository: Path, name: str) -> None:
    assert not (repository / name).exists()


def test_repo2docker_reads_the_repository(repository: Path, tmp_path: Path) -> None:
    # A copy: repo2docker writes nothing, but it walks the folder, and .venv is not what Binder
    # gets.
    for name in ("environment.yml", "pyproject.toml", "README.md", "LICENSE", "lab.py"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "repo2docker",
            "--no-build",
            "--debug",
            "--user-id",
            "1000",
            "--user-name",
            "reader",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LONG,
    )
    text = said.stdout + said.stderr
    assert said.returncode == 0, text[-3000:]
    assert "Building conda environment for python=3.12\n" in text
    # Binder starts from a frozen environment of that Python; the file's name is escaped in the
    # Dockerfile.
    frozen = re.findall(r"environment-2epy-2d3-2e(\d+)", text)
    assert frozen and set(frozen) == {"12"}, text[-3000:]
    # It installs our file after the clone is there, else `-e .` would find nothing.
    copied, installed = (
        text.index("COPY --chown=1000:1000 src/ ${REPO_DIR}"),
        text.index('env update -p ${NB_PYTHON_PREFIX} --file "environment.yml"'),
    )
    assert copied < installed


def test_a_range_would_give_another_python(repository: Path, tmp_path: Path) -> None:
    """Why the pin is written as it is; this also shows that the test above can fail."""
    text = (repository / "environment.yml").read_text("utf-8")
    (tmp_path / "environment.yml").write_text(text.replace("python=3.12", "python>=3.11"), "utf-8")
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "repo2docker",
            "--no-build",
            "--debug",
            "--user-id",
            "1000",
            "--user-name",
            "reader",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=LONG,
    )
    frozen = re.findall(r"environment-2epy-2d3-2e(\d+)", said.stdout + said.stderr)
    assert frozen and "12" not in frozen and "11" not in frozen
