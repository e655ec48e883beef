"""What a fixture hands to those who ask for it."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from loopbound.scan.engines import BOUND_OBJECTS, SESSION_MAKERS, Engine, Engines
from loopbound.scan.source import Class, External, Func, Global, last_name, walk
from loopbound.scan.suite import Fixture

_MOCKS = ("AsyncMock", "MagicMock", "Mock", "NonCallableMock", "create_autospec", "mocker")
_SESSIONS = ("AsyncSession", "AsyncConnection", "AsyncTransaction")
# What holds a connection, or will.
LIVE = ("session", "connection", "bound")


@dataclass(frozen=True)
class Value:
    """What a value is.

    Attributes:
        kind: ``"engine"``, ``"maker"`` (of sessions), ``"session"``, ``"connection"``,
            ``"bound"`` (another object of a loop), ``"mock"`` or ``"other"``.
        engine: the engine behind it, if known.
        what: its name for people.
    """

    kind: str
    engine: Engine | None = None
    what: str = ""


OTHER = Value("other")


class Values:
    """Finds out what fixtures give, by the fixtures that a test sees."""

    def __init__(self, engines: Engines) -> None:
        self.engines = engines
        self._made: dict[ast.Call, Engine] = {}
        self._known: dict[tuple[Fixture, int], Value] = {}

    def of_fixture(self, fixture: Fixture, visible: dict[str, Fixture], depth: int = 0) -> Value:
        """What a fixture yields or returns."""
        key = (fixture, id(visible))
        if key not in self._known:
            self._known[key] = OTHER
            if depth < 6:
                self._known[key] = self._of_results(fixture.func, visible, depth)
        return self._known[key]

    def _of_results(self, func: Func, visible: dict[str, Fixture], depth: int) -> Value:
        found = OTHER
        for node in func.own_nodes:
            if isinstance(node, (ast.Yield, ast.Return)) and node.value is not None:
                value = self.of(node.value, func, visible, depth)
                if value.kind == "mock":
                    return value
                if value.kind != "other":
                    found = value
        if found is OTHER and func.node.returns is not None:
            said = {last_name(each) for each in walk(func.node.returns)}
            named = next((each for each in _SESSIONS if each in said), None)
            handed_on = said & {"async_sessionmaker", "Callable"}
            mocked = any(last_name(each) in _MOCKS for each in func.all_nodes)
            if named and not handed_on and not mocked:
                return Value("session", None, named)
        return found

    def of(self, node: ast.AST, func: Func, visible: dict[str, Fixture], depth: int = 0) -> Value:
        """What an expression in a function is.

        Args:
            node: the expression.
            func: the function.
            visible: the fixtures that a parameter may name.
            depth: how many names were followed already.
        """
        if depth > 8:
            return OTHER
        deeper = depth + 1
        if isinstance(node, ast.Await):
            return self.of(node.value, func, visible, deeper)
        if isinstance(node, ast.Name):
            for value in func.bindings.get(node.id, []):
                found = self.of(value, func, visible, deeper)
                if found.kind != "other":
                    return found
            if node.id in func.bindings and node.id not in func.declared_global:
                return OTHER
            if node.id in func.params:
                return (
                    self.of_fixture(visible[node.id], visible, deeper)
                    if node.id in visible
                    else OTHER
                )
        if isinstance(node, (ast.Name, ast.Attribute)):
            symbol = func.module.resolve(node, func)
            if isinstance(symbol, Global) and (engine := self.engines.of_global(symbol)):
                return self._of_global(symbol, engine)
            return OTHER
        if isinstance(node, ast.Call):
            return self._of_call(node, func, visible, deeper)
        return OTHER

    def _of_global(self, symbol: Global, engine: Engine) -> Value:
        """A global name with an engine behind it: the engine, a factory, or an object with one."""
        for value in symbol.module.values.get(symbol.name, []):
            name = last_name(value.func) if isinstance(value, ast.Call) else ""
            if name in (*SESSION_MAKERS, "partial"):
                return Value("maker", engine, name)
            if name == "AsyncSession":
                return Value("session", engine, name)
        return Value("engine", engine, "AsyncEngine")

    def _of_call(
        self, node: ast.Call, func: Func, visible: dict[str, Fixture], depth: int
    ) -> Value:
        name = last_name(node.func)
        if name in _MOCKS:
            return Value("mock")
        target = func.module.resolve(node.func, func)
        if isinstance(target, External) and target.name in BOUND_OBJECTS:
            return Value("bound", None, target.name)
        made = self.engines.makes(node, func.module, func)
        if made is not None and not isinstance(target, Class):
            return Value("engine", self._engine(node, made, func), "AsyncEngine")
        if isinstance(target, Func) and (engine := self.engines.of_symbol(target)) is not None:
            return Value("engine", engine, "AsyncEngine")
        if name in SESSION_MAKERS:
            return Value("maker", self._behind(node, func, visible, depth), name)
        if name == "AsyncSession" or (isinstance(target, Class) and target.name == "AsyncSession"):
            return Value("session", self._behind(node, func, visible, depth), "AsyncSession")
        if name == "enter_async_context" and node.args:
            return self.of(node.args[0], func, visible, depth)
        if isinstance(node.func, ast.Attribute) and name in ("connect", "begin", "acquire"):
            base = self.of(node.func.value, func, visible, depth)
            if base.kind == "engine":
                return Value("connection", base.engine, "AsyncConnection")
            if base.kind == "maker":
                return Value("session", base.engine, "AsyncSession")
            if base.kind in ("session", "bound"):
                return base
            return OTHER
        if isinstance(target, Func) and target.parent is None:
            inner = self._of_results(target, {}, depth + 1)
            if inner.kind in ("session", "connection", "maker", "mock"):
                return inner
            return OTHER
        called = self.of(node.func, func, visible, depth)
        if called.kind == "maker":
            return Value("session", called.engine, "AsyncSession")
        return OTHER

    def _behind(
        self, node: ast.Call, func: Func, visible: dict[str, Fixture], depth: int
    ) -> Engine | None:
        for argument in (*node.args, *(each.value for each in node.keywords)):
            value = self.of(argument, func, visible, depth)
            if value.engine is not None:
                return value.engine
        return None

    def _engine(self, node: ast.Call, made: ast.Call, func: Func) -> Engine:
        if node not in self._made:
            home = self.engines.module_of.get(made, func.module)
            name = next((key for key, values in func.bindings.items() if node in values), func.name)
            self._made[node] = Engine(func.module, node, name, made, home, func)
        return self._made[node]
