"""Runs inside a lesson's kernel and tells what the lesson left behind.

Executed before the first cell (``baseline``) and after the last (``leftovers``). It is loaded from
its file, so it
imports the standard library alone and nothing of the package: what a lesson imports stays the
    lesson's business.
"""

import asyncio
import gc
import json
import sys
import threading
import warnings
import weakref

_known_tasks: weakref.WeakSet = weakref.WeakSet()
_known: dict = {}


def baseline():
    """Remembers what the kernel itself has, and lets every warning through to the reader."""
    warnings.simplefilter("default")
    # A library's own deprecations are not the lesson's, and Python hides them from readers too.
    for category in (DeprecationWarning, PendingDeprecationWarning):
        warnings.filterwarnings("ignore", category=category)
        for module in ("__main__", r"loopbound(\.|$)"):
            warnings.filterwarnings("default", category=category, module=module)
    loop = asyncio.get_running_loop()
    _known["loop"] = loop
    _known_tasks.update(asyncio.all_tasks(loop))
    _known["threads"] = set(threading.enumerate())
    # Kept alive here, so that an id cannot be given to another object.
    _known["objects"] = _alive(asyncio.AbstractEventLoop) + _alive(asyncio.BaseTransport)


def leftovers():
    """JSON: a list of sentences, one for each thing that a lesson has left open."""
    # Twice: destructors that run in the first pass drop what the second one collects. Their
    # warnings go to stderr.
    gc.collect()
    gc.collect()
    known = {id(item) for item in _known["objects"]}
    left = [*_tasks(), *_loops(known), *_threads(), *_transports(known), *_databases()]
    return json.dumps(left)


def _alive(kind):
    # By type(), not isinstance(): asking every object of a process for its __class__ runs code of
    # lazy ones.
    return [item for item in gc.get_objects() if issubclass(type(item), kind)]


def _tasks():
    for task in asyncio.all_tasks(_known["loop"]):
        if task in _known_tasks or task is asyncio.current_task() or _of_the_kernel(task):
            continue
        yield f"the task {task.get_name()!r} ({_what(task)}) is still pending on Jupyter's loop"


def _what(task):
    return getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))


def _of_the_kernel(task):
    code = getattr(task.get_coro(), "cr_code", None)
    file = (code.co_filename if code else "").replace("\\", "/")
    return any(
        f"/{package}/" in file for package in ("ipykernel", "tornado", "zmq", "jupyter_client")
    )


def _loops(known):
    module = sys.modules.get("loopbound.loops")
    for name in module.open_loops() if module else []:
        yield f"the named loop {name!r} was not closed"
    named = {id(item.loop) for item in _alive(module.NamedLoop)} if module else set()
    for loop in _alive(asyncio.AbstractEventLoop):
        if id(loop) not in known and id(loop) not in named and not loop.is_closed():
            yield f"an event loop was not closed: {type(loop).__name__}"


def _threads():
    # asyncio.to_thread() keeps its workers until the loop ends, and only Jupyter may end its
    # loop.
    executor = getattr(_known["loop"], "_default_executor", None)
    workers = getattr(executor, "_threads", ())
    for thread in threading.enumerate():
        if thread not in _known["threads"] and thread not in workers and not thread.daemon:
            yield f"the thread {thread.name!r} still runs"


def _transports(known):
    for transport in _alive(asyncio.BaseTransport):
        if id(transport) in known or transport.is_closing():
            continue
        name = transport.get_extra_info("peername")
        yield f"a transport was not closed: {type(transport).__name__}" + (
            f" to {name}" if name else ""
        )


def _databases():
    module = sys.modules.get("loopbound.database.scratch")
    if module is None:
        return
    handles = {database.name: database for database in _alive(module.ScratchDatabase)}
    for name in [name for owner in module._owners.values() for name in owner.names]:
        sessions = len(handles[name].sessions()) if name in handles else 0
        yield f"the scratch database {name!r} was not closed ({sessions} sessions still open)"
