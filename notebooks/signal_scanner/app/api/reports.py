"""What has an analysis found?"""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, HTTPException, status

from app.api.deps import AccountId, Session, visible_task
from app.db.models import AnalysisReport
from app.schemas import ReportOut
from app.services.task_system import TaskState

router = APIRouter(prefix="/api/reports", tags=["reports"])


@router.get("/{task_id}")
async def get_report(task_id: UUID, account_id: AccountId, session: Session) -> ReportOut:
    task = await visible_task(session, task_id, account_id)
    if task.state != TaskState.COMPLETED:
        raise HTTPException(status.HTTP_409_CONFLICT, f"There is no report yet: the task is {task.state}.")
    return ReportOut.model_validate(await session.get_one(AnalysisReport, task_id))
