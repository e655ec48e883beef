"""What a text can show: messages, libraries and situations, each a fact with a name.

A phrase is written as it is printed; ``…`` stands for up to 300 characters. Blanks do not count: a
terminal, a log or a mail may have broken the line anywhere, inside a word too.
"""

from __future__ import annotations

MESSAGES: dict[str, tuple[str, ...]] = {
    # -- a future, a primitive or a client meets another loop
    "different-loop": (
        "attached to a different loop",
        "got Future <",  # the message may be cut off
        "RuntimeError: Task <Task pending",
        "The future belongs to a different loop than the one specified",
        "This connection is being used with a different event loop",
    ),
    "bound-elsewhere": (
        "is bound to a different event loop",
        "is bound to a different loop",
        "bound to a different event loop",
    ),
    "loop-closed": ("Event loop is closed",),
    "operation-in-progress": (
        "another operation is in progress",
        "cannot switch to state…another operation",
    ),
    "manual-transaction": (
        "cannot use Connection.transaction() in a manually started transaction",
    ),
    "closed-in-operation": ("connection was closed in the middle of operation",),
    "mongo-loop": ("Cannot use AsyncMongoClient in different event loop",),
    "connector-loop": ("ConnectorLoopError", "Running event loop does not match"),
    "timeout-outside-task": (
        "Timeout context manager should be used inside a task",
        "Timeout should be used inside a task",
    ),
    "other-thread": (
        "Non-thread-safe operation invoked on an event loop other than the current one",
    ),
    # -- pytest and its plugins
    "scope-mismatch": (
        "ScopeMismatch…'event_loop'",
        "ScopeMismatch…fixture event_loop with",
        "ScopeMismatch…_scoped_runner",
        "ScopeMismatch…_scoped_event_loop",
        "ScopeMismatch…fixture 'loop'",
        "ScopeMismatch…anyio_backend",
        "ScopeMismatch…event_loop_policy",
    ),
    "scope-mismatch-other": ("ScopeMismatch:",),
    "no-event-loop-fixture": ("fixture 'event_loop' not found",),
    "event-loop-redefined": (
        "event_loop fixture provided by pytest-asyncio has been redefined",
        "event_loop fixture provided by pytest-asyncio cannot be",
    ),
    "fixture-value-gone": ("The fixture value for…is not available",),
    "async-not-handled": (
        "requested an async fixture",
        "async def functions are not natively supported",
        "'async_generator' object has no attribute",
        "'coroutine' object has no attribute",
    ),
    # -- a loop that runs, or none
    "already-running": (
        "cannot be called from a running event loop",
        "event loop is already running",
        "Cannot run the event loop while another loop is running",
        "Already running asyncio in this thread",
        "Playwright Sync API inside the asyncio loop",
        "You cannot use AsyncToSync in the same thread as an async event loop",
    ),
    "no-current-loop": ("There is no current event loop",),
    "no-running-loop": ("no running event loop",),
    "policy": (
        "set_event_loop_policy' is deprecated",
        "get_event_loop_policy' is deprecated",
        "EventLoopPolicy' is deprecated",
        'event_loop_policy" fixture is deprecated',
        "event_loop_policy fixture is deprecated",
    ),
    # -- bound to the task
    "cancel-scope": (
        "Attempted to exit cancel scope in a different task than it was entered in",
        "Attempted to exit a cancel scope that isn't the current task",
    ),
    "context-var": ("was created in a different Context",),
    # -- left over, too late
    "closing-failed": ("Exception closing connection", "Error closing connection"),
    "terminating-failed": ("Exception terminating connection",),
    "sleeping-waiter": ("wait_for=<Future finished",),
    "lock-timeout": ("canceling statement due to lock timeout",),
    "collected": (
        "garbage collector is trying to clean up non-checked-in connection",
        "Exception ignored in…__del__",
        "Task was destroyed but it is pending",
        "ResourceWarning: unclosed",
        "Unclosed client session",
        "Unclosed connector",
        "Fatal error on SSL transport",
    ),
    "greenlet": ("greenlet_spawn has not been called",),
    "timed-out": ("TimeoutError",),
    "waits": (
        "idle in transaction",
        "from pytest-timeout",
        "Timeout (>",
        "Timeout (0:",  # faulthandler's
        "Timeout >",
        "+ Timeout +",
    ),
    "never-awaited": ("was never awaited",),
    # -- look-alikes
    "concurrent": (
        "concurrent operations are not permitted",
        "IllegalStateChangeError",
        "called while another coroutine is already waiting for incoming data",
        "method '…()' is already in progress",
    ),
    "lost-connection": (
        "connection is closed",
        "unable to perform operation on <…Transport closed=True",  # uvloop says it so
    ),
    "pool-exhausted": (
        "QueuePool limit of size",
        "couldn't get a connection after",
        "sorry, too many clients already",
        "remaining connection slots are reserved",
        "No connection available",
        "Too many connections",
    ),
    "loop-type": (
        "cannot use the 'ProactorEventLoop'",
        "cannot use the ProactorEventLoop",
        "Can't patch loop of type",
        "add_reader…NotImplementedError",
        "NotImplementedError…add_reader",
    ),
    "wire-garbled": (
        "decryption failed or bad record mac",
        "unknown protocol state",
        "lost synchronization with server",
        "server closed the connection unexpectedly",
        "message type…arrived from server while idle",
        "SSL SYSCALL error",
        "skipping fork() handlers",
        "insufficient data in",
    ),
}
"""Each message, by the name of its fact."""

CUT_OFF: dict[str, tuple[str, ...]] = {
    "loop-closed": ("self._check_closed()",),
    "bound-elsewhere": ("self._get_loop()",),
}
"""Calls of asyncio that raise them: all that is left of a message where its end was cut off."""

FOLLOWERS = frozenset(
    {
        "operation-in-progress",
        "loop-closed",
        "closing-failed",
        "terminating-failed",
        "collected",
        "never-awaited",
        "timed-out",
        "waits",
        "scope-mismatch-other",
        "async-not-handled",
        "policy",
        "wire-garbled",
        "lost-connection",
    }
)
"""Messages that another one often brings along: beside a leading message they explain nothing."""

LIBRARIES: dict[str, tuple[str, ...]] = {
    # A path's part in a frame, or a word in a message. The first one that fits speaks.
    "grpc": (
        "grpc/aio",
        "UnaryUnaryCall",
        "grpc/_cython",
        "grpc.aio",
        "grpc._cython",
        "PollerCompletionQueue",
    ),
    "redis": (
        "redis/asyncio",
        "redis.asyncio",
        "aioredis",
        "redis.exceptions",
        "channels_redis",
    ),
    "mongo": ("pymongo/", "AsyncMongoClient", "motor/", "pymongo.", "motor_asyncio"),
    "psycopg_pool": ("psycopg_pool/", "psycopg_pool."),
    "psycopg": (
        "psycopg/",
        "psycopg.errors",
        "sqlalchemy.dialects.postgresql.psycopg",
        "Psycopg cannot",
    ),
    "aiohttp": ("aiohttp/", "aiohttp.client", "Unclosed client session"),
    "httpx": ("httpx/", "httpcore/", "httpcore.", "httpx."),
    "aiomysql": ("aiomysql/", "asyncmy/", "asyncmy.", "aiomysql."),
    "aiosqlite": ("aiosqlite/", "aiosqlite."),
    "asyncpg": (
        "asyncpg/",
        "asyncpg.",
        "Protocol._on_waiter_completed",
        "Connection._cancel",
        "dialects/postgresql/asyncpg",
    ),
    "sse_starlette": ("sse_starlette/", "should_exit_event"),
    "litellm": ("litellm/",),
    "cloud_sql": ("google/cloud/sql", "google/cloud/alloydb", "ConnectorLoopError"),
    "temporal": ("temporalio/",),
    "kafka": ("aiokafka/",),
    "amqp": ("aio_pika/", "aiormq/"),
}
"""Who speaks, by the name in ``by:NAME``."""

LIBRARY_WORDS = {
    "grpc": "grpc.aio",
    "redis": "redis-py",
    "mongo": "PyMongo or Motor",
    "httpx": "httpx (its httpcore)",
    "aiomysql": "aiomysql or asyncmy",
    "sse_starlette": "sse-starlette",
    "cloud_sql": "the Cloud SQL connector",
    "temporal": "Temporal's client",
    "kafka": "aiokafka",
    "amqp": "aio-pika",
    "litellm": "LiteLLM",
}

CLIENTS = ("aiomysql", "aiosqlite", "psycopg", "litellm", "cloud_sql", "temporal", "kafka", "amqp")
"""Libraries without a kind of their own."""

_NAMES = (
    "_pytest pytest pluggy pytest_asyncio xdist execnet anyio starlette fastapi litestar uvicorn"
    " sanic hypercorn gunicorn celery billiard kombu dramatiq asgiref django flask quart werkzeug"
    " uvloop greenlet sqlalchemy sqlmodel alembic tenacity backoff nest_asyncio ipykernel IPython tornado"
    " click typer streamlit opentelemetry sentry_sdk newrelic ddtrace playwright"
)
FRAMEWORKS = frozenset(_NAMES.split())
"""Packages whose frames lead to a client, but which are none."""

GLOBAL = (
    "pytest",
    "unittest",
    "anyio-plugin",
    "celery",
    "lambda",
    "server",
    "prefork",
    "jupyter",
    "idle-transaction",
)
"""Situations that hold for the whole text, wherever they are seen in it."""

SITUATIONS: dict[str, tuple[str, ...]] = {
    "sqlalchemy": ("sqlalchemy/", "sqlalchemy."),
    # Its pooled connection begins a transaction, or is pinged: it comes out of the pool.
    "from-pool": (
        "in _start_transaction",
        "in _do_ping",
        "def _start_transaction(",  # pytest's long form shows functions, not their names
        "def _do_ping",
        "in _do_ping_w_event",
        "in _checkout",
    ),
    "statement": (
        "in _prepare_and_execute",
        "def _prepare_and_execute(",
        "in _commit_impl",
        "in _rollback_impl",
    ),
    "asyncpg-pool": ("asyncpg/pool.py", "asyncpg.pool."),
    "pytest": (
        "short test summary info",
        "test session starts",
        "_pytest/",
        "pytest_asyncio",
        "pytest-asyncio",
        "ERROR at setup",
        "ERROR at teardown",
        "PytestUnraisableExceptionWarning",
        "PytestUnhandled",
        "=== FAILURES ===",
        "=== ERRORS ===",
        "coro=<test_",
        "PASSED [",
        "FAILED tests",
        "FAILED test_",
        "ERROR tests",
        "ERROR test_",
        "pytest.Pytest",
        "requested an async fixture",
        "async def functions are not natively supported",
    ),
    "unittest": ("unittest/case.py", "unittest/async_case.py", "IsolatedAsyncioTestCase"),
    "anyio-plugin": (
        "anyio/pytest_plugin",
        "[asyncio] ",
        "anyio_backend",
        "TestRunner._call_in_runner",
    ),
    "portal": (
        "starlette/testclient",
        "fastapi/testclient",
        "BlockingPortal",
        "TestClient",
        "anyio/from_thread",
        "litestar/testing",
    ),
    "celery": ("celery/", "celery.", "ForkPoolWorker", "dramatiq/", "rq/worker", "huey/"),
    "lambda": ("awslambdaric", "/var/task/", "lambda_handler"),
    "server": (
        "uvicorn/",
        "Uvicorn running on",
        "uvicorn.error",
        "hypercorn/",
        "Application startup complete",
        "Started server process",
        "Exception in ASGI application",
    ),
    "prefork": (
        "gunicorn",
        "Booting worker with pid",
        "os.fork",
        "ForkProcess",
        "multiprocessing/",
        "uwsgi",
    ),
    "jupyter": (
        "ipykernel",
        "Cell In[",
        "Input In [",
        "<ipython-input-",
        "IPython/core",
        "ipython-input",
    ),
    "asyncio-run": ("asyncio/runners.py", "asyncio.run(", "in run_until_complete"),
    "threads": (
        "threading.py",
        "threading.Thread(",
        "Exception in thread",
        "concurrent/futures/thread.py",
        "ThreadPoolExecutor-",
        "run_coroutine_threadsafe",
        "_chain_future",  # a task that it handed in
        "asgiref/sync",
    ),
    "playwright": (
        "playwright/sync_api",
        "playwright._impl",
        "Playwright Sync API",
        "playwright/_impl",
    ),
    "nest": ("nest_asyncio",),
    "test-coroutine": ("coroutine 'test_",),
    "alembic": ("alembic/", "env.py"),
    "teardown": ("ERROR at teardown",),
    "setup": ("ERROR at setup",),
    "at-exit": (
        "Exception ignored",
        "in __del__",
        "def __del__(",
        "PytestUnraisableExceptionWarning",
    ),
    # A client's close, in a task that nothing awaits.
    "too-late": (
        "Task exception was never retrieved…aclose",
        "Task exception was never retrieved…close",
    ),
    # A record in a log, of what another error left: it follows from that one.
    "never-retrieved": ("exception was never retrieved",),
    "cancel": (
        "Connection._cancel",
        "in terminate",
        "in _terminate",
        "do_terminate",
        "_do_terminate",
    ),
    "dispose": ("in dispose", "engine.dispose", ".dispose()"),
    "closing": ("in aclose", "in close", "in disconnect", "_do_close", "do_close", "Pool.close"),
    "asyncpg-frames": ("asyncpg/connection.py",),
    "streams-frames": ("asyncio/streams.py",),
    "idle-transaction": ("idle in transaction",),
    "scoped-session": ("ext/asyncio/scoping.py", "async_scoped_session"),
    "sa-queue": ("sqlalchemy/util/queue.py",),
    # Before Python 3.10 a primitive binds when it is made, and its future meets the other loop.
    "primitive-frames": ("asyncio/locks.py", "asyncio/queues.py"),
    # A driver that made it would have added its callback.
    "plain-future": ("> got Future <Future pending> attached",),
    "finalizer": ("in _finalize_fairy",),
    "task-future": ("got Future <Task pending",),  # a task of another loop is awaited
    "trio": ("trio/_core", "trio.run("),
    "primitive": (
        "asyncio.locks.",
        "<Queue at",
        "<PriorityQueue at",
        "asyncio.queues.",
        "Semaphore object",
        "Condition object",
    ),
    "session-object": ("async_scoped_session", "AsyncSession", "in _connection_for_bind"),
    "task-scope": ("current_task", "scopefunc"),
}
"""What else can be seen: where the text comes from, and which way a call went."""
