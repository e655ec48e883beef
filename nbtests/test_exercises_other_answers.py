"""Right answers that are written in another way than the course's own: each passes too."""

from __future__ import annotations

import textwrap

import pytest

from loopbound.checks import PASSED
from loopbound.course.manifest import repository
from loopbound.exercises.proof import verdict_on

RIGHT = [
    (
        "01.2",
        "tasks, awaited in a row",
        """
        async def all_reports(users, fetch):
            tasks = [asyncio.create_task(fetch(user)) for user in users]
            return [await task for task in tasks]
        """,
    ),
    (
        "01.2",
        "a task group",
        """
        async def all_reports(users, fetch):
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetch(user)) for user in users]
            return tuple(task.result() for task in tasks)
        """,
    ),
    (
        "01.2",
        "a plain function that returns what can be awaited",
        """
        def all_reports(users, fetch):
            return asyncio.gather(*map(fetch, users))
        """,
    ),
    (
        "01.3",
        "the count in a thread",
        """
        async def total(pages, count):
            return sum([await asyncio.to_thread(count, page) for page in pages])
        """,
    ),
    (
        "01.4",
        "a coroutine handed over",
        """
        def ring(loop, bell):
            async def set_it():
                bell.set()
            asyncio.run_coroutine_threadsafe(set_it(), loop)
        """,
    ),
    (
        "02.2",
        "with parentheses and capitals",
        """
        def reading():
            return dict(task="Evening mail", code="wait_until_sent()", future="pending", library="Outbox._on_sent()", loops="Neither")
        """,
    ),
    (
        "02.3",
        "an attribute of the loop",
        """
        def one_for_each_loop(make):
            def here():
                loop = asyncio.get_running_loop()
                if not hasattr(loop, "mailbox"):
                    loop.mailbox = make()
                return loop.mailbox
            return here
        """,
    ),
    (
        "02.4",
        "two steps on A",
        """
        def carry(A, B, order, send):
            future = A.run(order())
            async def wait():
                return await future
            text = A.run(wait())
            return B.run(send(text))
        """,
    ),
    (
        "04.2",
        "no pool at all",
        """
        async def ask_once(url, query):
            from sqlalchemy.pool import NullPool
            async with create_async_engine(url, poolclass=NullPool).connect() as connection:
                return (await connection.execute(text(query))).scalar_one()
        """,
    ),
    (
        "05.1",
        "whole ids, in another order",
        """
        def failing():
            return {"test_reports.py::test_summary", "test_reports.py::test_detail"}
        """,
    ),
    (
        "05.3",
        "an engine without a pool",
        '''
        def conftest():
            return """
                import os, backend
                from sqlalchemy.ext.asyncio import create_async_engine
                from sqlalchemy.pool import NullPool
                backend.engine = create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool)
            """
        ''',
    ),
]


@pytest.mark.parametrize(("identity", "name", "code"), RIGHT, ids=[f"{identity} {name}" for identity, name, _ in RIGHT])
def test_another_right_answer_passes(identity: str, name: str, code: str) -> None:
    verdict = verdict_on(repository(), identity, textwrap.dedent(code))
    assert verdict.outcome == PASSED, verdict
