"""The Celery application: `celery -A app.worker worker`. Each task runs its coroutine on a loop of its own."""

from __future__ import annotations

import asyncio
from uuid import UUID

from celery import Celery

from app.core.config import settings
from app.services.analysis import run_analysis
from app.services.community_discovery import extract_keywords

celery_app = Celery("signal_scanner", broker=settings.broker_url)
celery_app.conf.update(
    task_always_eager=settings.celery_eager,
    task_ignore_result=True,  # what comes of a task stands in the database
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
)


@celery_app.task(name="signal_scanner.analyse")
def analyse(task_id: str) -> str:
    """Run one analysis; returns the state in which it has ended."""
    return asyncio.run(run_analysis(UUID(task_id)))


@celery_app.task(name="signal_scanner.keywords")
def keywords(description: str) -> list[str]:
    """The keywords of a description, for a preview."""
    return asyncio.run(extract_keywords(description))
