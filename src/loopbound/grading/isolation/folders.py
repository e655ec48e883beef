"""The grader's own folder for sockets. One that a killed grader has left is removed by the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import psutil

__all__ = ["grading_folder"]

PREFIX = "loopbound-grading-"
# The path of a socket has 107 bytes on Linux and 103 on macOS; below the folder come a random name,
# a place and the socket's own name.
LONGEST_BASE = 50


def grading_folder() -> Path:
    """Make the folder of this run, and remove those whose grader is gone."""
    base = _base()
    for old in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if old.is_symlink() or (hasattr(os, "geteuid") and old.stat().st_uid != os.geteuid()):
                continue
            pid, began = (old / "grader").read_text(encoding="ascii").split()
            if not _lives(int(pid), float(began)):
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    (folder / "grader").write_text(
        f"{os.getpid()} {psutil.Process().create_time()}", encoding="ascii"
    )
    folder.chmod(0o711)
    return folder


def _base() -> Path:
    """Where temporary files belong; where that path is too long for sockets, the system's short
    one.
    """
    usual, short = Path(tempfile.gettempdir()), Path("/tmp")
    return short if len(os.fsencode(usual)) > LONGEST_BASE and os.access(short, os.W_OK) else usual


def _lives(pid: int, began: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - began) < 1
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
