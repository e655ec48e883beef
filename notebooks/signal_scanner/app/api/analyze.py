"""Ask for an analysis."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Response, status
from kombu.exceptions import OperationalError
from starlette.concurrency import run_in_threadpool

from app import worker
from app.api.deps import AccountId, Session
from app.db.models import AnalysisTask
from app.schemas import AnalysisRequest, TaskAccepted
from app.services.task_system import TaskState

router = APIRouter(prefix="/api/analyze", tags=["analyze"])


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def analyze(request: AnalysisRequest, response: Response, account_id: AccountId, session: Session) -> TaskAccepted:
    task = AnalysisTask(owner_id=account_id, description=request.description)
    session.add(task)
    await session.commit()  # before the worker can hear of it
    try:
        await run_in_threadpool(worker.analyse.delay, str(task.id))  # Celery's client blocks
    except OperationalError as error:
        raise HTTPException(status.HTTP_503_SERVICE_UNAVAILABLE, "The task queue cannot be reached.") from error
    response.headers["Location"] = f"/api/status/{task.id}"
    return TaskAccepted(task_id=task.id, state=TaskState.PENDING)
