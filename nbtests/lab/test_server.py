"""`loopbound lab` as a reader starts it: what it prints, what it serves, and that Ctrl-C leaves
nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from database_clients import cache_folder
from patience import LONG, eventually

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a POSIX process group here"),
]

START_PAGE = "notebooks/00-start-here.ipynb"
A_NOTEBOOK = {
    "cells": [], "metadata": {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}},
    "nbformat": 4, "nbformat_minor": 5,
}  # fmt: skip


class Lab:
    """A running lab with a home, a cache and a Jupyter configuration of its own."""

    def __init__(self, clone: Path, home: Path, *words: str, **more: str) -> None:
        self.mark = uuid.uuid4().hex
        self.home = home
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "XDG_", "DATABASE_URL", "PYTEST_"))
        }
        environment |= {
            "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_RUNTIME_DIR": str(home / "run"),
            "JUPYTER_RUNTIME_DIR": str(home / "run"), "PYTHONPATH": str(clone / "src"), "LOOPBOUND_TEST_MARK": self.mark,
        } | more  # fmt: skip
        # PYTHONPATH makes the copy's package the one that runs; the lab itself takes it away from
        # its kernels.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loopbound", "lab", "--no-browser", *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            cwd=clone,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(
            target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")), daemon=True
        )
        self._reader.start()

    def wait_for(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            return re.search(pattern, "".join(self.lines), re.MULTILINE)

        eventually(lambda: found() or self.process.poll() is not None)
        self._reader.join(5 if self.process.poll() is not None else 0)
        match = found()
        assert match, f"no {pattern!r} in:\n{''.join(self.lines)}"
        return match

    def address(self) -> tuple[str, str]:
        """The server's root and its token, once it answers."""
        url = urllib.parse.urlsplit(self.wait_for(r"^ +(http://\S+)$")[1])
        token = urllib.parse.parse_qs(url.query)["token"][0]
        assert url.path == f"/lab/tree/{START_PAGE}"
        return f"{url.scheme}://{url.netloc}", token

    def ask(self, path: str, data: dict | None = None):
        root, token = self.address()
        request = urllib.request.Request(
            root + path,
            data=None if data is None else json.dumps(data).encode(),
            headers={"Authorization": f"token {token}"},
        )
        until = time.monotonic() + LONG
        while True:
            try:
                with urllib.request.urlopen(request, timeout=LONG) as answer:
                    body = answer.read()
                    return (
                        json.loads(body)
                        if "json" in answer.headers["Content-Type"]
                        else body.decode()
                    )
            except (ConnectionError, urllib.error.URLError):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def run_in_kernel(self, code: str) -> str:
        """Start a kernel as the page does, run code in it, and give back what it printed."""
        from jupyter_client import BlockingKernelClient

        kernel = self.ask("/api/kernels", {"name": "python3"})["id"]
        client = BlockingKernelClient(
            connection_file=str(self.home / "run" / f"kernel-{kernel}.json")
        )
        client.load_connection_file()
        client.start_channels()
        printed = []
        try:
            until = time.monotonic() + LONG
            while True:
                # without the manager, a client takes a kernel for dead that is still importing
                # after a second
                try:
                    client.wait_for_ready(timeout=LONG)
                    break
                except RuntimeError:
                    if time.monotonic() > until:
                        raise
            reply = client.execute_interactive(
                code,
                timeout=LONG,
                output_hook=lambda m: printed.append(
                    m["content"].get("text") or str(m["content"])
                    if m["msg_type"] != "status"
                    else ""
                ),
            )
            assert reply["content"]["status"] == "ok", printed
        finally:
            client.stop_channels()
        return "".join(text for text in printed if "execution_count" not in text)

    def relatives(self) -> list[psutil.Process]:
        """Every process on the machine that was started, at whatever remove, by this lab."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("LOOPBOUND_TEST_MARK") == self.mark:
                    found.append(process)
            except psutil.Error:
                pass
        return found

    def ctrl_c(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            return self.process.wait(LONG)
        finally:
            self._reader.join(5)

    def end(self) -> None:
        for process in self.relatives():
            process.kill()
        self.process.wait()
        self._reader.join(5)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def clone(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, so that what a server writes beside notebooks is not in the tree under test."""
    folder = tmp_path_factory.mktemp("lab") / "Zoë’s course"
    folder.mkdir()
    for name in ("lab.py", "pyproject.toml"):
        shutil.copy2(repository / name, folder)
    for name in ("src", "notebooks"):
        shutil.copytree(
            repository / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    if not (folder / START_PAGE).exists():
        (folder / START_PAGE).write_text(json.dumps(A_NOTEBOOK))
    return folder


@pytest.fixture
def start(clone: Path, tmp_path: Path) -> Iterator:
    labs = []

    # A cache of its own: root's clients share a server, and Ctrl-C rightly leaves one that others
    # use.
    with cache_folder() as cache:

        def started(*words: str, **more: str) -> Lab:
            labs.append(Lab(clone, tmp_path, *words, **{"LOOPBOUND_CACHE": str(cache)} | more))
            return labs[-1]

        yield started
        for one in labs:
            one.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_reader_sees_four_lines_and_ctrl_c_ends_all(start) -> None:
    lab = start("--port", str(free_port()))
    assert "JupyterLab" in lab.ask("/lab")
    printed = lab.run_in_kernel(
        "from loopbound import scratch_database\n"
        "database = scratch_database('lab-test')\n"
        "import os; print(database.name, os.getpid())"
    )
    _name, kernel = printed.split()
    assert psutil.pid_exists(int(kernel))
    before = lab.relatives()
    assert len(before) >= 4, "the lab, a kernel, the database server and its keeper"
    assert lab.ctrl_c() == 0
    said = "".join(lab.lines)
    assert re.fullmatch(
        r"Starting JupyterLab \.\.\.\n"
        r"Open this address:\n    http://\S+\n"
        r"Keep this window open\. Ctrl-C in it ends the lab and its kernels\. \(Jupyter's log:"
        r" .+\.log\)\n"
        r"The lab is closed\.\n",
        said,
    ), said
    assert not lab.relatives()


def test_what_the_page_is_told(start) -> None:
    lab = start("--port", str(free_port()))

    def told(plugin: str, key: str) -> object:
        settings = lab.ask(f"/lab/api/settings/@jupyterlab/{plugin}")
        own = settings["settings"] or {}
        return own.get(key, settings["schema"]["properties"][key]["default"])

    assert told("apputils-extension:notification", "fetchNews") == "false"
    assert told("apputils-extension:notification", "checkForUpdates") is False
    # Without it, lines of code are cut on a page of 800 pixels.
    assert told("notebook-extension:tracker", "codeCellConfig")["lineWrap"] is True
    assert list(lab.ask("/api/kernelspecs")["kernelspecs"]) == ["python3"]
    config = lab.ask("/lab").partition('id="jupyter-config-data"')[2].partition("</script>")[0]
    assert '"news"' in config and '"buildCheck": false' in config
    assert '"news":{"disabled":true}' in re.sub(r"\s", "", config)


def test_the_kernel_is_this_environments_own(start, tmp_path: Path) -> None:
    # A kernel of the same name in the reader's home, and one on JUPYTER_PATH: both would be taken
    # first.
    for folder in (tmp_path / ".local/share/jupyter", tmp_path / "elsewhere"):
        (folder / "kernels/python3").mkdir(parents=True)
        (folder / "kernels/python3/kernel.json").write_text(
            json.dumps({"argv": ["false"], "display_name": "Wrong", "language": "python"})
        )
    lab = start(
        "--port",
        str(free_port()),
        JUPYTER_PATH=str(tmp_path / "elsewhere"),
        PYTHONWARNINGS="error",
        PYTHONASYNCIODEBUG="1",
        MPLBACKEND="svg",
    )
    printed = lab.run_in_kernel(
        "import json, os, sys\nprint(json.dumps([sys.prefix, sys.warnoptions,"
        " sorted({'PYTHONWARNINGS', 'PYTHONASYNCIODEBUG', 'PYTHONPATH'} & set(os.environ))]))"
    )
    assert json.loads(printed) == [sys.prefix, [], []]


def test_the_lessons_are_trusted(start, clone: Path, tmp_path: Path) -> None:
    lab = start("--port", str(free_port()))
    lab.address()
    code = (
        "import sys, nbformat; from nbformat.sign import NotebookNotary\nnotary ="
        " NotebookNotary()\nprint([notary.check_signature(nbformat.read(path, as_version=4)) for"
        " path in sys.argv[1:]])"
    )
    other = tmp_path / "somebody-elses.ipynb"
    other.write_text(json.dumps(A_NOTEBOOK | {"metadata": {"title": "not of this course"}}))
    lessons = [str(path) for path in sorted((clone / "notebooks").glob("[0-9][0-9]-*.ipynb"))]
    answer = subprocess.run(
        [sys.executable, "-c", code, *lessons, str(other)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    ).stdout
    assert json.loads(answer.lower()) == [True] * len(lessons) + [False]


def test_a_taken_port_is_stepped_over(start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        lab = start("--port", str(port))
        said = lab.wait_for(r"^Port (\d+) is taken; using (\d+)\.$")
        assert int(said[1]) == port and int(said[2]) > port
        root, _ = lab.address()
        assert root.endswith(f":{said[2]}")
        assert "JupyterLab" in lab.ask("/lab")


def test_ctrl_c_while_it_starts(start) -> None:
    lab = start("--port", str(free_port()))
    lab.wait_for("Starting")
    assert lab.ctrl_c() == 130
    assert "Traceback" not in "".join(lab.lines), lab.lines
    assert not lab.relatives()


def test_a_terminal_that_is_closed(start) -> None:
    """No Ctrl-C: the window goes away.

    Kernels and database notice by themselves.
    """
    lab = start("--port", str(free_port()))
    lab.run_in_kernel(
        "from loopbound import scratch_database; database = scratch_database('lab-test')"
    )
    before = lab.relatives()
    os.killpg(lab.process.pid, signal.SIGHUP)
    _, left = psutil.wait_procs(before, timeout=LONG)
    assert not left, [process.cmdline() for process in left]


def test_the_start_page_is_missing(clone: Path, tmp_path: Path) -> None:
    empty = tmp_path / "clone"
    shutil.copytree(clone, empty, ignore=shutil.ignore_patterns("*.ipynb"))
    done = subprocess.run(
        [sys.executable, "-m", "loopbound", "lab", "--no-browser"],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(empty / "src")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 1
    assert (
        done.stderr.startswith("loopbound: the start page is missing")
        and len(done.stderr.splitlines()) <= 3
    )
