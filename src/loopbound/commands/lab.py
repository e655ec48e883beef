"""`loopbound lab`: JupyterLab on the start page, quiet, and gone without a trace after one Ctrl-C.

And `loopbound test`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import signal
import socket
import sys
import warnings
from pathlib import Path
from typing import Any, TextIO

from loopbound.paths import ELSEWHERE, cache_folder, repository
from loopbound.problem import Problem

START_PAGE = "notebooks/00-start-here.ipynb"
FIRST_PORT = 8888
PORTS_TO_TRY = 50

# Settings of the reader's shell that would change what a cell prints, or which packages it sees.
NOT_FOR_KERNELS = [
    "PYTHONWARNINGS",
    "PYTHONDEVMODE",
    "PYTHONASYNCIODEBUG",
    "PYTHONSTARTUP",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONOPTIMIZE",
    "PYTHONINSPECT",
    "PYTHONTRACEMALLOC",
    "PYTHONFAULTHANDLER",
    "MPLBACKEND",
    "JUPYTER_PATH",
]


def lab_command(port: int | None = None, browser: bool = True) -> int:
    """Serve JupyterLab until Ctrl-C; returns the exit code, 0 after Ctrl-C.

    The console gets the address, how to stop, and errors; everything else that Jupyter says goes to
    a file in the cache folder. Raises Problem if there is no start page, no free port, or Jupyter
    does not start.
    """
    root = repository()
    if not (root / START_PAGE).is_file():
        raise Problem(
            f"the start page is missing: {root / START_PAGE}\nRestore it with: git checkout --"
            f" {START_PAGE}"
        )
    for name in NOT_FOR_KERNELS:
        os.environ.pop(name, None)
    # A kernel called python3 in the reader's home would otherwise be taken before the one of this
    # environment.
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
    # The frozen standard library of Python 3.11 makes the kernel's debugger warn; it says how to
    # stop that.
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
    chosen = _free_port(port or FIRST_PORT)
    if chosen != (port or FIRST_PORT):
        print(f"Port {port or FIRST_PORT} is taken; using {chosen}.", flush=True)
    log = _log_file()
    print("Starting JupyterLab ...", flush=True)
    console = _to_file(log)
    # A shell's PYTHONWARNINGS=error would end Jupyter over a deprecation; its log takes what there
    # is to warn.
    warnings.simplefilter("default")
    try:
        app = _start(root, chosen, browser, console)
        print(
            "Open this address if no browser window appears:" if browser else "Open this address:",
            file=console,
        )
        print(f"    {_address(app)}", file=console)
        print(
            "Keep this window open. Ctrl-C in it ends the lab and its kernels. (Jupyter's log:"
            f" {log})",
            file=console,
            flush=True,
        )
        # Not Jupyter's own handler: on a terminal that one asks first, and without a terminal there
        # is none.
        signal.signal(signal.SIGINT, lambda *_: app.stop(from_signal=True))
        app.start()
    except (SystemExit, Exception) as error:
        if isinstance(error, SystemExit) and not error.code:
            return 0
        logging.getLogger("loopbound").exception("JupyterLab did not start or stopped")
        raise Problem(f"JupyterLab stopped: {error}\nIts log says more: {log}") from error
    finally:
        _from_file(console)
        _stop_database()
    print("The lab is closed.", flush=True)
    return 0


def _start(root: Path, port: int, browser: bool, console: TextIO) -> Any:
    """A JupyterLab server that listens and has not begun to serve."""
    _trust_lessons(root)
    from jupyterlab.labapp import LabApp

    # In this process: one process gets Ctrl-C, and nothing has to be passed on.
    app = LabApp.initialize_server(
        [
            f"--ServerApp.root_dir={root}",
            f"--ServerApp.port={port}",
            f"--ServerApp.port_retries={PORTS_TO_TRY}",
            "--ServerApp.ip=localhost",
            "--ServerApp.allow_root=True",
            f"--ServerApp.open_browser={browser}",
            f"--LabApp.default_url=/lab/tree/{START_PAGE}",
            # Open tabs are remembered for each clone: those of the reader's other labs are files
            # that this one does not have.
            f"--LabApp.workspaces_dir={cache_folder() / 'workspaces'}{os.sep}"
            f"{hashlib.sha256(bytes(root)).hexdigest()[:16]}",
            "--LabApp.news_url=None",
            # A page would ask whether Lab has to be built again: seconds of Node.js, where it is.
            "--ServerApp.tornado_settings="
            "{'page_config_data': {'buildAvailable': False, 'buildCheck': False}}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--KernelSpecManager.allowed_kernelspecs=python3",
        ]
    )
    handler = logging.StreamHandler(console)
    handler.setLevel(logging.ERROR)
    # Jupyter says its addresses as "critical".
    handler.addFilter(lambda record: record.levelno < logging.CRITICAL)
    handler.setFormatter(logging.Formatter("Jupyter: %(message)s"))
    app.log.addHandler(handler)
    return app


def _address(app: Any) -> str:
    from jupyter_server.utils import url_path_join
    from tornado.httputil import url_concat

    # Empty where the reader's own configuration has a password instead.
    token = app.identity_provider.token
    page = url_path_join(app.connection_url, "lab/tree", START_PAGE)
    return url_concat(page, {"token": token}) if token else page


def _trust_lessons(root: Path) -> None:
    """Sign the course's own notebooks, so that Jupyter shows their committed figures instead of
    asking for trust.
    """
    from nbformat import read
    from nbformat.sign import NotebookNotary

    notary = NotebookNotary()
    for path in sorted((root / "notebooks").glob("[0-9][0-9]-*.ipynb")):
        try:
            notary.sign(read(path, as_version=4))
        except (
            Exception
        ):  # a notebook that the reader broke is Jupyter's to report, when it is opened
            logging.getLogger("loopbound").exception("cannot sign %s", path)


def _free_port(first: int) -> int:
    for port in range(first, min(first + PORTS_TO_TRY, 65536)):
        if _is_free(port):
            return port
    raise Problem(f"no free port from {first} to {port}.\nName another with --port.")


def _is_free(port: int) -> bool:
    for family, _, _, _, address in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family) as probe:
                # As Jupyter does: a port in TIME_WAIT is free (on Windows the option means "share
                # it")
                if os.name != "nt":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                continue  # a name for ::1 on a machine without IPv6
            return False
    return True


def _log_file() -> Path:
    """A new log for this run; the latest ten stay."""
    import time

    folder = cache_folder() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("lab-*.log"))[:-9]:
            old.unlink(missing_ok=True)
        path = folder / f"lab-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        path.touch(mode=0o600)  # it holds the address with its token
    except OSError as error:
        raise Problem(
            f"cannot write Jupyter's log in {folder}: {error.strerror}\n{ELSEWHERE}"
        ) from error
    return path


def _to_file(path: Path) -> TextIO:
    """Send this process's output, and that of the kernels which inherit it, to a file; returns the
    console.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    console = os.fdopen(
        os.dup(1), "w", encoding=sys.stdout.encoding or "utf-8", errors="replace", buffering=1
    )
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    return console


def _from_file(console: TextIO) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    console.flush()
    os.dup2(console.fileno(), 1)
    os.dup2(console.fileno(), 2)
    console.close()


def _stop_database() -> None:
    """Kernels are gone by now; the embedded PostgreSQL that they used need not outlive them."""
    from loopbound.database import stop_if_unused

    stop_if_unused(timeout=10.0)
