"""Runs in the suite's own process: pytest with a plugin that reports line by line what happens.

A program that stands alone: the standard library, pytest and, for a trace, SQLAlchemy, so that an interpreter without
Loopbound can run it. It is started with

    stdin   orders from the parent, a line each: "stacks", "go on"; its end means that the parent is gone
    stdout  the reports, a JSON object a line
    stderr  a file, which becomes the standard output and error of pytest

and an argument of JSON: {"order", "trace", "limit", "plugins", "words"}.
"""

import _thread
import faulthandler
import importlib.util
import json
import os
import random
import sys

LONGEST_TEXT = 60_000  # of one traceback, in characters
GRACE = 1.0  # seconds after the limit at which faulthandler's own timer fires, should this program's thread be stuck
ORPHANED = 4  # exit code


def main(given):
    reports = Reports(os.dup(1))
    orders = os.dup(0)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.path[0] = os.getcwd()  # as `python -m pytest` has it
    watch = Watch(orders, reports)
    watch.begin(given["limit"] + GRACE)

    import pytest

    plugin = Plugin(reports, watch, given["order"], given["trace"])
    plugin.others = given["plugins"]
    return pytest.main(given["words"], plugins=[plugin])


class Reports:
    """Lines of JSON, each written at once: what happened before a crash has been said."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.lock = _thread.allocate_lock()
        self.process = os.getpid()

    def say(self, kind, **more):
        if os.getpid() != self.process:  # a test that forks: its copy has nothing to report
            return
        left = (json.dumps({"kind": kind, **more}) + "\n").encode()
        with self.lock:
            while left:
                left = left[os.write(self.descriptor, left) :]


class Watch:
    """Listens to the parent in a thread that `threading` does not know, so that the suite sees no thread more."""

    def __init__(self, orders, reports):
        self.orders = orders
        self.reports = reports
        self.answered = _thread.allocate_lock()
        self.answered.acquire()

    def begin(self, seconds):
        self.stacks = open("../stacks.txt", "w", encoding="utf-8")
        faulthandler.dump_traceback_later(seconds, file=self.stacks)
        _thread.start_new_thread(self.watch, ())

    def watch(self):
        process = os.getpid()
        said = b""
        while os.getpid() == process:
            more = os.read(self.orders, 100)
            if not more:
                os._exit(ORPHANED)
            said += more
            while b"\n" in said:
                order, said = said.split(b"\n", 1)
                if order == b"stacks":
                    faulthandler.dump_traceback(self.stacks, all_threads=True)
                    self.reports.say("stacks")
                elif order == b"go on":
                    self.answered.release()

    def ask(self, question, seconds):
        """Say something and wait for the parent's "go on"."""
        self.reports.say(question)
        self.answered.acquire(timeout=seconds)


def ordered(things, order):
    """`things` in an order: "default", "reverse" or "random:SEED"."""
    things = list(things)
    if order == "reverse":
        things.reverse()
    elif order.startswith("random:"):
        random.Random(int(order.partition(":")[2])).shuffle(things)
    return things


class Plugin:
    """What pytest calls."""

    def __init__(self, reports, watch, order, trace):
        import pytest

        self.reports = reports
        self.watch = watch
        self.order = order
        self.at = ("", "")  # test, phase
        if trace:
            self.trace = Trace(self)
        # Marked here, not by decorators, so that pytest is first imported when the watch has begun.
        mark = pytest.hookimpl
        for name in ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown"):
            mark(tryfirst=True)(getattr(type(self), name))
        mark(hookwrapper=True, tryfirst=True)(type(self).pytest_runtest_makereport)
        mark(trylast=True)(type(self).pytest_collection_modifyitems)
        mark(tryfirst=True)(type(self).pytest_sessionfinish)

    def pytest_addoption(self, parser, pluginmanager):
        # By the names that their packages announce, but without a search through everything installed.
        for name, module in self.others:
            if importlib.util.find_spec(module.partition(".")[0]) is not None:
                pluginmanager.register(importlib.import_module(module), name)

    def pytest_collection_modifyitems(self, items):
        items[:] = ordered(items, self.order)

    def pytest_collection_finish(self, session):
        self.reports.say("collected", ids=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report):
        if report.failed:
            lines = [line[1:].strip() for line in report.longreprtext.splitlines() if line.startswith("E ")]
            error = lines[-1] if lines else (report.longreprtext.strip().splitlines() or ["import failed"])[-1]
            self.reports.say(
                "unreadable", id=report.nodeid, error=error[:LONGEST_TEXT], traceback=report.longreprtext[:LONGEST_TEXT]
            )

    def pytest_runtest_setup(self, item):
        self._enter(item, "setup")

    def pytest_runtest_call(self, item):
        self._enter(item, "call")

    def pytest_runtest_teardown(self, item):
        self._enter(item, "teardown")

    def _enter(self, item, phase):
        self.at = (item.nodeid, phase)
        self.reports.say("begin", id=item.nodeid, phase=phase)

    def pytest_runtest_makereport(self, item, call):
        outcome = yield
        report = outcome.get_result()
        error = call.excinfo.value if call.excinfo is not None else None
        self.reports.say(
            "end",
            id=item.nodeid,
            phase=report.when,
            outcome=report.outcome,
            seconds=report.duration,
            errors=[] if error is None else chain(error),
            traceback="" if report.passed else report.longreprtext[:LONGEST_TEXT],
        )
        if report.when == "teardown":
            self.at = ("", "")

    def pytest_warning_recorded(self, warning_message):
        message = str(warning_message.message).strip()
        self.reports.say("warning", text="%s: %s" % (warning_message.category.__name__, message[:LONGEST_TEXT]))

    def pytest_sessionfinish(self):
        # The last test's fixtures are done with, and this process still lives: what is connected now was left behind.
        self.watch.ask("last", seconds=5)


def chain(error):
    """[type, text] of an error, then of what caused it, of its context, and of a group's members."""
    found, seen, waiting = [], set(), [error]
    while waiting and len(found) < 20:
        one = waiting.pop(0)
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        try:
            text = str(one)
        except Exception:  # an exception that cannot be printed is still one
            text = ""
        found.append([type(one).__name__, text[:LONGEST_TEXT]])
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
        waiting += getattr(one, "exceptions", ())
    return found


class Trace:
    """Listens to every connection pool of the process."""

    def __init__(self, plugin):
        import weakref

        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import Pool

        self.plugin = plugin
        # Never by id(): a dead loop's is given to the next one.
        self.loops = weakref.WeakKeyDictionary()
        self.records = weakref.WeakKeyDictionary()
        self.births = weakref.WeakKeyDictionary()
        self.counts = {}
        event.listen(Pool, "connect", lambda connection, record: self.born(record))
        event.listen(Pool, "checkout", lambda connection, record, proxy: self.say("checkout", record))
        event.listen(Pool, "checkin", lambda connection, record: self.say("checkin", record))
        event.listen(Pool, "invalidate", lambda connection, record, error: self.gone("invalidate", record))
        event.listen(Pool, "close", lambda connection, record: self.gone("close", record))
        event.listen(Engine, "engine_disposed", lambda engine: self.say("dispose", None))

    def number(self, known, thing):
        if thing not in known:
            self.counts[id(known)] = known[thing] = self.counts.get(id(known), 0) + 1
        return known[thing]

    def loop(self):
        import asyncio

        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            return ""
        return "loop %d" % self.number(self.loops, running)

    def born(self, record):
        self.births[record] = self.loop()
        self.say("connect", record)

    def gone(self, kind, record):
        self.say(kind, record)
        self.births.pop(record, None)

    def say(self, what, record):
        test, phase = self.plugin.at
        self.plugin.reports.say(
            "pool",
            event=[
                test,
                phase,
                what,
                0 if record is None else self.number(self.records, record),
                self.loop(),
                "" if record is None else self.births.get(record, ""),
            ],
        )


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
