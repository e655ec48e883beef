"""Analyses without a request, in another folder than the tests that failed. Docstrings are what feedback may tell."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from app.db.models import Account, AnalysisReport, AnalysisTask
from app.db.session import session_scope
from app.services.analysis import run_analysis


async def _pending() -> UUID:
    async with session_scope() as session:
        account = Account(email=f"{uuid4().hex}@example.org", password_hash="unusable")
        session.add(account)
        await session.flush()
        task = AnalysisTask(owner_id=account.id, description="Invoices and orders for a small shop")
        session.add(task)
        await session.flush()
        return task.id


@pytest.mark.parametrize("turn", [1, 2, 3])
async def test_an_analysis_leaves_its_report(turn: int) -> None:
    """an analysis without a request, three times"""
    task_id = await _pending()
    assert await run_analysis(task_id) == "completed"
    async with session_scope() as session:
        report = await session.get_one(AnalysisReport, task_id)
        assert report.keywords == ["invoices", "orders", "small", "shop"]


async def test_an_analysis_of_nothing() -> None:
    """an analysis of a task that there is not"""
    with pytest.raises(LookupError):
        await run_analysis(uuid4())
