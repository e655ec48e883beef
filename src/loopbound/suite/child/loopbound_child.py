"""Runs in the suite's own process: pytest, with a plugin that reports line by line what happens.

A program that stands alone: the standard library, pytest and, for a trace, SQLAlchemy, so that an
interpreter without Loopbound can run it. It starts in the project's folder and is given

    stdin   orders from the parent, a line each: "stacks", "go on";
            its end means that the parent is gone
    stdout  takes the reports, a JSON object a line
    stderr  a file, which becomes the standard output and error of pytest
    the name of a file of JSON: {"order", "trace", "limit", "plugins", "words", "stacks"}

Given "warm" and the descriptor of a socket instead, it imports what suites need, and forks for each
name of such a file that comes over the socket. The fork goes on as a fresh process does.
"""

import _thread
import contextlib
import faulthandler
import gc
import importlib
import importlib.util
import itertools
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import sysconfig
import threading
import time
import warnings

LONGEST_TEXT = 60_000  # of one traceback or message, in characters
# seconds after the limit: then faulthandler's own timer writes the stacks, should nothing else be
# able to
GRACE = 1.0
LONGEST_TIMER = 1_000_000.0  # seconds that faulthandler accepts everywhere
ANSWER_SECONDS = 60.0  # on a machine that is very busy; its end is heard of otherwise
CLEARING_SECONDS = 2.0
ORPHANED = 4  # exit code
PR_SET_DUMPABLE = 4  # from <sys/prctl.h>
IDLE_SECONDS = 60.0  # after which a warm process ends
# What a warm process imports beside pytest, where the sources of a project name its package: slow
# to import, and without threads, loops or connections of its own.
IMPORTED = (
    "argon2",
    "asyncpg",
    "celery.app.base",
    "celery.app.trace",
    "celery.backends.base",
    "celery.worker.worker",
    "fastapi",
    "httpx",
    "jwt",
    "pydantic.v1",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
)


def main(given_in):
    with open(given_in, encoding="utf-8") as file:
        given = json.load(file)
    reports, orders = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it
    listener = Listener(orders, Reports(reports), given["stacks"], os.path.dirname(given_in))
    listener.reports.say(
        "places", paths=[sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")]
    )
    listener.begin(given["limit"] + GRACE)

    import pytest

    return pytest.main(given["words"], plugins=[plugin(listener, given)])


def warm(control):
    """Fork for each name of a file that comes over a socket, until its other end is closed; returns
    that name in the fork.

    With the name come four descriptors: for stdin, stdout and stderr, and one that is told the
    fork's process id and, when it has ended, its exit code, a line each. No code of a project runs
    in the warm process itself.
    """
    import ctypes

    line = socket.socket(fileno=control)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_DUMPABLE, 0)  # a project's code cannot reach in here, and change the next run
    while select.select([line], [], [], IDLE_SECONDS)[0]:
        name, descriptors, _, _ = socket.recv_fds(line, 1 << 16, 4)
        if not name:
            break
        orders = os.fsdecode(name)
        with open(orders, encoding="utf-8") as file:
            given = json.load(file)
        folder = os.path.join(os.path.dirname(orders), "project")
        fresh = prepare(given["plugins"], folder)
        if os.fork() == 0:  # a process that waits for the fork's end
            line.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            process = os.fork()
            if process == 0:
                prctl(PR_SET_DUMPABLE, 1)
                become(orders, given["variables"], folder, descriptors, fresh)
                return orders
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            os.write(descriptors[3], b"%d\n" % code)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
    os._exit(0)


def prepare(plugins, folder):
    """Import what a suite needs; returns whether one of the project's own modules has the name of
    one that is imported: it would come first, so that the suite needs a fresh process.
    """
    import _pytest.config

    names, source = set(), b""
    for place, folders, files in os.walk(folder):
        names.update(folders)
        for name in files:
            if name.endswith(".py"):
                names.add(name[:-3])
                with open(os.path.join(place, name), "rb") as file:
                    source += file.read()
    wanted = ["_pytest." + name for name in _pytest.config.default_plugins]
    wanted += [module for _, module in plugins]
    wanted += [name for name in IMPORTED if name.partition(".")[0].encode() in source]
    before = len(sys.modules)
    with warnings.catch_warnings():
        for name in wanted:
            with contextlib.suppress(Exception):  # one that is not installed here
                importlib.import_module(name)
    if len(sys.modules) > before:
        gc.collect()
        gc.freeze()
    return not names.isdisjoint(name.partition(".")[0] for name in sys.modules)


def become(orders, variables, folder, descriptors, fresh):
    """Be the process of a suite, as if it had been started: its session, its streams, its
    variables, its folder.
    """
    os.setsid()
    os.chdir(folder)
    os.write(descriptors[3], b"%d\n" % os.getpid())
    for number, descriptor in enumerate(descriptors):
        if number < 3:
            os.dup2(descriptor, number)
        os.close(descriptor)
    if fresh:
        os.execve(sys.executable, [sys.executable, __file__, orders], variables)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv[1:] = sys.orig_argv[2:] = [orders]


class Reports:
    """Lines of JSON, written at once: what happened before a crash has been said."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.process = os.getpid()
        # Garbage may be collected while a line is being written, and the pool then reports from
        # inside.
        self.lock = threading.RLock()
        self.waiting = []
        self.writing = False
        self.unheard = lambda: None

    def say(self, kind, **more):
        if os.getpid() != self.process:  # a test that forks: its copy has nothing to report
            return
        with self.lock:
            self.waiting.append((json.dumps({"kind": kind, **more}) + "\n").encode())
            if self.writing:
                return
            self.writing = True
            try:
                while self.waiting:
                    line = self.waiting.pop(0)
                    while line:
                        line = line[os.write(self.descriptor, line) :]
            except BrokenPipeError:
                self.unheard()
            finally:
                self.writing = False


class Listener:
    """Listens to the parent, in a thread that `threading` does not know: the suite sees no thread
    more.
    """

    def __init__(self, orders, reports, stacks, folder):
        self.orders = orders
        self.reports = reports
        self.folder = folder
        self.stacks = open(stacks, "w", encoding="utf-8")  # noqa: SIM115  # open to the end
        self.answered = _thread.allocate_lock()
        self.answered.acquire()
        self.ending = _thread.allocate_lock()
        reports.unheard = self.orphaned

    def begin(self, seconds):
        faulthandler.dump_traceback_later(min(seconds, LONGEST_TIMER), file=self.stacks)
        _thread.start_new_thread(self.listen, ())

    def listen(self):
        said = b""
        while True:
            more = os.read(self.orders, 100)
            if not more:
                self.orphaned()
            said += more
            if b"stacks" in said:
                # The suite hangs and will be ended. A collection in this thread, which any object
                # made here may set off, could free what it waits for: it would go on meanwhile.
                gc.disable()
            while b"\n" in said:
                order, said = said.split(b"\n", 1)
                if order == b"stacks":
                    self.write_stacks()
                    self.reports.say("stacks")
                elif order == b"go on":
                    self.answered.release()

    def orphaned(self):
        """The parent was killed: end, with what the suite has started, and take away what it would
        have taken away.
        """
        self.ending.acquire()  # whichever thread notices second waits here for the end
        until = time.monotonic() + CLEARING_SECONDS
        # The suite may still be writing into it.
        while os.path.exists(self.folder) and time.monotonic() < until:
            shutil.rmtree(self.folder, ignore_errors=True)
        if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(ORPHANED)

    def write_stacks(self):
        faulthandler.dump_traceback(self.stacks, all_threads=True)
        try:
            self.stacks.write(tasks())
            self.stacks.flush()
        except (
            Exception
        ) as error:  # tasks may end while one looks at them; the threads' stacks are written
            self.stacks.write(f"The tasks could not be read: {error!r}\n")
            self.stacks.flush()

    def ask(self, question):
        """Say something and wait for the parent's "go on"."""
        self.reports.say(question)
        self.answered.acquire(timeout=ANSWER_SECONDS)


def tasks():
    """Where each task of the running loops waits; a thread's stack shows only its loop."""
    import asyncio

    loops = []
    for frame in sys._current_frames().values():
        while frame is not None:
            if frame.f_code.co_name == "run_forever" and isinstance(
                frame.f_locals.get("self"), asyncio.AbstractEventLoop
            ):
                loops.append(frame.f_locals["self"])
            frame = frame.f_back
    lines = []
    for task in sorted(
        (task for loop in loops for task in asyncio.all_tasks(loop)),
        key=lambda task: task.get_name(),
    ):
        lines.append(f"\nTask {task.get_name()} (outermost call first):")
        waiting = task.get_coro()
        while waiting is not None:
            frame = next(
                (f for f in (getattr(waiting, name, None) for name in FRAMES) if f is not None),
                None,
            )
            if frame is not None:
                lines.append(
                    f'  File "{frame.f_code.co_filename}", line {frame.f_lineno}'
                    f" in {frame.f_code.co_name}"
                )
            waiting = next(
                (w for w in (getattr(waiting, name, None) for name in AWAITS) if w is not None),
                None,
            )
    return "\n".join(lines) + "\n" if lines else ""


FRAMES = ("cr_frame", "gi_frame", "ag_frame")
AWAITS = ("cr_await", "gi_yieldfrom", "ag_await")


def ordered(things, order):
    """`things` in an order: "default", "reverse" or "random:SEED"."""
    things = list(things)
    if order == "reverse":
        things.reverse()
    elif order.startswith("random:"):
        random.Random(int(order.partition(":")[2])).shuffle(things)
    return things


def plugin(listener, given):
    """The object whose methods pytest calls."""
    import pytest

    reports = listener.reports
    trace = Trace(reports) if given["trace"] else None

    class Plugin:
        def pytest_addoption(self, pluginmanager):
            # By the names that their packages announce, but without a search through everything
            # installed.
            for name, module in given["plugins"]:
                if importlib.util.find_spec(module.partition(".")[0]) is not None:
                    pluginmanager.register(importlib.import_module(module), name)

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items):
            items[:] = ordered(items, given["order"])

        def pytest_collection_finish(self, session):
            reports.say("collected", ids=[item.nodeid for item in session.items])

        def pytest_collectreport(self, report):
            if report.failed:
                text = report.longreprtext[:LONGEST_TEXT]
                reports.say("unreadable", id=report.nodeid, traceback=text)

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_setup(self, item):
            self.enter(item, "setup")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_call(self, item):
            self.enter(item, "call")

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(self, item):
            self.enter(item, "teardown")

        def enter(self, item, phase):
            if trace:
                trace.at = (item.nodeid, phase)
            reports.say("begin", id=item.nodeid, phase=phase)

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_makereport(self, item, call):
            outcome = yield
            report = outcome.get_result()
            reports.say(
                "end",
                id=item.nodeid,
                phase=report.when,
                outcome=report.outcome,
                seconds=report.duration,
                errors=[] if call.excinfo is None else chain(call.excinfo.value),
                traceback="" if report.passed else report.longreprtext[:LONGEST_TEXT],
            )
            if trace and report.when == "teardown":
                trace.at = ("", "")

        def pytest_warning_recorded(self, warning_message):
            message = str(warning_message.message).strip()
            reports.say(
                "warning",
                text=f"{warning_message.category.__name__}: {message[:LONGEST_TEXT]}",
            )

        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(self):
            # The last test's fixtures are done with, and this process still lives: what is
            # connected was left behind.
            listener.ask("last")

    return Plugin()


def chain(error):
    """[type, text] of an error, then of its cause, its context and a group's members."""
    found, seen, waiting = [], [], [error]
    while waiting and len(found) < 20:
        one = waiting.pop(0)
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        try:
            text = str(one)
        except Exception:  # one that cannot be printed is an error all the same
            text = ""
        found.append([type(one).__name__, text[:LONGEST_TEXT]])
        waiting += [
            one.__cause__,
            None if one.__suppress_context__ else one.__context__,
            *getattr(one, "exceptions", ()),
        ]
    return found


class Trace:
    """Listens to every connection pool of the process."""

    def __init__(self, reports):
        import weakref

        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import Pool

        self.reports = reports
        self.at = ("", "")  # test, phase
        # Never by id(): a dead loop's is given to the next one.
        self.loops, self.records, self.births = (weakref.WeakKeyDictionary() for _ in range(3))
        self.loop_numbers, self.record_numbers = itertools.count(1), itertools.count(1)
        event.listen(Pool, "connect", lambda connection, record: self.born(record))
        event.listen(
            Pool, "checkout", lambda connection, record, proxy: self.say("checkout", record)
        )
        event.listen(Pool, "checkin", lambda connection, record: self.say("checkin", record))
        # A pre-ping that fails announces no checkout, only this.
        event.listen(
            Pool, "invalidate", lambda connection, record, error: self.gone("invalidate", record)
        )
        event.listen(Pool, "close", lambda connection, record: self.gone("close", record))
        event.listen(Engine, "engine_disposed", lambda engine: self.say("dispose", None))

    def loop(self):
        import asyncio

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return ""
        if running not in self.loops:
            self.loops[running] = next(self.loop_numbers)
        return f"loop {self.loops[running]}"

    def number(self, record):
        if record not in self.records:
            self.records[record] = next(self.record_numbers)
        return self.records[record]

    def born(self, record):
        self.births[record] = self.loop()
        self.say("connect", record)

    def gone(self, kind, record):
        self.say(kind, record)
        self.births.pop(record, None)

    def say(self, kind, record):
        number, born_on = (
            (0, "") if record is None else (self.number(record), self.births.get(record, ""))
        )
        self.reports.say("pool", event=[*self.at, kind, number, self.loop(), born_on])


if __name__ == "__main__":
    sys.exit(main(warm(int(sys.argv[2])) if sys.argv[1] == "warm" else sys.argv[1]))
