"""States of a task, and running one with retries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

Result = TypeVar("Result")


class TaskState(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to the task."""
        return not _NEXT[self]


_NEXT: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset({TaskState.RUNNING, TaskState.FAILED}),
    TaskState.RUNNING: frozenset({TaskState.COMPLETED, TaskState.FAILED}),
    TaskState.COMPLETED: frozenset(),
    TaskState.FAILED: frozenset(),
}


class InvalidTransition(ValueError):
    """A task cannot go from its state to the one asked for."""


class Retryable(Exception):
    """The attempt failed for a reason that may pass: try again."""


def next_state(now: TaskState | str, then: TaskState) -> TaskState:
    """`then`, if a task may go there from `now`.

    Raises:
        InvalidTransition: it may not.
    """
    if then not in _NEXT[TaskState(now)]:
        raise InvalidTransition(f"A {now} task cannot become {then}.")
    return then


@dataclass
class TaskRecord:
    """What the registry knows of one task."""

    state: TaskState = TaskState.PENDING
    attempts: int = 0
    error: str = ""


class TaskRegistry:
    """The tasks that this process runs, in memory."""

    def __init__(self, max_attempts: int = 3, pause: float = 0.0) -> None:
        self.max_attempts = max_attempts
        self.pause = pause
        self._records: dict[str, TaskRecord] = {}

    def __getitem__(self, key: str) -> TaskRecord:
        return self._records[key]

    async def run(self, key: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """Run `work` as the task `key`; repeat it while it raises `Retryable` and attempts are left.

        Args:
            key: a new key, or that of a task that is pending.
            work: makes a fresh awaitable for each attempt.

        Raises:
            InvalidTransition: the task has run before.
            Exception: what the last attempt raised; the record holds its text.
        """
        record = self._records.setdefault(key, TaskRecord())
        record.state = next_state(record.state, TaskState.RUNNING)
        try:
            result = await self._attempt(record, work)
        except BaseException as error:
            record.state, record.error = next_state(record.state, TaskState.FAILED), str(error) or type(error).__name__
            raise
        record.state = next_state(record.state, TaskState.COMPLETED)
        return result

    async def _attempt(self, record: TaskRecord, work: Callable[[], Awaitable[Result]]) -> Result:
        while True:
            record.attempts += 1
            try:
                return await work()
            except Retryable:
                if record.attempts >= self.max_attempts:
                    raise
            await asyncio.sleep(self.pause)
