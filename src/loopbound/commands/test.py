"""``loopbound test``: the tests of the course, by pytest."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from loopbound.commands.lab import NOT_FOR_KERNELS
from loopbound.machine import cores
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["test_command"]


def test_command(words: Sequence[str]) -> int:
    """Run pytest on the course, as many processes as there are cores unless `-n` says otherwise;
    returns pytest's exit code.
    """
    if importlib.util.find_spec("xdist") is None:
        raise Problem("the tests' packages are not installed.\nRun: python3 lab.py test")
    os.chdir(repository())
    for name in NOT_FOR_KERNELS:
        os.environ.pop(name, None)
    command = [sys.executable, "-m", "pytest"]
    if not any(word.startswith(("-n", "--numprocesses")) or word == "--pdb" for word in words):
        command += ["-n", str(cores())]
    command += words
    if os.name != "nt":
        os.execv(command[0], command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # pytest has it too, and ends in its own way
    return subprocess.call(command)
