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


def grading_folder() -> Path:
    """Make the folder of this run, and remove those whose grader is gone."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, ValueError):
            if old.is_symlink() or (hasattr(os, "geteuid") and old.stat().st_uid != os.geteuid()):
                continue
            pid, began = (old / "grader").read_text(encoding="ascii").split()
            if not _lives(int(pid), float(began)):
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    (folder / "grader").write_text(f"{os.getpid()} {psutil.Process().create_time()}", encoding="ascii")
    folder.chmod(0o711)
    return folder


def _lives(pid: int, began: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - began) < 1
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
