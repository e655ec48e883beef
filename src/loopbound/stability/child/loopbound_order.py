"""Run a suite's tests in a given order, and report line by line what happens.

A program that stands alone: the standard library and pytest, so that the interpreter of a project
runs it without Loopbound. It is started in the project's folder and given

    the name of a file of JSON: {"words", "order", "plain", "seed", "cache", "stacks"}
    stdout  takes the reports, a JSON object a line
    stderr  a file, which becomes the standard output and error of pytest
"""

import _socket
import faulthandler
import functools
import json
import os
import signal
import stat
import sys
import threading
import types
import weakref

import pytest

LONGEST_TEXT = 60_000  # of one failure, in characters
MOST = 1000  # elements of a container that are compared
ORPHANED = 4  # exit code
SIMPLE = (int, float, complex, str, bytes, bool, type(None))
INSTALLED = ("site-packages", "dist-packages", ".venv")


def main(given_in):
    """Run pytest as ``python -m pytest`` does, with the plugin below."""
    with open(given_in, encoding="utf-8") as file:
        given = json.load(file)
    reports = Reports(os.dup(1))
    os.dup2(2, 1)
    sys.path[0] = os.getcwd()
    words = [*given["words"], "-o", "cache_dir=" + given["cache"]]
    sys.argv = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py"), *words]
    plugin = Plugin(reports, given)
    code = pytest.main(words, plugins=[plugin])
    pools = sys.modules.get("concurrent.futures.thread")
    ended = getattr(pools, "_threads_queues", ())  # these end when the interpreter does
    kept = [thread.name for thread in others() if not thread.daemon and thread not in ended]
    reports.say("end", code=int(code), left=plugin.at_the_end, threads=kept)
    return code


class Reports:
    """Lines of JSON, written at once: what happened before a crash has been said."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.process = os.getpid()

    def say(self, kind, **more):
        """Write one; in a process that a test has forked, nothing."""
        if os.getpid() != self.process:
            return
        line = (json.dumps({"kind": kind, **more}) + "\n").encode()
        try:
            while line:
                line = line[os.write(self.descriptor, line) :]
        except BrokenPipeError:  # the parent was killed
            os._exit(ORPHANED)


class Plugin:
    """The hooks of a run."""

    def __init__(self, reports, given):
        self.reports = reports
        self.given = given
        self.test = self.phase = ""
        self.failed = False
        self.loops = weakref.WeakSet()
        self.left = Left((os.path.join(os.getcwd(), ""),), given["plain"])
        self.before = {}
        self.tasks = []
        self.at_the_end = []
        self.words = []
        if hasattr(signal, "SIGUSR2"):
            signal.signal(signal.SIGUSR2, self.tell_where)
            # Written at once, also where the interpreter waits in C and calls no handler.
            file = open(given["stacks"], "w", encoding="utf-8")  # noqa: SIM115  # open to the end
            faulthandler.register(signal.SIGUSR2, file=file, all_threads=False, chain=True)

    # -- how pytest runs ---------------------------------------------------------------------------

    @pytest.hookimpl(hookwrapper=True)
    def pytest_load_initial_conftests(self, early_config):
        """The project's record of coverage is not this run's to write."""
        early_config.known_args_namespace.cov_source = []
        yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        """Only the order is to differ: what else reorders, selects, repeats or spreads is off."""
        option, has = config.option, config.pluginmanager.hasplugin
        option.xmlpath = None
        seed = self.given["seed"]
        if has("randomly"):
            # It gives each test the same random numbers: that is kept, and in each run the same.
            self.words += ["--randomly-dont-reorganize", f"--randomly-seed={seed}"]
        if getattr(option, "random_order_enabled", False):
            self.words += ["--random-order-bucket=none"]
        if getattr(option, "tx", None):
            self.words += ["-n0"]
        if self.given["plain"]:
            return
        option.randomly_reorganize, option.randomly_seed = False, seed
        option.random_order_enabled = False
        option.random_order_bucket = option.random_order_seed = "default:none"
        option.numprocesses, option.dist, option.tx = None, "no", []
        option.lf = option.failedfirst = option.newfirst = False
        option.stepwise = option.stepwise_skip = option.stepwise_reset = False
        option.maxfail = option.reruns = 0
        option.usepdb = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session):
        """Put the tests in order, after every plugin that does so."""
        root = str(session.config.rootpath)
        self.left.project = (*self.left.project, os.path.join(root, ""))
        order = self.given["order"]
        if order is not None:
            places = {}
            for place, test in enumerate(order):
                places.setdefault(test, place)
            session.items[:] = sorted(
                (item for item in session.items if item.nodeid in places),
                key=lambda item: places[item.nodeid],
            )
        self.reports.say(
            "collected",
            tests=[item.nodeid for item in session.items],
            groups=[[node.nodeid for node in item.listchain()[1:-1]] for item in session.items],
            root=root,
            arguments=[str(word) for word in session.config.args],
            words=self.words,
        )
        self.before = self.left.first = self.left.now()

    def pytest_collectreport(self, report):
        """A file that cannot be read."""
        if report.failed:
            self.reports.say("unread", id=report.nodeid, text=report.longreprtext[:LONGEST_TEXT])

    # -- where a test is ---------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid):
        """A test begins."""
        self.test, self.failed, self.tasks = nodeid, False, []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self):
        """Its set-up begins."""
        self.enter("setup")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_call(self):
        """Its own part: the tasks that still run when it is over are left by it."""
        self.enter("call")
        self.watch_loops()
        before = self.running_tasks()
        yield
        self.tasks = [self.task(task) for task in self.running_tasks() if task not in before]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self):
        """Its teardown begins."""
        self.enter("teardown")

    def enter(self, phase):
        """A phase begins."""
        self.phase = phase
        self.reports.say("phase", id=self.test, phase=phase)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        """A phase has ended."""
        if report.outcome == "failed":
            self.failed = True
            crash = getattr(report.longrepr, "reprcrash", None)
            text = report.longreprtext[:LONGEST_TEXT]
            said = getattr(crash, "message", "") or text
            error = next((line for line in said.splitlines() if line.strip()), "")
            self.reports.say("failed", id=report.nodeid, error=error[:500], text=text)
        elif report.outcome == "skipped" and not hasattr(report, "wasxfail"):
            self.reports.say("skipped", id=report.nodeid)

    def pytest_runtest_logfinish(self, nodeid):
        """A test has ended, with its fixtures."""
        now = self.left.now()
        left = self.tasks + self.left.between(self.before, now)
        self.before = now
        self.phase = ""
        self.reports.say("done", id=nodeid, left=left)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self):
        """The last fixtures are done with: what is there now, and was not at first, is left."""
        self.at_the_end = self.left.since_the_start()

    # -- tasks -------------------------------------------------------------------------------------

    def watch_loops(self):
        """Remember each loop that runs from here on."""
        base = sys.modules.get("asyncio.base_events")
        if base is None or hasattr(base.BaseEventLoop.run_forever, "__wrapped__"):
            return
        run_forever, loops = base.BaseEventLoop.run_forever, self.loops

        @functools.wraps(run_forever)
        def remembered(loop):
            loops.add(loop)
            return run_forever(loop)

        base.BaseEventLoop.run_forever = remembered

    def running_tasks(self):
        """The tasks that wait on loops which stand still: nothing of theirs ends meanwhile."""
        asyncio = sys.modules.get("asyncio")
        found = set()
        for loop in list(self.loops):
            if not loop.is_running():
                found.update(asyncio.all_tasks(loop))
        return found

    def task(self, task):
        """A task in words."""
        coroutine = task.get_coro()
        name = getattr(coroutine, "__qualname__", None) or task.get_name()
        code = getattr(coroutine, "cr_code", None)
        place = f" ({self.place(code.co_filename, code.co_firstlineno)})" if code else ""
        return f"task {name}{place}"

    # -- a hang ------------------------------------------------------------------------------------

    def tell_where(self, number, frame):
        """Say in which lines of the project the main thread and its loop's tasks are."""
        found = [self.innermost(frame)]
        asyncio = sys.modules.get("asyncio")
        loop = asyncio._get_running_loop() if asyncio else None
        for task in asyncio.all_tasks(loop) if loop else ():
            frames, waiting = [], task.get_coro()
            while waiting is not None:
                frames += [f for f in (getattr(waiting, n, None) for n in FRAMES) if f is not None]
                inner = [w for w in (getattr(waiting, n, None) for n in AWAITS) if w is not None]
                waiting = inner[0] if inner else None
            found += [next((p for p in map(self.at, reversed(frames)) if p), "")]
        self.reports.say("where", places=list(dict.fromkeys(place for place in found if place)))

    def innermost(self, frame):
        """The innermost line of the project in a stack; "" without one."""
        while frame is not None:
            place = self.at(frame)
            if place:
                return place
            frame = frame.f_back
        return ""

    def at(self, frame):
        """A frame's line, if it is of the project; else ""."""
        path = frame.f_code.co_filename
        if not self.left.own(path):
            return ""
        return f"{self.place(path, frame.f_lineno)} in {frame.f_code.co_name}"

    def place(self, path, line):
        """A ``file:line`` as its user names it."""
        for top in self.left.project:
            if path.startswith(top):
                path = path[len(top) :].replace(os.sep, "/")
        return f"{path}:{line}"


FRAMES = ("cr_frame", "gi_frame", "ag_frame")
AWAITS = ("cr_await", "gi_yieldfrom", "ag_await")


class Left:
    """What a test may leave behind in its process: {key: value}, compared before and after."""

    def __init__(self, project, deep):
        self.project = project
        self.deep = deep
        self.first = {}

    def now(self):
        """What is there."""
        found = {("variable", name): value for name, value in os.environ.items()}
        found.pop(("variable", "PYTEST_CURRENT_TEST"), None)
        found["working directory", ""] = os.getcwd()
        found["sys.path", ""] = tuple(map(str, sys.path))
        for thread in others():
            found["thread", thread.name, thread.ident] = None
        for number, peer in connections():
            found["connection", peer, number] = None
        if self.deep:
            for name, module in list(sys.modules.items()):
                names = getattr(module, "__dict__", {})  # a lazy module imports when it is asked
                file = names.get("__file__")
                if isinstance(file, str) and self.own(file):
                    found["module", name] = None
                    self.names(name, names, found)
        return found

    def own(self, path):
        """Whether a file is of the project."""
        return path.startswith(self.project) and not any(name in path for name in INSTALLED)

    def names(self, module, names, found):
        """What the names of a module and of its classes hold."""
        for name, value in list(names.items()):
            if not name.startswith(("__", "@")):
                found["name", module, name] = shape(value, deep=True)
                if isinstance(value, type) and value.__module__ == module:
                    for inner, held in list(vars(value).items()):
                        if not inner.startswith("__"):
                            found["name", module, f"{name}.{inner}"] = shape(held, deep=True)

    def since_the_start(self):
        """What is there and was not before the first test."""
        return self.between(self.first, self.now())

    @staticmethod
    def between(before, after):
        """What came or changed, in words."""
        found = []
        for key in {**before, **after}:
            kind, *rest = key
            come = key in after and key not in before
            changed = before.get(key, key) != after.get(key, key)
            if kind == "thread" and come:
                found.append(f"thread {rest[0]}")
            elif kind == "connection" and come:
                found.append(f"connection to {rest[0]}")
            elif kind == "variable" and changed:
                found.append(f"environment variable {rest[0]}")
            elif kind in ("working directory", "sys.path") and changed:
                found.append(kind)
            elif kind == "name" and changed and ("module", rest[0]) in before:
                found.append(".".join(rest))
        return found


def shape(value, deep=False):
    """What tells whether a value has changed, without keeping it."""
    if isinstance(value, SIMPLE):
        return (type(value).__name__, value)
    try:
        if deep and isinstance(value, dict):
            pairs = list(value.items())[:MOST]
            return (len(value), [(shape(key), shape(held)) for key, held in pairs])
        if deep and isinstance(value, (list, tuple)):
            return (len(value), [shape(held) for held in value[:MOST]])
        if deep and isinstance(value, (set, frozenset)):
            return (len(value), sorted(map(repr, map(shape, value)))[:MOST])
        if deep and not isinstance(value, (type, types.ModuleType)) and not callable(value):
            return (id(value), shape(vars(value), deep=True))
    except Exception:  # a strange object of the project's: that it is another one is seen still
        pass
    return id(value)


def others():
    """The threads beside the main one."""
    return [thread for thread in threading.enumerate() if thread is not threading.main_thread()]


def connections():
    """(descriptor, peer) of each connected socket of this process, also of those made in C."""
    try:
        numbers = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # Windows
        return
    if _socket.getdefaulttimeout() is not None:
        return  # looking at a socket would change how it waits
    for number in numbers:
        try:
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            # Not socket.socket, which a plugin may have replaced by one that refuses.
            made = _socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        try:
            peer = made.getpeername()
        except OSError:
            peer = ""
        made.close()
        if isinstance(peer, tuple):
            yield number, "{}:{}".format(*peer)
        elif peer:
            yield number, str(peer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
