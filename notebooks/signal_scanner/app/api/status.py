"""How far is an analysis?"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter

from app.api.deps import AccountId, Session, visible_task
from app.schemas import TaskStatus

router = APIRouter(prefix="/api/status", tags=["status"])


@router.get("/{task_id}")
async def get_status(task_id: UUID, account_id: AccountId, session: Session) -> TaskStatus:
    return TaskStatus.model_validate(await visible_task(session, task_id, account_id))
