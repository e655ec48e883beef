"""Right answers that are written in another way than the course's own: each passes too."""

from __future__ import annotations

import textwrap

import pytest

from loopbound.authoring.proof import verdict_on
from loopbound.outcomes import PASSED
from loopbound.paths import repository

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
        "02.2",
        "whose callback it is",
        """
        def reading():
            return dict(task="evening mail", code="wait_until_sent", future="pending", library="Outbox", loops="neither")
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
        "03.1",
        "with capitals and parentheses",
        """
        def night():
            return dict(archive="asyncpg", mail="AsyncIO", tidy_up="asyncio", future="asyncpg", began="mail()")
        """,
    ),
    (
        "03.3",
        "a thread that waits",
        """
        async def ask_at_home(home, connection, query):
            handed_over = asyncio.run_coroutine_threadsafe(connection.fetchval(query), home)
            return await asyncio.to_thread(handed_over.result)
        """,
    ),
    (
        "03.3",
        "a look now and then",
        """
        async def ask_at_home(home, connection, query):
            handed_over = asyncio.run_coroutine_threadsafe(connection.fetchrow(query), home)
            while not handed_over.done():
                await asyncio.sleep(0.02)
            return handed_over.result()[0]
        """,
    ),
    (
        "03.3",
        "a future of B, set on B",
        """
        async def ask_at_home(home, connection, query):
            here = asyncio.get_running_loop()
            answer = here.create_future()
            async def ask():
                try:
                    value = await connection.fetchval(query)
                except Exception as error:
                    here.call_soon_threadsafe(answer.set_exception, error)
                else:
                    here.call_soon_threadsafe(answer.set_result, value)
            home.call_soon_threadsafe(lambda: home.create_task(ask()))
            return await answer
        """,
    ),
    (
        "03.4",
        "a while for A, then asked twice",
        """
        def recover(A, connection):
            A.run(asyncio.sleep(1.5))
            return A.run(connection.fetchval("select count(*) from reports"))
        """,
    ),
    (
        "03.4",
        "a step on A for each attempt",
        """
        def recover(A, connection):
            import time
            while True:
                try:
                    rows = A.run(connection.fetch("select id from reports"))
                except asyncpg.InterfaceError:
                    time.sleep(0.05)
                else:
                    return len(rows)
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
        "one loop for all, and one dispose at its end",
        '''
        def conftest():
            return """
                import inspect, pytest, pytest_asyncio
                from backend import engine

                def pytest_collection_modifyitems(items):
                    for item in items:
                        if inspect.iscoroutinefunction(item.obj):
                            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)

                @pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
                async def emptied_pool():
                    yield
                    await engine.dispose()
            """
        ''',
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
    (
        "07.2",
        "a coroutine for whichever loop is open",
        """
        def tidy(engine, owner, spare):
            async def empty(close):
                await engine.dispose(close=close)
            (spare if owner.closed else owner).run(empty(not owner.closed))
        """,
    ),
    (
        "07.2",
        "the synchronous engine, where nothing is closed",
        """
        def tidy(engine, owner, spare):
            engine.sync_engine.dispose(close=False) if owner.closed else owner.run(engine.dispose())
        """,
    ),
    (
        "07.4",
        "the recipe, with three replacements",
        """
        def mended():
            better = RECIPE.replace("def pytest_configure(config):\\n    from", "from").replace(', loop_scope="session"', "")
            return better.replace("return await engine.connect()", "async with engine.connect() as lent:\\n        yield lent")
        """,
    ),
    (
        "07.4",
        "the fixture gives back by hand, and a pool of no size",
        '''
        def mended():
            return """
                import os, backend, pytest
                from sqlalchemy.ext.asyncio import create_async_engine
                from sqlalchemy.pool import NullPool

                @pytest.fixture
                async def reader():
                    lent = await create_async_engine(os.environ["DATABASE_URL"], poolclass=NullPool).connect()
                    yield lent
                    await lent.close()
            """
        ''',
    ),
    (
        "06.1",
        "tuples in another order, and the server's words in small letters",
        """
        def reading():
            return {"culprit": "S2", "waits_for": "client", "after_its_end": ("s5", "s4"), "after_cancel": {"s5"}}
        """,
    ),
    (
        "06.2",
        "one query",
        '''
        async def blockers(connection, pid):
            rows = await connection.fetch("""
                with recursive chain(pid) as (
                    select unnest(pg_blocking_pids($1::int)) union select unnest(pg_blocking_pids(pid)) from chain
                ) select pid from chain where cardinality(pg_blocking_pids(pid)) = 0""", pid)
            return [row["pid"] for row in rows]
        ''',
    ),
    (
        "06.2",
        "a list of those who are still to be asked about",
        """
        async def blockers(connection, pid):
            open_pids, found = [pid], set()
            while open_pids:
                asked = open_pids.pop()
                others = await connection.fetchval(f"select pg_blocking_pids({asked})")
                open_pids += others
                if not others and asked != pid:
                    found.add(asked)
            return found
        """,
    ),
    (
        "06.3",
        "the setting made when a connection opens",
        """
        def make_engine(url):
            from sqlalchemy import event
            engine = create_async_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.9)
            @event.listens_for(engine.sync_engine, "connect")
            def limited(connection, record):
                cursor = connection.cursor()
                cursor.execute("set lock_timeout = 900")
                cursor.close()
                connection.commit()
            return engine
        """,
    ),
    (
        "06.4",
        "a session of its own, closed by its block",
        '''
        def conftest():
            return """
                import pytest
                from sqlalchemy import text
                from backend import SessionFactory

                @pytest.fixture
                async def stream():
                    async with SessionFactory() as session:
                        yield session

                @pytest.fixture
                async def no_reports():
                    async with SessionFactory.begin() as session:
                        await session.execute(text("truncate reports"))
            """
        ''',
    ),
    (
        "06.4",
        "every open stream ended behind each test",
        '''
        def conftest():
            return SUITE["conftest.py"] + """
        @pytest.fixture(autouse=True)
        async def no_open_transaction():
            from backend import open_streams
            yield
            for session in open_streams.values():
                await session.rollback()
        """
        ''',
    ),
    (
        "09.2",
        "a coroutine around it, and a limit of time",
        """
        def from_thread(loop, engine, work):
            async def lent():
                return await work(engine)
            return asyncio.run_coroutine_threadsafe(lent(), loop).result(timeout=5)
        """,
    ),
    (
        "09.3",
        "a runner, whose loop serves the dispose too",
        """
        def run_task(engine, work):
            with asyncio.Runner() as runner:
                try:
                    return runner.run(work(engine))
                finally:
                    runner.run(engine.dispose())
        """,
    ),
    (
        "09.4",
        "marks in place of options",
        '''
        def cheapest():
            return {"conftest.py": """
                import inspect, pytest, pytest_asyncio
                from backend import engine

                def pytest_collection_modifyitems(items):
                    for item in items:
                        if inspect.iscoroutinefunction(item.obj):
                            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)

                @pytest_asyncio.fixture(scope="session", loop_scope="session", autouse=True)
                async def empty_pool_at_the_end():
                    yield
                    await engine.dispose()
            """}
        ''',
    ),
    (
        "10.2",
        "two dictionaries' worth in one closure, the loop asked twice",
        """
        def per_loop(make):
            by_loop = weakref.WeakKeyDictionary()

            def get():
                try:
                    return by_loop[asyncio.get_running_loop()]
                except KeyError:
                    return by_loop.setdefault(asyncio.get_running_loop(), make())

            async def close():
                if asyncio.get_running_loop() in by_loop:
                    await by_loop.pop(asyncio.get_running_loop()).close()

            return [get, close]
        """,
    ),
    (
        "10.2",
        "kept at the loop itself, which has room for it",
        """
        def per_loop(make):
            def get():
                loop = asyncio.get_running_loop()
                loop._client = getattr(loop, "_client", None) or make()
                return loop._client

            async def close():
                loop = asyncio.get_running_loop()
                client, loop._client = getattr(loop, "_client", None), None
                if client:
                    await client.close()

            return get, close
        """,
    ),
    (
        "10.3",
        "a loop in a thread of its own",
        """
        def keep(connect):
            import threading
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, daemon=True)
            thread.start()

            def run(coro):
                return asyncio.run_coroutine_threadsafe(coro, loop).result()

            connection = run(connect())

            def close():
                run(connection.close())
                loop.call_soon_threadsafe(loop.stop)
                thread.join()
                loop.close()

            return lambda work: run(work(connection)), close
        """,
    ),
    (
        "10.3",
        "a loop without a runner, connected at the first call",
        """
        def keep(connect):
            loop, kept = asyncio.new_event_loop(), []

            async def with_it(work):
                if not kept:
                    kept.append(await connect())
                return await work(kept[0])

            def close():
                for connection in kept:
                    loop.run_until_complete(connection.close())
                loop.close()

            return lambda work: loop.run_until_complete(with_it(work)), close
        """,
    ),
    (
        "11.1",
        "pytest 9's own table, the options, a filter of several",
        '''
        def settings():
            return """
                [tool.pytest]
                asyncio_mode = "auto"
                asyncio_default_fixture_loop_scope = "function"
                addopts = ["--loop-guard", "--timeout=4"]
                filterwarnings = ["error::RuntimeWarning", "error::pytest.PytestUnraisableExceptionWarning"]
            """
        ''',
    ),
    (
        "11.2",
        "one loop for all, and the pool emptied at its end",
        '''
        def mended():
            both = ("fixture", "test")
            scopes = [f'asyncio_default_{each}_loop_scope = "session"' for each in both]
            return {
                "pyproject.toml": "\\n".join(["[tool.pytest.ini_options]", 'asyncio_mode = "auto"', *scopes]),
                "conftest.py": """
                    import pytest
                    from backend import engine

                    @pytest.fixture(scope="session", autouse=True)
                    async def empty_pool_at_the_end():
                        yield
                        await engine.dispose()
                """,
            }
        ''',
    ),
    (
        "11.3",
        "NullPool, a connection for each use, and the guard among the options",
        '''
        def guarded():
            engine = (COURIER / "app" / "database.py").read_text(encoding="utf-8")
            engine = engine.replace('"DATABASE_URL"]', '"DATABASE_URL"], poolclass=NullPool')
            return {
                "app/database.py": "from sqlalchemy import NullPool\\n" + engine,
                "app/labels.py": """
                    import os
                    from contextlib import asynccontextmanager
                    import asyncpg

                    @asynccontextmanager
                    async def labels():
                        connection = await asyncpg.connect(os.environ["DATABASE_URL"].replace("+asyncpg", ""))
                        try:
                            yield connection
                        finally:
                            await connection.close()

                    async def write_labels(codes):
                        async with labels() as here:
                            await here.copy_records_to_table("labels", records=[(code,) for code in codes])

                    async def count_labels():
                        async with labels() as here:
                            return await here.fetchval("select count(*) from labels")
                """,
                "pyproject.toml": PYPROJECT + 'addopts = "--loop-guard"\\n',
            }
        ''',
    ),
    (
        "12.1",
        "whole ids, in another order",
        """
        def met():
            auth, reports, status, stream, analyze = (f"tests/api/test_{name}.py::" for name in ("auth", "reports", "status", "stream", "analyze"))
            return {
                status + "test_get_status_returns_state_and_error": reports + "test_get_report_requires_completion",
                auth + "test_register_user_creates_account": stream + "test_sse_connection_and_completion",
                analyze + "test_analyze_is_accepted_and_completed": reports + "test_get_report_permission_denied",
                status + "test_get_status_forbidden": reports + "test_get_report_permission_denied",
            }
        """,
    ),
    (
        "12.3",
        "a runner in the task, the whole file anew",
        '''
        def survives():
            return {"app/worker.py": """
                import asyncio
                from uuid import UUID
                from celery import Celery
                from app.core.config import settings
                from app.db import session as db
                from app.services.analysis import run_analysis
                from app.services.community_discovery import extract_keywords

                celery_app = Celery("signal_scanner", broker=settings.broker_url)
                celery_app.conf.update(task_ignore_result=True, task_serializer="json", accept_content=["json"])

                @celery_app.task(name="signal_scanner.analyse")
                def analyse(task_id):
                    with asyncio.Runner() as runner:
                        try:
                            return runner.run(run_analysis(UUID(task_id)))
                        finally:
                            runner.run(db.engine.dispose())

                @celery_app.task(name="signal_scanner.keywords")
                def keywords(description):
                    return asyncio.run(extract_keywords(description))
            """}
        ''',
    ),
    (
        "08.2",
        "pytest 9's own table, with more in it",
        '''
        def pyproject():
            return """
                [tool.pytest]
                asyncio_mode = "auto"
                asyncio_default_fixture_loop_scope = "session"
                asyncio_default_test_loop_scope = "session"
                testpaths = ["."]
            """
        ''',
    ),
    (
        "08.3",
        "as the header writes it",
        """
        def culprit():
            return dict(delete=".pytest.ini", mode="Mode.AUTO", tests="function")
        """,
    ),
    (
        "08.4",
        "a list of marks, in two lines",
        """
        def mark():
            return "here = pytest.mark.asyncio(loop_scope='module')\\npytestmark = [here]"
        """,
    ),
    (
        "08.5",
        "the transaction's own block, and a nested one for each commit by the factory",
        '''
        def isolated():
            return """
                import pytest_asyncio
                from sqlalchemy.ext.asyncio import async_sessionmaker
                from backend import engine

                @pytest_asyncio.fixture(loop_scope="session")
                async def session():
                    async with engine.begin() as connection:
                        make = async_sessionmaker(connection, join_transaction_mode="create_savepoint", expire_on_commit=False)
                        session = make()
                        yield session
                        await session.close()
                        await connection.get_transaction().rollback()
            """
        ''',
    ),
    (
        "08.5",
        "nobody rolls back but the pool, to which the connection returns",
        '''
        def isolated():
            return """
                import pytest
                from sqlalchemy.ext.asyncio import AsyncSession
                from backend import engine

                @pytest.fixture
                async def session():
                    async with engine.connect() as connection:
                        await connection.begin()
                        yield AsyncSession(connection, join_transaction_mode="create_savepoint")
            """
        ''',
    ),
]


@pytest.mark.parametrize(
    ("identity", "name", "code"), RIGHT, ids=[f"{identity} {name}" for identity, name, _ in RIGHT]
)
def test_another_right_answer_passes(identity: str, name: str, code: str) -> None:
    verdict = verdict_on(repository(), identity, textwrap.dedent(code))
    assert verdict.outcome == PASSED, verdict
