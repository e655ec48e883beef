"""Engines and their sessions: where they are made, how long they live, what code reaches them."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from loopbound.scan.source import (
    Class,
    External,
    Func,
    Global,
    Module,
    Project,
    Symbol,
    constant,
    dotted,
    keyword,
    last_name,
    target_of,
    walk,
)

_MAKERS = ("create_async_engine", "async_engine_from_config", "AsyncEngine")
SESSION_MAKERS = ("async_sessionmaker", "sessionmaker", "async_scoped_session")
# What calls its arguments.
_CALLERS = ("Depends", "partial", "to_thread", "run_sync", "create_task", "start_soon", "Security")
_DEEPEST = 8  # calls; a longer chain is no evidence

# What awaits a future of the loop that opened the connection, and what does not mind.
STRICT_DRIVERS = ("asyncpg", "aiomysql", "asyncmy", "aioodbc", "aiopg", "oracledb_async")
LENIENT_DRIVERS = ("aiosqlite", "psycopg", "psycopg_async")
_URL = re.compile(r"\b(?:postgresql|postgres|mysql|mariadb|sqlite|mssql|oracle)\+(\w+)")

# Other objects that belong to the loop in which they are made or used first; also what is closed
# there. An httpx client is none: most of those in fixtures have an application and no socket.
BOUND_OBJECTS = frozenset(
    {
        "asyncpg.connect",
        "asyncpg.create_pool",
        "aiomysql.connect",
        "aiomysql.create_pool",
        "aiopg.create_pool",
        "psycopg_pool.AsyncConnectionPool",
        "aiohttp.ClientSession",
        "aio_pika.connect",
        "aio_pika.connect_robust",
        "redis.asyncio.Redis",
        "redis.asyncio.Redis.from_url",
        "redis.asyncio.from_url",
        "pymongo.AsyncMongoClient",
        "grpc.aio.insecure_channel",
        "grpc.aio.secure_channel",
    }
)


@dataclass(eq=False)
class Engine:
    """One place where an AsyncEngine is made.

    Attributes:
        module: where.
        node: the expression that makes it.
        name: by which the code calls it.
        call: the call of create_async_engine itself, in a function perhaps.
        made_in: the module of that call.
        func: the function in which it stands; None: at module level.
        others: what the same name is in other cases: another branch of an if.
    """

    module: Module
    node: ast.expr
    name: str
    call: ast.Call
    made_in: Module
    func: Func | None = None
    others: list[Engine] = field(default_factory=list)

    @property
    def line(self) -> int:
        return self.node.lineno

    @property
    def pings(self) -> bool:
        """Whether pool_pre_ping is on."""
        return bool(constant(keyword(self.call, "pool_pre_ping")))

    @cached_property
    def null_line(self) -> int | None:
        """The line that gives it a NullPool, in some case at least."""
        given = keyword(self.call, "poolclass") or keyword(self.call, "pool")
        if given is not None:
            if (line := _null_line_of(given)) is not None:
                return line
            name = last_name(given) if isinstance(given, ast.Name) else ""
            for node in self._scope():
                if (
                    isinstance(node, ast.Assign)
                    and any(last_name(each) == name for each in node.targets)
                    and _null_line_of(node.value) is not None
                ):
                    return node.lineno
            return None
        for each in self.call.keywords:
            if each.arg is None and (line := self._null_line_in(each.value)) is not None:
                return line
        return None

    @property
    def pooled(self) -> bool:
        """Whether it keeps connections, also in tests: NullPool in some case is for them."""
        return all(each.null_line is None for each in (self, *self.others))

    @property
    def pooled_at_work(self) -> bool:
        """Whether it keeps connections in some case, which is production's."""
        return any(
            each.null_line is None or each._null_in_some_case for each in (self, *self.others)
        )

    @property
    def pool_settings(self) -> set[str]:
        """The settings that choose NullPool for it, where nothing else does: tests set one, or
        have the pool. Another condition, such as ``testing``, is taken for one of tests.
        """
        found: set[str] = set()
        for each in (self, *self.others):
            if each.null_line is not None:
                names = each._chosen_by()
                if not names:
                    return set()
                found |= names
        return found

    def _chosen_by(self) -> set[str]:
        conditions = self._null_conditions
        if any(isinstance(each, ast.BoolOp) for each in conditions):
            return set()
        words = set(re.findall(r"[A-Za-z_]\w*", " ".join(map(ast.unparse, conditions))))
        if any("test" in each.lower() for each in words):
            return set()
        # What its function is called with is not the tests' to set.
        given = self._func_of_call.params if self._func_of_call else []
        return {each for each in words if "pool" in each.lower()}.difference(given, ["NullPool"])

    @cached_property
    def _null_conditions(self) -> list[ast.expr]:
        """The conditions on which it has its NullPool."""
        return [
            node.test
            for node in self._scope()
            if isinstance(node, ast.If)
            and any(getattr(each, "lineno", 0) == self.null_line for each in walk(node))
        ]

    @cached_property
    def _null_in_some_case(self) -> bool:
        """NullPool depends on a condition."""
        given = keyword(self.call, "poolclass")
        if given is not None:
            return last_name(given) != "NullPool"
        return bool(self._null_conditions)

    def _scope(self) -> list[ast.AST]:
        func = self._func_of_call
        return func.all_nodes if func else list(walk(self.made_in.tree))

    @cached_property
    def _func_of_call(self) -> Func | None:
        return dict(self.made_in.calls).get(self.call)

    def _null_line_in(self, value: ast.expr) -> int | None:
        """In ``**value``: a name whose entry or literal has the pool, or a literal, or a call."""
        if _null_line_of(value) is not None:
            return value.lineno
        target = last_name(target_of(value))
        for node in [*self._scope(), *walk(self.made_in.tree)]:
            line = None
            if isinstance(node, ast.Assign):
                bases = [
                    each.value if isinstance(each, ast.Subscript) else each for each in node.targets
                ]
                if any(last_name(each) == target for each in bases):
                    line = _null_line_of(node.value)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == target:
                line = _null_line_of(node)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("update", "setdefault")
                and last_name(node.func.value) == target
                and _null_line_of(node) is not None
            ):
                line = node.lineno
            if line is not None:
                return line
        return None


class Engines:
    """What is known of engines in a project.

    Args:
        project: its files.
        drivers_of: names the drivers that a folder's project depends on.
    """

    def __init__(self, project: Project, drivers_of: Callable[[str], list[str]]) -> None:
        self.project = project
        self._drivers_of = drivers_of
        self._globals: dict[Global, Engine | None] = {}
        self._functions: dict[Func, ast.Call | None] = {}
        self._touched: dict[Func, dict[Engine, ast.AST]] = {}
        self._edges: dict[Func, list[tuple[Func, bool]]] = {}
        self._reached: dict[Func, dict[Engine, Reach]] = {}
        self._closures: dict[Module, list[Module]] = {}
        self._applications: dict[Module, dict[Engine, Reach]] = {}

    # -- what makes an engine ----------------------------------------------------------------------

    def makes(self, call: ast.AST, module: Module, func: Func | None = None) -> ast.Call | None:
        """The call of create_async_engine that an expression amounts to.

        Looks through a project's own functions that return one.
        """
        if isinstance(call, ast.Await):
            call = call.value
        if isinstance(call, ast.IfExp):
            return self.makes(call.body, module, func) or self.makes(call.orelse, module, func)
        if not isinstance(call, ast.Call):
            return None
        name = last_name(call.func)
        target = module.resolve(call.func, func)
        if isinstance(target, Func):
            return self._returned(target)
        if isinstance(target, Class):
            return self._held_by(target)
        if name in _MAKERS and (target is None or isinstance(target, External)):
            return call
        return None

    def _returned(self, func: Func) -> ast.Call | None:
        if func not in self._functions:
            self._functions[func] = None
            for node in func.own_nodes:
                if isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
                    values = [node.value]
                    if isinstance(node.value, ast.Name):
                        values = func.bindings.get(node.value.id, [])
                    for value in values:
                        if (made := self.makes(value, func.module, func)) is not None:
                            self._functions[func] = made
        return self._functions[func]

    def _held_by(self, owner: Class) -> ast.Call | None:
        """An engine that instances keep: ``self.engine = create_async_engine(…)``."""
        for each in owner.lineage:
            for value in each.values.values():
                if (made := self.makes(value, each.module)) is not None:
                    return made
            for method in each.methods.values():
                for node in method.own_nodes:
                    if (
                        isinstance(node, ast.Assign)
                        and any(
                            isinstance(t, ast.Attribute) and last_name(t.value) == "self"
                            for t in node.targets
                        )
                        and isinstance(node.value, ast.Call)
                        and last_name(node.value.func) in _MAKERS
                    ):
                        return node.value
        return None

    @cached_property
    def module_of(self) -> dict[ast.Call, Module]:
        """The module of each call that `makes` may find, also from another module."""
        return {
            call: module
            for module in self.project.modules.values()
            if module.makes_engines
            for call, _ in module.calls
            if last_name(call.func) in _MAKERS
        }

    def of_global(self, symbol: Global) -> Engine | None:
        """The engine that a global name is, or holds, or is a session factory of."""
        if symbol not in self._globals:
            self._globals[symbol] = None
            for value in symbol.module.values.get(symbol.name, []):
                func = next(
                    (
                        f
                        for f in symbol.module.all_functions
                        if symbol.name in f.declared_global
                        and value in f.bindings.get(symbol.name, [])
                    ),
                    None,
                )
                found = self.of_value(value, symbol.module, func, symbol.name)
                first = self._globals[symbol]
                if first is None:
                    self._globals[symbol] = found
                elif found is not None and found is not first:
                    first.others.append(found)
        return self._globals[symbol]

    def of_value(
        self, value: ast.AST, module: Module, func: Func | None, name: str
    ) -> Engine | None:
        """The long-lived engine behind a value that is kept at module level."""
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(value, ast.IfExp):
            return self.of_value(value.body, module, func, name) or self.of_value(
                value.orelse, module, func, name
            )
        if isinstance(value, (ast.Name, ast.Attribute)):
            return self.of_symbol(module.resolve(value, func))
        if not isinstance(value, ast.Call):
            return None
        target = module.resolve(value.func, func)
        if isinstance(target, Func) and (cached := self.of_symbol(target)) is not None:
            return cached
        made = self.makes(value, module, func)
        if made is not None:
            return Engine(module, value, name, made, self.module_of.get(made, module), func)
        hands_on = (*SESSION_MAKERS, "AsyncSession", "partial")
        if last_name(value.func) in hands_on or isinstance(target, Class):
            for argument in (*value.args, *(each.value for each in value.keywords)):
                found = self.of_value(argument, module, func, name)
                if found is not None:
                    return found
        return None

    def of_symbol(self, symbol: Symbol | None) -> Engine | None:
        """The long-lived engine that a symbol means directly."""
        if isinstance(symbol, Global):
            return self.of_global(symbol)
        if isinstance(symbol, Func) and _is_cached(symbol):
            key = Global(symbol.module, f"{symbol.name}()")
            if key not in self._globals:
                self._globals[key] = None
                made = self._returned(symbol)
                if made is not None:
                    self._globals[key] = Engine(
                        symbol.module, made, symbol.name, made, symbol.module, symbol
                    )
            return self._globals[key]
        return None

    @cached_property
    def all(self) -> list[Engine]:
        """Every engine of the project that lives as long as its module."""
        found: dict[Engine, None] = {}
        for module in self.project.modules.values():
            # It may use what a module that it imports makes.
            if not any(each.makes_engines for each in (module, *module.imported_modules)):
                continue
            for name in module.values:
                engine = self.of_global(Global(module, name))
                if engine is not None:
                    found[engine] = None
            for func in module.all_functions:
                if _is_cached(func) and (engine := self.of_symbol(func)) is not None:
                    found[engine] = None
        return list(found)

    @cached_property
    def near(self) -> set[Module]:
        """The modules that import one with a long-lived engine, in turn; no other comes to one."""
        above: dict[Module, list[Module]] = {}
        for module in self.project.modules.values():
            for target in module.imported_modules:
                above.setdefault(target, []).append(module)
        found = {engine.module for engine in self.all}
        waiting = [*found]
        while waiting:
            for module in above.get(waiting.pop(), ()):
                if module not in found:
                    found.add(module)
                    waiting.append(module)
        return found

    # -- drivers -----------------------------------------------------------------------------------

    def drivers(self, engine: Engine) -> list[str]:
        """The drivers that it may have, from its URL or else from what the project depends on."""
        found: list[str] = []
        for node in walk(engine.call):
            if isinstance(node, ast.Call) and last_name(node.func) == "replace":
                given = constant(node.args[1]) if len(node.args) > 1 else None
                named = re.search(r"\+(\w+)", given) if isinstance(given, str) else None
                if named:
                    return [named[1]]
        for text in self._texts(engine.call, engine.made_in, engine._func_of_call, 0):
            found += _URL.findall(text)
        literal = list(dict.fromkeys(found))
        # A module that asks for asyncpg in its URL may have it; a comment says nothing.
        if literal and all(each in LENIENT_DRIVERS for each in literal):
            values = (constant(node) for node in walk(engine.made_in.tree))
            texts = [text for text in values if isinstance(text, str)]
            for strict in STRICT_DRIVERS:
                if any(re.search(rf"(^|\+){strict}(:|$)", text) for text in texts):
                    literal.append(strict)
        return literal or self._drivers_of(engine.module.folder)

    def strict(self, engine: Engine) -> bool | None:
        """Whether its connections fail on another loop; None: the driver is not known."""
        return _strict(self.drivers(engine))

    def severity(self, place: Engine | str, sure: bool, lenient: str = "info") -> str:
        """How severe it is that connections come to another loop.

        Args:
            place: the engine; or, where it is not known, a folder whose project has drivers.
            sure: whether they do.
            lenient: how severe it is with drivers that do not mind.
        """
        strict = (
            self.strict(place) if isinstance(place, Engine) else _strict(self._drivers_of(place))
        )
        if strict is False:
            return lenient
        return "error" if sure and strict else "warning"

    def _texts(self, node: ast.AST, module: Module, func: Func | None, depth: int) -> Iterator[str]:
        """String constants of an expression and of the names in it."""
        if isinstance(node, ast.Call) and depth == 0:
            nodes: list[ast.AST] = [*node.args[:1]]
            nodes += [each.value for each in node.keywords if each.arg in ("url", None)]
        else:
            nodes = [node]
        for inner in [each for one in nodes for each in walk(one)]:
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value
            elif isinstance(inner, (ast.Name, ast.Attribute)) and depth < 4:
                if isinstance(inner, ast.Name) and func and inner.id in func.bindings:
                    for value in func.bindings[inner.id]:
                        yield from self._texts(value, module, func, depth + 1)
                    continue
                symbol = module.resolve(inner, func)
                if isinstance(symbol, Global):
                    for value in symbol.module.values.get(symbol.name, []):
                        yield from self._texts(value, symbol.module, None, depth + 1)
                elif isinstance(symbol, Func) and depth < 3:
                    for each in symbol.own_nodes:
                        if isinstance(each, ast.Constant) and isinstance(each.value, str):
                            yield each.value

    # -- which code reaches one --------------------------------------------------------------------

    def touched(self, func: Func) -> dict[Engine, ast.AST]:
        """The long-lived engines that a function names itself, with where."""
        if func.module not in self.near:
            return {}
        if func not in self._touched:
            found: dict[Engine, ast.AST] = {}
            for node, symbol in self._references(func):
                engine = self.of_symbol(symbol)
                if engine is not None and (engine.func is not func or isinstance(symbol, Global)):
                    found.setdefault(engine, node)
            self._touched[func] = found
        return self._touched[func]

    def _references(
        self, func: Func, nodes: list[ast.AST] | None = None
    ) -> Iterator[tuple[ast.AST, Symbol | None]]:
        """What the names in a function's body mean, or those in some nodes of it."""
        inner: set[int] = set()
        for node in func.body_nodes if nodes is None else nodes:
            if id(node) in inner:
                continue
            if isinstance(node, ast.Attribute) and dotted(node) is not None:
                inner.update(id(each) for each in walk(node))
                yield node, func.module.resolve(node, self._innermost(func, node))
            elif (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call)) or (
                isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            ):
                yield node, func.module.resolve(node, self._innermost(func, node))

    @staticmethod
    def _innermost(func: Func, node: ast.AST) -> Func:
        line = getattr(node, "lineno", 0)
        for nested in func.nested.values():
            if nested.node.lineno <= line <= (nested.node.end_lineno or 0):
                return Engines._innermost(nested, node)
        return func

    def edges(self, func: Func) -> list[tuple[Func, bool]]:
        """Functions that a function refers to, and whether that is sure."""
        if func.module not in self.near:
            return []
        if func not in self._edges:
            found: dict[Func, bool] = {}
            called: set[int] = set()
            for node in func.body_nodes:
                if isinstance(node, ast.Call):
                    called.add(id(node.func))
                    if last_name(node.func) in _CALLERS:
                        called |= {id(each) for each in node.args}
            for node, symbol in self._references(func):
                if isinstance(symbol, Func) and symbol is not func:
                    sure = id(node) in called and symbol.owner is None
                    found[symbol] = found.get(symbol, False) or sure
                elif isinstance(symbol, Class):
                    for method in symbol.methods.values():
                        found.setdefault(method, False)
            found.pop(func, None)
            self._edges[func] = list(found.items())
        return self._edges[func]

    def reach(self, func: Func) -> dict[Engine, Reach]:
        """The long-lived engines that a call of a function can come to use."""
        if func not in self._reached:
            found: dict[Engine, Reach] = {}
            # Sure ways first: what is found on one is not taken for unsure afterwards.
            for sure_only in (True, False):
                seen = {func}
                waiting: deque[tuple[Func, bool, tuple[Func, ...]]] = deque([(func, True, (func,))])
                while waiting:
                    here, sure, way = waiting.popleft()
                    for engine, node in self.touched(here).items():
                        found.setdefault(engine, Reach(engine, sure, way, node))
                    if len(way) > _DEEPEST:
                        continue
                    for following, certain in self.edges(here):
                        if following not in seen and (certain or not sure_only):
                            seen.add(following)
                            waiting.append((following, sure and certain, (*way, following)))
            self._reached[func] = found
        return self._reached[func]

    def disposed(self, way: tuple[Func, ...]) -> bool:
        """Whether one of some functions awaits ``….dispose()``."""
        return any(
            isinstance(node, ast.Await)
            and isinstance(node.value, ast.Call)
            and last_name(node.value.func) == "dispose"
            for func in way
            for node in func.all_nodes
        )

    def closure(self, module: Module) -> list[Module]:
        """A module with all of the project that it imports, in turn."""
        if module not in self._closures:
            found: dict[Module, None] = {module: None}
            waiting = [module]
            while waiting:
                here = waiting.pop()
                for target in here.imported_modules:
                    if target not in found:
                        found[target] = None
                        waiting.append(target)
            self._closures[module] = list(found)
        return self._closures[module]

    def of_application(self, module: Module) -> dict[Engine, Reach]:
        """The long-lived engines that an application in a module can come to use.

        That is: a function of it names one, or depends on a function that does, outside the module
        that makes the engine.
        """
        if module not in self._applications:
            found: dict[Engine, Reach] = {}
            for each in self.closure(module):
                if not each.interesting or (each.is_test and each is not module):
                    continue
                for func in each.all_functions:
                    if each.is_test and not _is_route(func):
                        continue
                    for used in (func, *self._dependencies(func)):
                        for engine, node in self.touched(used).items():
                            if engine.module is not each:
                                found.setdefault(engine, Reach(engine, False, (func, used), node))
            self._applications[module] = found
        return self._applications[module]

    def _dependencies(self, func: Func) -> list[Func]:
        """Functions named in a signature, also by an alias: ``db: Session = Depends(get_db)``."""
        found: dict[Func, None] = {}
        for _, symbol in self._references(func, func.signature_nodes):
            if isinstance(symbol, Func):
                found[symbol] = None
            elif isinstance(symbol, Global):
                for value in symbol.module.values.get(symbol.name, []):
                    for node in walk(value):
                        inner = symbol.module.resolve(node) if isinstance(node, ast.Name) else None
                        if isinstance(inner, Func):
                            found[inner] = None
        return [*found, *(each for each, sure in self.edges(func) if sure)]


@dataclass(frozen=True)
class Reach:
    """How code comes to an engine.

    Attributes:
        engine: the engine.
        sure: every step is a plain reference to a function.
        way: the functions on the way, first to last.
        node: where the last one names it.
    """

    engine: Engine
    sure: bool
    way: tuple[Func, ...]
    node: ast.AST


def _null_line_of(node: ast.AST) -> int | None:
    """The line on which NullPool stands in a node."""
    return next(
        (
            each.lineno
            for each in walk(node)
            if isinstance(each, (ast.Name, ast.Attribute)) and last_name(each) == "NullPool"
        ),
        None,
    )


def _strict(drivers: list[str]) -> bool | None:
    """Whether connections of one of them fail on another loop; None: that is not known."""
    if any(each in STRICT_DRIVERS for each in drivers):
        return True
    return False if drivers and all(each in LENIENT_DRIVERS for each in drivers) else None


def _is_cached(func: Func) -> bool:
    return not func.decorators.isdisjoint(("lru_cache", "cache", "alru_cache", "singleton"))


def _is_route(func: Func) -> bool:
    """Whether a decorator gives it to an application."""
    return not func.decorators.isdisjoint(
        ("get", "post", "put", "patch", "delete", "route", "websocket", "middleware", "on_event")
    )


def closes_nothing(call: ast.Call) -> bool:
    """Whether it is ``dispose(close=False)``."""
    given = keyword(call, "close") or (call.args[0] if call.args else None)
    return constant(given) is False
