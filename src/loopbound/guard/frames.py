"""Who calls: the frames from here outwards, also across SQLAlchemy's greenlets."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from types import FrameType
from typing import Any

_OTHERS = tuple(
    sorted(
        {
            os.path.normcase(path) + os.sep
            for name in ("stdlib", "platstdlib", "purelib", "platlib")
            if (path := sysconfig.get_path(name))
        }
    )
)
_OWN = os.path.normcase(os.path.dirname(os.path.abspath(__file__))) + os.sep
_yours: dict[str, bool] = {}  # file name → whether it is the user's own

_LOOP = os.path.join("asyncio", "base_events.py")
PORTAL, TEST_CLIENT = "a portal of anyio", "a portal, as of TestClient"
_THREADS = ("threading.py", os.path.join("futures", "_base.py"))
# The file that starts a loop → who that is. The first one from the coroutine outwards decides.
_RUNNERS = (
    ("pytest_asyncio/plugin.py", "pytest-asyncio"),
    ("anyio/pytest_plugin.py", "anyio's plugin"),
    ("anyio/from_thread.py", PORTAL),
    ("unittest/async_case.py", "unittest"),
    ("uvicorn/server.py", "uvicorn"),
)


def frames() -> Iterator[FrameType]:
    """The frames from the caller's caller outwards; where a greenlet ends, those of its parent."""
    frame: FrameType | None = sys._getframe(2)
    module: Any = sys.modules.get("greenlet")
    greenlet: Any = module.getcurrent() if module else None
    while frame is not None:
        yield frame
        frame = frame.f_back
        while frame is None and greenlet is not None:
            greenlet = greenlet.parent
            frame = greenlet.gr_frame if greenlet is not None else None


def yours(file: str) -> bool:
    """Whether a file is neither Python's, nor an installed package's, nor this package's."""
    known = _yours.get(file)
    if known is None:
        path = os.path.normcase(file)
        known = _yours[file] = not (
            file.startswith("<")
            or "site-packages" in path
            or "dist-packages" in path
            or path.startswith((*_OTHERS, _OWN))
        )
    return known


def place() -> str:
    """``file:line`` of the innermost line of the user's own; "" where there is none.

    In a task it is one of the task's: what started the loop is another matter.
    """
    for frame in frames():
        file = frame.f_code.co_filename
        if yours(file):
            return f"{file}:{frame.f_lineno}"
        if file.endswith(_LOOP):
            break
    return ""


def runner() -> str:
    """Who runs the loop that runs here, such as ``"pytest-asyncio"``."""
    found = "a loop of its own"
    inside = True  # still between the coroutine and its loop
    for frame in frames():
        file = frame.f_code.co_filename
        path = file.replace(os.sep, "/")
        for end, name in _RUNNERS:
            if path.endswith(end):
                if name == PORTAL and "starlette.testclient" in sys.modules:
                    return TEST_CLIENT
                return name
        if path.endswith("asyncio/runners.py"):
            found, inside = "asyncio.run", False
        elif path.endswith("asyncio/base_events.py"):
            inside = False
        elif not inside and yours(file):
            break
    return found


def waits(loop: Any) -> bool:
    """Whether the thread of a loop that runs stands in a call that waits for another thread, such
    as ``Thread.join``: until that ends the loop does nothing.
    """
    frame = sys._current_frames().get(getattr(loop, "_thread_id", None) or 0)
    names = set()
    while frame is not None and not frame.f_code.co_filename.endswith(_LOOP):
        if frame.f_code.co_filename.endswith(_THREADS):
            names.add(frame.f_code.co_name)
        frame = frame.f_back
    return bool(names & {"join", "result"})


def module_of(frame: FrameType) -> str:
    """The package of a frame's code; "" for the user's own and for asyncio itself."""
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return "" if package == "asyncio" or yours(frame.f_code.co_filename) else package


def held_by(class_name: str) -> Any:
    """The nearest object of a class whose method is being called here; None without one."""
    for frame in frames():
        held = frame.f_locals.get("self") if frame.f_code.co_argcount else None
        if held is not None and class_name in (each.__name__ for each in type(held).__mro__):
            return held
    return None
