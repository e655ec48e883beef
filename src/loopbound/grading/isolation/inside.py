"""The process that runs a learner's code: it enters its sandbox, and is a kernel, or carries out
one stage of a check, until it is ended.

It holds no password but that of a role made for it, and gets its databases from the grader over the
channel.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import logging
import os
import select
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import psycopg

from loopbound.database import ScratchDatabase, Session, scratch
from loopbound.grading.isolation.channel import LARGEST, Channel
from loopbound.problem import Problem

if TYPE_CHECKING:
    from loopbound.grading.isolation.answering import LeftOvers

__all__ = [
    "Fingerprint",
    "become",
    "enter",
    "main",
    "note",
    "remember",
    "report",
    "without_debugger",
]


LONGEST_TEXT = 5_000  # characters, in a report that is long


class _Lent:
    """What stands for the server in here: the grader makes, watches and drops the databases."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def create(self, label: str, schema: str | None) -> ScratchDatabase:
        given = self._ask({"op": "database", "tables": schema is None})
        if schema is not None:
            # In here, with the rights of this process: the grader carries nothing out that comes
            # from a learner.
            try:
                with psycopg.connect(**given["libpq"], autocommit=True) as inside:
                    inside.execute(schema)
            except psycopg.Error as error:
                self.close(given["name"])
                said = str(error).strip().splitlines() or [type(error).__name__]
                raise Problem(
                    f"The server could not make a scratch database.\nIt says: {said[0]}"
                ) from None
        return ScratchDatabase(given["name"], given["url"], self)

    def sessions(self, name: str) -> list[Session]:
        return [
            Session(**row | {"blocked_by": tuple(row["blocked_by"])})
            for row in self._ask({"op": "sessions", "name": name})["sessions"]
        ]

    def close(self, name: str) -> bool:
        with contextlib.suppress(OSError, EOFError):
            self._ask({"op": "close", "name": name})
        return True

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        answer = self.channel.ask(message)
        if "problem" in answer:
            raise Problem(answer["problem"])
        return answer


class Fingerprint:
    """What some modules looked like before a learner's code ran: their functions and classes, the
    methods of those, and the checks' own values.
    """

    def __init__(self, modules: Sequence[ModuleType]) -> None:
        self._seen: list[tuple[str, Mapping[str, Any], str, Any, tuple[Any, ...]]] = []
        self._values: list[tuple[str, Any, str]] = []
        self._builtins = [
            (f"builtins.{name}", name, value)
            for name, value in vars(builtins).items()
            if name not in _ITS_OWN and name != "_"
        ]
        for module in modules:
            checks = module.__name__.startswith("loopbound.checks.")
            for name, value in list(vars(module).items()):
                where = f"{module.__name__}.{name}"
                if callable(value) and name not in _ITS_OWN:
                    self._seen.append((where, vars(module), name, value, _inner(value)))
                    if isinstance(value, type) and value.__module__ == module.__name__:
                        kind = vars(value)
                        self._seen += [
                            (f"{where}.{key}", kind, key, each, _inner(each))
                            for key, each in list(kind.items())
                            if callable(each)
                        ]
                elif (
                    checks
                    and type(value) in (str, int, float, tuple, list, dict, set, frozenset)
                    and not name.startswith("__")
                    and name not in _STATE
                ):
                    self._seen.append((where, vars(module), name, value, ()))
                    self._values.append((where, value, repr(value)))

    def changed(self) -> list[str]:
        """The names of what was put in another's place."""
        names = []
        where = builtins.__dict__
        for told, name, value in self._builtins:
            if where.get(name) is not value:
                names.append(told)
        if names:
            # Without them nothing else can be compared, and no word be sent.
            for _, name, value in self._builtins:
                where[name] = value
            return names
        names = [
            name
            for name, where, key, value, inner in self._seen
            if where.get(key) is not value or _inner(value) != inner
        ]
        names += [name for name, value, text in self._values if repr(value) != text]
        if logging.root.manager.disable:
            names.append("logging.disable")  # the checks listen to what pools and loops log
        return names


def _inner(value: Any) -> tuple[Any, ...]:
    """What decides over what a function does, beside itself."""
    if type(value) is FunctionType:
        return (
            id(value.__code__),
            id(value.__defaults__),
            id(value.__kwdefaults__),
            id(value.__closure__),
        )
    return ()


def main() -> None:
    """A fresh process: its channel is the descriptor that the command line names, or a port and a
    word; its order is the first message.
    """
    if len(sys.argv) == 2:
        line = socket.socket(fileno=int(sys.argv[1]))
    else:
        line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
        line.sendall(sys.argv[2].encode())
    order = Channel(line).receive()
    if order:
        become(order[0], line)


def become(order: dict[str, Any], line: socket.socket) -> None:
    """Become what an order says; does not return.

    This process stays as the supervisor of the one that it forks: what that one starts ends with
        it.
    """
    code = 70
    try:
        with contextlib.suppress(OSError):
            os.setsid()
        if sys.platform == "linux":
            from loopbound.grading.isolation import sandbox

            sandbox.adopt_orphans()
            if order["sandbox"]:
                sandbox.leave_namespaces()
                sandbox.die_with_parent()  # after what takes rights away: that would take this back
        code = _keep(order, line) if hasattr(os, "fork") else enter(order, line)
    except BaseException as error:
        with contextlib.suppress(BaseException):
            Channel(line).send({"op": "broken", "says": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(code)


def _keep(order: dict[str, Any], line: socket.socket) -> int:
    heard, told = os.pipe()
    inner = os.fork()
    if inner == 0:
        code = 70
        try:
            os.close(told)
            # Until the grader has been told of us: two who speak at once on one line are not
            # understood.
            os.read(heard, 1)
            os.close(heard)
            code = enter(order, line)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException as error:
            with contextlib.suppress(BaseException):
                Channel(line).send({"op": "broken", "says": f"{type(error).__name__}: {error}"})
        finally:
            os._exit(code)
    if hasattr(os, "pidfd_open"):
        ends = [os.pidfd_open(inner), os.pidfd_open(os.getpid())]
        Channel(line).send({"op": "started", "pid": inner}, ends)
        for end in ends:
            os.close(end)
    else:
        Channel(line).send({"op": "started", "pid": inner})
    os.close(told)
    os.close(heard)
    _await(inner, line)
    code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
    if not order["sandbox"]:
        _end_family(inner)
    return code if code >= 0 else 128 - code


def _await(inner: int, line: socket.socket) -> None:
    """Wait for a process to end, and end it where the grader is gone, however that went."""
    if not hasattr(select, "poll"):
        return
    waiting = select.poll()
    waiting.register(line, 0)  # a closed other end is reported in any case
    if hasattr(os, "pidfd_open"):
        end = os.pidfd_open(inner)
        waiting.register(end, select.POLLIN)
        if not any(ready == end for ready, _ in waiting.poll()):
            os.kill(inner, signal.SIGKILL)
        os.close(end)
        return
    ended = threading.Event()
    previous = signal.signal(signal.SIGCHLD, lambda *_: ended.set())
    while not ended.is_set():
        if waiting.poll(50):
            os.kill(inner, signal.SIGKILL)
            break
    signal.signal(signal.SIGCHLD, previous)


def _end_family(leader: int) -> None:
    """End what a process without a sandbox has left: its group, and on Linux the
    processes that left the group.
    """
    with contextlib.suppress(OSError):
        os.killpg(leader, signal.SIGKILL)
    place = Path(f"/proc/self/task/{os.getpid()}/children")
    for _ in range(1000):  # each round may hand us the children of those that it ends
        try:
            children = [int(pid) for pid in place.read_text().split()]
        except OSError:
            return
        if not children:
            return
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)


def enter(order: dict[str, Any], line: socket.socket) -> int:
    """Enter the sandbox, then do the job of an order."""
    channel = Channel(line)
    line.set_inheritable(False)
    home = order["shared"]
    if order["sandbox"]:
        from loopbound.grading.isolation import sandbox

        settings = sandbox.Settings(**order["sandbox"] | {"seen": tuple(order["sandbox"]["seen"])})
        home = sandbox.build_root(settings)
        with sandbox.loopback(settings.port) as listener:
            channel.send({"op": "listening"}, [listener.fileno()])
        sandbox.drop_rights(settings)
        sandbox.limit(processes=True)
        sandbox.die_with_parent()
    else:
        with contextlib.suppress(OSError, AttributeError):
            os.setpgid(0, 0)  # a group of its own, so that the supervisor is not in it
        os.chdir(home)
        if sys.platform == "linux":
            from loopbound.grading.isolation import sandbox

            sandbox.limit(processes=False)
            sandbox.die_with_parent()
    _silence()
    handlers: dict[str, Any] = {"SIGINT": signal.default_int_handler, "SIGPIPE": signal.SIG_IGN}
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), handlers.get(name, signal.SIG_DFL))
    os.environ.clear()
    os.environ.update(
        order["environment"],
        HOME=home,
        IPYTHONDIR=f"{home}/.ipython",
        JUPYTER_RUNTIME_DIR=home,
        MPLCONFIGDIR=f"{home}/.matplotlib",
        TMPDIR="/tmp" if order["sandbox"] else home,
    )
    import tempfile

    tempfile.tempdir = None
    with contextlib.suppress(OSError):
        os.makedirs(f"{home}/.matplotlib")
        for path in order["fonts"]:
            shutil.copy(path, f"{home}/.matplotlib")
    scratch.lend(_Lent(channel))
    if order["job"] == "kernel":
        return _be_kernel(order, channel)
    return _carry_out(channel)


def _silence() -> None:
    """Standard input and output lead nowhere: what a kernel prints goes over its sockets."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  # open to the end
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    # Constants in the eyes of a type checker.
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)


_STATE = ("_hints_given", "_passed")  # of the checks, and meant to change
# What the kernel itself puts there again with each cell, and a check with each run.
_ITS_OWN = ("input", "exit", "quit", "display", "get_ipython", "showwarning")

_channel: Channel | None = None
_fingerprint: Fingerprint | None = None
_left_overs: LeftOvers | None = None
_cells = 0  # of the notebook that have run


def _be_kernel(order: dict[str, Any], channel: Channel) -> int:
    global _channel, _left_overs
    without_debugger()
    import asyncio

    from ipykernel.kernelapp import IPKernelApp
    from tornado.ioloop import IOLoop

    from loopbound.grading.isolation.answering import (
        AnsweringKernel,
        LeftOvers,
        run_commands_quietly,
        say_little,
    )

    _channel = channel
    place = Path(os.environ["HOME"], "connection.json")
    place.write_text(json.dumps(order["connection"]), encoding="utf-8")
    app = IPKernelApp.instance(kernel_class=AnsweringKernel)
    app.initialize(
        [
            "-f",
            str(place),
            "--HistoryManager.enabled=False",
            "--InteractiveShell.colors=nocolor",
            "--log-level=CRITICAL",
        ]
    )
    place.unlink()
    say_little(app.session)
    run_commands_quietly(app.shell)
    # Where a learner's own cell asks for a check, the grader's comes anyway; and a cell goes on
    # behind one that fails.
    for name in ("check", "hint", "show", "solution"):
        setattr(sys.modules["loopbound"], name, lambda *_, **__: None)
    # quit() and exit() in a cell are no reason to lose the notebook's other answers.
    app.shell.ask_exit = lambda: None  # type: ignore[union-attr]  # made by initialize()
    if _fingerprint is None:
        remember()
    AnsweringKernel.report = staticmethod(report)
    AnsweringKernel.noted = staticmethod(note)

    def ready() -> None:
        # On its loop, when its threads run.
        global _left_overs
        _left_overs = LeftOvers(asyncio.get_running_loop(), app.shell.user_ns)  # type: ignore[union-attr]
        channel.send({"op": "ready"})

    IOLoop.current().add_callback(ready)
    app.start()
    return 0


def without_debugger() -> None:
    """Keep a kernel from importing a debugger that is not used: that takes longer than all the
    rest.
    """
    sys.modules.setdefault("debugpy", None)  # type: ignore[arg-type]


def remember() -> None:
    """Take the fingerprint, before any learner's code runs."""
    global _fingerprint
    _fingerprint = Fingerprint(_watched())


def _watched() -> list[ModuleType]:
    """The modules whose parts a check relies on."""
    names = (
        "asyncio",
        "concurrent.futures",
        "threading",
        "time",
        "json",
        "inspect",
        "logging",
        "warnings",
        "loopbound",
        "ipykernel.ipkernel",
        "ipykernel.kernelbase",
        "sqlalchemy.ext.asyncio",
        "sqlalchemy.pool",
        "asyncpg",
    )
    return [
        module
        for name, module in sorted(sys.modules.items())
        if isinstance(module, ModuleType)
        and any(name == known or name.startswith((f"{known}.", f"_{known}")) for known in names)
    ]


def note() -> None:
    """Tell the grader what the cell that has just run left behind, or put in another's place."""
    global _cells
    assert _channel is not None and _fingerprint is not None and _left_overs is not None
    changed, left = _fingerprint.changed(), _left_overs.found()
    if changed or left:
        _channel.send({"op": "noted", "cell": _cells, "changed": changed[:5], "left": left})
    _cells += 1


def report(task: str, nonce: str, names: Mapping[str, Any]) -> None:
    """Run a task's answers and tell the grader what was observed, and what it changed or left
    behind.
    """
    from loopbound.checks.task import observe

    assert _channel is not None and _fingerprint is not None and _left_overs is not None
    told: dict[str, Any] = {"op": "report", "task": task, "nonce": nonce}
    try:
        told["changed"] = _fingerprint.changed()[:5]
        if not told["changed"]:
            told["data"] = observe(task, names)
    except Problem as problem:
        told["problem"] = str(problem)
    except BaseException as error:
        told["raised"] = f"{type(error).__name__}: {error}"[:500]
    told |= {"after": _fingerprint.changed()[:5], "left": _left_overs.found(settle=0.05)}
    _channel.send(_within_bounds(told))


def _within_bounds(told: dict[str, Any]) -> dict[str, Any]:
    """A report that the grader's line can carry: long texts are cut, and what stays too long is not
    sent.
    """
    if len(json.dumps(told)) > LARGEST // 4:
        told = told | {"data": _cut(told.get("data"))}
        if len(json.dumps(told)) > LARGEST:
            told.pop("data")
            told["problem"] = "What the check observed is too long to be reported."
    return told


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, list):
        return [_cut(each) for each in value]
    return (
        {key[:LONGEST_TEXT]: _cut(each) for key, each in value.items()}
        if isinstance(value, dict)
        else value
    )


def _carry_out(channel: Channel) -> int:
    """One call of `complete` or `facts_of`, in a process in which no learner's code ever runs; a
    suite that it starts has its own.
    """
    from loopbound.checks.task import complete, facts_of

    if sys.platform == "linux":
        from loopbound.grading.isolation import sandbox

        sandbox.not_to_be_traced()
    channel.send({"op": "ready"})
    wanted = channel.receive()
    if wanted is None:
        return 0
    asked = wanted[0]
    names: dict[str, Any] = {"__name__": "__main__"}
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        for number, source in enumerate(asked["given"]):
            exec(compile(source, f"<given {number + 1}>", "exec"), names)
    try:
        data = (
            facts_of(asked["task"], names)
            if asked["data"] is None
            else complete(asked["task"], asked["data"], names, asked["facts"])
        )
        channel.send({"op": "completed", "data": data})
    except Problem as error:
        channel.send({"op": "completed", "problem": str(error)})
    return 0


if __name__ == "__main__":
    main()
