"""The rules for one suite of tests: which object is used on which loops."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import chain

from loopbound.scan.cures import GET_AWAY, cure_of, no_cure, no_ping, one_loop, version_name
from loopbound.scan.engines import Engine, Engines, Reach, closes_nothing
from loopbound.scan.findings import Finding
from loopbound.scan.runs import Run, runs_in
from loopbound.scan.settings import upwards
from loopbound.scan.source import (
    External,
    Func,
    Global,
    Module,
    Symbol,
    keyword,
    last_name,
    text_of,
    walk,
)
from loopbound.scan.suite import (
    FIXTURE_OPTION,
    NO_LOOP,
    RANK,
    TEST_OPTION,
    Fixture,
    Loop,
    Suite,
    Test,
)
from loopbound.scan.values import LIVE, Value, Values

_PATCHES = re.compile(
    r"\bpatch(\.object|\.dict)?\(|\b(Async|Magic|NonCallable)?Mock\(|\bmocker\b"
    r"|monkeypatch\.setattr"
    r"|create_autospec|respx|unittest\.mock|\b_?[Ff]ake(?:_|[A-Z])|\b[Ss]tub(?:_|[A-Z])"
)
_REQUEST = re.compile(
    r"\b\w*[cC]\w*\.(?:get|post|put|patch|delete|request)"
    r"""\(\s*f?(?:["']([^"']*)["'])?"""
)
# Paths of requests that seldom come to the database.
_NO_QUERY = re.compile(
    r"(?:\w+://[^/]+)?/?(?:health\w*|ping|docs|redoc|openapi\.json|metrics|ready\w*|live\w*)/?"
)
_CLIENTS = ("fastapi.testclient.TestClient", "starlette.testclient.TestClient")
_DRIVE_AN_APPLICATION = (
    "ASGITransport",
    "LifespanManager",
    "AsyncClient",
    "TestClient",
    "AsyncTestClient",
)


class SuiteRules:
    """Looks at one suite.

    Args:
        suite: the suite.
        engines: the engines of the project.
    """

    def __init__(self, suite: Suite, engines: Engines) -> None:
        self.suite = suite
        self.engines = engines
        self.values = Values(engines)
        self._keeps: dict[Engine, bool] = {}
        self._replaced: dict[tuple[Engine, Module], bool] = {}
        self._uses: dict[Test, dict[Engine, tuple[Loop, bool]]] = {}

    def findings(self) -> Iterator[Finding]:
        """Everything that the suite shows."""
        yield from self._overrides()
        yield from self._strict_mode()
        yield from self._mismatches()
        if any(module.makes_engines for module in self.engines.project.modules.values()):
            yield from self._engines_over_loops()
            yield from self._portals()
            yield from self._sync_fixtures()
            yield from self._runs_in_tests()
        yield from self._anyio_backends()
        yield from self._duplicates()
        yield from self._unset()

    # -- what the suite has ------------------------------------------------------------------------

    @cached_property
    def _all_modules(self) -> list[Module]:
        found = dict.fromkeys([*self.suite.conftests.values(), *self.suite.modules])
        for conftest in self.suite.conftests.values():
            found.update(dict.fromkeys(self.suite.plugins_of(conftest)))
        return [each for each in found if self._is_below(each)]

    def _is_below(self, module: Module) -> bool:
        return not self.suite.folder or (module.folder + "/").startswith(self.suite.folder + "/")

    @cached_property
    def _all_fixtures(self) -> list[Fixture]:
        return [each for module in self._all_modules for each in self.suite.fixtures_of(module)]

    def _pooled(self, engine: Engine) -> bool:
        """Whether it keeps connections in these tests, as far as one can see."""
        if engine not in self._keeps:
            self._keeps[engine] = engine.pooled or self._leave_pool(engine.pool_settings)
        return self._keeps[engine]

    def _leave_pool(self, settings: set[str]) -> bool:
        """Whether there are settings that choose a pool, and tests name none of them."""
        if not settings:
            return False
        # Of a setting `pool` the variable may be APP_POOL.
        name = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(settings))})\b", re.IGNORECASE)
        tests = {each for test in self.suite.modules for each in (test, *self._conftests_of(test))}
        folders = (*upwards(self.suite.folder), ".github/workflows")
        configuration = (
            text_of(path)
            for file, path in self.engines.project.others.items()
            if file.rpartition("/")[0] in folders and path.suffix != ".lock"
        )
        return not any(map(name.search, chain((each.source for each in tests), configuration)))

    def _visible(self, test: Test) -> dict[str, Fixture]:
        return self.suite.visible(test.module, test.owner)

    # -- event_loop --------------------------------------------------------------------------------

    def _overrides(self) -> Iterator[Finding]:
        suite = self.suite
        if not suite.has_asyncio or suite.other_runner:
            return
        overrides = [each for each in self._all_fixtures if each.name == "event_loop"]
        if not overrides:
            return
        asked = [
            func
            for module in self._all_modules
            for func in module.all_functions
            if "event_loop" in func.params and func.name != "event_loop" and not func.is_async
        ]
        for fixture in overrides:
            if suite.version < (1, 0):
                breaks = (
                    " It does not hold for async fixtures of a wider scope: from 0.23 on they run"
                    " on a loop of their own."
                    if suite.version >= (0, 23)
                    else " From 0.23 on wider async fixtures leave it, and from 1.0 on it is"
                    " ignored without a word."
                )
                yield self._at(
                    "EVENT_LOOP_OVERRIDE_PINNED",
                    "warning",
                    fixture.func,
                    f"This event_loop fixture gives the tests their loop on {version_name(suite)}"
                    f" only.{breaks}",
                    "When you go to pytest-asyncio 1.3 or newer, delete it and"
                    f" {cure_of('fixture-and-test', 'session-loop')}.",
                )
            elif not asked:
                yield self._at(
                    "DEAD_EVENT_LOOP_OVERRIDE",
                    "warning",
                    fixture.func,
                    f"{version_name(suite)} never calls this fixture: since 1.0 an event_loop"
                    " fixture is ignored without a word.",
                    "Delete it. " + one_loop(suite),
                )

    def _strict_mode(self) -> Iterator[Finding]:
        suite = self.suite
        if not suite.has_asyncio or suite.mode != "strict" or suite.other_runner:
            return
        seen: set[Fixture] = set()
        for test in suite.tests:
            if test.runner != "asyncio" and (
                test.func.is_async or "anyio_backend" in test.fixtures
            ):
                continue
            for fixture in test.fixtures.values():
                if (
                    fixture.is_async
                    and fixture.plain
                    and fixture not in seen
                    and test.runner == "asyncio"
                    and not suite.run_by_anyio(fixture, test)
                    and suite.mode_is_sure
                ):
                    seen.add(fixture)
                    yield self._at(
                        "STRICT_MODE_ASYNC_FIXTURE",
                        "error",
                        fixture.func,
                        f"In strict mode {version_name(suite)} does not run an async fixture of"
                        f" pytest.fixture: {test.func.name} gets the coroutine or generator"
                        " itself.",
                        f"Write @pytest_asyncio.fixture, or set"
                        f" {cure_of('async-not-handled', 'auto-mode')} in"
                        f" {suite.settings.file or 'the pytest configuration'}.",
                    )

    # -- fixtures and tests ------------------------------------------------------------------------

    def _mismatches(self) -> Iterator[Finding]:
        seen: set[Fixture] = set()
        told: set[Engine] = set()
        null_lines: set[tuple[str, int]] = set()
        for test in self.suite.tests:
            if test.runner not in ("asyncio", "anyio"):
                continue
            visible = self._visible(test)
            for fixture in test.fixtures.values():
                if fixture in seen or not fixture.is_async:
                    continue
                loop = self.suite.loop_of_fixture(fixture, test)
                if loop == NO_LOOP or (loop.owner == "anyio" and test.loop.owner == "anyio"):
                    continue
                user = self._user_elsewhere(fixture, loop, test)
                value = self.values.of_fixture(fixture, visible)
                if value.kind == "mock":
                    continue
                if value.kind in LIVE and user is not None:
                    seen.add(fixture)
                    yield self._mismatch(fixture, loop, user, value, test)
                    line = value.engine.null_line if value.engine else None
                    if value.engine is not None and line is not None:
                        place = (value.engine.made_in.relative, line)
                        if place not in null_lines:
                            null_lines.add(place)
                            yield self._null_pool(value, fixture, place)
                    continue
                engine = self._left_open(fixture, visible)
                if engine is None or not self._pooled(engine) or engine in told:
                    continue
                other = self._engine_used_elsewhere(engine, loop, test)
                if other is not None and loop.rank > other[1].rank:
                    seen.add(fixture)
                    told.add(engine)
                    yield self._mismatch(
                        fixture, loop, other, Value("engine", engine, "AsyncEngine"), test
                    )

    def _user_elsewhere(self, fixture: Fixture, loop: Loop, test: Test) -> tuple[str, Loop] | None:
        """A test or async fixture that asks for a fixture and runs on another loop."""
        names = {fixture.name}
        # A sync fixture hands on what it was given.
        for _ in range(3):
            for each in test.fixtures.values():
                if not each.is_async and names & set(each.asks):
                    names.add(each.name)
        if test.loop not in (loop, NO_LOOP) and names & set(test.func.params):
            return test.func.name, test.loop
        for each in test.fixtures.values():
            if each is not fixture and each.is_async and names & set(each.asks):
                other = self.suite.loop_of_fixture(each, test)
                if other not in (loop, NO_LOOP):
                    return f"fixture {each.name}", other
        return None

    def _left_open(self, fixture: Fixture, visible: dict[str, Fixture]) -> Engine | None:
        """The engine whose pool keeps connections that a fixture opens before its test."""
        func = fixture.func
        yields = [n.lineno for n in func.own_nodes if isinstance(n, ast.Yield)]
        until = min(yields, default=func.node.end_lineno or 0)
        engine: Engine | None = None
        for node in func.own_nodes:
            if not isinstance(node, ast.Call) or node.lineno > until:
                continue
            name = last_name(node.func)
            if name == "dispose":
                return None
            if isinstance(node.func, ast.Attribute) and name in ("begin", "connect"):
                base = self.values.of(node.func.value, func, visible)
                if base.kind in ("engine", "maker"):
                    engine = engine or base.engine
            elif isinstance(node.func, (ast.Name, ast.Attribute)):
                called = self.values.of(node.func, func, visible)
                if called.kind == "maker":
                    engine = engine or called.engine
                symbol = func.module.resolve(node.func, func)
                if isinstance(symbol, Func) and symbol.is_async and engine is None:
                    for reach in self.engines.reach(symbol).values():
                        if reach.sure and not self.engines.disposed(reach.way):
                            engine = reach.engine
        return engine

    def _engine_used_elsewhere(
        self, engine: Engine, loop: Loop, test: Test
    ) -> tuple[str, Loop] | None:
        used = self._test_uses(test).get(engine)
        if used is not None and used[0] not in (loop, NO_LOOP):
            return test.func.name, used[0]
        visible = self._visible(test)
        for each in test.fixtures.values():
            if not each.is_async:
                continue
            other = self.suite.loop_of_fixture(each, test)
            if other not in (loop, NO_LOOP) and self._left_open(each, visible) is engine:
                return f"fixture {each.name}", other
            value = self.values.of_fixture(each, visible)
            if other not in (loop, NO_LOOP) and value.kind in LIVE and value.engine is engine:
                return f"fixture {each.name}", other
        return None

    def _mismatch(
        self, fixture: Fixture, loop: Loop, user: tuple[str, Loop], value: Value, test: Test
    ) -> Finding:
        name, other = user
        what = {
            "session": f"its {value.what or 'session'} holds a connection of that loop, or closes"
            " it there",
            "connection": "its connection belongs to that loop",
            "bound": f"its {value.what} belongs to that loop",
        }.get(value.kind, "the connections that it opens stay in the engine's pool")
        if value.kind == "bound":
            severity = "error"
        else:
            sure = value.kind != "engine" or (value.engine is not None and value.engine.pooled)
            severity = self.engines.severity(value.engine or self.suite.folder, sure, "warning")
        why = (
            f"The fixture {fixture.name} runs on {_loop(loop)}, and {name} on"
            f" {_loop(other)}; {what}."
        )
        if severity == "warning" and value.engine and self.engines.strict(value.engine) is False:
            why += GET_AWAY
        why += self._why_so(loop, other, fixture)
        if other.owner == "anyio" or loop.owner == "anyio":
            cure = (
                "Let one plugin run both: mark the tests, and make the fixture, for the same one."
            )
        elif (
            fixture.loop_scope is not None
            and fixture.loop_scope != "session"
            and (other.scope == "session")
        ):
            cure = f"Give the fixture loop_scope='{other.scope}', as the tests have it."
        else:
            cure = one_loop(self.suite)
        return self._at("FIXTURE_TEST_LOOP_MISMATCH", severity, fixture.func, why, cure)

    def _why_so(self, loop: Loop, other: Loop, fixture: Fixture) -> str:
        suite = self.suite
        if "override" in (loop.owner, other.owner):
            return " An event_loop fixture is not the loop of wider async fixtures since 0.23."
        if fixture.loop_scope is None and suite.default_fixture_scope is not None:
            name = FIXTURE_OPTION
        elif suite.default_test_scope != "function":
            name = TEST_OPTION
        else:
            return ""
        return f" ({name} in {suite.settings.file}, line {suite.settings.lines.get(name, 1)}.)"

    def _null_pool(self, value: Value, fixture: Fixture, place: tuple[str, int]) -> Finding:
        return Finding(
            "NULLPOOL_NOT_ENOUGH",
            "error",
            place[0],
            place[1],
            f"NullPool keeps no connection, but the fixture {fixture.name} hands on an"
            f" {value.what or 'AsyncSession'} itself, which has one while it works:"
            f" {no_cure('session-object', 'null-pool')}.",
            one_loop(self.suite),
            [(fixture.module.relative, fixture.func.line, "the fixture")],
        )

    # -- engines -----------------------------------------------------------------------------------

    def _test_uses(self, test: Test) -> dict[Engine, tuple[Loop, bool]]:
        """The engines that a test uses on its own loop, and whether that is sure."""
        if test in self._uses:
            return self._uses[test]
        found: dict[Engine, tuple[Loop, bool]] = {}
        self._uses[test] = found
        visible = self._visible(test)
        loop = test.loop
        here: list[Func] = [test.func]
        if test.unittest and test.owner is not None:
            names = ("setUp", "asyncSetUp", "asyncTearDown", "tearDown")
            here += [test.owner.methods[n] for n in names if n in test.owner.methods]
        others = list(test.fixtures.values())
        mocked = any(_patches(func) for func in here) or any(
            self.values.of_fixture(each, visible).kind == "mock" or _patches(each.func)
            for each in others
        )
        overridden = self._overridden([*here, *(each.func for each in others)])
        for func in here:
            for reach in self.engines.reach(func).values():
                if (mocked or (overridden and not reach.sure)) and reach.way[-1] is not func:
                    continue
                self._add_use(found, reach.engine, loop, reach.sure)
        asked = set(test.func.params)
        for fixture in others:
            value = self.values.of_fixture(fixture, visible)
            if value.kind == "mock":
                continue
            fixture_loop = self.suite.loop_of_fixture(fixture, test)
            if (
                value.engine is not None
                and value.kind in ("engine", "maker")
                and fixture.name in asked
                and self._uses_name(test.func, fixture.name)
            ):
                self._add_use(found, value.engine, loop, True)
            if fixture_loop in (NO_LOOP, loop):
                if value.kind in LIVE and value.engine is not None:
                    self._add_use(found, value.engine, loop, True)
                for node in fixture.func.own_nodes if fixture.is_async else ():
                    if (
                        isinstance(node, ast.Call)
                        and isinstance(node.func, ast.Attribute)
                        and node.func.attr in ("begin", "connect")
                    ):
                        base = self.values.of(node.func.value, fixture.func, visible)
                        if base.kind == "engine" and base.engine is not None:
                            self._add_use(found, base.engine, loop, True)
        if not mocked and not overridden:
            for func in [*here, *(f.func for f in others)]:
                for module in self._applications(func):
                    for reach in self.engines.of_application(module).values():
                        self._add_use(found, reach.engine, loop, False)
        for engine in list(found):
            if self._is_replaced(engine, test):
                del found[engine]
        return found

    @staticmethod
    def _uses_name(func: Func, name: str) -> bool:
        return any(isinstance(n, ast.Name) and n.id == name for n in func.own_nodes)

    @staticmethod
    def _add_use(
        found: dict[Engine, tuple[Loop, bool]], engine: Engine, loop: Loop, sure: bool
    ) -> None:
        before = found.get(engine)
        found[engine] = (loop, sure or bool(before and before[1]))

    def _applications(self, func: Func) -> list[Module]:
        """The modules of applications that a function drives through a client."""
        found: dict[Module, None] = {}
        for node in func.own_nodes:
            if isinstance(node, ast.Call) and last_name(node.func) in _DRIVE_AN_APPLICATION:
                for argument in (*node.args[:1], keyword(node, "app")):
                    found.update(dict.fromkeys(self._application(argument, func, func.module)))
        return list(found)

    def _application(
        self, argument: ast.AST | None, func: Func | None, module: Module
    ) -> list[Module]:
        if argument is None:
            return []
        if isinstance(argument, ast.Call):
            argument = argument.func
        if isinstance(argument, ast.Name) and func and argument.id in func.bindings:
            found: list[Module] = []
            for value in func.bindings[argument.id][:2]:
                if not isinstance(value, ast.Name):
                    found += self._application(value, func, module)
            return found
        symbol: Symbol | None = module.resolve(argument, func)
        return [symbol.module] if isinstance(symbol, (Global, Func)) else []

    @staticmethod
    def _overridden(funcs: list[Func]) -> bool:
        return any("dependency_overrides" in func.text for func in funcs)

    def _is_of_tests(self, engine: Engine) -> bool:
        """Whether a function of the suite makes it, such as a fixture."""
        return engine.func is not None and engine.module in self._all_modules

    def _is_replaced(self, engine: Engine, test: Test) -> bool:
        """Whether tests replace an engine by another one."""
        if self._is_of_tests(engine):
            return False
        key = (engine, test.module)
        if key not in self._replaced:
            name = re.escape(engine.name)
            pattern = re.compile(
                rf"\.{name}\s*=[^=]|setattr\([^)]*[\"'.]{name}\b|patch[^\n]*[\"'.]{name}\b"
                rf"|configure\([^)]*bind|create_async_engine[\"']"
            )
            modules = [test.module, *self._conftests_of(test.module)]
            self._replaced[key] = any(
                pattern.search(each.source) for each in modules if each is not engine.module
            )
        return self._replaced[key]

    def _disposed_in(self, test: Test, loop: Loop) -> str:
        """How a test ends an engine: "" not, "async" in its loop, "sync" by sync_engine."""
        found = ""
        funcs = [test.func]
        if test.owner is not None:
            funcs += [
                method
                for name, method in test.owner.methods.items()
                if name in ("asyncTearDown", "asyncSetUp", "tearDown")
            ]
        for fixture in test.fixtures.values():
            here = not fixture.is_async or self.suite.loop_of_fixture(fixture, test) == loop
            if here and RANK[fixture.scope] <= max(loop.rank, 0):
                funcs.append(fixture.func)
        for func in funcs:
            for node in func.all_nodes:
                if isinstance(node, ast.Call) and last_name(node.func) in ("dispose", "close_all"):
                    base = node.func.value if isinstance(node.func, ast.Attribute) else node
                    if last_name(base) == "sync_engine" and not closes_nothing(node):
                        found = found or "sync"
                    else:
                        return "async"
            if any(
                isinstance(node, ast.Call) and last_name(node.func) == "LifespanManager"
                for node in func.own_nodes
            ):
                return "async"
        return found

    def _engines_over_loops(self) -> Iterator[Finding]:
        loops: dict[Engine, dict[tuple[str, str], tuple[Test, Loop, bool, str]]] = {}
        disposing: dict[Engine, list[Test]] = {}
        for test in self.suite.tests:
            if test.runner == "":
                continue
            for engine, (loop, sure) in self._test_uses(test).items():
                if not self._pooled(engine) or loop == NO_LOOP:
                    continue
                if loop.rank >= self._lifetime(engine, test):
                    continue
                disposed = self._disposed_in(test, loop)
                if disposed == "async":
                    if sure:
                        disposing.setdefault(engine, []).append(test)
                    continue
                key = test.key(loop)
                before = loops.setdefault(engine, {}).get(key)
                if before is None or (sure and not before[2]):
                    loops[engine][key] = (test, loop, sure, disposed)
        for engine, places in loops.items():
            if len(places) < 2:
                ((test, loop, sure, _),) = places.values()
                if sure and engine.pooled and engine in disposing:
                    yield self._one_leaves(engine, test, loop, disposing[engine])
                continue
            chosen = [each for each in places.values() if each[2]] or list(places.values())
            sure = len([each for each in places.values() if each[2]]) >= 2
            masked = all(each[3] for each in chosen)
            severity = self.engines.severity(engine, sure and not masked and engine.pooled)
            test, loop = chosen[0][:2]
            another = chosen[1][0] if len(chosen) > 1 else list(places.values())[1][0]
            why = (
                f"This engine lives as long as its"
                f" {'fixture' if self._is_of_tests(engine) else 'module'}"
                f" and keeps its connections, while {len(places)} tests use it on loops of their"
                f" own ({test.func.name}, {another.func.name}, …: {_loop(loop)})."
            )
            if masked:
                why += " The sync dispose() between the tests hides it."
            if not engine.pooled:
                why += (
                    f" It has a NullPool only if {' or '.join(sorted(engine.pool_settings))} says"
                    " so, which these tests do not name."
                )
            after = no_ping() if engine.pings else ""
            yield self._over_loops(
                engine, severity, why, (test, loop, "a test that uses it"), after
            )

    def _one_leaves(self, engine: Engine, test: Test, loop: Loop, disposing: list[Test]) -> Finding:
        """The one test that does not dispose of an engine, where others do: the order decides."""
        severity = self.engines.severity(engine, False)
        number = len(disposing)
        others = f"{number} other tests dispose" if number > 1 else "Another test disposes"
        why = (
            f"{test.func.name} leaves a connection in this engine's pool, and its loop then closes"
            f" ({_loop(loop)}). {others} of the engine ({disposing[0].func.name}"
            f"{', …' if number > 1 else ''}); this one does not. A test that uses the engine after"
            " it gets that connection, on another loop."
        )
        return self._over_loops(engine, severity, why, (test, loop, "the test that leaves it"))

    def _over_loops(
        self,
        engine: Engine,
        severity: str,
        why: str,
        user: tuple[Test, Loop, str],
        after: str = "",
    ) -> Finding:
        """An engine whose connections cross, and one test that uses it, with what that one is."""
        test, loop, what = user
        return Finding(
            "ENGINE_OVER_FUNCTION_LOOPS",
            severity,
            engine.module.relative,
            engine.line,
            why + (GET_AWAY if severity == "info" else "") + after,
            self._cure_of_engine(loop),
            [(test.module.relative, test.func.line, what)],
            last=engine.node.end_lineno or 0,
        )

    def _cure_of_engine(self, loop: Loop) -> str:
        other = (
            f" Or {cure_of('engine-in-a-row', 'dispose', 'pytest')}; or, for tests,"
            f" {cure_of('engine-in-a-row', 'null-pool')}."
        )
        if loop.owner == "anyio":
            return (
                "Give anyio_backend scope='session' and keep one session-scoped async fixture alive"
                " (autouse): then anyio's tests share its loop." + other
            )
        if loop.owner == "unittest":
            return (
                "IsolatedAsyncioTestCase makes a loop for each test: await engine.dispose() in"
                " asyncTearDown, or use NullPool in tests."
            )
        return one_loop(self.suite) + other

    def _lifetime(self, engine: Engine, test: Test) -> int:
        """How long an engine lives, as the rank of a scope."""
        for fixture in test.fixtures.values():
            if engine.func is fixture.func:
                return RANK[fixture.scope]
        return RANK["session"]

    # -- TestClient --------------------------------------------------------------------------------

    def _portals(self) -> Iterator[Finding]:
        done: set[tuple[Engine, str]] = set()
        for module in self._all_modules:
            if b"TestClient" not in module.data or "dependency_overrides" in module.source:
                continue
            if any("dependency_overrides" in c.source for c in self._conftests_of(module)):
                continue
            if _PATCHES.search(module.source):
                continue
            for node, func, entered in _clients(module):
                applications = self._application(
                    node.args[0] if node.args else keyword(node, "app"), func, module
                )
                for application in applications:
                    for engine, reach in self.engines.of_application(application).items():
                        finding = self._portal(node, func, entered, module, engine, reach)
                        if finding is not None and (engine, module.relative) not in done:
                            done.add((engine, module.relative))
                            yield finding

    def _conftests_of(self, module: Module) -> list[Module]:
        return [
            conftest
            for folder, conftest in self.suite.conftests.items()
            if (module.folder + "/").startswith(folder + "/") or folder in ("", module.folder)
        ]

    def _portal(
        self,
        node: ast.Call,
        func: Func | None,
        entered: bool,
        module: Module,
        engine: Engine,
        reach: Reach,
    ) -> Finding | None:
        if not self._pooled(engine):
            return None
        fixtures = {f.func: f for f in self.suite.fixtures_of(module)}
        if self._requests(module, func in fixtures) < 2:
            return None
        if entered:
            if func is None or (
                func in fixtures and fixtures[func].scope in ("session", "package")
            ):
                return None
            modules = self.engines.project.modules.values()
            lifespan = (
                *self.engines.closure(reach.way[0].module),
                *(each for each in modules if each.interesting and not each.is_test),
            )
            if any(b".dispose(" in each.data for each in lifespan):
                return None
        for each in (module, *self._conftests_of(module)):
            if re.search(rf"\.{re.escape(engine.name)}\s*=[^=]|NullPool|sqlite", each.source):
                return None
        how = (
            "each `with TestClient(…)` is a loop of its own"
            if entered
            else "TestClient without `with` makes a loop for each request"
        )
        return Finding(
            "TESTCLIENT_PORTAL_LOOP",
            self.engines.severity(engine, False),
            module.relative,
            node.lineno,
            f"{how[0].upper()}{how[1:]}; the application reaches the pooled engine"
            f" of {engine.module.relative}:{engine.line}, which keeps the connections"
            " of the earlier ones.",
            f"{cure_of('engine-in-a-row', 'client-with')}; or, for tests,"
            f" {cure_of('engine-in-a-row', 'null-pool')}.",
            [(engine.module.relative, engine.line, "the engine")],
            last=node.end_lineno or 0,
        )

    def _requests(self, module: Module, shared: bool) -> int:
        """How many requests the tests of a file make; those of all files if a fixture is shared."""
        files = self._all_modules if shared else [module]
        return sum(
            not (found[1] is not None and _NO_QUERY.fullmatch(found[1]))
            for each in files
            for found in _REQUEST.finditer(each.source)
        )

    # -- sync fixtures -----------------------------------------------------------------------------

    def _sync_fixtures(self) -> Iterator[Finding]:
        for fixture in self._all_fixtures:
            if fixture.is_async or fixture.name == "event_loop":
                continue
            func = fixture.func
            text = func.text
            if "run" not in text or _PATCHES.search(text):
                continue
            for run in runs_in(func):
                if run.requested and self.suite.version < (1, 0):
                    continue  # the tests' own loop
                engine = self._engine_of_run(run, fixture)
                if engine is None or not self._pooled(engine):
                    continue
                user = next(
                    (
                        test
                        for test in self.suite.tests
                        if test.runner and engine in self._test_uses(test)
                    ),
                    None,
                )
                if user is None:
                    continue
                yield Finding(
                    "LOOP_IN_SYNC_FIXTURE",
                    self.engines.severity(engine, engine.pooled),
                    func.module.relative,
                    run.node.lineno,
                    f"The sync fixture {fixture.name} runs a loop of its own here; it leaves"
                    f" connections of that loop in the pool of {engine.name}, and"
                    f" {user.func.name} takes them on {_loop(user.loop)}.",
                    "Make it an async fixture on the tests' loop; or await engine.dispose() as the"
                    " last line of what it runs.",
                    [(engine.module.relative, engine.line, "the engine")],
                    last=run.node.end_lineno or 0,
                )
                break

    def _engine_of_run(self, run: Run, fixture: Fixture) -> Engine | None:
        target = run.target
        if isinstance(target, Func):
            for reach in self.engines.reach(target).values():
                if reach.sure and not self.engines.disposed(reach.way):
                    return reach.engine
            if target.parent is fixture.func and not self.engines.disposed((target,)):
                # A function in the fixture that works with another fixture's engine.
                visible = self.suite.visible(fixture.module, None)
                for node in target.own_nodes:
                    if isinstance(node, ast.Call) and last_name(node.func) in ("begin", "connect"):
                        base = node.func.value if isinstance(node.func, ast.Attribute) else node
                        value = self.values.of(base, fixture.func, visible)
                        if value.kind == "engine":
                            return value.engine
        return None

    def _runs_in_tests(self) -> Iterator[Finding]:
        """Tests, and threads in tests, that run one loop after another on one engine."""
        for module in self.suite.modules:
            if not re.search(rb"asyncio\.run\(|run_until_complete|Runner\(", module.data):
                continue
            if _PATCHES.search(module.source) or ".dispose(" in module.source:
                continue
            found: dict[Engine, list[tuple[Func, Run]]] = {}
            awaited: set[Engine] = set()
            for func in module.all_functions:
                if func.is_async:
                    for engine, reach in self.engines.reach(func).items():
                        if reach.sure and func.name.startswith("test"):
                            awaited.add(engine)
                    continue
                for run in runs_in(func):
                    if not run.fresh or not isinstance(run.target, Func):
                        continue
                    for reach in self.engines.reach(run.target).values():
                        # In a test a longer chain may end before the engine.
                        near = reach.sure and len(reach.way) < 3
                        if near and not self.engines.disposed(reach.way):
                            found.setdefault(reach.engine, []).append((func, run))
            for engine, places in found.items():
                if not self._pooled(engine) or len(places) + (engine in awaited) < 2:
                    continue
                func, run = places[0]
                yield Finding(
                    "ASYNCIO_RUN_GLOBAL_ENGINE",
                    self.engines.severity(engine, False),
                    module.relative,
                    run.line,
                    f"{func.name} runs a loop of its own here, and this file runs others; the pool"
                    f" of {engine.name} ({engine.module.relative}:{engine.line}) keeps the"
                    " connections of each for the next one.",
                    "Write async tests on one loop; or"
                    f" {cure_of('engine-in-a-row', 'dispose')}; or, for tests,"
                    f" {cure_of('engine-in-a-row', 'null-pool')}.",
                    [(engine.module.relative, engine.line, "the engine")],
                    last=run.node.end_lineno or 0,
                )

    # -- notes -------------------------------------------------------------------------------------

    def _anyio_backends(self) -> Iterator[Finding]:
        backends = [each for each in self._all_fixtures if each.name == "anyio_backend"]
        if not backends or self.suite.anyio_auto:
            return
        marked = any(
            re.search(rb"mark\.anyio|anyio_mode", module.data) for module in self._all_modules
        )
        asked = any("anyio_backend" in f.params for m in self._all_modules for f in m.all_functions)
        if marked or asked or "anyio_backend" in self.suite.settings.words("usefixtures", ""):
            return
        for fixture in backends:
            yield self._at(
                "UNUSED_ANYIO_BACKEND",
                "info",
                fixture.func,
                "No test of this suite has pytest.mark.anyio, so anyio's plugin runs none, and"
                " this fixture changes nothing.",
                "Delete it.",
            )

    def _duplicates(self) -> Iterator[Finding]:
        places: dict[str, list[tuple[Module, int]]] = {}
        for module in self._all_modules:
            if b"create_async_engine" not in module.data:
                continue
            for func in module.all_functions:
                for node in func.own_nodes:
                    if isinstance(node, ast.Call) and last_name(node.func) == "create_async_engine":
                        fixture = _enclosing_fixture(func, self.suite.fixtures_of(module))
                        if fixture is not None:
                            places.setdefault(fixture.name, []).append((module, fixture.func.line))
            for name, values in module.values.items():
                for value in values:
                    if (
                        isinstance(value, ast.Call)
                        and last_name(value.func) == "create_async_engine"
                    ):
                        places.setdefault(name, []).append((module, value.lineno))
        for name, found in places.items():
            files = list(dict.fromkeys(module.relative for module, _ in found))
            if len(files) < 2:
                continue
            module, line = found[0]
            yield Finding(
                "DUPLICATED_ENGINE_FIXTURE",
                "info",
                module.relative,
                line,
                f"{name} is made again in {len(files) - 1} more test"
                f" file{'s' if len(files) > 2 else ''}: each has a pool of its own, and each has"
                " to be mended.",
                "Make it once, as a fixture in the conftest.py above them.",
                [(m.relative, n, "again") for m, n in found[1:6] if m is not module],
            )

    def _unset(self) -> Iterator[Finding]:
        suite = self.suite
        if (
            not suite.has_asyncio
            or suite.version < (0, 24)
            or suite.settings.text(FIXTURE_OPTION) is not None
            or not any(test.runner == "asyncio" for test in suite.tests)
        ):
            return
        file = suite.settings.file
        if file is None:
            conftest = next((m for m in suite.conftests.values() if self._is_below(m)), None)
            file = conftest.relative if conftest else suite.tests[0].module.relative
        yield Finding(
            "CONFIG_SCOPE_UNSET",
            "info",
            file,
            min(suite.settings.lines.values(), default=1),
            f"{FIXTURE_OPTION} is not set: {version_name(suite)} warns, and"
            " each async fixture runs on a loop of its own scope; later it is to be function.",
            f"Set it, and {TEST_OPTION} to the same value."
            if suite.version >= (0, 26)
            else "Set it.",
        )

    def _at(self, code: str, severity: str, func: Func, why: str, cure: str) -> Finding:
        first = min([func.line, *(each.lineno for each in func.node.decorator_list)])
        return Finding(code, severity, func.module.relative, func.line, why, cure, first=first)


@cache
def _patches(func: Func) -> bool:
    """Whether a function puts a mock in some place."""
    return _PATCHES.search(func.text) is not None


def _enclosing_fixture(func: Func, fixtures: list[Fixture]) -> Fixture | None:
    here: Func | None = func
    while here is not None:
        for fixture in fixtures:
            if fixture.func is here:
                return fixture
        here = here.parent
    return None


def _clients(module: Module) -> Iterator[tuple[ast.Call, Func | None, bool]]:
    """Calls of TestClient: the call, its function, and whether it is entered by `with`."""
    entered = {
        id(item.context_expr)
        for node in walk(module.tree)
        if isinstance(node, ast.With)
        for item in node.items
    }
    entered_names = {
        item.context_expr.id
        for node in walk(module.tree)
        if isinstance(node, ast.With)
        for item in node.items
        if isinstance(item.context_expr, ast.Name)
    }
    scopes: list[tuple[Func | None, list[ast.AST]]] = [
        (f, f.own_nodes) for f in module.all_functions
    ]
    top = [v for values in module.values.values() for v in values]
    scopes.append((None, [n for v in top for n in walk(v)]))
    for func, nodes in scopes:
        for node in nodes:
            if not isinstance(node, ast.Call):
                continue
            symbol = module.resolve(node.func, func)
            if isinstance(symbol, External) and symbol.name in _CLIENTS:
                names = [
                    key
                    for key, values in (func.bindings if func else module.values).items()
                    if node in values
                ]
                yield node, func, id(node) in entered or bool(set(names) & entered_names)


def _loop(loop: Loop) -> str:
    if loop.owner == "override":
        return f"the {loop.scope} loop of the event_loop fixture"
    anyio = " of anyio" if loop.owner == "anyio" else ""
    if loop.scope == "function":
        return f"a loop{anyio} for each test"
    return f"the {loop.scope} loop{anyio}"
