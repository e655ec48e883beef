"""Runs cases, each in a child forked from this process, which has the libraries imported.

Started with the interpreter of the cases' environment; reads one job as a line of JSON after the
other from standard input and answers each with a line. A start of Python with these libraries takes
a second, a fork some milliseconds. Windows has no fork: there each job is a process of its own.
"""

import contextlib
import gc
import importlib
import json
import os
import subprocess
import sys
import time
import traceback

PRELOADED = (
    "asyncpg",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "psycopg_pool",
    "pytest",
    "pytest_asyncio.plugin",
    "anyio.pytest_plugin",
    "fastapi.testclient",
    "httpx",
    "aiohttp",
    "redis.asyncio",
    "fakeredis",
    "pymongo",
    "uvicorn",
    "celery",
    "grpc.aio",
)
QUIET = "ignore:Module already imported so cannot be rewritten"  # it was imported before the fork
REVERSE = """
import pytest
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items): items.reverse()
"""
SESSIONS = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


def run(job):
    """The case itself, in its own process; returns the exit code."""
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    sys.path[:0] = [job["folder"]]
    if job["words"][0] != "pytest":
        sys.argv = job["words"]
        with open(job["words"][0], encoding="utf-8") as file:
            code = compile(file.read(), os.path.join(job["folder"], job["words"][0]), "exec")
        module = type(sys)("__main__")
        module.__file__ = code.co_filename
        sys.modules["__main__"] = module
        try:
            exec(code, module.__dict__)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
                return 1
            return int(end.code or 0)
        except BaseException as error:
            # As if Python had started it: without the frame of this file.
            error.__traceback__ = error.__traceback__.tb_next
            sys.excepthook(type(error), error, error.__traceback__)
            return 1
        return 0
    import pytest

    plugins = []
    if job["reverse"]:
        reverse = type(sys)("reverse")
        exec(REVERSE, reverse.__dict__)
        plugins.append(reverse)
    words = ["--rootdir=.", "-p", "no:cacheprovider", "-W", QUIET, "--color=no", *job["words"][1:]]
    return int(pytest.main(words, plugins))


PATIENCE = 20  # seconds for the server to end the sessions of connections that were closed


def sessions_left(url, wanted):
    """How many sessions the case still has on the server, before its process ends.

    A busy server ends one some time after its connection was closed, so it is asked again until
    the number is the wanted one; None: it is asked once.

    In a thread, so that the case's own loops stay as they are; with the one driver that all
    environments have.
    """
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    import asyncpg

    async def count():
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        try:
            for _ in range(PATIENCE * 20):
                left = await connection.fetchval(SESSIONS)
                if wanted in (left, None):
                    break
                await asyncio.sleep(0.05)
            return left
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, count()).result()


def whole(job):
    """Run a case to the end of its process, and write what is left beside its output."""
    import atexit
    import threading

    code = run(job)
    left = 0
    if job["count"]:
        left = sessions_left(job["environment"]["DATABASE_URL"], job["left"])
    with open(job["output"] + ".left", "w") as file:
        file.write(str(left))
    gc.collect()
    with contextlib.suppress(Exception):
        threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def start(job):
    with open(job["output"], "wb") as output:
        if not hasattr(os, "fork"):
            return subprocess.Popen(
                [sys.executable, __file__, json.dumps(job)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
            code = whole(job)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(code)


def ended(process):
    """The exit code of what `start` gave, or None."""
    if not isinstance(process, int):
        return process.poll()
    pid, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def stop(process):
    if not isinstance(process, int):
        process.kill()
        process.wait()
    else:
        os.killpg(process, 9)
        os.waitpid(process, 0)


def main():
    for name in PRELOADED if hasattr(os, "fork") else ():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        from _pytest.config import default_plugins

        for name in default_plugins:
            importlib.import_module(f"_pytest.{name}")
    gc.freeze()  # a child's collection then leaves alone, and does not copy, what is here already
    waiting = [json.loads(line) for line in sys.stdin]
    running = {}
    while waiting or running:
        while waiting and len(running) < 2:
            job = waiting.pop(0)
            running[job["name"]] = job, start(job), time.monotonic() + job["limit"]
        time.sleep(0.005)
        for name, (job, process, until) in list(running.items()):
            code = ended(process)
            if code is None and time.monotonic() > until:
                stop(process)
                code = "hung"
            if code is not None:
                del running[name]
                print(json.dumps({"name": name, "code": code}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(whole(json.loads(sys.argv[1])))
    main()
