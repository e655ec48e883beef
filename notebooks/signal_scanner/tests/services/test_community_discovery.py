"""Keywords, and the communities that share them."""

from __future__ import annotations

import asyncio

from app.services.community_discovery import discover_communities, extract_keywords


async def test_extract_keywords_basic() -> None:
    keywords = await extract_keywords("AI-powered note-taking app for the teams that write 3 notes a day")
    assert keywords == ["ai-powered", "note-taking", "app", "teams", "write", "notes", "day"]


async def test_extract_keywords_ranks_by_frequency() -> None:
    text = "Invoices and orders. Orders, customers and ORDERS; invoices"
    assert await extract_keywords(text, limit=2) == ["orders", "invoices"]


async def test_extract_keywords_lets_other_tasks_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await extract_keywords("sync backup server " * 5_000)
    counting.cancel()
    assert turns >= 5


async def test_discover_communities_ranks_by_shared_keywords() -> None:
    found = await discover_communities(["note-taking", "markdown", "team", "astronomy"])
    assert [(community.name, community.shared) for community in found] == [
        ("r/notetaking", ("note-taking", "markdown")),
        ("r/productivity", ("note-taking", "team")),
        ("r/smallbusiness", ("team",)),
    ]
