"""States of a task, and retries."""

from __future__ import annotations

import pytest

from app.services.task_system import InvalidTransition, Retryable, TaskRegistry, TaskState, next_state


def test_next_state_allows_only_the_way_forward() -> None:
    assert next_state("pending", TaskState.RUNNING) is TaskState.RUNNING
    assert [state for state in TaskState if state.final] == [TaskState.COMPLETED, TaskState.FAILED]
    for now, then in (("pending", TaskState.COMPLETED), ("completed", TaskState.RUNNING), ("failed", TaskState.PENDING)):
        with pytest.raises(InvalidTransition, match=f"{now} task cannot become {then}"):
            next_state(now, then)


async def test_registry_retries_what_may_pass() -> None:
    registry, answers = TaskRegistry(max_attempts=3), iter([Retryable("busy"), Retryable("busy"), "done"])

    async def work() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await registry.run("scan", work) == "done"
    assert (registry["scan"].state, registry["scan"].attempts) == (TaskState.COMPLETED, 3)
    with pytest.raises(InvalidTransition):
        await registry.run("scan", work)


async def test_registry_gives_up() -> None:
    registry = TaskRegistry(max_attempts=2)

    async def busy() -> None:
        raise Retryable("still busy")

    async def broken() -> None:
        raise ValueError("no such source")

    with pytest.raises(Retryable):
        await registry.run("busy", busy)
    with pytest.raises(ValueError):
        await registry.run("broken", broken)
    assert (registry["busy"].state, registry["busy"].attempts) == (TaskState.FAILED, 2)
    assert (registry["broken"].attempts, registry["broken"].error) == (1, "no such source")
