"""An analysis from its start to its report. Runs in the worker, outside any request."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID

from app.db.models import AnalysisReport, AnalysisTask
from app.db.session import session_scope
from app.services.community_discovery import Community, discover_communities, extract_keywords
from app.services.task_system import TaskRegistry, TaskState, next_state


async def run_analysis(task_id: UUID) -> TaskState:
    """Run the pending task `task_id` and store its report, or its error.

    Raises:
        LookupError: there is no such task.
        InvalidTransition: it is not pending.
    """
    description = await _begin(task_id)

    async def work() -> tuple[list[str], list[Community]]:
        keywords = await extract_keywords(description)
        return keywords, await discover_communities(keywords)

    try:
        keywords, communities = await TaskRegistry().run(str(task_id), work)
    except Exception as error:
        await _end(task_id, TaskState.FAILED, error=str(error) or type(error).__name__)
        return TaskState.FAILED
    report = AnalysisReport(task_id=task_id, keywords=keywords, communities=[asdict(found) for found in communities])
    await _end(task_id, TaskState.COMPLETED, report=report)
    return TaskState.COMPLETED


async def _begin(task_id: UUID) -> str:
    async with session_scope() as session:
        task = await session.get(AnalysisTask, task_id, with_for_update=True)  # two workers may have the same message
        if task is None:
            raise LookupError(f"There is no task {task_id}.")
        task.state = next_state(task.state, TaskState.RUNNING)
        return task.description


async def _end(
    task_id: UUID, state: TaskState, *, report: AnalysisReport | None = None, error: str | None = None
) -> None:
    async with session_scope() as session:
        task = await session.get_one(AnalysisTask, task_id, with_for_update=True)
        task.state, task.error = next_state(task.state, state), error
        if report is not None:
            session.add(report)
