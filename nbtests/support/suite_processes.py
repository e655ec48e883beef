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
                # The warm one, one that waits for a fork, the fork: each the last one's child.
                depth = [parent.pid for parent in one.parents()].index(process)
                forks = depth == 0 and "warm" in words
                found += [one] * (forks if warm else not forks and depth != 1)
    return found
