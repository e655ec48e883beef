"""Text that is the same on every run and every machine.

A run's output carries parts that say nothing about what happened: memory addresses, task counters,
ports, process ids, folders of this machine. ``stable`` replaces them by short placeholders that a
reader can live with, and is what gets committed. ``comparable`` goes further, for comparing two
runs only: measured times and line numbers inside libraries. Neither touches messages, counts,
orders or names.
"""

from __future__ import annotations

import os
import re
import site
import sysconfig
import tempfile
from functools import cache
from pathlib import Path

_TEMPORARY_CELL_FILE = re.compile(r"(?:[A-Za-z]:)?[^\s'\"<>|\x1b:]*[\\/]ipykernel_\d+[\\/]+\d+\.py")
_INSTALLED = re.compile(
    r"(?:[A-Za-z]:|~)?(?:[\\/]+[^\s\\/'\"<>|\x1b:]+)*?[\\/]+"
    r"(?:site-packages|dist-packages|lib[\\/]+python3\.\d+|[Ll]ib(?=[\\/]+(?:asyncio|concurrent|threading|contextlib)))"
    r"[\\/]+(?:site-packages[\\/]+|dist-packages[\\/]+)?"
)
_LIBRARY_FILE = re.compile(r"…[\\/][^\s'\"<>|\x1b:]*\.py")
_ADDRESS = re.compile(r"\b0x[0-9A-Fa-f]{5,16}\b")
_TASK = re.compile(r"\bTask-(\d+)\b")
_CELL_NUMBER = re.compile(r"(?:\b|(?<=m))In ?\[\d+\](?=[,: \x1b]|$)")  # an m ends a colour code
_PROCESS = re.compile(r"\b((?:[Pp]rocess(?: id)?|pid|PID|backend_pid)\s?[=:]?\s?)\d+\b")
_PORT = re.compile(
    r"(?P<host>127\.0\.0\.1|localhost|\[?::1\]?)(?P<between>'?,\s?|:)\d{2,5}\b|\b(?P<word>port\s?[=:]?\s?)\d{4,5}\b"
)

_DURATION = re.compile(
    r"(?<![\w.])(?:\d+\.\d+\s?(?:s|sec|seconds?)|\d+(?:\.\d+)?\s?(?:ns|µs|μs|us|ms|microseconds?|milliseconds?))\b"
)
_CLOCK = re.compile(r"\b(?:20\d\d-\d\d-\d\d[ T])?\d\d:\d\d:\d\d(?:[.,]\d+)?(?:[+-]\d\d:?\d\d|Z)?\b")
_LIBRARY_LINE = re.compile(r"(…/[^\s'\"<>|\x1b:]*\.py)(:\d+|\x1b\[[0-9;]*m:\d+|\", line \d+)")


@cache
def _folders() -> tuple[str, ...]:
    """Folders of this interpreter that file names of libraries start with, longest first."""
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("purelib", "platlib", "stdlib", "platstdlib")}
    found.update(site.getsitepackages() if hasattr(site, "getsitepackages") else ())
    # The folder that holds the package: src, or site-packages.
    found.add(str(Path(__file__).resolve().parents[2]))
    found.update({os.path.realpath(folder) for folder in found})
    home = os.path.expanduser("~")
    found.update(
        {"~" + folder[len(home) :] for folder in found if folder.startswith(home + os.sep)}
    )
    return tuple(sorted((folder for folder in found if len(folder) > 4), key=len, reverse=True))


@cache
def _temporary_folders() -> tuple[str, ...]:
    return tuple({tempfile.gettempdir(), os.path.realpath(tempfile.gettempdir())})


def _without_folders(text: str) -> str:
    # A temporary folder may hold spaces (Windows), so the known one goes first, then the pattern.
    for folder in _temporary_folders():
        for spelt in {folder, folder.replace("\\", "\\\\")}:
            text = re.sub(
                re.escape(spelt) + r"[\\/]+ipykernel_\d+[\\/]+\d+\.py", "<this cell>", text
            )
    text = _TEMPORARY_CELL_FILE.sub("<this cell>", text)
    for folder in _folders():
        for spelt in {folder, folder.replace("\\", "\\\\")}:
            text = re.sub(re.escape(spelt) + r"[\\/]+", "…/", text)
    text = _INSTALLED.sub("…/", text)
    return _LIBRARY_FILE.sub(lambda found: re.sub(r"[\\/]+", "/", found[0]), text)


def stable(text: str, tasks: dict[str, str] | None = None) -> str:
    """``text`` with the parts replaced that differ between two equal runs. Idempotent.

    Memory addresses become ``0x…``, the file of a cell ``<this cell>``, folders of libraries
    ``…/``, ports ``<port>``, process ids ``…``, the number of a cell ``In[…]``. Tasks are counted
    again in order of appearance, so that two tasks stay two; hand the same ``tasks`` dictionary to
    the texts of one cell to count over all of them.
    """
    tasks = {} if tasks is None else tasks
    text = _without_folders(text)
    text = _ADDRESS.sub("0x…", text)
    text = _TASK.sub(lambda found: tasks.setdefault(found[0], f"Task-{len(tasks) + 1}"), text)
    text = _CELL_NUMBER.sub("In[…]", text)
    text = _PROCESS.sub(r"\g<1>…", text)
    return _PORT.sub(
        lambda found: (
            f"{found['host']}{found['between']}<port>"
            if found["host"]
            else f"{found['word']}<port>"
        ),
        text,
    )


def comparable(text: str, tasks: dict[str, str] | None = None) -> str:
    """``stable(text)`` without measured times, clock times and line numbers inside libraries.

    Only for comparing: whole seconds stay (they are settings, such as a pool's time-out), fractions
        of a second go.
    """
    text = stable(text, tasks)
    text = _LIBRARY_LINE.sub(r"\1:…", text)
    text = _CLOCK.sub("<clock>", text)
    return _DURATION.sub("<time>", text)


def without_colour(text: str) -> str:
    """``text`` without the terminal's colour codes."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
