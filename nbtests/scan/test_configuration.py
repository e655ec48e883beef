"""Which configuration and which versions hold for a folder of tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from scan_trees import build

from loopbound.scan.settings import Configuration
from loopbound.scan.source import Project
from loopbound.scan.versions import Versions, allows

INI = "[pytest]\nasyncio_mode = {}\n"
TOML = '[tool.pytest.ini_options]\nasyncio_mode = "{}"\n'


@pytest.mark.parametrize(
    ("files", "folder", "file", "mode"),
    [
        ({"pytest.ini": INI, "pyproject.toml": TOML}, "tests", "pytest.ini", "one"),
        ({"pytest.ini": "", "pyproject.toml": TOML}, "tests", "pytest.ini", None),
        ({".pytest.ini": INI, "tox.ini": INI}, "tests", ".pytest.ini", "one"),
        (
            {"pytest.toml": '[pytest]\nasyncio_mode = "{}"\n', "pytest.ini": INI},
            "",
            "pytest.toml",
            "one",
        ),
        ({"pyproject.toml": TOML, "tox.ini": INI, "setup.cfg": ""}, "", "pyproject.toml", "one"),
        ({"pyproject.toml": "[project]\n", "tox.ini": INI}, "", "tox.ini", "two"),
        (
            {"tox.ini": "[tox]\n", "setup.cfg": INI.replace("[pytest", "[tool:pytest")},
            "",
            "setup.cfg",
            "two",
        ),
        ({"setup.cfg": INI}, "", None, None),
        (
            {"pyproject.toml": '[tool.pytest]\nasyncio_mode = "{}"\n'},
            "tests/a/b",
            "pyproject.toml",
            "one",
        ),
        ({"tests/pytest.ini": INI, "pyproject.toml": TOML}, "tests", "pyproject.toml", "two"),
        ({"tests/pytest.ini": INI}, "tests", "tests/pytest.ini", "one"),
        (
            {"tests/pytest.ini": INI, "pytest.ini": "[pytest]\nnorecursedirs = tests/sdk\n"},
            "tests/sdk/one",
            "tests/pytest.ini",
            "one",
        ),
        (
            {"tests/pytest.ini": INI, "pytest.ini": "[pytest]\ntestpaths = tests/unit\n"},
            "tests/unit",
            "pytest.ini",
            None,
        ),
        (
            {"tests/pytest.ini": INI, "pytest.ini": "[pytest]\ntestpaths = tests/unit\n"},
            "tests/sdk",
            "tests/pytest.ini",
            "one",
        ),
        (
            {"back/pytest.ini": INI, "back/pyproject.toml": "", "pyproject.toml": TOML},
            "back/tests",
            "back/pytest.ini",
            "one",
        ),
        (
            {"pytest.ini": "[pytest]\naddopts = -q --asyncio-mode=one\nasyncio_mode = two\n"},
            "",
            "pytest.ini",
            "one",
        ),
        ({"pytest.ini": "[pytest]\naddopts = -o asyncio_mode=one\n"}, "", "pytest.ini", "one"),
    ],
)
def test_pytests_own_precedence(
    files: dict[str, str], folder: str, file: str | None, mode: str | None, tmp_path: Path
) -> None:
    texts = {}
    for number, (name, text) in enumerate(files.items()):
        texts[name] = text.replace("{}", "one" if number == 0 else "two")
    settings = Configuration(Project(build(tmp_path, texts))).settings(folder)
    assert (settings.file, settings.text("asyncio_mode")) == (file, mode)


LOCK = '[[package]]\nname = "pytest-asyncio"\nversion = "0.24.0"\n'


@pytest.mark.parametrize(
    ("files", "version"),
    [
        ({"requirements.txt": "pytest-asyncio==0.21.1\n"}, (0, 21, 1)),
        ({"requirements/dev.txt": "pytest_asyncio == 0.23.8 ; python_version > '3'\n"}, (0, 23, 8)),
        (
            {
                "uv.lock": LOCK,
                "pyproject.toml": "[dependency-groups]\ndev = ['pytest-asyncio>=1']\n",
            },
            (0, 24, 0),
        ),
        ({"poetry.lock": LOCK}, (0, 24, 0)),
        ({"Pipfile.lock": '{"develop": {"pytest-asyncio": {"version": "==0.20.3"}}}'}, (0, 20, 3)),
        (
            {"pyproject.toml": "[tool.poetry.dev-dependencies]\npytest-asyncio = '^0.18.3'\n"},
            (0, 18, 3),
        ),
        (
            {"pyproject.toml": "[project.optional-dependencies]\ntest = ['pytest-asyncio<1']\n"},
            (0, 26, 0),
        ),
        (
            {"pyproject.toml": "[project]\ndependencies = ['pytest-asyncio (>=1.3.0,<1.4)']\n"},
            (1, 3, 0),
        ),
        (
            {"setup.cfg": "[options.extras_require]\ntest =\n    pytest-asyncio~=0.21.0\n"},
            (0, 21, 2),
        ),
        ({"environment.yml": "dependencies:\n  - pytest-asyncio=0.23.8\n"}, (0, 23, 8)),
        (
            {
                "env/pyvenv.cfg": "",
                "env/lib/python3.12/site-packages/pytest_asyncio-1.1.0.dist-info/METADATA": "",
            },
            (1, 1, 0),
        ),
        ({"requirements.txt": "pytest-asyncio\n"}, (1, 5, 0)),
    ],
)
def test_the_version_that_is_locked_or_installed(
    files: dict[str, str], version: tuple[int, ...], tmp_path: Path
) -> None:
    assert Versions(Project(build(tmp_path, files))).of("pytest-asyncio", "tests") == version


def test_a_requirements_file_of_powershell(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("pytest-asyncio==1.3.0\r\n".encode("utf-16"))
    assert Versions(Project(tmp_path)).of("pytest-asyncio", "") == (1, 3, 0)


def test_the_newest_that_an_old_python_can_have(tmp_path: Path) -> None:
    root = build(tmp_path, {"requirements.txt": "pytest-asyncio\n"})
    assert Versions(Project(root), python=(3, 9)).of("pytest-asyncio", "") == (1, 2, 0)


@pytest.mark.parametrize(
    ("wanted", "version", "answer"),
    [
        ("^0.18.3", (0, 19, 0), False),
        ("^1.2", (1, 5, 0), True),
        ("~=0.21.0", (0, 23, 0), False),
        ("~=0.21", (0, 23, 0), True),
        ("==0.21.*", (0, 21, 2), True),
        (">=0.23,<0.24", (0, 24, 0), False),
        ("^0.21 || ^1.0", (1, 5, 0), True),
        ("!=1.5.0", (1, 5, 0), False),
        ("", (1, 5, 0), True),
    ],
)
def test_what_a_requirement_admits(wanted: str, version: tuple[int, ...], answer: bool) -> None:
    assert allows(wanted, version) is answer
