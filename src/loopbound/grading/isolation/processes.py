"""The grader's processes: a warm one that forks, or fresh ones where that cannot be; each bounded,
each ended with what it has started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import zmq.asyncio

from loopbound.grading.isolation.channel import Channel, Garbled
from loopbound.grading.isolation.databases import Databases, SubmissionDatabases, relay
from loopbound.grading.isolation.folders import grading_folder
from loopbound.paths import repository
from loopbound.problem import Problem
from loopbound.suite import COURIER

__all__ = ["KILL", "Ended", "LearnerProcess", "Processes"]

START_SECONDS = 60.0  # for a busy machine; it takes a fraction of one
END_SECONDS = 60.0  # for a submission with many processes on a busy machine
# Windows has the second one alone, and it kills there.
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
MOST_SAID = 64 * 2**20  # bytes that one process may tell us
MOST_REPORTS = 100  # of one process; a kernel has one for each task, and each place of its check
MOST_WAITING = 3  # of these that are kept until they are read
MOST_NOTES = 1_000  # of one process, about cells that left something
LARGEST_MESSAGE = 2**18  # bytes that a kernel may send in one piece over its own sockets
MOST_MESSAGES = 100  # of those that wait until we read them
# What a learner's process is told of the grader's environment.
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class Ended(Exception):
    """A process is gone, or says nothing: ``why`` is "time" where its time was up, "dead" where it
    ended by itself, "garbled" where it said what none says.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Processes:
    """What the processes of one run of the grader share: the warm process, the scratch databases,
    a folder for sockets.

    Args:
        isolation: "namespaces", "groups", or None for the strongest that this machine has.
        warm: fork from a warm process where that is possible.
    """

    def __init__(self, isolation: str | None = None, warm: bool = True) -> None:
        self.folder = grading_folder()
        self._control: socket.socket | None = None
        self._warm: subprocess.Popen[bytes] | None = None
        self._warming = threading.Lock()
        self._is_warm = False
        if warm and sys.platform == "linux":
            self._start_warm()
        try:
            self.isolation = isolation or strongest_isolation()
            self.databases = Databases()
        except BaseException:
            self._close_processes()
            raise
        self.context = zmq.asyncio.Context()
        # Of every socket that is made in it.
        self.context.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        self.context.setsockopt(zmq.RCVHWM, MOST_MESSAGES)
        self._numbers = iter(range(1, 10**9))
        self.fonts = font_lists()
        self.seen = (*seen(), *self.fonts)

    @property
    def forks(self) -> bool:
        """Whether processes come from a warm one."""
        return self._control is not None

    def _start_warm(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = os.environ | {
            "OPENBLAS_NUM_THREADS": "1"
        }  # a process that forks has one thread
        self._warm = subprocess.Popen(
            [sys.executable, "-m", "loopbound.grading.isolation.warm", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._control, self._is_warm = ours, False

    def launch(self, order: dict[str, Any]) -> tuple[socket.socket, subprocess.Popen[bytes] | None]:
        """Start a process for an order.

        Returns our end of the line to it, and the process where it is a fresh one.
        """
        if self._control:
            ours, line = socket.socketpair()
            with line, self._warming:
                for _ in range(2):
                    self._wait_until_warm()
                    try:
                        socket.send_fds(
                            self._control, [json.dumps(order).encode()], [line.fileno()]
                        )
                        return ours, None
                    except OSError:  # it was killed
                        self._control.close()
                        self._start_warm()
            ours.close()
            raise Problem("the grader's warm process was killed, and again after a new start.")
        quiet: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": self.folder,
        }
        # -P: no module from the folder that it starts in.
        program = [sys.executable, "-P", "-m", "loopbound.grading.isolation.inside"]
        if os.name == "posix":
            ours, line = socket.socketpair()
            with line:
                process = subprocess.Popen(
                    [*program, str(line.fileno())], pass_fds=[line.fileno()], **quiet
                )
        else:  # no descriptor can be handed over: it calls us, with a secret word
            word = secrets.token_hex(16)
            with socket.create_server(("127.0.0.1", 0)) as door:
                process = subprocess.Popen([*program, str(door.getsockname()[1]), word], **quiet)
                door.settimeout(START_SECONDS)
                while True:
                    ours, _ = door.accept()
                    ours.settimeout(START_SECONDS)
                    if secrets.compare_digest(ours.recv(len(word)).decode(errors="replace"), word):
                        break
                    ours.close()
            ours.settimeout(None)
        Channel(ours).send(order)
        return ours, process

    def _wait_until_warm(self) -> None:
        """The first order has to wait until its imports are done."""
        assert self._control is not None
        if not self._is_warm:
            self._control.settimeout(START_SECONDS)
            try:
                self._is_warm = self._control.recv(16) == b"warm"
            except TimeoutError:
                raise Problem("the grader's warm process did not start.") from None
            if not self._is_warm:
                raise Problem("the grader's warm process ended while it started.")

    @staticmethod
    def place_of(place: int) -> int:
        """A place of this grader's among those of all graders that run at the same time."""
        from loopbound.grading.isolation import sandbox

        return sandbox.PLACES * (os.getpid() % sandbox.GRADERS) + place

    def child_folder(self, place: int) -> Path:
        """A new folder that a child may write its sockets in."""
        path = self.folder / f"{place}-{next(self._numbers)}"
        path.mkdir(mode=0o700)
        if self.isolation == "namespaces" and os.geteuid() == 0:
            from loopbound.grading.isolation import sandbox

            user = sandbox.FIRST_USER + self.place_of(place)
            os.chown(path, user, user)
        return path

    def close(self) -> None:
        """End the warm process and tidy up."""
        self.context.destroy(linger=0)
        self._close_processes()
        self.databases.close()

    def _close_processes(self) -> None:
        if self._control:
            self._control.close()
        if self._warm:
            # What it has forked is over by now, and it holds nothing that has to be tidied.
            self._warm.kill()
            self._warm.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def strongest_isolation() -> str:
    """The strongest isolation that this machine has: "namespaces" or "groups"."""
    if sys.platform == "linux":
        # Tried in a process of its own: this one may have threads, and then it should not fork.
        tried = subprocess.run(
            [sys.executable, "-m", "loopbound.grading.isolation.sandbox"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        if tried.returncode == 0:
            return "namespaces"
    return "groups"


def seen() -> tuple[str, ...]:
    """What a learner's process may read: the system's programs and libraries, Python with its
    packages, the course's package, its backend and its other projects. No solutions.
    """
    source = Path(__file__).resolve().parents[2]
    system = [
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/etc/ld.so.cache",
        "/etc/ld.so.conf",
        "/etc/ld.so.conf.d",
        "/etc/localtime",
    ]
    system += [
        "/etc/passwd",
        "/etc/group",
        "/etc/nsswitch.conf",
        "/etc/hosts",
        "/etc/ssl",
        "/etc/mime.types",
        "/etc/alternatives",
    ]
    python = {
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        sys.base_exec_prefix,
        os.path.dirname(os.path.realpath(sys.executable)),
    }
    backend = []
    with contextlib.suppress(Problem):
        backend = [
            str(repository() / "notebooks" / "signal_scanner"),
            str(repository() / "notebooks" / "cures"),
            str(COURIER),
            str(repository() / "pyproject.toml"),
        ]
    return tuple(sorted({*system, *python, str(source), *backend}))


def font_lists() -> tuple[str, ...]:
    """What matplotlib has found out about this machine's fonts.

    To find it out again, at its first import in each kernel, would take as long as a cell may run.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(os.environ.get("MPLCONFIGDIR") or Path(cache, "matplotlib"))
    return tuple(str(path) for path in home.glob("fontlist-*.json"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a fresh process.

    Where there is a supervisor, it ends by itself, after the processes that its child has left.
    """
    if os.name == "posix":
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
            return
    with contextlib.suppress(psutil.Error):
        for member in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                member.kill()
    process.kill()
    process.wait()


def hidden() -> tuple[str, ...]:
    """What only the process that carries a check out may read besides: the further tests of a
    suite, and the bugs that it must notice. No solutions.
    """
    with contextlib.suppress(Problem):
        return tuple(
            sorted(
                str(path)
                for name in ("hidden", "bugs")
                for path in (repository() / "solutions").glob(f"*/{name}")
            )
        )
    return ()


class LearnerProcess:
    """A process that runs a learner's code, seen from the grader.

    To be used in a running event loop, and closed in any case.
    """

    def __init__(self, processes: Processes, lent: SubmissionDatabases, place: int) -> None:
        self.processes = processes
        self.reports: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.notes: list[dict[str, Any]] = []
        self.ended = asyncio.Event()
        self.pid = 0
        self._place = place
        self._lending = lent
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ends: list[int] = []  # pidfds: of the process, of its supervisor
        self._relay: asyncio.Server | None = None
        self.shared = processes.child_folder(place)

    async def start(self, job: str, connection: dict[str, Any] | None = None) -> None:
        """Start it, and wait until it is ready.

        Raises ``Problem`` where it does not get that far.
        """
        sandbox = None
        if self.processes.isolation == "namespaces":
            port = self.processes.databases.address.port
            sandbox = {
                "place": self.processes.place_of(self._place),
                "shared": str(self.shared),
                "seen": self.processes.seen + (hidden() if job == "stage" else ()),
                "port": port,
            }
        order = {
            "job": job,
            "sandbox": sandbox,
            "shared": str(self.shared),
            "connection": connection,
            "fonts": self.processes.fonts,
            "environment": (
                {name: os.environ[name] for name in _KEPT if name in os.environ}
                | {"PYTHONDONTWRITEBYTECODE": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
                # What installs packages is not to look for a network first.
                | {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_OFFLINE": "1"}
            ),
        }
        line, self._process = await asyncio.to_thread(self.processes.launch, order)
        self._channel = Channel(line, MOST_SAID)
        self._listener = threading.Thread(
            target=self._listen, args=[self._channel], name="channel", daemon=True
        )
        self._listener.start()
        done, _ = await asyncio.wait([self._ready], timeout=START_SECONDS)
        if not done:
            raise Problem("a process for a learner's code did not start.")
        self._ready.result()

    def send(self, message: dict[str, Any]) -> None:
        self._channel.send(message)  # type: ignore[union-attr]  # it has been started

    async def report(self, seconds: float) -> dict[str, Any]:
        """The next message that it reports. Raises ``Ended`` where none comes."""
        try:
            async with asyncio.timeout(seconds):
                message = await self.reports.get()
        except TimeoutError:
            raise Ended("time") from None
        if message is None:
            self.reports.put_nowait(None)
            raise Ended("dead")
        return message

    def _listen(self, channel: Channel) -> None:
        """In a thread of its own: what it asks for takes time at the database."""
        reports = 0
        try:
            while (received := channel.receive()) is not None:
                message, descriptors = received
                kind = message.get("op")
                if kind in ("database", "sessions", "close"):
                    channel.send(self._lending.answer(message))
                elif kind == "noted":
                    self._tell(self._note, message)
                elif kind in ("report", "completed"):
                    reports += 1
                    if reports > MOST_REPORTS:
                        break
                    self._tell(self._reported, message)
                elif kind in ("started", "listening", "ready", "broken") and not self._ready.done():
                    self._tell(self._begin, message, descriptors)
                    descriptors = []
                for descriptor in descriptors:
                    os.close(descriptor)
        except (Garbled, OSError):
            pass
        finally:
            self._tell(self._over)

    def _tell(self, what: Any, *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what, *arguments)

    def _note(self, message: dict[str, Any]) -> None:
        if len(self.notes) < MOST_NOTES:
            kept: dict[str, Any] = {"cell": message.get("cell")}
            for what in ("changed", "left"):
                said = message.get(what)
                kept[what] = [str(word)[:100] for word in said[:5]] if type(said) is list else []
            self.notes.append(kept)

    def _reported(self, message: dict[str, Any]) -> None:
        # More than are asked for come from nothing of ours.
        if self.reports.qsize() < MOST_WAITING:
            self.reports.put_nowait(message)

    def _begin(self, message: dict[str, Any], descriptors: list[int]) -> None:
        kind = message["op"]
        if kind == "started":
            self.pid, self._ends = message["pid"], descriptors
        elif kind == "listening" and descriptors:
            self._serving = self._loop.create_task(
                self._serve(socket.socket(fileno=descriptors[0]))
            )
        elif kind == "ready" and not self._ready.done():
            if self.processes.isolation == "namespaces" and os.geteuid() == 0:
                # Its sockets are there: from now on nothing more can be put into the one folder
                # that lies outside.
                os.chown(self.shared, 0, 0)
                self.shared.chmod(0o711)
            self._ready.set_result(None)
        elif kind == "broken" and not self._ready.done():
            self._ready.set_exception(
                Problem(
                    "a process for a learner's code could not be set up.\nIt says:"
                    f" {message.get('says')}"
                )
            )

    async def _serve(self, listener: socket.socket) -> None:
        address = self.processes.databases.address
        self._relay = await relay(
            listener,
            self._lending,
            address.host,
            address.port,
            not address.sslmode or address.sslmode == "disable",
        )

    def _over(self) -> None:
        self.ended.set()
        self.reports.put_nowait(None)
        if not self._ready.done():
            self._ready.set_exception(
                Problem("a process for a learner's code ended while it started.")
            )

    def signal(self, number: int) -> None:
        """Send a signal to the process; nothing where it is gone."""
        with contextlib.suppress(OSError):
            if self._ends:
                signal.pidfd_send_signal(self._ends[0], number)
            elif self.pid:
                os.kill(self.pid, number)

    async def close(self) -> None:
        """End it and everything that it has started, and wait until that is so."""
        self.signal(KILL)
        if len(self._ends) == 2:
            over = asyncio.Event()
            self._loop.add_reader(self._ends[1], over.set)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await over.wait()
            self._loop.remove_reader(self._ends[1])
        for end in self._ends:
            os.close(end)
        self._ends = []
        if self._process:
            await asyncio.to_thread(_end, self._process)
        if self._relay:
            self._relay.close()
        if self._channel:
            with contextlib.suppress(OSError):
                self._channel.line.shutdown(socket.SHUT_RDWR)
            await asyncio.to_thread(self._listener.join, END_SECONDS)
            self._channel.close()
        if not self._ready.done():
            self._ready.cancel()
        elif not self._ready.cancelled():
            self._ready.exception()
        shutil.rmtree(self.shared, ignore_errors=True)
        shutil.rmtree(f"{self.shared}.root", ignore_errors=True)
