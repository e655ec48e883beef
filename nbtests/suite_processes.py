"""Finds the processes of suites, whether they were started or forked by a warm one."""

from __future__ import annotations

import contextlib

import psutil


def suites_of(process: int, warm: bool = False) -> list[psutil.Process]:
    """The suites that run for a process; with `warm`, the process that forks them instead."""
    found = []
    for one in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ends while we look
            words = one.cmdline()
            if any(word.endswith("loopbound_child.py") for word in words):
                forks = "warm" in words and one.ppid() == process
                found += [one] * (forks == warm)
    return found
