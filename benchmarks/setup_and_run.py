"""Seconds and ratios: set-up from nothing, a second start, and every lesson against the sum of its
cells' own time.

    python3 lab.py test --version     (once: makes .venv with uv in it)
    .venv/bin/python benchmarks/setup_and_run.py [--skip-setup] [--rounds N]

Each number stands beside a floor that was measured in the same run: what the tools cost without the
course. The machine's noise is in both. Fetches everything from the package index twice for each
tool; nothing is asserted anywhere.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = getattr(sys, "_base_executable", sys.executable)
SCRIPTS = "Scripts" if os.name == "nt" else "bin"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--skip-setup", action="store_true", help="measure no set-up: nothing is fetched"
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="warm starts and runs of each lesson; medians are printed (3)",
    )
    options = parser.parse_args()
    print(f"Python {sys.version.split()[0]}, {sys.platform}, {os.cpu_count()} cores\n")
    print(f"{'what':<34}{'seconds':>9}{'floor':>9}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as folder:
        if not options.skip_setup:
            set_up(Path(folder))
    warm_start(options.rounds)
    lessons(options.rounds)
    return 0


def row(what: str, seconds: float, floor: float) -> None:
    print(f"{what:<34}{seconds:>9.2f}{floor:>9.2f}{seconds / floor:>8.2f}", flush=True)


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def quietly(command: list[str | Path], env: dict[str, str], cwd: Path) -> None:
    done = subprocess.run(
        command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def set_up(folder: Path) -> None:
    """Cold: an empty cache and no .venv.

    Floor: the tool called by hand with the same packages and an empty cache too.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    for way in ("uv", "pip"):
        if way == "uv" and not uv:
            print("uv: not installed, not measured")
            continue
        seconds = {}
        for who in ("lab.py", "by hand"):
            clone = folder / f"{way} {who}"
            clone.mkdir()
            for name in ("lab.py", "pyproject.toml", "uv.lock", "README.md", "LICENSE"):
                shutil.copy2(ROOT / name, clone)
            shutil.copytree(
                ROOT / "src", clone / "src", ignore=shutil.ignore_patterns("__pycache__")
            )
            env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
            env |= {"UV_CACHE_DIR": str(clone / "cache"), "PIP_CACHE_DIR": str(clone / "cache")}
            paths = [p for p in env["PATH"].split(os.pathsep) if not shutil.which("uv", path=p)]
            tools = clone / "tools"
            tools.mkdir()
            if way == "uv":
                shutil.copy2(uv, tools)
            env["PATH"] = os.pathsep.join([str(tools), *paths])
            seconds[who] = timed(
                lambda: (by_lab if who == "lab.py" else by_hand)(way, uv, clone, env)
            )
        row(f"cold set-up with {way}", seconds["lab.py"], seconds["by hand"])


def by_lab(way: str, uv: str | None, clone: Path, env: dict[str, str]) -> None:
    quietly([BASE, clone / "lab.py", "lab", "--help"], env, clone)


def by_hand(way: str, uv: str | None, clone: Path, env: dict[str, str]) -> None:
    if way == "uv":
        return quietly([uv, "sync", "--frozen", "--python", BASE], env, clone)
    quietly([BASE, "-m", "venv", clone / ".venv"], env, clone)
    code = "import lab; open('requirements.txt', 'w').write(lab.requirements([])[0])"
    quietly([BASE, "-c", code], env, clone)
    pip = [clone / ".venv" / SCRIPTS / "python", "-m", "pip", "install", "-q"]
    quietly([*pip, "-r", "requirements.txt"], env, clone)
    quietly([*pip, "--no-build-isolation", "-e", "."], env, clone)


def warm_start(rounds: int) -> None:
    """From the command to the first answer of the server.

    Floor: `jupyter lab` of the same environment.
    """
    python = Path(sys.executable)
    ours, floor = [], []
    for _ in range(rounds):
        ours.append(until_it_answers([python, "-m", "loopbound", "lab", "--no-browser", "--port"]))
        plain = [
            python,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ServerApp.answer_yes=True",
            f"--ServerApp.root_dir={ROOT}",
        ]
        floor.append(until_it_answers([*plain, "--port"]))
    row("warm start, until it answers", statistics.median(ours), statistics.median(floor))


def until_it_answers(command: list[str | Path]) -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    start = time.perf_counter()
    server = subprocess.Popen(
        [*command, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        while time.perf_counter() - start < 120 and server.poll() is None:
            try:
                urllib.request.urlopen(f"http://localhost:{port}/api", timeout=5).close()
                return time.perf_counter() - start
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.02)
        raise SystemExit(f"no answer from {command}")
    finally:
        server.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        server.wait(30)


def lessons(rounds: int) -> None:
    """Floor: the sum of the cells' own seconds.

    What is above it: the kernel's start and end, the database, the comparison.
    """
    from loopbound.authoring.execute import run_notebook, run_notebooks

    total = cells = 0.0
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
    for path in paths:
        results = [run_notebook(path) for _ in range(rounds)]
        seconds = statistics.median(result.seconds for result in results)
        own = statistics.median(sum(result.cell_seconds.values()) for result in results)
        row(path.stem, seconds, own)
        total, cells = total + seconds, cells + own
    if total:
        row("all lessons, one after the other", total, cells)
        row("all lessons, one for each core", timed(lambda: run_notebooks(paths)), cells)


if __name__ == "__main__":
    sys.exit(main())
