"""What goes over the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from app.services.task_system import TaskState

# One @ with something on both sides. Whether the address exists, only a message to it can tell.
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$"),
    AfterValidator(str.lower),
]


class Credentials(BaseModel):
    email: Email
    password: str = Field(min_length=8, max_length=128)


class AccountOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    email: str


class TokenOut(BaseModel):
    access_token: str
    token_type: str = "bearer"


class AnalysisRequest(BaseModel):
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=2_000)]


class TaskAccepted(BaseModel):
    task_id: UUID
    state: TaskState


class TaskStatus(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    state: TaskState
    error: str | None
    created_at: datetime


class CommunityOut(BaseModel):
    name: str
    shared: list[str]


class ReportOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    task_id: UUID
    keywords: list[str]
    communities: list[CommunityOut]
