"""The kinds of fault: what binds, its signs, its cures and what does not cure it.

The cases in ``notebooks/faults`` run what stands here: each sign is printed, each cure cures, and
what is said not to cure does not. Kinds from the most particular to the most general.
"""

from __future__ import annotations

from dataclasses import replace

from loopbound.faults.model import Cure, Kind, Sign

# -- cures that several kinds share ----------------------------------------------------------------

SESSION_LOOP = Cure(
    "session-loop",
    "set asyncio_default_fixture_loop_scope and asyncio_default_test_loop_scope both to session",
    "two lines of configuration; tests share one loop, and what one test leaves on it",
    needs=("pytest-asyncio>=1.3",),
    where="!unittest !anyio-plugin !portal !program",
    holds="all tests may share one loop. pytest-asyncio 0.26 to 1.2 have the options too, but there a sync test that asks for the current loop may fail",
)
SESSION_LOOP_TESTS = replace(SESSION_LOOP, where=f"pytest {SESSION_LOOP.where}")
DISPOSE_TEST = Cure(
    "dispose",
    "await engine.dispose() at the end of each test, in an autouse async fixture",
    "each test connects again",
    where="pytest !portal",
    holds="loops follow each other, and nothing uses the engine after the fixture",
)
DISPOSE_RUN = Cure(
    "dispose",
    "await engine.dispose() as the last line of each asyncio.run, before its loop closes",
    "each run connects again",
    where="!pytest !unittest !portal",
    holds="loops follow each other in a process; never beside a loop that is awake",
)
EXPLICIT_LOOP = Cure(
    "explicit-loop",
    "pytest_asyncio_loop_factories: a loop that disposes of the engine before it closes",
    "each loop connects again; a factory in conftest.py",
    needs=("pytest-asyncio>=1.4",),
    where="pytest !unittest !anyio-plugin !portal",
    holds="no sync test asks for an async fixture, whose loop the factory does not make; one such loop at a time",
)
FUNCTION_ENGINE = Cure(
    "function-engine",
    "an engine for each test, in a fixture: sessionmaker.configure(bind=engine), and dispose of it at the end",
    "an engine and its connections a test",
    where="pytest !portal",
    holds="every session comes from one factory",
)
NULL_POOL = Cure(
    "null-pool",
    "create_async_engine(url, poolclass=NullPool)",
    "a connection for each checkout; NullPool refuses pool_size and max_overflow: take them away",
    holds="no connection or session object itself is carried over: in a row and awake together",
)
ONE_LOOP = Cure(
    "one-loop",
    "keep one loop for the whole process: runner = asyncio.Runner(), then runner.run(…) for each call",
    "none: one connection where others open one a run; calls come one after another",
    where="!pytest !unittest !portal",
    holds="the process makes its calls one at a time, and may keep a loop",
)
HAND_OVER = Cure(
    "hand-over",
    "send the work to the loop that owns the object: asyncio.run_coroutine_threadsafe(work(), owner_loop)",
    "the owner's loop does the work",
    holds="two loops awake together, and the owner's is known",
)
OWN_NULL_ENGINE = Cure(
    "own-engine",
    "an engine for each loop, disposed of in that loop before it closes",
    "the second loop's own connections",
    holds="two loops awake together that cannot share work",
)
PER_RUN = Cure(
    "client-per-loop",
    "make the client inside the loop that uses it, and close it there: async with …Client() as client",
    "each loop connects again",
    holds="everywhere",
)
PER_TEST = Cure(
    "client-per-test",
    "a fixture that makes the client in the test's loop and closes it there",
    "each test connects again",
    where="pytest !portal",
    holds="every user of the client gets it from the fixture",
)
CLIENT_WITH = Cure(
    "client-with",
    "with TestClient(app) as client: one loop for the block; open and close your clients in the lifespan",
    "each block connects again",
    where="portal",
    holds="every user of what connects gets it from the application",
)

PRE_PING = "the ping raises the same RuntimeError, so every second use still fails"

KINDS: tuple[Kind, ...] = (
    # -- not this fault -----------------------------------------------------------------------------
    Kind(
        "loop-type",
        "a driver that needs another type of loop",
        "psycopg needs a selector loop, and Windows makes a proactor loop by default; nest_asyncio cannot patch uvloop; trio's loop is none of asyncio's",
        (
            Sign("loop-type", sure=True),
            Sign("timeout-outside-task trio", sure=True),
            Sign("no-running-loop trio", sure=True),
        ),
        "the driver refuses the loop at its first use, also with one loop in all",
        "the line that starts the loop",
        "a loop that was closed or crossed",
        (
            Cure(
                "selector-loop",
                "asyncio.run(main(), loop_factory=asyncio.SelectorEventLoop), or in pytest-asyncio a loop factory",
                "no subprocesses on that loop under Windows",
                needs=("python>=3.12",),
                where="!trio",
            ),
            Cure(
                "asyncio-itself",
                'run the library under asyncio: asyncio.run, or anyio.run(main, backend="asyncio")',
                "none of trio's own",
                where="trio",
            ),
        ),
        {},
        "08",
        other=True,
    ),
    Kind(
        "lost-connection",
        "a connection that the server, or a proxy between, has closed",
        "a connection waits in the pool; a restart or a limit for idle ones ends it, and its next user finds it closed",
        (
            Sign("lost-connection by:asyncpg !text:different-loop !text:loop-closed"),
            Sign("lost-connection !text:different-loop !text:loop-closed"),
            Sign("closed-in-operation by:asyncpg !threads !prefork !text:different-loop"),
        ),
        "it comes after a pause or a restart of the server, with one loop in all",
        "the server's log, its limit for idle connections, and how old the connection was",
        "a closed loop: uvloop says the same of a transport whose loop was closed",
        (
            Cure(
                "pre-ping",
                "create_async_engine(url, pool_pre_ping=True): it replaces closed ones",
                "a ping for each checkout",
            ),
            NULL_POOL,
        ),
        {},
        "04",
        other=True,
    ),
    Kind(
        "pool-exhausted",
        "an exhausted pool",
        "more connections are wanted at once than the pool or the server has; often sessions are not closed",
        (Sign("pool-exhausted !by:psycopg_pool", sure=True), Sign("pool-exhausted")),
        "it comes under load, or after a number of calls, with one loop in all",
        "who holds the connections: pg_stat_activity, and sessions without async with",
        "a hang, or a connection on a foreign loop",
        (
            Cure("close-sessions", "close each session: async with Session() as session", "none"),
            Cure(
                "larger-pool",
                "pool_size and max_overflow for the real number at once",
                "server connections",
            ),
        ),
        {},
        "06",
        other=True,
    ),
    Kind(
        "async-not-handled",
        "an async fixture or test that no plugin runs",
        "pytest runs no async code itself; in strict mode pytest-asyncio runs only tests with its mark and fixtures of pytest_asyncio.fixture",
        (
            Sign("async-not-handled pytest", sure=True),
            Sign("async-not-handled never-awaited"),
            Sign("never-awaited test-coroutine", sure=True),
            Sign("no-event-loop-fixture no-asyncio-plugin", sure=True),
        ),
        "the test got a coroutine or a generator where it wanted a value, or did not run at all",
        "asyncio_mode in the configuration that pytest's header names, and the plugins there",
        "a fixture on another loop",
        (
            Cure(
                "auto-mode",
                "asyncio_mode = auto",
                "every async test is pytest-asyncio's; not beside anyio's plugin",
                where="!no-asyncio-plugin",
            ),
            Cure(
                "mark-them",
                "@pytest_asyncio.fixture for each async fixture, @pytest.mark.asyncio for each test",
                "a line each",
                where="!no-asyncio-plugin",
            ),
            Cure(
                "install-plugin",
                "install pytest-asyncio where pytest runs",
                "none",
            ),
        ),
        {"session-loop": "in strict mode no plugin takes the fixture up"},
        "08",
        other=True,
    ),
    Kind(
        "missing-greenlet",
        "database work outside SQLAlchemy's greenlet",
        "a lazy load, or a sync call of the engine, needs await where no await can stand",
        (
            Sign("greenlet dispose !finalizer", sure=True),
            Sign("greenlet closing-failed !finalizer", sure=True),
            Sign("greenlet !finalizer", sure=True),
        ),
        "an attribute is loaded later, or sync code calls the engine",
        "the line of yours: a relationship that was not loaded, or engine.sync_engine.dispose() in a sync fixture",
        "a closed loop",
        (
            Cure(
                "load-early",
                "load it in the query (selectinload), or use await session.refresh(…), AsyncAttrs",
                "none",
                where="!closing-failed",
            ),
            Cure(
                "await-dispose",
                "await engine.dispose() in an async fixture instead of sync_engine.dispose()",
                "none",
            ),
        ),
        {"session-loop": "the loop is the right one already"},
        "07",
        other=True,
    ),
    Kind(
        "never-awaited",
        "a coroutine that nothing awaits",
        "a call of an async function makes a coroutine and runs nothing of it",
        (Sign("never-awaited !different-loop !loop-closed !already-running"),),
        "no other error stands beside the warning",
        "the call that the warning names: await is missing",
        "a loop fault: there the warning is a side effect",
        (Cure("await-it", "await the call", "none"),),
        {},
        "01",
        other=True,
    ),
    Kind(
        "scope-mismatch-other",
        "a wide fixture that asks for a narrow one",
        "pytest sets up the wide fixture once, and the narrow one for each test",
        (Sign("scope-mismatch-other !scope-mismatch", sure=True),),
        "neither fixture is a loop",
        "the two fixtures that the message names",
        "a fixture on another loop",
        (Cure("equal-scopes", "give both the same scope", "what is set up more often, or shared"),),
        {"session-loop": "loop scopes are not fixture scopes"},
        "08",
        other=True,
    ),
    Kind(
        "concurrent-tasks",
        "several tasks on one connection or session",
        "a connection answers one question at a time; the tasks run on one loop, and none crosses",
        (
            Sign("concurrent", sure=True),
            Sign(
                "operation-in-progress by:asyncpg !text:different-loop !text:loop-closed !text:closed-in-operation !text:manual-transaction"
            ),
            Sign(
                "operation-in-progress !text:different-loop !text:loop-closed !text:closed-in-operation !text:manual-transaction"
            ),
            # A COMMIT that met another operation leaves its transaction open for the next one.
            Sign("manual-transaction !text:different-loop !text:closed-in-operation !threads"),
        ),
        "one loop only, and gather, a task group or two requests share a session or connection",
        "gather, create_task and TaskGroup around one session; a global session",
        "a poisoned connection: the message is the same, but there a different loop came before",
        (
            Cure(
                "session-per-task",
                "a session for each task: async with Session() as session inside the task",
                "a connection for each task at work, so the pool must have as many; and a transaction each: no task sees what another has not committed",
            ),
        ),
        {
            "null-pool": "the tasks still share what they share",
        },
        "10",
        other=True,
    ),
    Kind(
        "fork",
        "a connection or a loop that went through a fork",
        "a child process inherits the sockets of its parent: both read the same answers",
        (
            Sign("wire-garbled prefork", sure=True),
            Sign("wire-garbled celery"),
            Sign("wire-garbled !text:different-loop"),
            Sign("different-loop by:asyncpg sqlalchemy from-pool prefork"),
            Sign("different-loop prefork"),
            Sign("closed-in-operation prefork"),
            Sign("already-running prefork"),
        ),
        "the engine was used before the process forked (gunicorn --preload, Celery prefork, multiprocessing)",
        "what uses the engine at import, before the fork",
        "a broken network, or a crossing",
        (
            Cure(
                "dispose-before-fork",
                "await engine.dispose() in the parent, on the loop that used it, before it forks",
                "parent and child connect once more",
            ),
            Cure(
                "after-fork",
                "use nothing before the fork: make the engine's first connection in the child",
                "none",
            ),
            NULL_POOL,
        ),
        {
            "dispose": "await engine.dispose() in the child ends the parent's sessions: both have the same sockets",
            "close=False": "dispose(close=False) in the child does it later: asyncpg ends what the child's garbage collector finds",
            "pool_pre_ping": "both processes ping on one socket",
        },
        "10",
    ),
    # -- pytest's own words -------------------------------------------------------------------------
    Kind(
        "event-loop-override",
        "a dead event_loop override",
        "pytest-asyncio 1.0 removed the fixture event_loop: an override is ignored without a word, and who asks for it finds none",
        (
            Sign("no-event-loop-fixture", sure=True),
            Sign("event-loop-redefined", sure=True),
        ),
        "conftest.py defines or requests a fixture event_loop",
        "def event_loop in conftest.py or in a plugin, and who requests it",
        "a configured session loop",
        (
            Cure(
                "delete-override",
                "delete the override and set both loop scopes to session; where a test asks for the loop: asyncio.get_running_loop()",
                "tests share one loop",
                needs=("pytest-asyncio>=1.0",),
            ),
        ),
        {"event_loop with scope=session": "since 1.0 nothing calls it"},
        "08d",
    ),
    Kind(
        "sync-test-async-fixture",
        "a sync test that asks for an async fixture",
        "pytest-asyncio runs the fixture on a loop of its own choice: not the factory's, and not the one on which an async test then asks for it",
        (
            Sign("fixture-value-gone pytest", sure=True),
            Sign("fixture-value-gone", sure=True),
        ),
        "a def test_… (not async) has an async fixture among its arguments",
        "sync tests in the file whose async fixture has a wider scope",
        "fixture and test on different loops",
        (
            SESSION_LOOP,
            Cure(
                "async-test",
                "write async def for the sync tests that ask for it",
                "none",
                holds="the engine itself is cured too, by explicit-loop for instance",
            ),
            NULL_POOL,
        ),
        {
            "explicit-loop": "the fixture's loop is not made by the factory: the fault comes from here",
            "dispose": "it disposes on the test's loop, and the fixture's stays",
        },
        "08",
    ),
    Kind(
        "engine-in-a-row",
        "one engine, loops one after the other",
        "each pooled connection binds to the loop that opened it; a later loop takes it out of the pool",
        (
            Sign(
                "different-loop by:asyncpg sqlalchemy from-pool celery !prefork !closing-failed",
                sure=True,
            ),
            Sign(
                "different-loop by:asyncpg sqlalchemy from-pool lambda !prefork !closing-failed",
                sure=True,
            ),
            Sign(
                "different-loop by:asyncpg sqlalchemy from-pool asyncio-run !pytest !server !threads !prefork !closing-failed",
                sure=True,
            ),
            Sign(
                "different-loop by:asyncpg sqlalchemy from-pool portal !setup !teardown !prefork !closing-failed",
                sure=True,
            ),
            Sign(
                "different-loop by:asyncpg sqlalchemy from-pool unittest !prefork !closing-failed",
                sure=True,
            ),
            Sign("different-loop by:asyncpg sqlalchemy from-pool pytest later-test"),
            Sign("different-loop by:asyncpg sqlalchemy from-pool !first-test !closing-failed"),
            Sign("different-loop by:asyncpg pytest later-test"),
            Sign("different-loop by:asyncpg pytest !first-test"),
            Sign("different-loop by:asyncpg !closing-failed"),
            Sign("different-loop other-client sqlalchemy"),
            Sign("loop-closed by:asyncpg sqlalchemy from-pool"),
            Sign("loop-closed other-client sqlalchemy"),
            Sign("operation-in-progress text:different-loop"),
            Sign("operation-in-progress by:asyncpg !text:closed-in-operation"),
            Sign("operation-in-progress"),
            Sign("bound-elsewhere sa-queue sqlalchemy", sure=True),
            Sign("different-loop celery"),
            Sign("terminating-failed different-loop"),
            Sign("different-loop"),
        ),
        "the first test or call that uses the database passes, and one on a later loop fails",
        "where the engine is made, and who makes loops: each test, asyncio.run, a Celery task, TestClient used without a with block",
        "a race: the second message, another operation is in progress, is the same as that of tasks that share a connection",
        (
            ONE_LOOP,
            SESSION_LOOP,
            Cure(
                "anyio-one-loop",
                "a session-scoped async autouse fixture, and anyio_backend at session scope: anyio's plugin keeps one loop while the fixture lives",
                "two fixtures; tests share one loop",
                where="anyio-plugin",
                holds="all tests may share one loop, and anyio's plugin runs them",
            ),
            DISPOSE_RUN,
            Cure(
                "client-with",
                "with TestClient(app) as client: one loop for the block, and dispose of the engine in the lifespan",
                "a line",
                where="portal",
            ),
            DISPOSE_TEST,
            EXPLICIT_LOOP,
            FUNCTION_ENGINE,
            NULL_POOL,
        ),
        {
            "pool_pre_ping": PRE_PING,
            "event_loop override": "dead since pytest-asyncio 1.0",
            "one of the two scope options": "the options are independent of each other",
        },
        "04",
    ),
    Kind(
        "fixture-and-test",
        "fixture and test on different loops",
        "a fixture with a wider loop scope opens connections on its loop; the tests run on loops of their own",
        (
            Sign("scope-mismatch", sure=True),
            # Under a portal one test may have several loops.
            Sign("different-loop pytest header:scopes-differ first-test !portal"),
            Sign("different-loop pytest first-test !portal"),
            Sign("different-loop pytest setup"),
            Sign("different-loop pytest header:scopes-differ"),
            Sign("loop-closed pytest teardown"),
            Sign("different-loop pytest teardown"),
            Sign("different-loop pytest"),
            Sign("different-loop"),
        ),
        "the very first test that uses the database fails, and an async fixture of a wider scope uses the engine or client",
        "loop_scope= and scope= of async fixtures, and the two options in pytest's header",
        "a module-level engine over per-test loops: there the first test passes",
        (
            SESSION_LOOP,
            Cure(
                "same-loop-scope",
                "loop_scope= of the fixture equal to that of the tests' mark",
                "a mark at each place",
                needs=("pytest-asyncio>=0.24",),
            ),
            Cure(
                "event-loop-fixture",
                'conftest.py defines event_loop with scope="session"',
                "tests share one loop; from pytest-asyncio 0.23 on wider fixtures have loops of their own",
                needs=("pytest-asyncio<0.23",),
                where="!unittest !anyio-plugin",
            ),
            Cure(
                "null-pool",
                "NullPool, if no session or connection itself is handed from fixture to test",
                "a connection for each checkout; NullPool refuses pool_size and max_overflow: take them away",
                where="!scope-mismatch",
            ),
        ),
        {
            "asyncio_default_fixture_loop_scope alone": "the tests' option is another one",
            "pool_pre_ping": PRE_PING,
        },
        "08",
    ),
    # -- clients beyond the engine ------------------------------------------------------------------
    Kind(
        "mongo-client",
        "PyMongo's async client on a second loop",
        "AsyncMongoClient remembers the loop of its first use, and checks each later one (from PyMongo 4.12 on)",
        (
            Sign("mongo-loop", sure=True),
            Sign("loop-closed by:mongo !at-exit !too-late", sure=True),
            Sign("loop-closed by:mongo"),
            Sign("different-loop by:mongo", sure=True),
            Sign("bound-elsewhere by:mongo", sure=True),
        ),
        "the client lives at module level, and loops come and go under it",
        "where the client is made",
        "a lost server",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {
            "close after each test": "a closed client stays closed, and is bound to its loop as before"
        },
        "10",
    ),
    Kind(
        "redis-client",
        "a Redis client on a second loop",
        "each pooled connection binds to the loop that opened it; a blocking pool's Condition too, once it is contended",
        (
            Sign("loop-closed by:redis !at-exit !too-late", sure=True),
            Sign("loop-closed by:redis"),
            Sign("different-loop by:redis", sure=True),
            Sign("bound-elsewhere by:redis", sure=True),
        ),
        "one redis.asyncio client serves several loops",
        "where the client is made, and which calls of asyncio.run or async_to_sync use it",
        "a lost connection: the client retries, so every second call fails",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {
            "disconnect() after each run": "a contended pool's Condition stays bound to the first loop",
            "one client for each loop that is never closed": "loops and sockets pile up",
        },
        "10",
    ),
    Kind(
        "grpc-channel",
        "a grpc.aio channel on a second loop",
        "a channel binds to a loop when it is made, also at import, before any loop runs",
        (
            Sign("different-loop by:grpc", sure=True),
            Sign("loop-closed by:grpc !at-exit !too-late", sure=True),
            Sign("loop-closed by:grpc"),
            Sign("bound-elsewhere by:grpc", sure=True),
        ),
        "grpc.aio.insecure_channel(…) runs at import or in an earlier loop",
        "the line that makes the channel",
        "a lost server",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {"make it at import": "it binds there, and the first call fails already"},
        "10",
    ),
    Kind(
        "httpx-client",
        "an httpx client on a second loop",
        "kept connections bind to the loop that opened them; the pool drops one after its failure, so every second call fails",
        (
            Sign("loop-closed by:httpx !at-exit !too-late", sure=True),
            Sign("loop-closed by:httpx"),
            Sign("different-loop by:httpx", sure=True),
            Sign("bound-elsewhere by:httpx", sure=True),
        ),
        "one httpx.AsyncClient (often inside an SDK) serves one asyncio.run after another",
        "a cached AsyncClient, also the one inside an SDK's client",
        "a flaky server",
        (
            SESSION_LOOP_TESTS,
            ONE_LOOP,
            CLIENT_WITH,
            Cure(
                "no-keep-alive",
                "httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))",
                "a connection a request",
            ),
            PER_TEST,
            PER_RUN,
        ),
        {
            "aclose() of the shared client": "it is closed for good: on a kept loop, after the last call",
        },
        "10",
    ),
    Kind(
        "aiohttp-session",
        "an aiohttp session on a second loop",
        "a ClientSession keeps the loop in which it was made, for its timers too",
        (
            Sign("timeout-outside-task", sure=True),
            Sign("different-loop by:aiohttp", sure=True),
            Sign("loop-closed by:aiohttp !at-exit !too-late", sure=True),
            Sign("loop-closed by:aiohttp"),
        ),
        "one ClientSession serves several loops",
        "where the session is made",
        "a timeout",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {"a longer timeout": "the message is not about time: the timer finds no task on its loop"},
        "10",
    ),
    Kind(
        "psycopg-pool",
        "psycopg_pool's async pool on a second loop",
        "the pool's lock, workers and queue live on the loop that opened it; a connection of psycopg alone crosses unharmed",
        (
            Sign("bound-elsewhere by:psycopg_pool", sure=True),
            Sign("different-loop by:psycopg_pool", sure=True),
            Sign("loop-closed by:psycopg_pool !at-exit !too-late", sure=True),
            Sign("loop-closed by:psycopg_pool"),
            Sign("pool-exhausted by:psycopg_pool"),
        ),
        "one AsyncConnectionPool serves several loops",
        "where the pool is opened",
        "an exhausted pool: the waiter is never woken",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {
            "AsyncNullConnectionPool": "it keeps no connection, but its lock and workers bind all the same"
        },
        "10",
    ),
    Kind(
        "asyncpg-pool",
        "an asyncpg.Pool on a second loop",
        "the pool takes the loop in which it is made, and its connections the one that opened them",
        (
            Sign("different-loop by:asyncpg asyncpg-pool !sqlalchemy", sure=True),
            Sign("loop-closed by:asyncpg asyncpg-pool !sqlalchemy !at-exit !too-late", sure=True),
            Sign("operation-in-progress by:asyncpg asyncpg-pool !sqlalchemy"),
        ),
        "one pool of asyncpg.create_pool serves several loops",
        "where create_pool is called, and where close()",
        "a pool that is too small",
        (SESSION_LOOP_TESTS, ONE_LOOP, CLIENT_WITH, PER_TEST, PER_RUN),
        {"expire_connections()": "it marks them, and closes them on their next use, which fails"},
        "10",
    ),
    # -- loops that run, or do not ------------------------------------------------------------------
    Kind(
        "loop-already-runs",
        "a loop that already runs in this thread",
        "a thread runs one loop at a time: Jupyter's, the sync Playwright's, a server's, a test's",
        (Sign("already-running", sure=True), Sign("nest already-running", sure=True)),
        "asyncio.run or run_until_complete stands below code that a loop runs",
        "who started the first loop: a notebook, an async test, sync_playwright, a server",
        "a loop that is closed",
        (
            Cure(
                "await-it",
                "await the coroutine where you are",
                "the caller becomes async",
                holds="the calling code may be async",
            ),
            Cure(
                "narrow-fixture",
                "end sync_playwright before async tests: a fixture at module scope",
                "a browser start a module",
                where="playwright",
            ),
            Cure(
                "own-thread",
                "a thread of its own for it: ThreadPoolExecutor(1).submit(asyncio.run, main()).result()",
                "the running loop waits",
            ),
        ),
        {
            "session-loop": "a foreign loop runs, with every scope of the tests",
        },
        "01",
    ),
    Kind(
        "no-current-loop",
        "get_event_loop where no loop is current",
        "from Python 3.14 get_event_loop() makes no loop; before, not after another one was taken away, and never in a second thread",
        (Sign("no-current-loop", sure=True), Sign("no-running-loop", sure=True), Sign("policy")),
        "code asks for a loop outside a coroutine",
        "get_event_loop(), create_task or a client's constructor outside a coroutine",
        "a fault of the test that ran before",
        (
            Cure("asyncio-run", "asyncio.run(main()), or asyncio.Runner for several calls", "none"),
            Cure("get-running-loop", "asyncio.get_running_loop() inside a coroutine", "none"),
        ),
        {
            "set_event_loop_policy": "deprecated from Python 3.14, removed in 3.16",
        },
        "01d",
    ),
    # -- bound to the task --------------------------------------------------------------------------
    Kind(
        "task-bound",
        "bound to the task, not to the loop",
        "a cancel scope, a task group and a ContextVar belong to the task that entered them; setup, test and teardown may be three tasks of one loop",
        (
            Sign("cancel-scope", sure=True),
            Sign("context-var", sure=True),
            Sign("waits task-scope"),
            Sign("timed-out scoped-session"),
        ),
        "a fixture or generator is entered in one task and left in another, or async_scoped_session(scopefunc=current_task) is used",
        "async fixtures that yield inside a task group, timeout or cancel scope; scopefunc=",
        "a fixture on another loop: here there is one loop",
        (
            Cure(
                "enter-in-test",
                "enter and leave it in one task: async with … inside the test",
                "a line a test",
            ),
            Cure(
                "scope-per-test",
                "async_scoped_session with a scopefunc of the test, not current_task",
                "none",
                where="sqlalchemy",
                holds="one loop serves the fixtures and the tests",
            ),
            Cure(
                "anyio-plugin",
                "run these tests by anyio's plugin, which keeps fixture and test in one task",
                "another plugin",
            ),
        ),
        {"session-loop": "one loop, and still several tasks"},
        "10d",
    ),
    # -- primitives ---------------------------------------------------------------------------------
    Kind(
        "contended-primitive",
        "an asyncio lock, queue or event on two loops",
        "a primitive binds to the loop of the first one that has to wait; who never waits binds nothing",
        (
            Sign("bound-elsewhere primitive", sure=True),
            Sign("different-loop primitive-frames !by-any !sqlalchemy", sure=True),
            Sign("different-loop plain-future !by-any !sqlalchemy !streams-frames"),
            Sign("bound-elsewhere by:sse_starlette", sure=True),
            Sign("bound-elsewhere !by-any", sure=True),
            Sign("bound-elsewhere"),
        ),
        "a lock, queue, event or semaphore lives at module level or in a singleton",
        "asyncio.Lock(), Queue(), Event(), Semaphore() outside coroutines; in a pool: pool_size reached",
        "a database fault",
        (
            Cure(
                "make-inside",
                "make it in the loop that uses it: in the fixture, lifespan or main()",
                "none",
                where="!threads",
                holds="loops in a row",
            ),
            Cure(
                "lock-per-loop",
                "a WeakKeyDictionary from the loop to its lock; never id(loop)",
                "it protects per loop only",
                where="!threads",
                holds="each loop may have its own",
            ),
            HAND_OVER,
            replace(SESSION_LOOP_TESTS, where=f"!threads {SESSION_LOOP_TESTS.where}"),
        ),
        {},
        "02",
    ),
    Kind(
        "silent-waiter",
        "a lock, queue or future whose waiter never wakes",
        "the waiter sleeps on one loop, and another thread releases it: its loop gets no event, and there is no error at all",
        (Sign("sleeping-waiter", sure=True),),
        "a task hangs at a lock or queue that another thread's loop has released",
        "the hanging task: wait_for=<Future finished … says that it was released, and its loop sleeps",
        "a deadlock: here the lock is free",
        (HAND_OVER,),
        {},
        "02",
    ),
    Kind(
        "other-thread",
        "a loop that is touched from another thread",
        "call_soon, create_task and set_result belong to the loop's own thread; elsewhere it sleeps on, or fails in debug mode",
        (Sign("other-thread", sure=True),),
        "a thread or a callback of a library touches the loop",
        "callbacks of libraries and threads that set a future, put into an asyncio.Queue or release a lock",
        "a slow server",
        (
            Cure(
                "threadsafe",
                "loop.call_soon_threadsafe(…), or asyncio.run_coroutine_threadsafe(…)",
                "none",
            ),
        ),
        {},
        "01d",
    ),
    # -- the engine ---------------------------------------------------------------------------------
    Kind(
        "startup-loop",
        "start-up work on a loop before the server's",
        "asyncio.run (or a script) fills the pool on its own loop, then the server takes these connections on its loop",
        (
            Sign("different-loop by:asyncpg sqlalchemy from-pool server"),
            Sign("different-loop by:asyncpg server"),
            Sign("different-loop sqlalchemy server"),
        ),
        "something runs the engine before the server's loop starts: migrations, create_all, a CLI",
        "asyncio.run before uvicorn.run, and what runs at import",
        "a server that loses connections: the first requests fail, as many as the pool holds",
        (
            Cure(
                "lifespan",
                "move the start-up work into the application's lifespan",
                "none",
                holds="the server runs it",
            ),
            Cure(
                "dispose",
                "await engine.dispose() as the last line of the start-up's run",
                "one new connection",
            ),
            NULL_POOL,
        ),
        {"pool_pre_ping": PRE_PING},
        "10",
    ),
    Kind(
        "two-awake-loops",
        "one engine, two loops running at once",
        "a second loop, in a thread beside the first, takes the first one's connections out of the pool, and the other way round",
        (
            Sign("manual-transaction text:different-loop", sure=True),
            Sign("manual-transaction threads", sure=True),
            Sign("manual-transaction sqlalchemy"),  # its sessions refuse two tasks themselves
            Sign("manual-transaction"),
            Sign("closed-in-operation text:different-loop !never-retrieved !prefork", sure=True),
            Sign("closed-in-operation threads"),
            Sign("different-loop by:asyncpg sqlalchemy from-pool threads !portal"),
            Sign("different-loop by:asyncpg sqlalchemy from-pool server"),
            Sign("different-loop by:asyncpg threads !portal"),
            Sign("different-loop by:asyncpg server"),
            Sign("closed-in-operation"),
        ),
        "a thread with a loop of its own works while the server's loop does",
        "threads that call asyncio.run, schedulers, background workers",
        "an unstable network",
        (HAND_OVER, OWN_NULL_ENGINE, NULL_POOL),
        {
            "pool_pre_ping": PRE_PING,
            "dispose": "it empties the pool of the loop that is awake, and its connections at work come back to a new one",
        },
        "10",
    ),
    Kind(
        "session-object",
        "a session or connection object that crosses",
        "a session that holds a connection, or a transaction that is open, is handed from one loop to another",
        (
            Sign("different-loop by:asyncpg sqlalchemy statement !from-pool"),
            Sign("different-loop by:asyncpg asyncpg-frames !sqlalchemy !asyncpg-pool"),
        ),
        "a fixture hands an open session or connection to a test with another loop, or a session is global",
        "fixtures that yield a session, global sessions",
        "a pooled connection: NullPool cures that, and not this",
        (
            SESSION_LOOP,
            Cure(
                "session-per-use",
                "open the session where it is used: async with Session() as session",
                "a checkout each",
                holds="the engine itself is cured too",
            ),
        ),
        {
            "null-pool": "the object itself is carried over",
            "dispose": "a connection that is checked out is not in the pool",
        },
        "08",
    ),
    # -- too late ------------------------------------------------------------------------------------
    Kind(
        "dispose-elsewhere",
        "a dispose or close on the wrong loop or thread",
        "closing needs the connection's own loop; on another one it is logged, and the socket stays until the garbage collector comes",
        (
            Sign("closing-failed loop-closed !text:different-loop !collected !at-exit", sure=True),
            Sign("closing-failed loop-closed"),
            Sign("closing-failed different-loop sqlalchemy"),
            Sign("closing-failed different-loop"),
            Sign("loop-closed dispose"),
            Sign("loop-closed teardown"),
            Sign("closing-failed"),
        ),
        "asyncio.run(engine.dispose()), a fixture with another loop, or a thread closes what another loop opened",
        "where dispose() or close() runs, and on which loop",
        "a failed test: only the log says it",
        (
            Cure(
                "dispose-in-owner",
                "await engine.dispose() in the loop that used the engine, before it closes",
                "none",
            ),
            Cure(
                "forget",
                "engine.dispose(close=False) where that loop has gone: the old connections are left alone",
                "sockets stay until they are collected",
                needs=("sqlalchemy>=2.0",),
            ),
        ),
        {"a second dispose": "the connections belong to the first loop for ever"},
        "07",
    ),
    Kind(
        "left-open",
        "a connection that outlives its loop",
        "it is not closed while its loop runs; the garbage collector, or the next user, finds the loop closed",
        (
            Sign("loop-closed at-exit", sure=True),
            Sign("greenlet finalizer", sure=True),  # SQLAlchemy before 2.0.2 closes it there
            Sign("loop-closed too-late by-any"),
            Sign("loop-closed collected", sure=True),
            Sign("collected sqlalchemy"),
            Sign("collected loop-closed"),
            Sign("loop-closed by:asyncpg cancel"),
            Sign("loop-closed by:aiosqlite"),
            Sign("loop-closed by:aiomysql"),
            Sign("collected"),
            Sign("loop-closed"),
        ),
        "the message comes at the end, in a finalizer, a thread or a log, and nothing fails by it",
        "sessions without async with, engines without dispose, clients without aclose",
        "the cause of the failure above it",
        (
            Cure(
                "dispose-in-owner",
                "close it in its own loop: async with for sessions, await engine.dispose() before the loop ends",
                "none",
            ),
        ),
        {},
        "07",
    ),
    Kind(
        "open-transaction",
        "an open transaction that holds a lock",
        "a stream, task or session leaves it open, on its loop or after its loop; the next TRUNCATE, DROP or UPDATE of its rows waits",
        (
            Sign("lock-timeout", sure=True),
            Sign("waits idle-transaction", sure=True),
            Sign("timed-out scoped-session"),
            Sign("waits sqlalchemy"),
            Sign("waits by:asyncpg"),
            Sign("waits"),
        ),
        "a test hangs at TRUNCATE, DROP TABLE or an UPDATE, and pg_stat_activity shows idle in transaction",
        "pg_stat_activity and pg_blocking_pids(pid)",
        "a retry loop: SQLAlchemy does not retry",
        (
            Cure(
                "close-it",
                "close streams, tasks and sessions where they were opened, on every way out",
                "none",
            ),
        ),
        {
            "dispose": "a connection that is checked out is not in the pool",
            "null-pool": "no code returns it",
        },
        "06",
    ),
    # -- the rule itself ------------------------------------------------------------------------------
    Kind(
        "any-client",
        "a client of another library on a second loop",
        "what waits on a socket or a future binds to a loop: when it is made, at first use, or with each connection",
        (
            Sign("connector-loop", sure=True),
            Sign("different-loop other-client !sqlalchemy", sure=True),
            Sign("loop-closed other-client !sqlalchemy !at-exit"),
            Sign("bound-elsewhere other-client"),
            Sign("different-loop streams-frames pytest !by-any"),
            Sign("different-loop streams-frames !by-any"),
            Sign("different-loop plain-future !by-any !sqlalchemy"),
            Sign("different-loop task-future !by-any !sqlalchemy"),
            Sign("different-loop !by-any"),
            Sign("loop-closed !by-any !at-exit"),
        ),
        "a client, pool or singleton of a library is made once and used from several loops",
        "where the object is made, and which loops use it",
        "a fault of the server",
        (
            SESSION_LOOP_TESTS,
            ONE_LOOP,
            CLIENT_WITH,
            PER_TEST,
            PER_RUN,
            HAND_OVER,
        ),
        {"a retry": "the next call meets the same loop, or throws one connection away each time"},
        "10",
    ),
)

BY_ID = {kind.id: kind for kind in KINDS}
