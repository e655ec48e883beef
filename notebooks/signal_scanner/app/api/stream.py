"""Follow an analysis by server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.sse import EventSourceResponse, ServerSentEvent

from app.api.deps import AccountId, visible_task
from app.core.config import settings
from app.db.session import session_scope
from app.services.task_system import TaskState

router = APIRouter(prefix="/api/stream", tags=["stream"])


async def read_state(task_id: UUID, account_id: AccountId) -> TaskState:
    """State of the caller's task. The session ends here, not with the stream, which may last for minutes."""
    async with session_scope() as session:
        return TaskState((await visible_task(session, task_id, account_id)).state)


@router.get("/{task_id}", response_class=EventSourceResponse)
async def stream(
    task_id: UUID, account_id: AccountId, state: Annotated[TaskState, Depends(read_state)]
) -> AsyncIterator[ServerSentEvent]:
    """One event at once, one for each change of state; ends with ``completed``, ``failed`` or ``timeout``."""
    deadline = time.monotonic() + settings.stream_time_limit
    yield ServerSentEvent(event="connected", data={"task_id": str(task_id), "state": state})
    while not state.final:
        if time.monotonic() >= deadline:
            yield ServerSentEvent(event="timeout", data={"state": state})
            return
        await asyncio.sleep(settings.stream_poll_seconds)
        before, state = state, await read_state(task_id, account_id)
        if state != before and not state.final:
            yield ServerSentEvent(event="progress", data={"state": state})
    yield ServerSentEvent(event=state, data={"state": state})
