"""The rules for a program outside its tests, and those for single statements."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property

from loopbound.scan.cures import GET_AWAY, cure_of, no_ping
from loopbound.scan.engines import Engine, Engines, Reach, closes_nothing
from loopbound.scan.findings import Finding
from loopbound.scan.runs import Run, runs_in
from loopbound.scan.source import (
    External,
    Func,
    Global,
    Module,
    Project,
    constant,
    dotted,
    keyword,
    last_name,
    target_of,
    walk,
)

# Decorators whose function is called again and again in one process.
_TASKS = (
    "task",
    "shared_task",
    "actor",
    "periodic_task",
    "db_task",
    "db_periodic_task",
    "job",
    "scheduled_job",
    "cron",
    "on_message",
)
_ROUTES = ("route", "get", "post", "put", "patch", "delete")
_FRAMEWORKS = (
    "celery",
    "dramatiq",
    "huey",
    "rq",
    "apscheduler",
    "flask",
    "schedule",
    "django",
    "procrastinate",
    "pika",
    "kombu",
    "funboost",
    "bottle",
)
_HANDLERS = ("lambda_handler", "handler")
_RUNS = re.compile(
    rb"asyncio\.run|run_until_complete|async_to_sync|anyio\.run|uvloop\.run|\bRunner\("
    rb"|import run\b"
)
_ASYNC_URL = re.compile(r"^\w+\+(asyncpg|aiomysql|asyncmy|aiosqlite|aioodbc|psycopg_async)\b")
_SYNC_URL = re.compile(
    r"^(postgresql|postgres|mysql|sqlite|mariadb|mssql)"
    r"(\+(psycopg2|psycopg2cffi|pg8000|pymysql|mysqldb|mysqlconnector|pysqlite|pyodbc|pymssql))?:"
)


class ProgramRules:
    """Looks at all modules of a project."""

    def __init__(self, project: Project, engines: Engines) -> None:
        self.project = project
        self.engines = engines

    def findings(self) -> Iterator[Finding]:
        """Everything that the modules show."""
        yield from self._repeated_runs()
        for module in self.project.modules.values():
            if not module.interesting:
                continue
            if b"asyncio.run" in module.data or b"run_until_complete" in module.data:
                yield from self._nested(module)
            if b"upgrade" in module.data and b"alembic" in module.data:
                yield from self._nested_migrations(module)
            if b"sync_engine" in module.data and b"dispose" in module.data:
                yield from self._sync_disposals(module)
            if b"create_engine" in module.data or b"create_async_engine" in module.data:
                yield from self._urls(module)

    # -- a loop a call -----------------------------------------------------------------------------

    def _repeated_runs(self) -> Iterator[Finding]:
        if not self.engines.all:
            return
        helpers: dict[Func, Run] = {}
        starts: list[tuple[Func, Run]] = []
        for module in self.project.modules.values():
            if not module.interesting or _is_test(module) or not _RUNS.search(module.data):
                continue
            for func in module.all_functions:
                if func.is_async:
                    continue
                for run in runs_in(func):
                    if not run.fresh:
                        continue
                    if run.parameter:
                        helpers[func] = run
                    elif run.target is not None:
                        starts.append((func, run))
        yield from self._in_a_row(starts)
        for func, run in starts:
            again = self._called_again(func, run)
            if again and isinstance(run.target, Func):
                for _, reach in self._kept_by(run.target):
                    yield self._repeated(func, run, reach, again)
                    break
        if helpers:
            yield from self._helped(helpers)

    def _kept_by(self, target: Func, *also: Func) -> Iterator[tuple[Engine, Reach]]:
        """The engines that keep connections after a run of a function, and of others on its way."""
        for engine, reach in self.engines.reach(target).items():
            if engine.pooled_at_work and not self.engines.disposed((*reach.way, *also)):
                yield engine, reach

    def _in_a_row(self, starts: list[tuple[Func, Run]]) -> Iterator[Finding]:
        """One loop after another in one function, or a server's loop after one of asyncio.run."""
        firsts: dict[tuple[Func, Engine], tuple[Run, Reach]] = {}
        told: set[tuple[Func, Engine]] = set()
        for func, run in starts:
            # Statements of one block: those of branches may exclude each other.
            if not isinstance(run.target, Func) or not any(
                run.node in walk(statement)
                for statement in func.node.body
                if isinstance(statement, (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return))
            ):
                continue
            for engine, reach in self._kept_by(run.target):
                key = (func, engine)
                if key in firsts and key not in told and run.line > firsts[key][0].line:
                    told.add(key)
                    yield self._repeated(func, run, reach, f"{func.name}, the second here,")
                firsts.setdefault(key, (run, reach))
        for (func, engine), (run, reach) in firsts.items():
            serves = any(
                isinstance(node, ast.Call)
                and node.lineno > run.node.lineno
                and dotted(node.func) in (("uvicorn", "run"), ("hypercorn", "run"))
                for node in func.own_nodes
            )
            if serves and (func, engine) not in told:
                yield self._repeated(func, run, reach, f"{func.name}, before the server starts,")

    def _helped(self, helpers: dict[Func, Run]) -> Iterator[Finding]:
        """Tasks that hand a coroutine to a function that runs it on a new loop."""
        used: dict[Func, tuple[Func, Reach, str]] = {}
        for module in self.project.modules.values():
            if _is_test(module) or not any(h.name.encode() in module.data for h in helpers):
                continue
            for func in module.all_functions:
                if func.is_async:
                    continue
                for node in func.own_nodes:
                    if not isinstance(node, ast.Call) or not node.args:
                        continue
                    helper = module.resolve(node.func, func)
                    if not isinstance(helper, Func) or helper not in helpers:
                        continue
                    again = self._called_again(func, None) or self._tasks_above(func)
                    called = target_of(node.args[0])
                    if isinstance(called, ast.Name) and called.id in func.bindings:
                        value = func.bindings[called.id][0]
                        called = value.func if isinstance(value, ast.Call) else called
                    target = module.resolve(called, func)
                    if not again or not isinstance(target, Func):
                        continue
                    for _, reach in self._kept_by(target, helper):
                        before = used.get(helper)
                        if before is None or (reach.sure and not before[1].sure):
                            used[helper] = (func, reach, again)
        for helper, (func, reach, again) in used.items():
            finding = self._repeated(helper, helpers[helper], reach, again)
            finding.also.insert(0, (func.module.relative, func.line, f"{func.name} calls it"))
            yield finding

    def _called_again(self, func: Func, run: Run | None) -> str:
        """Why a function runs more than once in a process; "" if nothing says so."""
        for decorator in func.node.decorator_list:
            target = target_of(decorator)
            name = last_name(target)
            if name in _TASKS and self._uses_framework(func.module, target):
                return f"the task {func.name}"
            if (
                name in _ROUTES
                and isinstance(target, ast.Attribute)
                and isinstance(decorator, ast.Call)
            ):
                first = constant(decorator.args[0]) if decorator.args else None
                if (
                    isinstance(first, str)
                    and not func.is_async
                    and last_name(target.value) not in ("mock", "patch", "respx", "pytest")
                ):
                    return f"the route {func.name}"
        if (
            func.owner is not None
            and any(
                last_name(base) in ("Task", "BaseTask", "BaseCommandTask")
                for base in func.owner.node.bases
            )
            and func.name == "run"
        ):
            return f"the task {func.owner.name}"
        if func.name in _HANDLERS and func.params[:2] == ["event", "context"]:
            return f"the handler {func.name}"
        if func in self._threaded:
            return f"the thread or job {func.name}"
        if run is not None and _stands_in(func.own_nodes, run.node, ast.For, ast.While):
            return f"the loop in {func.name}"
        return ""

    def _uses_framework(self, module: Module, target: ast.AST) -> bool:
        symbol = module.resolve(target)
        if isinstance(symbol, Func):
            return False
        names = module.dotted_imports
        if isinstance(symbol, External):
            names = {symbol.name}
        elif isinstance(symbol, Global):
            names = names | symbol.module.dotted_imports
        return any(each.split(".")[0] in _FRAMEWORKS for each in names)

    def _tasks_above(self, func: Func) -> str:
        """A task that calls a function directly, in its module."""
        for other in func.module.all_functions:
            if other is not func and any(each is func for each, _ in self.engines.edges(other)):
                again = self._called_again(other, None)
                if again:
                    return again
        return ""

    @cached_property
    def _threaded(self) -> set[Func]:
        """Functions that are the target of a thread, or of a scheduler's job."""
        found: set[Func] = set()
        for module in self.project.modules.values():
            if not re.search(rb"Thread\(|add_job\(|\.do\(", module.data) or _is_test(module):
                continue
            for node, func in module.calls:
                name = last_name(node.func)
                given: ast.expr | None = None
                if name == "Thread":
                    given = keyword(node, "target")
                elif name == "add_job":
                    given = node.args[0] if node.args else keyword(node, "func")
                symbol = module.resolve(given, func) if given is not None else None
                if isinstance(symbol, Func) and not symbol.is_async:
                    found.add(symbol)
        return found

    def _repeated(self, func: Func, run: Run, reach: Reach, again: str) -> Finding:
        engine = reach.engine
        severity = self.engines.severity(engine, reach.sure)
        way = " → ".join(each.name for each in reach.way[:4])
        last = reach.way[-1].module
        why = (
            f"{again[0].upper()}{again[1:]} makes a loop here and closes it, each time; by {way} it"
            f" uses the engine of {engine.module.relative}:{engine.line}, whose pool keeps the"
            " connections of the dead loop."
        )
        if engine.pings:
            why += no_ping()
        if severity == "info":
            why += GET_AWAY
        return Finding(
            "ASYNCIO_RUN_GLOBAL_ENGINE",
            severity,
            func.module.relative,
            run.line,
            why,
            f"For a worker, {cure_of('engine-in-a-row', 'one-loop')}; or"
            f" {cure_of('engine-in-a-row', 'dispose')}; or an engine with NullPool for these"
            " calls.",
            [(last.relative, getattr(reach.node, "lineno", 1), "uses the engine")],
            last=run.node.end_lineno or 0,
        )

    # -- single statements -------------------------------------------------------------------------

    def _nested(self, module: Module) -> Iterator[Finding]:
        if "nest_asyncio" in module.source:
            return
        for func in module.all_functions:
            if not func.is_async:
                continue
            skipped = _expected_to_raise(func)
            for run in runs_in(func):
                if run.way not in ("asyncio.run", "run_until_complete()", "uvloop.run"):
                    continue
                if run.node in skipped or _stands_in(func.own_nodes, run.node, ast.Lambda):
                    continue
                yield self._statement(
                    "NESTED_ASYNCIO_RUN",
                    "error",
                    module,
                    run.node,
                    f"{run.way} in the async function {func.name}: a loop runs in this thread"
                    " already, and a thread runs one at a time.",
                    f"{cure_of('loop-already-runs', 'await-it')}.",
                )

    def _nested_migrations(self, module: Module) -> Iterator[Finding]:
        """alembic's command in async code, when the project's env.py calls asyncio.run."""
        starting = [
            each
            for each in self.project.modules.values()
            if each.parts[-1] == "env"
            and b"asyncio.run(" in each.data
            and not re.search(rb"attributes|get_running_loop|is_running|nest_asyncio", each.data)
        ]
        if not starting:
            return
        for func in module.all_functions:
            if not func.is_async:
                continue
            for node in func.own_nodes:
                if isinstance(node, ast.Call) and last_name(node.func) in ("upgrade", "downgrade"):
                    symbol = module.resolve(node.func, func)
                    name = symbol.name if isinstance(symbol, External) else ""
                    if name.startswith("alembic.command") and not _stands_in(
                        func.own_nodes, node, ast.Lambda
                    ):
                        yield self._statement(
                            "NESTED_ASYNCIO_RUN",
                            "error",
                            module,
                            node,
                            f"{func.name} is async, and alembic's {last_name(node.func)} comes to"
                            f" asyncio.run in {starting[0].relative}: a loop runs already.",
                            "Run it in a thread: await asyncio.to_thread(command.upgrade, config,"
                            " 'head'); or hand a connection to env.py by config.attributes.",
                        )

    @cached_property
    def _own_sync_engines(self) -> bool:
        """Whether the project has an attribute sync_engine of its own, for a sync engine."""
        return any(
            re.search(rb"\bself\.sync_engine\s*[:=]|def sync_engine\b", module.data)
            for module in self.project.modules.values()
        )

    def _sync_disposals(self, module: Module) -> Iterator[Finding]:
        in_sync_work = {
            last_name(argument)
            for node, _ in module.calls
            if last_name(node.func) in ("run_sync", "greenlet_spawn")
            for argument in node.args
        }
        for node, func in module.calls:
            if (
                isinstance(node.func, ast.Attribute)
                and node.func.attr == "dispose"
                and isinstance(node.func.value, ast.Attribute)
                and node.func.value.attr == "sync_engine"
                and not closes_nothing(node)
            ):
                if self._own_sync_engines and (
                    self.engines.of_symbol(module.resolve(node.func.value.value, func)) is None
                    or last_name(node.func.value.value) == "self"
                    or "manager" in last_name(node.func.value.value)
                ):
                    continue
                if func is not None and (func.name in in_sync_work or _expected_to_raise(func)):
                    continue
                yield self._statement(
                    "SYNC_DISPOSE_ASYNC_ENGINE",
                    self.engines.severity(module.folder, False),
                    module,
                    node,
                    "sync_engine.dispose() outside SQLAlchemy's greenlet: the pool is replaced,"
                    " but closing its connections needs await; that is logged as MissingGreenlet"
                    " at most, and the connections leak.",
                    f"{cure_of('missing-greenlet', 'await-dispose')}; where their loop has gone,"
                    " dispose(close=False).",
                )

    def _urls(self, module: Module) -> Iterator[Finding]:
        # What stands in AsyncEngine(…).
        wrapped = {
            inner
            for node, _ in module.calls
            if last_name(node.func) == "AsyncEngine"
            for inner in walk(node)
        }
        for node, func in module.calls:
            name = last_name(node.func)
            if name not in ("create_engine", "create_async_engine") or not node.args:
                continue
            symbol = module.resolve(node.func, func)
            if not isinstance(symbol, External) or not symbol.name.startswith(
                ("sqlalchemy", "sqlmodel")
            ):
                continue
            if func is not None and node in _expected_to_raise(func):
                continue
            if any(
                each.arg in ("strategy", "module", "_is_async", "async_creator", "creator")
                for each in node.keywords
            ):
                continue
            url = self._url(node.args[0], module, func)
            if url is None:
                continue
            driver = url.split(":")[0]
            if name == "create_engine" and _ASYNC_URL.match(url) and node not in wrapped:
                why = (
                    f"create_engine with the async driver of {driver}: its first query ends in"
                    " MissingGreenlet."
                )
                cure = "Use create_async_engine, or a sync driver's URL."
            elif name == "create_async_engine" and _SYNC_URL.match(url):
                why = (
                    f"create_async_engine with {driver}, which is a sync driver: it raises"
                    " InvalidRequestError."
                )
                cure = "Name an async driver: postgresql+asyncpg, sqlite+aiosqlite, mysql+aiomysql."
            else:
                continue
            # A test may make an engine that it never connects.
            severity = "info" if _is_test(module) else "warning"
            yield self._statement("OTHER_DRIVER_URL", severity, module, node, why, cure)

    def _url(self, node: ast.AST, module: Module, func: Func | None, depth: int = 0) -> str | None:
        """A URL that is written out, also by a name or as the beginning of an f-string."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr) and node.values:
            return self._url(node.values[0], module, func, depth + 1)
        if isinstance(node, ast.Name) and depth < 3:
            if func is not None and node.id in func.bindings:
                values, where = func.bindings[node.id], module
            elif func is not None and node.id in func.params:
                return None
            else:
                symbol = module.resolve(node, func)
                if not isinstance(symbol, Global):
                    return None
                values, where = symbol.module.values.get(symbol.name, []), symbol.module
            return self._url(values[0], where, None, depth + 1) if len(values) == 1 else None
        return None

    def _statement(
        self, code: str, severity: str, module: Module, node: ast.Call, why: str, cure: str
    ) -> Finding:
        last = node.end_lineno or 0
        return Finding(code, severity, module.relative, node.lineno, why, cure, last=last)


def _stands_in(nodes: list[ast.AST], call: ast.Call, *kinds: type[ast.AST]) -> bool:
    """Whether a call stands in one of some nodes that is of these kinds."""
    return any(isinstance(node, kinds) and call in walk(node) for node in nodes)


def _expected_to_raise(func: Func) -> set[ast.AST]:
    """What stands under ``with pytest.raises(…)`` and the like."""
    found: set[ast.AST] = set()
    for node in func.own_nodes:
        if (
            isinstance(node, (ast.With, ast.AsyncWith))
            and any(
                isinstance(item.context_expr, ast.Call)
                and re.search(r"raises|Raises|suppress|warns", last_name(item.context_expr.func))
                for item in node.items
            )
        ) or (isinstance(node, ast.Call) and re.search(r"raises|Raises", last_name(node.func))):
            found.update(walk(node))
    return found


def _is_test(module: Module) -> bool:
    """Whether it is a file of tests, or stands beside them."""
    return module.is_test or "tests" in module.parts
