"""Named event loops: run a step on loop A, keep A open, come back to it later.

A Jupyter kernel already runs an event loop in its main thread, and a thread can
run only one at a time. So each `NamedLoop` keeps an `asyncio.Runner` in a thread
of its own. Lesson 01d builds the same thing in a cell, in a dozen lines.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

__all__ = ["NamedLoop", "forget_names", "name_of", "open_loops", "step_listeners"]

T = TypeVar("T")

# Weak keys: a loop's name must die with the loop. `id(loop)` is no key at all,
# for CPython hands the address of a dead loop to the next one.
_names: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, str] = weakref.WeakKeyDictionary()
_named_loops: weakref.WeakSet[NamedLoop] = weakref.WeakSet()
_unnamed = 0
_names_lock = threading.Lock()

_PATIENCE = 2.0  # seconds that an interrupted step has to end in

#: Called as ``listener(loop, phase, name, error)`` around every step of every
#: `NamedLoop`, on that loop's thread; ``phase`` is "begin", "end" or "closed".
step_listeners: list[
    Callable[[asyncio.AbstractEventLoop, str, str, BaseException | None], None]
] = []


def name_of(loop: asyncio.AbstractEventLoop) -> str:
    """The loop's name: a `NamedLoop`'s own, "Jupyter" for the kernel's, else "loop 1", "loop 2", ….

    A name once given stays with the loop for as long as the loop object lives.
    """
    global _unnamed
    with _names_lock:
        name = _names.get(loop)
        if name is None:
            if loop is _kernel_loop():
                name = "Jupyter"
            else:
                _unnamed += 1
                name = f"loop {_unnamed}"
            _names[loop] = name
        return name


def forget_names() -> None:
    """Start counting unnamed loops at 1 again (for a fresh recording); names already given stay."""
    global _unnamed
    with _names_lock:
        _unnamed = 0


def open_loops() -> list[str]:
    """Names of the `NamedLoop` objects that are still open, sorted."""
    return sorted(named.name for named in _named_loops if not named.closed)


def _kernel_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that an ipykernel in this process runs cells on, or None outside a kernel."""
    kernelapp = sys.modules.get("ipykernel.kernelapp")
    if kernelapp is None or not kernelapp.IPKernelApp.initialized():
        return None
    io_loop = getattr(kernelapp.IPKernelApp.instance(), "io_loop", None)
    return getattr(io_loop, "asyncio_loop", None)


class NamedLoop:
    """An event loop with a name, kept open in a thread of its own between steps.

    >>> with NamedLoop("A") as A:
    ...     A.run(asyncio.sleep(0, result="done on A"))
    'done on A'

    The verbs are those of `asyncio.Runner`: `run` a coroutine to its end, `close`
    the loop. Steps run one after the other, in the order of the calls. `loop_factory`
    makes the loop, as it does for `asyncio.Runner`; by default the platform's own.
    """

    def __init__(
        self, name: str, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    ) -> None:
        self.name = name
        self._loop_factory = loop_factory
        self._steps: queue.SimpleQueue[tuple[Coroutine[Any, Any, Any], str, Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._closing = threading.Lock()
        self._closed = False
        self._step_task: asyncio.Task[Any] | None = None
        self._left_running: str | None = None
        started: Future[asyncio.AbstractEventLoop] = Future()
        # A daemon, so that a forgotten loop cannot keep a kernel from ending;
        # `close` (or the atexit hook below) is what ends it properly.
        self._thread = threading.Thread(
            target=self._serve, args=(started,), name=f"event loop {name}", daemon=True
        )
        self._thread.start()
        self._loop = started.result()
        _named_loops.add(self)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The asyncio loop itself, also after it has been closed."""
        return self._loop

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def thread(self) -> int | None:
        """The identifier of its thread."""
        return self._thread.ident

    @property
    def left_running(self) -> str | None:
        """The step that was interrupted and goes on all the same; None where there is none."""
        return self._left_running

    def run(self, coro: Coroutine[Any, Any, T], *, step: str | None = None) -> T:
        """Run `coro` on this loop and wait for it, while the caller's own loop stands still.

        Returns the coroutine's result; raises what it raises, the very same exception object.
        `step` names the step in a recording (default: the coroutine's own name).

        Raises
        ------
        RuntimeError
            The loop is closed (asyncio's own wording), or a step waits for its own loop.
        """
        if not asyncio.iscoroutine(coro):
            raise TypeError(
                f"loop {self.name} runs coroutines, not {type(coro).__name__}: call the async"
                " function first"
            )
        if threading.current_thread() is self._thread:
            coro.close()
            raise RuntimeError(
                f"a step on loop {self.name} cannot wait for another step on loop {self.name}"
            )
        outcome: Future[T] = Future()
        with self._closing:
            if self._closed:
                coro.close()
                raise RuntimeError("Event loop is closed")
            if self._left_running:
                coro.close()
                raise RuntimeError(
                    f"loop {self.name} is still busy with {self._left_running}, which did not stop:"
                    " restart the kernel"
                )
            step = step or str(getattr(coro, "__name__", "step"))
            self._steps.put((coro, step, outcome))
        try:
            # In short waits, for on Windows a lock that is waited for cannot be interrupted.
            while not wait([outcome], timeout=0.2).done:
                pass
        except BaseException:  # interrupted, or ended from outside by a check
            # That must end the step, not leave it running unseen.
            if not outcome.done():
                self._loop.call_soon_threadsafe(self._cancel_step)
                # A step that blocks its thread, or swallows the cancellation, cannot be stopped
                # from outside.
                if not wait([outcome], timeout=_PATIENCE).done:
                    self._left_running = step
                    outcome.add_done_callback(self._stopped_after_all)
            raise
        try:
            return outcome.result()
        finally:
            # An exception's traceback holds this frame: were the frame to hold the future that
            # holds the exception, the cycle would keep connections alive until a collection.
            del outcome, coro

    def close(self) -> None:
        """Cancel what is left on the loop, close it and end its thread.

        Closing twice does nothing.
        """
        with self._closing:
            already = self._closed
            self._closed = True
        if not already:
            self._steps.put(None)
        if threading.current_thread() is not self._thread and not self._left_running:
            self._thread.join()

    def __enter__(self) -> NamedLoop:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<NamedLoop {self.name} {'closed' if self._closed else 'open'}>"

    def _stopped_after_all(self, outcome: Future[Any]) -> None:
        self._left_running = None

    def _cancel_step(self) -> None:
        task = self._step_task
        if task is not None:
            task.cancel()

    def _serve(self, started: Future[asyncio.AbstractEventLoop]) -> None:
        runner = asyncio.Runner(loop_factory=self._loop_factory)
        try:
            loop = runner.get_loop()
        except BaseException as reason:
            started.set_exception(reason)  # no loop: only the caller who waits for one can be told
            return
        _names[loop] = self.name
        started.set_result(loop)
        with runner:
            for coro, step, outcome in iter(self._steps.get, None):
                _tell(loop, "begin", step, None)
                error: BaseException | None = None
                value = None
                try:
                    # Before the task's first step, not around its coroutine: the famous
                    # message prints the task, and it should show the reader's own code.
                    loop.call_soon(self._name_task, coro, step)
                    value = runner.run(coro)
                except BaseException as caught:  # any error is handed to the caller unchanged
                    error = caught
                self._step_task = None
                _tell(loop, "end", step, error)
                if error is None:
                    outcome.set_result(value)
                else:
                    outcome.set_exception(error)
                # Nothing of this step may stay alive in this frame until the next one.
                del coro, outcome, value, error
        _tell(loop, "closed", "", None)

    def _name_task(self, coro: Coroutine[Any, Any, Any], step: str) -> None:
        for task in asyncio.all_tasks(self._loop):
            if task.get_coro() is coro:
                task.set_name(step)
                self._step_task = task


def _tell(
    loop: asyncio.AbstractEventLoop, phase: str, step: str, error: BaseException | None
) -> None:
    for listener in tuple(step_listeners):
        listener(loop, phase, step, error)


@atexit.register
def _close_all() -> None:
    for named in list(_named_loops):
        named.close()
