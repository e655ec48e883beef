"""lab.py, run for real in copies of the clone: both ways to set up, what interrupts them, and each
error that it explains.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from patience import LONG, eventually

POSIX = os.name != "nt"
# A reader does not start lab.py from inside .venv.
BASE = getattr(sys, "_base_executable", sys.executable)
FOLDER_NAME = "Zoë’s course – 学ぶ"  # spaces and letters beyond ASCII, in every copy below


def copy_of(repository: Path, above: Path) -> Path:
    """What a clone has at the time of the test, committed or not; without .venv."""
    clone = above / FOLDER_NAME
    clone.mkdir(parents=True)
    for name in ("lab.py", "pyproject.toml", "uv.lock", "README.md", "LICENSE"):
        shutil.copy2(repository / name, clone / name)
    for name in ("src", "notebooks"):
        shutil.copytree(
            repository / name,
            clone / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    return clone


def surroundings(tools: Path | None, **more: str) -> dict[str, str]:
    """The environment of a reader's shell: no virtual environment; uv on the PATH where `tools`
    holds it, and only there.
    """
    keep = {
        key: value
        for key, value in os.environ.items()
        if key not in {"VIRTUAL_ENV", "PYTEST_CURRENT_TEST"}
    }
    folders = [
        folder
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep)
        if not (Path(folder) / ("uv" if POSIX else "uv.exe")).exists()
    ]
    keep["PATH"] = os.pathsep.join([str(tools)] * bool(tools) + folders)
    return keep | more


def lab(
    clone: Path, *words: str, env: dict[str, str], python: str = BASE, **options
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, str(clone / "lab.py"), *words],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=LONG,
        **options,
    )


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """What it said when it gave up: to people, in one to three lines, with an exit code."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.startswith("lab.py: "), done.stderr
    assert 1 <= len(done.stderr.strip().splitlines()) <= 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def installed(clone: Path) -> dict[str, str]:
    """Name → version of what is in the clone's .venv, without the tools that `python -m venv`
    brings itself.
    """
    site = next((clone / ".venv").glob("[Ll]ib/**/site-packages"))
    found = {
        d.name.lower().replace("_", "-").replace(".", "-"): d.version
        for d in metadata.distributions(path=[str(site)])
    }
    return {
        name: version
        for name, version in found.items()
        if name not in {"pip", "setuptools", "wheel"}
    }


def venv_program(clone: Path, name: str) -> str:
    return str(clone / ".venv" / ("bin" if POSIX else "Scripts") / name)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with uv and nothing else."""
    folder = tmp_path_factory.mktemp("tools")
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv comes with the tests' packages: python3 lab.py test"
    shutil.copy2(uv, folder)
    return folder


@pytest.fixture(scope="module")
def by_uv(
    repository: Path, tools: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A copy set up with uv, for tests that leave it as they found it; and what lab.py said."""
    clone = copy_of(repository, tmp_path_factory.mktemp("uv"))
    done = lab(clone, "--help", env=surroundings(tools))
    assert done.returncode == 0 and not (clone / ".venv").exists(), (
        "asking for help must not install anything"
    )
    done = lab(clone, "lab", "--help", env=surroundings(tools))
    assert done.returncode == 0, done.stdout + done.stderr
    return clone, done.stdout


@pytest.fixture(scope="module")
def by_pip(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    clone = copy_of(repository, tmp_path_factory.mktemp("pip"))
    done = lab(clone, "lab", "--help", env=surroundings(None))
    assert done.returncode == 0, done.stdout + done.stderr
    return clone, done.stdout


# The lock and the walk through it -----------------------------------------------------------------


def walk(
    repository: Path, extras: list[str]
) -> dict[tuple[str, str], tuple[Marker | None, frozenset[str]]]:
    """lab.py's requirement lines: (name, version) → marker, hashes."""
    code = "import sys, lab; sys.stdout.write(lab.requirements(sys.argv[1:])[0])"
    text = subprocess.run(
        [sys.executable, "-c", code, *extras],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return parse(text)


def parse(text: str) -> dict[tuple[str, str], tuple[Marker | None, frozenset[str]]]:
    lines = [
        line
        for line in text.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]
    found = {}
    for line in lines:
        words, *hashes = re.split(r"\s+--hash=", line.strip())
        requirement = Requirement(words)
        found[requirement.name, str(requirement.specifier).removeprefix("==")] = (
            requirement.marker,
            frozenset(hashes),
        )
    return found


MACHINES = [
    {
        "python_version": f"3.{minor}",
        "python_full_version": f"3.{minor}.{patch}",
        "sys_platform": system,
        "os_name": "nt" if system == "win32" else "posix",
        "platform_system": name,
        "platform_machine": machine,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    for minor, patch in ((11, 2), (11, 9), (12, 1), (13, 0), (14, 0))
    for system, name, machine in (
        ("linux", "Linux", "x86_64"),
        ("linux", "Linux", "aarch64"),
        ("darwin", "Darwin", "arm64"),
        ("win32", "Windows", "AMD64"),
    )
]


@pytest.mark.parametrize("extras", [["course"], ["course", "test"]], ids=["reader", "tests"])
def test_the_walk_through_the_lock_finds_what_uv_finds(
    repository: Path, tools: Path, tmp_path: Path, extras: list[str]
) -> None:
    command = [
        "export",
        "--frozen",
        "--no-dev",
        "--group",
        "build",
        "--no-emit-project",
        "--no-header",
        "--no-annotate",
        "--offline",
    ]
    uv = shutil.which("uv", path=str(tools))
    said = subprocess.run(
        [uv, *command, *(f"--extra={extra}" for extra in extras), "--project", str(repository)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    theirs, ours = parse(said.stdout), walk(repository, extras)
    assert len(theirs) > 80
    for machine in MACHINES:

        def chosen(lines):
            return {
                key: hashes
                for key, (marker, hashes) in lines.items()
                if marker is None or marker.evaluate(machine)
            }

        assert chosen(ours) == chosen(theirs), machine


def test_the_tests_packages_are_an_extra(repository: Path) -> None:
    reader = {name for name, _ in walk(repository, ["course"])}
    assert {"jupyterlab", "asyncpg", "sqlalchemy", "matplotlib"} <= reader
    assert not reader & {
        "pytest-xdist",
        "playwright",
        "py-rattler",
        "jupyter-repo2docker",
        "uv",
        "nbgrader",
        "jupyterhub",
    }


# Both ways to set up ------------------------------------------------------------------------------


def test_uv_and_pip_install_the_same(by_uv, by_pip, repository: Path) -> None:
    (uv_clone, uv_said), (pip_clone, pip_said) = by_uv, by_pip
    assert "with uv" in uv_said and "with pip" not in uv_said
    assert "with pip" in pip_said and "with uv" not in pip_said
    expected = {
        name: version
        for (name, version), (marker, _) in walk(repository, ["course"]).items()
        if marker is None or marker.evaluate()
    }
    assert installed(uv_clone) == installed(pip_clone)
    assert {
        name: version for name, version in installed(pip_clone).items() if name != "loopbound"
    } == expected


def test_pip_finds_nothing_missing(by_pip) -> None:
    clone, _ = by_pip
    checked = subprocess.run(
        [venv_program(clone, "python"), "-m", "pip", "check"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("way", ["by_uv", "by_pip"])
def test_what_was_set_up_works(way: str, request: pytest.FixtureRequest) -> None:
    clone, said = request.getfixturevalue(way)
    assert re.search(r"\[ *\d+ s\] Ready\.", said), said
    usage = subprocess.run(
        [venv_program(clone, "loopbound"), "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "doctor" in usage
    code = "import loopbound, jupyterlab, asyncpg, psycopg; print(loopbound.__file__)"
    where = subprocess.run(
        [venv_program(clone, "python"), "-c", code],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONUTF8": "1"},
    ).stdout
    assert Path(where.strip()).is_relative_to(clone / "src"), (
        "the course is installed so that an edited file counts"
    )
    settings = json.loads((clone / ".venv/share/jupyter/lab/settings/overrides.json").read_text())
    assert settings["@jupyterlab/apputils-extension:notification"]["fetchNews"] == "false"


@pytest.mark.parametrize("way", ["by_uv", "by_pip"])
def test_a_second_start_sets_nothing_up(way: str, request: pytest.FixtureRequest) -> None:
    clone, _ = request.getfixturevalue(way)
    before = (clone / ".venv/loopbound-setup.json").stat().st_mtime_ns
    done = lab(clone, "lab", "--help", env=surroundings(None))
    assert done.returncode == 0 and done.stdout.startswith("usage: loopbound lab"), (
        done.stdout + done.stderr
    )
    assert (clone / ".venv/loopbound-setup.json").stat().st_mtime_ns == before


def test_the_plain_c_locale_reads_a_folder_of_any_name(by_uv) -> None:
    clone, _ = by_uv
    assert not str(clone).isascii()
    done = lab(clone, "lab", "--help", env=surroundings(None, LC_ALL="C"))
    assert done.returncode == 0 and done.stdout.startswith("usage: loopbound lab"), (
        done.stdout + done.stderr
    )


def test_other_words_are_handed_on(by_uv) -> None:
    clone, _ = by_uv
    done = lab(clone, "no-such-command", env=surroundings(None))
    assert done.returncode == 2
    assert "no-such-command" in done.stderr


def test_a_shells_own_settings_do_not_get_in(
    by_uv, repository: Path, tools: Path, tmp_path: Path
) -> None:
    clone = copy_of(repository, tmp_path)
    spoilt = surroundings(
        tools,
        PYTHONPATH=str(tmp_path),
        PYTHONWARNINGS="error",
        VIRTUAL_ENV=str(tmp_path),
        UV_PROJECT_ENVIRONMENT=str(tmp_path / "other"),
        UV_NO_SYNC="1",
        UV_PYTHON="3.8",
        PIP_TARGET=str(tmp_path / "target"),
        PIP_USER="1",
    )
    done = lab(clone, "lab", "--help", env=spoilt)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "with pip" not in done.stdout, "a disturbed uv is no reason to go on with pip"
    assert installed(clone) == installed(by_uv[0])
    assert not (tmp_path / "other").exists()


# Interrupted, moved, changed ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def clone_to_change(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(repository, tmp_path_factory.mktemp("own"))


@pytest.fixture
def own(clone_to_change: Path, tools: Path) -> Path:
    """A copy that tests may change, set up with uv (which has everything in its cache by now); what
    one of them leaves unfinished is finished before the next.
    """
    assert lab(clone_to_change, "lab", "--help", env=surroundings(tools)).returncode == 0
    return clone_to_change


def test_a_half_made_environment_is_made_anew(own: Path, tools: Path) -> None:
    (own / ".venv/loopbound-setup.json").unlink()
    shutil.rmtree(next((own / ".venv").glob("[Ll]ib/**/site-packages/asyncpg")))
    done = lab(own, "lab", "--help", env=surroundings(tools))
    assert done.returncode == 0 and "not finished" in done.stdout, done.stdout + done.stderr
    assert subprocess.run([venv_program(own, "python"), "-c", "import asyncpg"]).returncode == 0


@pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX's")
def test_a_package_that_went_missing_comes_back(own: Path, tools: Path) -> None:
    (package,) = own.glob(".venv/[Ll]ib/**/site-packages/asyncpg")
    shutil.rmtree(package)
    done = lab(own, "lab", "--help", env=surroundings(tools))
    assert done.returncode == 0 and "parts of it are gone: asyncpg" in done.stdout, (
        done.stdout + done.stderr
    )
    assert (package / "__init__.py").is_file()


@pytest.mark.parametrize(
    "damage", [lambda text: text[: len(text) // 2], lambda text: ""], ids=["cut", "empty"]
)
def test_a_damaged_lock(repository: Path, tmp_path: Path, damage) -> None:
    clone = copy_of(repository, tmp_path)
    text = (clone / "uv.lock").read_text(encoding="utf-8")
    (clone / "uv.lock").write_text(damage(text), encoding="utf-8")
    said = refused(lab(clone, "doctor", env=surroundings(None)))
    assert "uv.lock is damaged" in said and "git restore uv.lock" in said
    assert not (clone / ".venv").exists()


def test_a_damaged_project_file(repository: Path, tmp_path: Path) -> None:
    clone = copy_of(repository, tmp_path)
    (clone / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    assert "git restore pyproject.toml" in refused(lab(clone, "doctor", env=surroundings(None)))


def test_a_killed_set_up_does_not_break_the_next_one(
    repository: Path, tools: Path, tmp_path: Path
) -> None:
    clone = copy_of(repository, tmp_path)
    first = subprocess.Popen(
        [BASE, str(clone / "lab.py"), "lab", "--help"],
        env=surroundings(None),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in first.stdout:
        if "Making a virtual environment" in line:
            break
    assert eventually((clone / ".venv").exists)
    first.kill()  # its child goes on for a while, and holds the lock until it has ended
    first.wait()
    first.stdout.close()
    done = lab(clone, "lab", "--help", env=surroundings(tools))
    assert done.returncode == 0 and "not finished" in done.stdout, done.stdout + done.stderr
    assert (
        subprocess.run([venv_program(clone, "loopbound"), "--help"], capture_output=True).returncode
        == 0
    )


@pytest.mark.skipif(not POSIX, reason="process groups are POSIX's")
def test_ctrl_c_during_the_set_up(repository: Path, tmp_path: Path) -> None:
    clone = copy_of(repository, tmp_path)
    process = subprocess.Popen(
        [BASE, str(clone / "lab.py")],
        env=surroundings(None),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if "Making a virtual environment" in line:
            break
    assert eventually(lambda: psutil.Process(process.pid).children())
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=LONG)
    assert process.returncode == 130 and "stopped" in said and "Traceback" not in said, said
    _gone, left = psutil.wait_procs(children, timeout=LONG)
    assert not left
    assert not (clone / ".venv").exists()


def test_two_at_once_take_turns(repository: Path, tools: Path, tmp_path: Path) -> None:
    clone = copy_of(repository, tmp_path)
    both = [
        subprocess.Popen(
            [BASE, str(clone / "lab.py"), "lab", "--help"],
            env=surroundings(tools),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=LONG)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("Setting up" in text for text in said) == 1, said
    assert installed(clone)["loopbound"]


def test_more_packages_are_added_and_stay(own: Path, tools: Path) -> None:
    done = lab(own, "test", "--version", env=surroundings(tools))
    assert done.returncode == 0 and "needs more packages: test" in done.stdout, (
        done.stdout + done.stderr
    )
    assert "pytest" in installed(own)
    done = lab(own, "lab", "--help", env=surroundings(tools))
    assert "Setting up" not in done.stdout
    assert "pytest" in installed(own), "a reader's start does not throw the tests' packages out"


def test_a_moved_folder_gets_a_new_environment(own: Path, tools: Path) -> None:
    moved = own.rename(own.with_name("moved away"))
    try:
        done = lab(moved, "lab", "--help", env=surroundings(tools))
        assert done.returncode == 0 and "moved" in done.stdout, done.stdout + done.stderr
        usage = subprocess.run([venv_program(moved, "loopbound"), "--help"], capture_output=True)
        assert usage.returncode == 0
    finally:
        moved.rename(own)


# What it says when it cannot ----------------------------------------------------------------------


def other_pythons() -> list[str]:
    """Interpreters on this machine that are too old, by name or in pyenv's folder; there may be
    none.
    """
    named = [
        shutil.which(f"python{version}") for version in ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10")
    ]
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = [
        str(home / "versions" / name / "bin/python")
        for name in ("2.7.18", "3.6.15", "3.8.18", "3.10.13")
    ]
    works = []
    for path in filter(None, named + kept):
        try:
            if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
                works.append(path)
        except OSError:
            pass
    return works


def test_too_old_a_python_by_a_real_one(repository: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip(
            "no Python older than 3.11 on this machine; the next test provokes the same message"
        )
    for python in pythons:
        said = refused(lab(repository, "doctor", env=surroundings(None), python=python))
        assert "needs Python 3.11 to 3." in said and python in said


@pytest.mark.parametrize("range", [">=3.98,<3.99", ">=3.2,<3.3"], ids=["too old", "too new"])
def test_an_unsupported_python(repository: Path, tmp_path: Path, range: str) -> None:
    clone = copy_of(repository, tmp_path)
    project = clone / "pyproject.toml"
    project.write_text(
        re.sub(r'(requires-python = )"[^"]*"', rf'\1"{range}"', project.read_text("utf-8")), "utf-8"
    )
    said = refused(lab(clone, env=surroundings(None)))
    assert re.search(r"needs Python 3\.\d+ to 3\.\d+; this is 3\.\d+ \(", said)
    assert not (clone / ".venv").exists()


def test_no_venv_module(repository: Path, tmp_path: Path) -> None:
    # Debian's python3 without python3-venv: everything is there except ensurepip.
    stub = tmp_path / "stub"
    stub.mkdir()
    (stub / "ensurepip.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'ensurepip'\", name='ensurepip')\n"
    )
    clone = copy_of(repository, tmp_path)
    said = refused(lab(clone, env=surroundings(None, PYTHONPATH=str(stub))))
    assert "'ensurepip'" in said and "-venv" in said
    assert not (clone / ".venv").exists()


NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize("way", ["uv", "pip"])
def test_no_network_at_the_first_start(
    way: str, repository: Path, tools: Path, tmp_path: Path
) -> None:
    clone = copy_of(repository, tmp_path)
    empty = str(tmp_path / "no cache yet")
    alone = surroundings(
        tools if way == "uv" else None,
        HTTPS_PROXY=NOWHERE,
        HTTP_PROXY=NOWHERE,
        ALL_PROXY=NOWHERE,
        https_proxy=NOWHERE,
        http_proxy=NOWHERE,
        all_proxy=NOWHERE,
        NO_PROXY="",
        no_proxy="",
        UV_CACHE_DIR=empty,
        PIP_CACHE_DIR=empty,
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=NOWHERE,
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        UV_INDEX_URL=NOWHERE,
        UV_FIND_LINKS="",
        UV_HTTP_RETRIES="0",
        PIP_RETRIES="0",
    )
    done = lab(clone, env=alone)
    assert "no network" in refused(done)
    assert ("with uv" in done.stdout) == (way == "uv")
    assert not (clone / ".venv").exists(), "nothing half-made is left"
    if way == "uv":  # and the network came back
        assert lab(clone, "lab", "--help", env=surroundings(tools)).returncode == 0


# Made for this test; its key was thrown away, so nobody's certificate is signed with it.
SOME_AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBqTCCAU+gAwIBAgIUQehkcQNrDTTKvAVZGyDTHoBQkF8wCgYIKoZIzj0EAwIw
KTEnMCUGA1UEAwweTm90IHRoZSBhdXRob3JpdHkgb2YgYW55IGluZGV4MCAXDTI2
MTEyMTIyMzkyMFoYDzIxMjYxMDI4MjIzOTIwWjApMScwJQYDVQQDDB5Ob3QgdGhl
IGF1dGhvcml0eSBvZiBhbnkgaW5kZXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATa01UHeBZRJrZjCE+wPGktBVt0VDPhaHyWK9FYVGc55xBmihiTWfwFidEOeGVI
r0GNo4j8M0t++Czl4lq4QM/eo1MwUTAdBgNVHQ4EFgQU+qrcyHKxIWBGmbDuXDzN
OP9trhswHwYDVR0jBBgwFoAU+qrcyHKxIWBGmbDuXDzNOP9trhswDwYDVR0TAQH/
BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiBTN7Qpee4Xu//VTSjBGtRtzvDyoqvk
yr4CEU9p7mH5PwIhAN+46FsEabw22j/Kp0ysQ43yh7iBsNSX+CiLhtyGTnIu
-----END CERTIFICATE-----
"""


@pytest.mark.parametrize("way", ["uv", "pip"])
def test_a_certificate_that_is_not_trusted(
    way: str, repository: Path, tools: Path, tmp_path: Path
) -> None:
    clone = copy_of(repository, tmp_path)
    authority, empty = tmp_path / "authority.pem", str(tmp_path / "no cache yet")
    authority.write_text(SOME_AUTHORITY)
    (tmp_path / "no certificates").mkdir()
    alone = surroundings(
        tools if way == "uv" else None,
        SSL_CERT_FILE=str(authority),
        SSL_CERT_DIR=str(tmp_path / "no certificates"),
        PIP_CERT=str(authority),
        REQUESTS_CA_BUNDLE=str(authority),
        CURL_CA_BUNDLE=str(authority),
        UV_CACHE_DIR=empty,
        PIP_CACHE_DIR=empty,
        PIP_CONFIG_FILE=os.devnull,
        PIP_FIND_LINKS="",
        UV_FIND_LINKS="",
        PIP_RETRIES="0",
        UV_HTTP_RETRIES="0",
    )
    done = lab(clone, env=alone)
    assert "certificate" in refused(done)
    assert ("with uv" in done.stdout) == (way == "uv")
    assert not (clone / ".venv").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB; skips where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "loopbound-test", str(folder)]
    if (
        not POSIX
        or not shutil.which("mount")
        or subprocess.run(mount, capture_output=True).returncode
    ):
        pytest.skip("cannot mount a small file system here (needs root on Linux)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("way", ["uv", "pip"])
def test_a_full_disk(way: str, repository: Path, tools: Path, small_disk: Path) -> None:
    clone = copy_of(repository, small_disk)
    if way == "pip":  # full before the first package, so that the test need not fetch them all
        with (small_disk / "filler").open("wb") as file:
            file.write(b"\0" * (shutil.disk_usage(small_disk).free - 2_000_000))
    done = lab(clone, env=surroundings(tools if way == "uv" else None))
    said = refused(done)
    assert "disk is full" in said and str(clone) in said
    assert not (clone / ".venv").exists(), "the room is given back"


@pytest.mark.skipif(not POSIX, reason="Windows' folder rights are not these")
def test_a_read_only_folder(repository: Path) -> None:
    # Not under pytest's own temporary folder, which other users may not enter.
    with tempfile.TemporaryDirectory() as above:
        Path(above).chmod(0o755)
        clone = copy_of(repository, Path(above))
        clone.chmod(0o555)
        somebody = {}
        if os.geteuid() == 0:  # root may write everywhere
            somebody = {"user": 65534, "group": 65534, "extra_groups": []}
        python = next(
            (path for path in (BASE, "/usr/bin/python3") if _supports(path, somebody)), None
        )
        if python is None:
            pytest.skip("no Python here that an ordinary user may start")
        done = lab(clone, env=surroundings(None, HOME=above), python=python, cwd="/", **somebody)
        said = refused(done)
        assert "cannot write" in said and str(clone) in said
        clone.chmod(stat.S_IRWXU)


def _supports(python: str, somebody: dict) -> bool:
    try:
        code = "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"
        return (
            subprocess.run(
                [python, "-c", code], cwd="/", capture_output=True, **somebody
            ).returncode
            == 0
        )
    except OSError:
        return False


def test_something_else_is_called_venv(repository: Path, tmp_path: Path) -> None:
    clone = copy_of(repository, tmp_path)
    (clone / ".venv").write_text("a file of the reader's\n")
    assert "move it away" in refused(lab(clone, env=surroundings(None)))
    assert (clone / ".venv").read_text() == "a file of the reader's\n"


def test_an_incomplete_clone(repository: Path, tmp_path: Path) -> None:
    clone = copy_of(repository, tmp_path)
    (clone / "uv.lock").unlink()
    assert "uv.lock" in refused(lab(clone, env=surroundings(None)))


def test_no_port_is_left_listening() -> None:
    """The name NOWHERE above stands for an address where nobody listens; were it otherwise, the
    tests would prove nothing.
    """
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 9)) != 0
