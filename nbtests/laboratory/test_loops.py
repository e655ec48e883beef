"""Named loops: what a lesson relies on when it runs a step on loop A and comes back later."""

import _thread
import asyncio
import contextlib
import gc
import threading
import warnings
import weakref

import pytest

from loopbound.loops import NamedLoop, name_of, open_loops


async def here():
    return asyncio.get_running_loop()


def test_a_step_runs_on_the_same_loop_every_time_and_never_on_another():
    with NamedLoop("A") as A, NamedLoop("B") as B:
        assert A.run(here()) is A.run(here()) is A.loop
        assert B.run(here()) is B.loop is not A.loop
        assert name_of(A.run(here())) == "A"


def test_a_factory_makes_the_loop_and_its_failure_is_the_callers():
    with NamedLoop("A", asyncio.SelectorEventLoop) as A:
        assert type(A.run(here())) is asyncio.SelectorEventLoop

    def refuse():
        raise OSError("no more file descriptors")

    with pytest.raises(OSError, match="no more file descriptors"):
        NamedLoop("B", refuse)
    assert "B" not in open_loops()


def test_a_task_left_on_a_loop_goes_on_at_the_next_step():
    async def start(seen):
        async def later():
            await asyncio.sleep(0)
            seen.append("later")

        return asyncio.create_task(later())

    async def finish(task):
        await task

    with NamedLoop("A") as A:
        seen = []
        task = A.run(start(seen))
        A.run(finish(task))
    assert seen == ["later"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a report without a title"),
        asyncio.CancelledError(),
        SystemExit(3),
        KeyboardInterrupt(),
    ],
)
def test_an_exception_arrives_as_the_very_same_object(error):
    async def fail():
        raise error

    with NamedLoop("A") as A:
        with pytest.raises(type(error)) as caught:
            A.run(fail())
        assert caught.value is error
        assert A.run(asyncio.sleep(0, "still usable")) == "still usable"


def test_it_works_while_a_loop_runs_in_the_calling_thread():
    async def caller():
        with NamedLoop("A") as A:
            return A.run(here()) is not asyncio.get_running_loop()

    assert asyncio.run(caller())


def test_the_step_is_the_tasks_name_and_the_coroutine_is_the_tasks_own():
    async def report():
        task = asyncio.current_task()
        return task.get_name(), task.get_coro().__name__

    with NamedLoop("A") as A:
        assert A.run(report()) == ("report", "report")
        assert A.run(report(), step="report for mina") == ("report for mina", "report")


def test_closing_cancels_what_is_left_and_ends_the_thread():
    async def leave_a_task(seen):
        async def wait():
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        seen.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)

    before = threading.active_count()
    A, seen = NamedLoop("A"), []
    A.run(leave_a_task(seen))
    assert "A" in open_loops()
    A.close()
    A.close()
    assert seen[1:] == ["cancelled"] and A.loop.is_closed() and A.closed
    assert threading.active_count() == before and "A" not in open_loops()


def test_a_closed_loop_says_so_and_awaits_nothing():
    A = NamedLoop("A")
    A.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            A.run(here())
        gc.collect()


def test_a_function_instead_of_a_coroutine_is_refused_in_words():
    with (
        NamedLoop("A") as A,
        pytest.raises(
            TypeError, match="loop A runs coroutines, not function: call the async function first"
        ),
    ):
        A.run(here)


def test_a_step_that_waits_for_its_own_loop_is_refused_rather_than_hanging():
    with NamedLoop("A") as A:

        async def nested():
            A.run(here())

        with pytest.raises(RuntimeError, match="cannot wait for another step on loop A"):
            A.run(nested())


def test_interrupting_the_caller_cancels_the_step():
    seen = []

    async def wait():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with NamedLoop("A") as A:
        interrupt = threading.Timer(0.3, _thread.interrupt_main)
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            A.run(wait())
        assert A.run(asyncio.sleep(0, "usable")) == "usable"
    assert seen == ["cancelled"]


def test_a_step_that_cannot_be_stopped_gives_the_cell_back_and_is_named():
    go_on = threading.Event()

    async def block():
        go_on.wait(30)

    A = NamedLoop("A")
    interrupt = threading.Timer(0.3, _thread.interrupt_main)
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        A.run(block())
    with pytest.raises(
        RuntimeError,
        match="loop A is still busy with block, which did not stop: restart the kernel",
    ):
        A.run(here())
    go_on.set()
    A._thread.join(0.5)  # the step ends now, and the loop is free again
    assert A.run(here()) is A.loop
    A.close()


def test_nothing_keeps_a_result_or_an_error_alive():
    class Report:
        pass

    async def make():
        return Report()

    async def fail():
        report = Report()
        seen.append(weakref.ref(report))
        raise ValueError("lost")

    seen = []
    with NamedLoop("A") as A:
        result = A.run(make())
        seen.append(weakref.ref(result))
        del result
        with contextlib.suppress(ValueError):
            A.run(fail())
        gc.collect()
        assert [ref() for ref in seen] == [None, None]


def test_a_name_dies_with_its_loop_though_the_id_comes_back():
    names, ids = [], []
    for _ in range(50):
        loop = asyncio.new_event_loop()
        names.append(name_of(loop))
        ids.append(id(loop))
        loop.close()
        del loop
        gc.collect()
    assert len(set(names)) == 50
    assert len(set(ids)) < 50, (
        "the ids did repeat in this run, which is what makes the weak reference necessary"
    )


def test_many_loops_leave_nothing_behind():
    before = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(60):
            with NamedLoop(f"L{i}") as loop:
                loop.run(asyncio.sleep(0))
        gc.collect()
    assert threading.active_count() == before
