"""What lesson 02 says about the incident documents' claims, executed: asyncio alone, and rustc
where there is one.
"""

import asyncio
import gc
import inspect
import selectors
import shutil
import socket
import subprocess
import sys
import threading
import traceback
import weakref
from pathlib import Path

import asyncpg
import psutil
import pytest
from claims import claim
from patience import LONG
from sqlalchemy import make_url

from loopbound import NamedLoop, Recorder, scratch_database
from loopbound.course.solutions import answer_source
from loopbound.paths import repository

RUST = Path(__file__).resolve().parents[2] / "notebooks" / "rust"
ATTACHED = r"^Task <Task pending .* got Future <Future pending.*> attached to a different loop$"
BOUND = "is bound to a different event loop$"


async def wait(thing):
    async with asyncio.timeout(5):
        return await thing


async def take(lock):
    async with lock:
        await asyncio.sleep(0)


async def share(lock):
    await asyncio.gather(take(lock), take(lock))


async def hand_over(queue):
    await asyncio.gather(queue.get(), queue.put("mail"))


async def call(make):
    return make()


@pytest.fixture
def loops():
    with NamedLoop("A") as A, NamedLoop("B") as B:
        yield A, B


binding = claim(
    "A03",
    verdict="holds with a correction",
    observed=(
        "futures and streams bind to the loop that makes them, locks, semaphores and queues to the"
        " one on which a task first has to wait, coroutines to none; and what needs no wait passes"
        " on another loop"
    ),
)


@binding
def test_a_stream_binds_to_the_loop_that_opened_it_and_a_line_that_has_come_passes(loops):
    A, B = loops
    near, far = socket.socketpair()

    async def connect():
        return await asyncio.open_connection(sock=near)

    async def hang_up():
        writer.close()
        await writer.wait_closed()

    with far:
        reader, writer = A.run(connect())
        with pytest.raises(RuntimeError, match=ATTACHED):
            B.run(wait(reader.readline()))
        far.sendall(b"first\nsecond\n")
        assert A.run(wait(reader.readline())) == b"first\n"
        assert B.run(wait(reader.readline())) == b"second\n"
        A.run(hang_up())


@binding
@pytest.mark.parametrize(
    ("new", "contend"),
    [(asyncio.Lock, share), (lambda: asyncio.Semaphore(1), share), (asyncio.Queue, hand_over)],
    ids=["lock", "semaphore", "queue"],
)
def test_a_shared_primitive_binds_where_a_task_first_waits(loops, new, contend):
    A, B = loops
    made_on_a = A.run(call(new))
    B.run(contend(made_on_a))  # not the loop that made it: the first that waits
    with pytest.raises(RuntimeError, match=BOUND):
        A.run(contend(made_on_a))


@binding
def test_a_bound_lock_that_is_free_passes_on_another_loop(loops):
    A, B = loops
    lock = A.run(call(asyncio.Lock))
    A.run(share(lock))
    B.run(take(lock))
    with pytest.raises(RuntimeError, match=BOUND):
        B.run(share(lock))


@binding
def test_a_coroutine_binds_to_no_loop(loops):
    A, B = loops
    coroutine = A.run(call(lambda: asyncio.sleep(0, result="report")))
    A.close()
    assert B.run(coroutine) == "report"


# -- what the lesson says beside the claims --------------------------------------------------------


class Watched(selectors.DefaultSelector):
    """A loop's selector that says when the loop lies down to sleep without an alarm."""

    def __init__(self):
        super().__init__()
        self.asleep = threading.Event()

    def select(self, timeout=None):
        if timeout is None:
            self.asleep.set()
        return super().select(timeout)


def test_a_lock_that_an_awake_loop_gives_back_wakes_no_waiter_on_another():
    lock, watched, got_it = asyncio.Lock(), Watched(), threading.Event()

    async def wait_for_it():
        async with lock:
            got_it.set()

    async def give_back():
        lock.release()

    B = asyncio.SelectorEventLoop(watched)
    waiting = threading.Thread(target=lambda: B.run_until_complete(wait_for_it()))
    with NamedLoop("A") as A:
        A.run(lock.acquire())  # it is free, so A binds nothing
        waiting.start()
        assert watched.asleep.wait(LONG)
        A.run(give_back())
        # No error on either side: the lock is free, and B sleeps until another thing wakes it.
        assert not lock.locked()
        assert not got_it.wait(0.5)
        B.call_soon_threadsafe(int)
        assert got_it.wait(LONG)
        waiting.join()
    B.close()


async def pages():
    yield 1
    yield 2


async def pages_of_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0.05))
        yield 1
    yield 2


async def begun(generator):
    await anext(generator)
    return generator


def test_a_generator_binds_where_it_holds_a_task_group_open(loops):
    A, B = loops
    assert A.run(wait(A.run(begun(pages_of_a_group())).__anext__())) == 2
    assert B.run(wait(A.run(begun(pages())).__anext__())) == 2
    grouped = A.run(begun(pages_of_a_group()))
    with pytest.raises(RuntimeError, match=ATTACHED):
        B.run(wait(anext(grouped)))


def test_a_future_shows_its_maker_by_a_callback_or_a_coroutine_or_not_at_all(loops):
    A, B = loops

    def met(crossing):
        with pytest.raises(RuntimeError, match=r"^Task .*> got .* attached") as caught:
            B.run(wait(crossing))
        future = (
            str(caught.value).partition("> got ")[2].removesuffix(" attached to a different loop")
        )
        return future, traceback.extract_tb(caught.value.__traceback__)[-1].name

    def library(_): ...

    async def with_a_callback():
        future = asyncio.Future()
        future.add_done_callback(library)
        return future

    async def as_a_task():
        return asyncio.create_task(asyncio.sleep(LONG), name="fetch")

    near, far = socket.socketpair()

    async def connect():
        return await asyncio.open_connection(sock=near)

    async def hang_up():
        writer.close()
        await writer.wait_closed()

    future, _ = met(A.run(with_a_callback()))
    assert future.startswith("Future <Future pending cb=[") and "library() at" in future
    future, _ = met(A.run(as_a_task()))
    assert future.startswith("Future <Task pending name='fetch' coro=<sleep() running at ")
    with far:
        reader, writer = A.run(connect())
        assert met(reader.readline()) == ("Future <Future pending>", "_wait_for_data")
        A.run(hang_up())


def test_one_for_each_loop_forgets_no_client_that_holds_its_loop():
    """The right answer to 02.3 keeps what the exercise's last cell says, and closing cures it."""
    names = {"asyncio": asyncio, "weakref": weakref}
    exec(answer_source(repository(), "02.3"), names)

    def sockets():
        connections = psutil.Process().net_connections("tcp")
        return sum(bool(c.raddr) and c.raddr.port == port for c in connections)

    def kept(closing):
        """How many of eight loops, and of their connections' sockets, are left."""
        gc.collect()  # what an earlier call kept is in a cycle
        here = names["one_for_each_loop"](lambda: asyncpg.create_pool(dsn, min_size=3, max_size=3))
        loops, before = weakref.WeakSet(), sockets()

        async def ask():
            loops.add(asyncio.get_running_loop())
            pool = await here()
            assert await pool.fetchval("select 42") == 42
            if closing:
                await pool.close()

        for _ in range(8):
            asyncio.run(ask())
        gc.collect()
        return len(loops), sockets() - before

    # The recorder takes the warnings of what is not closed.
    with scratch_database("clients") as db, Recorder():
        dsn, port = db.url.replace("+asyncpg", ""), make_url(db.url).port or 5432
        assert kept(closing=False) == (8, 24)
        assert kept(closing=True) == (8, 0)


@claim(
    "A12",
    verdict="holds",
    observed=(
        "a future names the loop that made it, and another loop's task that waits for it gets the"
        " famous error; a future that is done can be read on any loop"
    ),
)
def test_a_future_belongs_to_the_loop_that_made_it(loops):
    A, B = loops
    future = A.run(call(asyncio.Future))
    assert future.get_loop() is A.loop
    with pytest.raises(RuntimeError, match=ATTACHED):
        B.run(wait(future))
    A.run(call(lambda: future.set_result("mail")))
    assert B.run(wait(future)) == "mail"


@claim(
    "A17",
    verdict="holds with a correction",
    observed=(
        "an opinion, which no run settles; the part that a run can show: since Python 3.10 locks"
        " and queues take no loop= and bind at the first wait, while futures and tasks still"
        " take one"
    ),
)
def test_primitives_gave_up_their_loop_parameter_and_futures_kept_it():
    for kept in asyncio.Future, asyncio.Task:
        assert "loop" in inspect.signature(kept).parameters
    for freed in asyncio.Lock, asyncio.Event, asyncio.Semaphore, asyncio.Queue:
        assert "loop" not in inspect.signature(freed).parameters
    lock = asyncio.Lock()  # no loop runs here
    with NamedLoop("A") as A:
        A.run(share(lock))


@claim(
    "B25",
    verdict="holds with a correction",
    observed=(
        "tests without any database, each on a loop of its own, share a module's lock: one fails"
        " when two of its tasks want a lock that was contended in an earlier test"
    ),
)
def test_tests_without_a_database_are_affected_by_a_shared_lock(tmp_path):
    (tmp_path / "test_reports.py").write_text(
        "import asyncio, pytest\n"
        "lock = asyncio.Lock()\n"
        "async def take():\n"
        "    async with lock:\n"
        "        await asyncio.sleep(0)\n"
        "@pytest.mark.parametrize('reports', [1, 2, 1, 2])\n"
        "def test_reports(reports):\n"
        "    async def write():\n"
        "        await asyncio.gather(*(take() for _ in range(reports)))\n"
        "    asyncio.run(write())\n",
        encoding="utf-8",
    )
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert "1 failed, 3 passed" in ended.stdout, ended.stdout + ended.stderr
    assert "bound to a different event loop" in ended.stdout


needs_rustc = pytest.mark.skipif(
    not shutil.which("rustc"), reason="rustc was not found: the Rust claims are NOT verified here"
)


def rust(source, folder):
    """What the compiler said (empty when all was well), and what the program then printed."""
    program = str(folder / "program.exe")
    built = subprocess.run(
        ["rustc", "--edition=2021", "-o", program, "-"],
        input=source,
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    if built.returncode:
        return built.stderr, ""
    ran = subprocess.run([program], capture_output=True, text=True, timeout=LONG)
    assert ran.returncode == 0, ran.stderr
    return built.stderr, ran.stdout


@needs_rustc
@claim(
    "A14",
    verdict="holds with a correction",
    observed=(
        "a future that is a plain value was begun on one executor and ended on another, in another"
        " thread; one that asks for a runtime cannot be (claim A16)"
    ),
)
def test_a_rust_future_is_begun_on_one_executor_and_ended_on_another(tmp_path):
    said, printed = rust((RUST / "report_machine.rs").read_text(encoding="utf-8"), tmp_path)
    assert printed.splitlines() == ["executor A: Pending", "executor B: Ready(42)"], said


@needs_rustc
@claim(
    "A15",
    verdict="holds",
    observed=(
        "moving a future that holds an Rc to another thread does not compile (E0277, not Send);"
        " with an Arc it does"
    ),
)
def test_crossing_threads_is_refused_by_rusts_type_system(tmp_path):
    source = (RUST / "not_send.rs").read_text(encoding="utf-8")
    said, _ = rust(source, tmp_path)
    assert "error[E0277]: `Rc<String>` cannot be sent between threads safely" in said
    said, _ = rust(
        source.replace("rc::Rc", "sync::Arc").replace("Rc<", "Arc<").replace("Rc::", "Arc::"),
        tmp_path,
    )
    assert "error" not in said


@needs_rustc
@claim(
    "A16",
    verdict="holds with a correction",
    observed=(
        "independent of the language, not of the library: in a std-only model of tokio's pattern, a"
        " resource that its runtime has to watch panics on a bare executor (tokio itself was not"
        " run)"
    ),
)
def test_a_resource_that_a_runtime_watches_panics_on_a_bare_executor(tmp_path):
    said, printed = rust((RUST / "reactor.rs").read_text(encoding="utf-8"), tmp_path)
    assert printed.splitlines() == [
        "with a runtime: mail, watched by runtime A",
        "bare executor: panic, there is no reactor running",
    ], said
