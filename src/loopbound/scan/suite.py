"""Tests and fixtures of a project, and on which loop each of them runs."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from loopbound.scan.settings import Configuration, Settings, upwards
from loopbound.scan.source import (
    Class,
    External,
    Func,
    Global,
    Module,
    Project,
    constant,
    keyword,
    last_name,
    target_of,
    walk,
)
from loopbound.scan.versions import Version, Versions

FIXTURE_OPTION = "asyncio_default_fixture_loop_scope"
TEST_OPTION = "asyncio_default_test_loop_scope"
SCOPES = ("function", "class", "module", "package", "session")
RANK = {name: number for number, name in enumerate(SCOPES)}
# Plugins with an event_loop or loop fixture of their own, or another way to run async tests.
_OTHER_RUNNERS = (
    "pytest-aiohttp",
    "pytest-asyncio-cooperative",
    "pytest-tornasync",
    "pytest-twisted",
    "alt-pytest-asyncio",
    "pytest-sanic",
    "pytest-tornado",
)


@dataclass(frozen=True)
class Loop:
    """Which loop something runs on, as seen from one test.

    Attributes:
        scope: how long the loop lives: a pytest scope; ``"none"``: on no loop.
        owner: ``"asyncio"``, ``"anyio"``, ``"unittest"``, or ``"override"`` for that of an
            ``event_loop`` fixture.
    """

    scope: str
    owner: str = "asyncio"

    @property
    def rank(self) -> int:
        return RANK.get(self.scope, -1)


NO_LOOP = Loop("none", "")


@dataclass(eq=False)
class Fixture:
    """A fixture.

    Attributes:
        name: by which tests ask for it.
        func: its function.
        scope: pytest's scope.
        loop_scope: what its decorator says, if it does.
        plain: it is ``pytest.fixture``, not ``pytest_asyncio.fixture``.
        autouse: every test that sees it has it.
    """

    name: str
    func: Func
    scope: str
    loop_scope: str | None
    plain: bool
    autouse: bool

    @property
    def is_async(self) -> bool:
        return self.func.is_async

    @property
    def module(self) -> Module:
        return self.func.module

    @cached_property
    def asks(self) -> list[str]:
        """The names of fixtures that it asks for."""
        found = [*self.func.params]
        for node in self.func.all_nodes:
            if isinstance(node, ast.Call) and last_name(node.func) == "getfixturevalue":
                name = constant(node.args[0]) if node.args else None
                if isinstance(name, str):
                    found.append(name)
        return found


@dataclass(eq=False)
class Test:
    """A test function with what its marks say."""

    func: Func
    owner: Class | None
    suite: Suite
    marks: dict[str, ast.expr] = field(default_factory=dict)
    unittest: bool = False

    @property
    def module(self) -> Module:
        return self.func.module

    @cached_property
    def fixtures(self) -> dict[str, Fixture]:
        """Every fixture in its closure: those it asks for, autouse ones, and theirs in turn."""
        return self.suite.closure(self)

    @cached_property
    def runner(self) -> str:
        """What runs it: ``"asyncio"``, ``"anyio"``, ``"unittest"``, or ``""``."""
        suite = self.suite
        if not self.func.is_async:
            return ""
        if self.unittest:
            return "unittest"
        if suite.has_asyncio and ("asyncio" in self.marks or suite.mode == "auto"):
            return "asyncio"
        if suite.anyio_auto or "anyio" in self.marks or "anyio_backend" in self.fixtures:
            return "anyio"
        return ""

    @cached_property
    def loop(self) -> Loop:
        return self.suite.loop_of_test(self)

    def key(self, loop: Loop) -> tuple[str, str]:
        """Which of the loops of a scope this test's is."""
        file, name = self.module.relative, self.func.name
        owner = {
            "function": f"{file}::{self.owner.name if self.owner else ''}::{name}",
            "class": f"{file}::{self.owner.name if self.owner else name}",
            "module": file,
            "package": self.module.folder,
        }.get(loop.scope, "")
        return loop.owner + loop.scope, owner


class Suite:
    """The tests below one configuration.

    Attributes:
        settings: pytest's options.
        version: of pytest-asyncio.
        mode: ``"auto"``, ``"strict"`` or ``"legacy"``.
        tests: the tests.
        conftests: folder → its conftest.
    """

    def __init__(self, project: Project, settings: Settings, versions: Versions) -> None:
        self.project = project
        self.settings = settings
        self.versions = versions
        self.folder = settings.folder
        self.version: Version = versions.of("pytest-asyncio", self.folder) or (1, 5, 0)
        self.tests: list[Test] = []
        self.modules: list[Module] = []
        self.conftests: dict[str, Module] = {}
        self._of_module: dict[Module, list[Fixture]] = {}
        self._visible: dict[tuple[Module, Class | None], dict[str, Fixture]] = {}
        self._item_marks: dict[str, ast.expr | None] = {}

    # -- which plugins -----------------------------------------------------------------------------

    @cached_property
    def has_asyncio(self) -> bool:
        if self.settings.without("asyncio"):
            return False
        if self.versions.has("pytest-asyncio", self.folder):
            return True
        if self.versions.asked is not None:
            return False
        words = (b"pytest_asyncio", b"mark.asyncio")
        return self.settings.text("asyncio_mode") is not None or any(
            word in module.data
            for module in [*self.modules, *self.conftests.values()]
            for word in words
        )

    @cached_property
    def other_runner(self) -> bool:
        """Another plugin than these two runs async tests."""
        return any(self.versions.has(each, self.folder) for each in _OTHER_RUNNERS)

    @cached_property
    def anyio_auto(self) -> bool:
        return self.settings.text("anyio_mode") == "auto"

    @cached_property
    def mode(self) -> str:
        said = self.settings.text("asyncio_mode")
        if said:
            return said
        return "strict" if self.version >= (0, 19) else "legacy"

    @cached_property
    def mode_is_sure(self) -> bool:
        """No command in the project gives another mode on the command line."""
        for path in self.project.others.values():
            if (
                path.suffix in (".yml", ".yaml", ".ini", ".toml", ".cfg", "")
                and path.name != "uv.lock"
            ):
                try:
                    if b"asyncio-mode" in path.read_bytes():
                        return False
                except OSError:
                    continue
        return True

    # -- loops -------------------------------------------------------------------------------------

    @property
    def default_fixture_scope(self) -> str | None:
        said = self.settings.text(FIXTURE_OPTION)
        return said if self.version >= (0, 24) and said in SCOPES else None

    @property
    def default_test_scope(self) -> str:
        said = self.settings.text(TEST_OPTION)
        return said if self.version >= (0, 26) and said in SCOPES else "function"

    def loop_of_test(self, test: Test) -> Loop:
        runner = test.runner
        if runner == "unittest":
            return Loop("function", "unittest")
        if runner == "anyio":
            return Loop(self._anyio_scope(test), "anyio")
        if runner != "asyncio":
            return NO_LOOP
        scope = self.default_test_scope
        mark = test.marks.get("asyncio")
        said = None
        if isinstance(mark, ast.Call):
            said = constant(keyword(mark, "loop_scope") or keyword(mark, "scope"))
        if said is None:
            said = self._collection_scope(test.module)
        if isinstance(said, str) and said in SCOPES and self.version >= (0, 23):
            scope = said
        if self.version < (1, 0) and scope == "function":
            return self._old_loop(test.module)
        return Loop(scope)

    def _old_loop(self, module: Module) -> Loop:
        """Before 1.0: the loop of the fixture event_loop."""
        override = self.visible(module, None).get("event_loop")
        return Loop(override.scope, "override") if override else Loop("function")

    def loop_of_fixture(self, fixture: Fixture, test: Test) -> Loop:
        """The loop on which a fixture of a test runs."""
        if not fixture.is_async:
            return NO_LOOP
        if self.run_by_anyio(fixture, test):
            if test.runner == "anyio":
                return test.loop
            return Loop(fixture.scope, "anyio")
        if fixture.plain and (self.mode == "strict" or not self.has_asyncio):
            return NO_LOOP
        if self.version < (0, 23):
            return self._old_loop(test.module)
        scope = fixture.loop_scope or self.default_fixture_scope or fixture.scope
        if scope not in SCOPES:
            scope = fixture.scope
        if self.version < (1, 0) and scope == "function":
            return self._old_loop(test.module)
        return Loop(scope)

    def run_by_anyio(self, fixture: Fixture, test: Test) -> bool:
        """Whether anyio's plugin takes an async fixture."""
        if self.settings.without("anyio"):
            return False
        if not fixture.plain or (self.has_asyncio and self.mode == "auto"):
            return False
        return test.runner == "anyio" or "anyio_backend" in test.fixtures

    def _anyio_scope(self, test: Test) -> str:
        """One loop lives as long as a wider async fixture does."""
        widest = "function"
        for fixture in (*test.fixtures.values(), *self._session_fixtures_of_anyio):
            if fixture.is_async and fixture.plain and RANK[fixture.scope] > RANK[widest]:
                widest = fixture.scope
        return widest

    @cached_property
    def _session_fixtures_of_anyio(self) -> list[Fixture]:
        """Those that, once set up, live until the end, also for tests that do not ask for them."""
        found: dict[Fixture, None] = {}
        for test in self.tests:
            if test.runner == "anyio":
                for fixture in test.fixtures.values():
                    if fixture.is_async and fixture.scope == "session":
                        found[fixture] = None
        return list(found)

    def _collection_scope(self, module: Module) -> str | None:
        """The loop scope that pytest_collection_modifyitems of a conftest gives every test."""
        for folder in upwards(module.folder):
            if folder not in self._item_marks:
                found: ast.expr | None = None
                conftest = self.conftests.get(folder)
                hook = conftest.functions.get("pytest_collection_modifyitems") if conftest else None
                for node in hook.all_nodes if hook else ():
                    if isinstance(node, ast.Call) and last_name(node.func) == "asyncio":
                        found = keyword(node, "loop_scope") or keyword(node, "scope") or found
                self._item_marks[folder] = found
            scope = self._item_marks[folder]
            if scope is not None:
                said = constant(scope)
                return said if isinstance(said, str) else "session"
        return None

    # -- fixtures ----------------------------------------------------------------------------------

    def fixtures_of(self, module: Module) -> list[Fixture]:
        """The fixtures that a file defines, also in classes."""
        if module not in self._of_module:
            found = []
            for func in module.all_functions:
                if func.parent is None and (made := _fixture(func)) is not None:
                    found.append(made)
            self._of_module[module] = found
        return self._of_module[module]

    def visible(self, module: Module, owner: Class | None) -> dict[str, Fixture]:
        """The fixtures that a test in a file, or in a class of it, can see."""
        key = (module, owner)
        if key not in self._visible:
            found: dict[str, Fixture] = {}
            for folder in reversed(upwards(module.folder)):
                conftest = self.conftests.get(folder)
                if conftest is not None:
                    for plugin in self.plugins_of(conftest):
                        self._add(found, plugin, None)
                    self._add(found, conftest, None)
            if module.parts[-1] != "conftest":
                self._add(found, module, owner)
            self._visible[key] = found
        return self._visible[key]

    def _add(self, found: dict[str, Fixture], module: Module, owner: Class | None) -> None:
        # Fixtures that an import brings in are there as if they were written here.
        for star in module.stars:
            target = self.project.find(star, module)
            if target is not None and target is not module:
                self._add(found, target, None)
        for name in module.imports:
            symbol = module.lookup(name)
            if isinstance(symbol, Func) and symbol.module is not module:
                made = _fixture(symbol)
                if made is not None:
                    found[made.name] = made
        owners = {owner.name, *map(last_name, owner.node.bases)} if owner else set()
        for fixture in self.fixtures_of(module):
            if fixture.func.owner is None or fixture.func.owner.name in owners:
                found[fixture.name] = fixture

    def plugins_of(self, conftest: Module) -> Iterator[Module]:
        """The project's modules that a conftest names as plugins."""
        for value in conftest.values.get("pytest_plugins", []):
            for node in walk(value):
                name = constant(node)
                if isinstance(name, str):
                    target = self.project.find(tuple(name.split(".")), conftest)
                    if target is not None:
                        yield target

    def closure(self, test: Test) -> dict[str, Fixture]:
        """Every fixture that a test comes to have, by its name."""
        visible = self.visible(test.module, test.owner)
        waiting = [] if test.unittest else [*test.func.params]
        if isinstance(call := test.marks.get("usefixtures"), ast.Call):
            waiting += [str(constant(each)) for each in call.args]
        waiting += [name for name, fixture in visible.items() if fixture.autouse]
        waiting += self.settings.words("usefixtures", "")
        found: dict[str, Fixture] = {}
        while waiting:
            name = waiting.pop()
            if name in visible and name not in found:
                found[name] = visible[name]
                waiting += visible[name].asks
        return found


class Suites:
    """Every suite of a project."""

    def __init__(self, project: Project, configuration: Configuration, versions: Versions) -> None:
        self.project = project
        self.configuration = configuration
        self.versions = versions
        self._found: dict[tuple[str, str | None], Suite] = {}
        conftests = [m for m in project.modules.values() if m.parts[-1] == "conftest"]
        for module in conftests:
            self._suite(module.folder).conftests[module.folder] = module
        # A conftest above a configuration's folder is read for it, too.
        for suite in self:
            for module in conftests:
                if module.folder in upwards(suite.folder):
                    suite.conftests.setdefault(module.folder, module)
        for module in project.modules.values():
            if module.interesting or b"def test" in module.data:
                settings = configuration.settings(module.folder)
                patterns = settings.words("python_files", "test_*.py *_test.py")
                name = module.relative.rpartition("/")[2]
                if any(fnmatch.fnmatch(name, each) for each in patterns):
                    suite = self._suite(module.folder)
                    suite.modules.append(module)
                    if module.interesting:
                        suite.tests += _tests(module, suite)

    def _suite(self, folder: str) -> Suite:
        settings = self.configuration.settings(folder)
        # All folders of a project without a configuration are one suite.
        key = (settings.folder, settings.file)
        if key not in self._found:
            self._found[key] = Suite(self.project, settings, self.versions)
        return self._found[key]

    def __iter__(self) -> Iterator[Suite]:
        return iter(self._found.values())


def _fixture(func: Func) -> Fixture | None:
    for decorator in func.node.decorator_list:
        call = decorator if isinstance(decorator, ast.Call) else None
        target = call.func if call else decorator
        module = func.module
        if isinstance(target, ast.Name):
            # A decorator that is a name: fixture itself, or one made of it.
            values = module.values.get(target.id, [])
            inner = values[0] if values else None
            if isinstance(inner, ast.Call) and last_name(inner.func) == "partial" and inner.args:
                call, target = inner, inner.args[0]
            elif isinstance(inner, ast.Call) and last_name(inner.func) == "fixture":
                call, target = inner, inner.func
        if last_name(target) not in ("fixture", "yield_fixture", "async_fixture"):
            continue
        symbol = module.resolve(target)
        name = symbol.name if isinstance(symbol, External) else last_name(target)
        if not name.startswith(("pytest", "fixture", "_pytest", "async_fixture", "yield_fixture")):
            continue
        given = keyword(call, "scope") if call else None
        scope = constant(given)
        if given is not None and not isinstance(scope, str):
            scope = "session"  # computed: the wide one is meant
        elif given is None and call and call.args and last_name(call.func) != "partial":
            scope = constant(call.args[0])
        loop_scope = constant(keyword(call, "loop_scope")) if call else None
        said = constant(keyword(call, "name")) if call else None
        return Fixture(
            said if isinstance(said, str) else func.name,
            func,
            scope if isinstance(scope, str) and scope in SCOPES else "function",
            loop_scope if isinstance(loop_scope, str) else None,
            "asyncio" not in name,
            bool(call and constant(keyword(call, "autouse"))),
        )
    return None


def _tests(module: Module, suite: Suite) -> list[Test]:
    functions = suite.settings.words("python_functions", "test")
    classes = suite.settings.words("python_classes", "Test")
    of_module = _marks(module, module.values.get("pytestmark", []))
    found = []
    for func in module.all_functions:
        if func.parent is not None or not _named(func.name, functions):
            continue
        if _fixture(func) is not None:
            continue
        owner, case = func.owner, False
        marks = dict(of_module)
        if owner is not None:
            case = _is_case(owner)
            if not case and not _named(owner.name, classes):
                continue
            for each in reversed(owner.lineage):
                marks.update(_marks(each.module, [*each.node.decorator_list]))
                if "pytestmark" in each.values:
                    marks.update(_marks(each.module, [each.values["pytestmark"]]))
        marks.update(_marks(module, func.node.decorator_list))
        if case and func.is_async and not _is_case(owner, "IsolatedAsyncioTestCase"):
            continue
        found.append(Test(func, owner, suite, marks, case))
    return found


def _named(name: str, patterns: list[str]) -> bool:
    return any(name.startswith(each) or fnmatch.fnmatch(name, each) for each in patterns)


def _is_case(owner: Class | None, name: str = "TestCase") -> bool:
    return owner is not None and any(
        last_name(base).endswith(name) for each in owner.lineage for base in each.node.bases
    )


def _marks(module: Module, values: list[ast.expr]) -> dict[str, ast.expr]:
    """pytest marks in decorators or in a pytestmark, by name."""
    found: dict[str, ast.expr] = {}
    for value in values:
        if isinstance(value, (ast.List, ast.Tuple)):
            found.update(_marks(module, value.elts))
            continue
        target = target_of(value)
        if isinstance(target, ast.Attribute) and last_name(target.value) == "mark":
            found[target.attr] = value
        elif isinstance(target, (ast.Name, ast.Attribute)):
            symbol = module.resolve(target)
            if isinstance(symbol, Global) and symbol.name != "pytestmark":
                inner = symbol.module.values.get(symbol.name, [])
                if inner and inner[0] is not value and _is_mark(inner[0]):
                    found.update(_marks(symbol.module, inner[:1]))
    return found


def _is_mark(value: ast.expr) -> bool:
    if isinstance(value, (ast.List, ast.Tuple)):
        return all(map(_is_mark, value.elts))
    target = target_of(value)
    return isinstance(target, ast.Attribute) and last_name(target.value) == "mark"
