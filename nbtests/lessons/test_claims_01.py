"""What lessons 01 and 01d say about the incident documents' claims, executed on asyncio alone."""

import asyncio
import selectors
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from claims import claim

from loopbound import NamedLoop


@claim(
    "A02",
    verdict="holds with a correction",
    observed=(
        "one loop never had two steps of its 20 tasks open at once; two loops in two threads had"
        " one open each at the same moment"
    ),
)
def test_one_step_at_a_time_on_each_loop_but_not_over_two_loops():
    open_steps, most, taken = 0, 0, []

    async def report(user):
        nonlocal open_steps, most
        for page in range(5):
            open_steps += 1
            most = max(most, open_steps)
            # Long enough for a second thread to get in between, were there one.
            sum(range(20_000))
            taken.append((user, page, asyncio.get_running_loop()))
            open_steps -= 1
            await asyncio.sleep(0)

    async def all_reports():
        await asyncio.gather(*(report(user) for user in range(20)))
        return asyncio.get_running_loop()

    loop = asyncio.run(all_reports())
    assert most == 1
    assert {each for _, _, each in taken} == {loop}
    # In turns: every task had its first page before any had its second.
    assert [page for _, page, _ in taken] == sorted(page for _, page, _ in taken)

    meeting = threading.Barrier(2, timeout=10)  # opens for two steps at the same moment only

    async def meet():
        return meeting.wait()

    with NamedLoop("A") as A, NamedLoop("B") as B, ThreadPoolExecutor(1) as thread:
        on_a = thread.submit(A.run, meet())
        assert {B.run(meet()), on_a.result()} == {0, 1}

    # The barrier proves it only if two tasks of one loop cannot open it.
    meeting = threading.Barrier(2, timeout=0.5)

    async def both():
        return await asyncio.gather(meet(), meet(), return_exceptions=True)

    assert [type(outcome) for outcome in asyncio.run(both())] == [threading.BrokenBarrierError] * 2


@pytest.fixture
def sleeping_loop():
    """A loop that sleeps in select() without a timer, in a thread of its own."""
    asleep = threading.Event()

    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            if timeout is None:
                asleep.set()
            return super().select(timeout)

    loop = asyncio.SelectorEventLoop(Selector())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert asleep.wait(10)
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@claim(
    "A13",
    verdict="holds",
    observed=(
        "call_soon from another thread left its callback unrun until call_soon_threadsafe woke the"
        " loop; debug mode raised RuntimeError"
    ),
)
def test_call_soon_from_another_thread_wakes_nobody(sleeping_loop):
    ran, rung = [], threading.Event()
    sleeping_loop.call_soon(ran.append, "call_soon")
    # No length of waiting would change this: nothing can wake the loop.
    assert not rung.wait(0.5)
    assert ran == []
    sleeping_loop.call_soon_threadsafe(rung.set)
    assert rung.wait(10)
    assert ran == ["call_soon"]


@claim(
    "A13",
    verdict="holds",
    observed=(
        "in debug mode call_soon and call_later from another thread raised RuntimeError,"
        " call_soon_threadsafe did not"
    ),
)
def test_debug_mode_refuses_another_thread(sleeping_loop):
    rung = threading.Event()
    sleeping_loop.set_debug(True)
    with pytest.raises(
        RuntimeError,
        match="Non-thread-safe operation invoked on an event loop other than the current one",
    ):
        sleeping_loop.call_soon(rung.set)
    with pytest.raises(RuntimeError, match="Non-thread-safe operation"):
        sleeping_loop.call_later(0, rung.set)
    sleeping_loop.call_soon_threadsafe(rung.set)
    assert rung.wait(10)
