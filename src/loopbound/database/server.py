"""The embedded server: made, started, found and stopped in its folder.

Callers hold the folder's lock.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from loopbound.database import programs
from loopbound.database.address import Address
from loopbound.database.folder import Folder
from loopbound.paths import is_root
from loopbound.problem import Problem

SETTINGS = {
    # One address, no Unix socket (an empty value), and a password: see pg_hba.conf below.
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    # Safe against kill -9 of every process here, not against a crash of the operating system. With
    # synchronous_commit off, kill -9 of the server would lose commits that were acknowledged: it
    # stays on.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "jit": "off",
    "shared_buffers": "32MB",
    "max_connections": "200",
    "max_wal_size": "128MB",
    "io_method": "sync",  # no processes of its own for reading
    "log_checkpoints": "off",
}
PG_HBA = (
    "# Loopbound: this machine alone, and never without the password.\nhost all all 127.0.0.1/32"
    " scram-sha-256\n"
)
ROLE = "postgres"
START_SECONDS = 60
RETRY_SECONDS = 20


class Server:
    """The server that belongs to a folder, running or not."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder

    def process(self) -> psutil.Process | None:
        """The postmaster, or None where none runs on our data."""
        found = self._pid_file()
        if not found:
            return None
        try:
            process = psutil.Process(found[0])
            # The id may have been given to another program since; a postmaster names its data in
            # its command line.
            return process if str(self.folder.data) in process.cmdline() else None
        except psutil.Error:
            return None

    def address(self) -> Address:
        """Address of the running server."""
        _, port = self._pid_file()  # type: ignore[misc]  # a running server has one
        try:
            password = self.folder.password.read_text(encoding="ascii").strip()
        except OSError:
            raise Problem(self._broken("its file 'password' is missing")) from None
        return Address("embedded", "127.0.0.1", port, ROLE, password, "postgres")

    def start(self) -> None:
        """Start it; makes the cluster where there is none yet.

        Raises:
            Problem: it does not start, with the reason and what to do.
        """
        binaries = programs.find(self.folder.path)
        try:
            self._make_cluster(binaries)
            self._launch(binaries)
        except OSError as error:
            raise Problem(
                f"PostgreSQL's files in {self.folder.path} cannot be written:"
                f" {(error.strerror or str(error)).lower()}.\nMake room there, or set"
                " LOOPBOUND_CACHE to another folder."
            ) from None

    def stop(self) -> None:
        """Stop it, by force if need be. Committed data stay."""
        process = self.process()
        if not process:
            return
        with contextlib.suppress(Problem, OSError):
            binaries = programs.find(self.folder.path)
            for mode in ("fast", "immediate"):
                programs.run(
                    [
                        binaries / "pg_ctl",
                        "-D",
                        self.folder.data,
                        "-m",
                        mode,
                        "-t",
                        "15",
                        "-w",
                        "stop",
                    ],
                    30,
                )
                if not self.process():
                    return
        with contextlib.suppress(psutil.Error):
            family = [process, *process.children(recursive=True)]
            for member in family:
                with contextlib.suppress(psutil.Error):
                    member.kill()
            psutil.wait_procs(family, timeout=5)

    def _launch(self, binaries: Path) -> None:
        deadline = time.monotonic() + RETRY_SECONDS
        killed = self._pid_file()
        self._clear_stale_pid_file()
        # After a crash on the same port again if it is free: engines in open notebooks still point
        # to it.
        port = killed[1] if killed and _is_free(killed[1]) else _free_port()
        while True:
            settings = SETTINGS | {"port": str(port)}
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            self._empty_log()
            code, said = programs.run(
                [
                    binaries / "pg_ctl",
                    "-D",
                    self.folder.data,
                    "-l",
                    self.folder.log,
                    "-w",
                    "-t",
                    str(START_SECONDS),
                    "-o",
                    options,
                    "start",
                ],
                START_SECONDS + 30,
            )
            if code == 0:
                return
            log = self.folder.log.read_text(encoding="utf-8", errors="replace")
            # Another program took the port first; or the processes of a server that was killed are
            # still going.
            passing = (
                "could not create any TCP/IP sockets",
                "pre-existing shared memory block",
                "already exists",
            )
            if time.monotonic() < deadline and any(text in log for text in passing):
                if passing[0] in log:
                    port = _free_port()
                time.sleep(0.3)
                continue
            raise Problem(self._failure(log, said))

    def _make_cluster(self, binaries: Path) -> None:
        data = self.folder.data
        if data.exists():
            try:
                major = (data / "PG_VERSION").read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                raise Problem(self._broken("its file PG_VERSION is missing")) from None
            if major != programs.wheel_version().split(".")[0]:
                raise Problem(self._broken(f"it was made by PostgreSQL {major}"))
            return
        # Made under another name and renamed when whole: a first start that is interrupted breaks
        # no later one.
        partial = data.with_name("data.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        self._hand_over(partial)
        password = secrets.token_hex(24)
        self._write_new(self.folder.password, password)
        passed_on = self.folder.path / "password.partial"
        self._write_new(passed_on, password)
        self._hand_over(passed_on)
        code, said = programs.run(
            [
                binaries / "initdb",
                "-D",
                partial,
                "-U",
                ROLE,
                "-A",
                "scram-sha-256",
                "--pwfile",
                passed_on,
                "-E",
                "UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--no-sync",
                "--no-instructions",
            ]
        )
        passed_on.unlink()
        if code != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise Problem(self._failure("", said))
        self._write_new(partial / "pg_hba.conf", PG_HBA)
        self._hand_over(partial / "pg_hba.conf")
        partial.rename(data)

    def _pid_file(self) -> tuple[int, int] | None:
        """Process id and port from the file that the postmaster itself keeps."""
        try:
            lines = (
                (self.folder.data / "postmaster.pid")
                .read_text(encoding="utf-8", errors="replace")
                .splitlines()
            )
            return int(lines[0]), int(lines[3])
        except (OSError, ValueError, IndexError):
            return None

    def _clear_stale_pid_file(self) -> None:
        # PostgreSQL believes any living process of that id to be its predecessor. After a restart
        # of the machine that may be an editor. A dead id stays: PostgreSQL then looks for orphans
        # in the shared
        # memory itself.
        found = self._pid_file()
        if not found or self.process():
            return
        with contextlib.suppress(psutil.Error):
            if "postgres" not in psutil.Process(found[0]).name():
                (self.folder.data / "postmaster.pid").unlink()

    def _empty_log(self) -> None:
        with open(os.open(self.folder.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"):
            pass
        self._hand_over(self.folder.log)

    def _write_new(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        with open(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii"
        ) as file:
            file.write(text)

    def _hand_over(self, path: Path) -> None:
        if is_root():
            os.chown(path, *programs.server_ids())

    def _failure(self, log: str, said: str) -> str:
        text = f"{said}\n{log}"
        if "No space left on device" in text:
            return (
                f"The disk is full: PostgreSQL cannot write below {self.folder.path}.\n"
                "Make room there (about 60 MB), or set LOOPBOUND_CACHE to a folder on another disk."
            )
        telling = [
            line
            for line in text.splitlines()
            if "FATAL:" in line or "PANIC:" in line or "error:" in line
        ]
        written = [line for line in text.splitlines() if line.strip()]
        reason = telling[0] if telling else written[-1] if written else "it gave no reason"
        for mark in ("FATAL:", "PANIC:", "error:"):
            reason = reason.split(mark)[-1]
        return self._broken(f"PostgreSQL says: {reason.strip().rstrip('.')}")

    def _broken(self, why: str) -> str:
        return (
            f"The embedded PostgreSQL in {self.folder.path} does not start: {why}.\nDelete that"
            " folder and try again (it holds only Loopbound's experiments), or set DATABASE_URL to"
            " a server of your own."
        )


def spawn_keeper(folder: Folder) -> None:
    """Start a keeper that outlives this process. The caller holds the folder's lock."""
    detached: dict[str, Any]
    if sys.platform == "win32":
        detached = {
            "creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        }
    else:
        detached = {"start_new_session": True}
    # `open_folder` has made the log, with mode 0600.
    with open(folder.keeper_log, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.keeper", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            **detached,
        )
    # Until it holds its lock, this tells the next client that one is on its way.
    folder.keeper_pid.write_text(str(process.pid), encoding="ascii")
    # It is meant to outlive us; without a return code Popen would warn about that at the end.
    process.returncode = 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
