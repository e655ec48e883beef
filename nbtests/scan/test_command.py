"""``loopbound scan`` as a command: forms, exit codes, what is left out, and what it mends."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from scan_trees import AUTO, OVERRIDE, SUITE, build

from loopbound.cli import main
from loopbound.faults.catalogue import BY_ID
from loopbound.scan.findings import CODES

NESTED = "import asyncio\nasync def main():\n    asyncio.run(other())\n"


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str, str]:
    code = main(["scan", *map(str, words)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_each_code_has_a_kind_of_the_catalogue_or_none() -> None:
    assert {code.kind for code in CODES.values()} - {""} <= set(BY_ID)
    assert all(code.kind or code.lesson for code in CODES.values())


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = build(tmp_path, {"a.py": NESTED})
    assert run(capsys, root)[0] == 1
    assert run(capsys, root, "--ignore", "nested")[0] == 0
    assert run(capsys, root, "--select", "DEAD,ENGINE")[0] == 0
    assert run(capsys, root / "a.py")[0] == 1
    code, _, error = run(capsys, root, "--select", "NONSENSE")
    assert code == 2 and "no code is, or starts with, NONSENSE" in error
    code, _, error = run(capsys, root / "nowhere")
    assert code == 2 and "does not exist" in error


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (
            {
                "a.py": NESTED.replace(
                    "other())", "other())  # loopbound: ignore[NESTED_ASYNCIO_RUN]"
                )
            },
            0,
        ),
        ({"a.py": NESTED.replace("other())", "other())  # loopbound: ignore")}, 0),
        (
            {"a.py": NESTED.replace("other())", "other())  # loopbound: ignore[OTHER_DRIVER_URL]")},
            1,
        ),
        ({"a.py": "# loopbound: ignore-file[NESTED]\n" + NESTED}, 0),
        (
            {
                "a.py": NESTED,
                "pyproject.toml": "[tool.loopbound]\nignore = ['NESTED_ASYNCIO_RUN']\n",
            },
            0,
        ),
        ({"a.py": NESTED, "pyproject.toml": "[tool.loopbound]\nselect = ['OTHER']\n"}, 0),
        ({"b/a.py": NESTED, "pyproject.toml": "[tool.loopbound]\nexclude = ['b']\n"}, 0),
        (
            {
                "b/a.py": NESTED,
                "pyproject.toml": "[tool.loopbound.per-file-ignores]\n'b/*.py' = ['ALL']\n",
            },
            0,
        ),
        ({"a.py": NESTED, "pyproject.toml": "[tool.loopbound]\nignored = []\n"}, 2),
        ({"a.py": NESTED, "pyproject.toml": "[tool.loopbound]\nignore = 'NESTED'\n"}, 2),
        ({"a.py": NESTED, "pyproject.toml": "no toml"}, 2),
        ({"a.py": "async def broken(:\n    asyncio.run(other())\n"}, 0),
    ],
)
def test_what_is_left_out(
    files: Mapping[str, str], code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, _, error = run(capsys, build(tmp_path, files))
    assert found == code
    assert bool(error) == (code == 2 or "broken" in files.get("a.py", ""))
    assert "Traceback" not in error
    if "broken" in files.get("a.py", ""):
        (said,) = error.splitlines()
        here = ".".join(map(str, sys.version_info[:2]))
        assert "a.py was left out: line 1: invalid syntax. " in said
        assert f"read it as Python {here}; if it is written for a newer one, run" in said


def test_the_forms(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = build(tmp_path / "a project", {**SUITE, "tests/conftest.py": OVERRIDE})
    monkeypatch.chdir(root)
    _, text, _ = run(capsys, root)
    _, as_json, _ = run(capsys, root, "--format", "json")
    _, as_sarif, _ = run(capsys, root, "--format", "sarif")
    _, github, _ = run(capsys, root, "--format", "github")
    findings = json.loads(as_json)
    assert [each["code"] for each in findings] == [
        "ENGINE_OVER_FUNCTION_LOOPS",
        "DEAD_EVENT_LOOP_OVERRIDE",
    ]
    for each in findings:
        assert f"{each['file']}:{each['line']}: {each['code']} {each['severity']}" in text
        assert f"file={each['file']},line={each['line']},title=loopbound {each['code']}::" in github
    assert github.startswith("::error file=app/database.py,line=3,") and "%0ACure: " in github
    run_ = json.loads(as_sarif)["runs"][0]
    rules = [rule["id"] for rule in run_["tool"]["driver"]["rules"]]
    assert rules == list(CODES)
    assert [(r["ruleId"], rules[r["ruleIndex"]], r["level"]) for r in run_["results"]] == [
        ("ENGINE_OVER_FUNCTION_LOOPS", "ENGINE_OVER_FUNCTION_LOOPS", "error"),
        ("DEAD_EVENT_LOOP_OVERRIDE", "DEAD_EVENT_LOOP_OVERRIDE", "warning"),
    ]
    assert run_["originalUriBaseIds"]["ROOT"]["uri"].endswith("/a%20project/")


def test_the_versions_of_an_interpreter_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """This environment has pytest-asyncio 1.5 or newer, and the project pins an old one."""
    pinned = "pytest-asyncio==0.21.1\nasyncpg\n"
    root = build(tmp_path, {**SUITE, "requirements.txt": pinned, "tests/conftest.py": OVERRIDE})
    assert "EVENT_LOOP_OVERRIDE_PINNED" in run(capsys, root)[1]
    assert "DEAD_EVENT_LOOP_OVERRIDE" in run(capsys, root, "--python", sys.executable)[1]
    code, _, error = run(capsys, root, "--python", tmp_path / "python")
    assert code == 2 and "does not answer as a Python interpreter" in error


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        (
            "pytest.ini",
            "# ours\n" + AUTO + "addopts = -q\n",
            "# ours\n[pytest]\nasyncio_default_test_loop_scope = session\nasyncio_mode = auto\n"
            "asyncio_default_fixture_loop_scope = session\naddopts = -q\n",
        ),
        (
            "pyproject.toml",
            '[tool.pytest.ini_options]  # ours\nasyncio_mode = "auto"\n',
            "[tool.pytest.ini_options]  # ours\n"
            'asyncio_default_test_loop_scope = "session"\n'
            'asyncio_default_fixture_loop_scope = "session"\nasyncio_mode = "auto"\n',
        ),
        (
            "setup.cfg",
            "[tool:pytest]\r\nasyncio_mode=auto\r\n",
            "[tool:pytest]\r\nasyncio_default_test_loop_scope = session\r\n"
            "asyncio_default_fixture_loop_scope = session\r\nasyncio_mode=auto\r\n",
        ),
    ],
)
def test_what_is_safe_is_mended(
    name: str, before: str, after: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {key: text for key, text in SUITE.items() if key != "pytest.ini"}
    kept = "\n\ndef kept():\n    return 1\n"
    root = build(tmp_path, {**files, "tests/conftest.py": "import os\n\n" + OVERRIDE + kept})
    (root / name).write_bytes(before.encode())
    code, shown, _ = run(capsys, root, "--diff")
    assert code == 1 and "+asyncio_default_test_loop_scope" in shown and "-def event_loop" in shown
    assert (root / name).read_bytes() == before.encode()
    code, shown, _ = run(capsys, root, "--fix")
    assert code == 0 and shown.count("@@ ") == 2 and "Nothing found" in shown
    assert (root / name).read_bytes() == after.encode()
    conftest = (root / "tests" / "conftest.py").read_text()
    assert conftest == "import os\n\n\ndef kept():\n    return 1\n"
    code, shown, _ = run(capsys, root, "--fix")
    assert code == 0 and "nothing that can be mended" in shown


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import asyncio\n\nimport pytest\n", ""),
        ("import asyncio, os, pytest  # ours\n", "import os  # ours\n"),
        ("import pytest\nfrom asyncio import new_event_loop as asyncio\n\n\n", ""),
        ("import os; import asyncio\n", "import os; import asyncio\n"),
        ("from os import (\n    sep,\n    path as asyncio,  # ours\n)\n", None),
        ("from os import (\n    sep,\n    path as asyncio,\n)\n", "from os import sep\n"),
        ("from app import asyncio\n", None),  # who knows what else it does
        ("import asyncio\nasync def test_1(): await asyncio.sleep(0)\n", None),
        ('import asyncio\n__all__ = ["asyncio"]\n', None),
        (
            "import asyncio\nimport pytest\n\n\n@pytest.mark.asyncio\nasync def test_1(): ...\n",
            "import pytest\n\n\n@pytest.mark.asyncio\nasync def test_1(): ...\n",
        ),
    ],
)
def test_imports_go_with_the_last_code_that_used_them(
    before: str, after: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    override = OVERRIDE.partition("pytest\n")[2]
    root = build(tmp_path, {**SUITE, "tests/conftest.py": before + override})
    _, shown, _ = run(capsys, root, "--diff")
    assert f"-{before.splitlines()[0]}\n" in shown or after in (None, before)
    run(capsys, root, "--fix", "--select", "DEAD")
    kept = before if after is None else after
    assert (root / "tests" / "conftest.py").read_text() == kept


def test_the_hooks_of_pre_commit_call_the_command(repository: Path) -> None:
    text = (repository / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    words = re.search(r"^  entry: (.*)$", text, re.MULTILINE)
    assert words and words[1] == "loopbound scan"
    assert "pass_filenames: false" in text and "language: python" in text
