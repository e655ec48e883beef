"""What routes ask for: a session, who is calling, and a task that the caller may see."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, status
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.security import InvalidToken, read_access_token
from app.db.models import AnalysisTask
from app.db.session import get_session

_bearer = HTTPBearer(auto_error=False)

Session = Annotated[AsyncSession, Depends(get_session)]


async def current_account(token: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> UUID:
    """Id of the account that the request's token names; the database is not asked."""
    try:
        if token is None:
            raise InvalidToken("no token")
        return read_access_token(token.credentials)
    except InvalidToken as error:
        raise HTTPException(
            status.HTTP_401_UNAUTHORIZED, "A valid token is needed.", {"WWW-Authenticate": "Bearer"}
        ) from error


AccountId = Annotated[UUID, Depends(current_account)]


async def visible_task(session: AsyncSession, task_id: UUID, account_id: UUID) -> AnalysisTask:
    """The task, if it is the account's own; 404 or 403 otherwise."""
    task = await session.get(AnalysisTask, task_id)
    if task is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such task.")
    if task.owner_id != account_id:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "This task belongs to somebody else.")
    return task
