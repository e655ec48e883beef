"""The cure for a crossing, here and with these versions, in the catalogue's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from loopbound.faults.cures import cures_that_hold
from loopbound.faults.installed import meets, need_of
from loopbound.faults.model import Cure
from loopbound.guard.frames import PORTAL, TEST_CLIENT
from loopbound.guard.watcher import Crossing

# Who runs a loop → the catalogue's fact.
_FACTS = {
    "anyio's plugin": "anyio-plugin",
    "unittest": "unittest",
    PORTAL: "portal",
    TEST_CLIENT: "portal",
    "asyncio.run": "asyncio-run",
    "a loop of its own": "asyncio-run",
    "uvicorn": "server",
    "pytest-asyncio": "pytest-asyncio",
}


@dataclass(frozen=True)
class Settings:
    """What the configuration says of loops.

    Attributes:
        file: the file that pytest reads, as its user names it.
        fixture: the value of asyncio_default_fixture_loop_scope; "" where it is not set.
        test: the same of asyncio_default_test_loop_scope.
    """

    file: str = ""
    fixture: str = ""
    test: str = ""


def facts_of(crossing: Crossing) -> set[str]:
    """The catalogue's facts about a crossing, by which its cures are chosen."""
    loops = [moment.loop for moment in (crossing.born, crossing.used) if moment.loop]
    facts = {"pytest" if crossing.used.test else "program"}
    facts |= {_FACTS[loop.runner] for loop in loops if loop.runner in _FACTS}
    if crossing.thing.owner and crossing.thing.owner.driver:
        facts.add("sqlalchemy")
    if any(loop.runner == TEST_CLIENT for loop in loops):
        facts.add("test-client")
    scopes = {loop.scope for loop in loops if loop.scope}
    if scopes:
        facts.add("own-scope")
    if scopes - {"session"}:
        facts.add("narrow-scope")
    if crossing.state in ("awake", "waits"):
        facts.add("threads")
    if crossing.state == "waits":
        facts.add("owner-waits")
    return facts


def cures_for(
    kind: str, facts: set[str], versions: Mapping[str, str], settings: Settings
) -> list[Cure]:
    """The cures of a kind that hold here, cheapest first; at least one.

    Args:
        kind: its id in the catalogue.
        facts: what is known of the place, as by `facts_of`.
        versions: package → version.
        settings: the configuration's.
    """
    facts, left_out = set(facts), set()
    if "owner-waits" in facts:
        left_out.add("hand-over")  # its loop would wait for work that waits for its loop
    if "pytest" in facts:
        # A suite has as many loops as its plugin makes.
        left_out.add("one-loop")
        if "asyncio-run" in facts:
            # The test makes its loops itself: no plugin's option says how many.
            facts.discard("pytest")
            left_out.add("session-loop")
            if facts & {"pytest-asyncio", "anyio-plugin", "unittest", "portal"}:
                left_out.add("dispose")  # the connection comes from a loop that is not the test's
        if "unittest" in facts:
            # pytest gives a TestCase no async fixtures.
            left_out |= {"dispose", "function-engine"}
        others = facts & {"pytest-asyncio", "anyio-plugin", "unittest"}
        if "portal" in facts and ("test-client" not in facts or others):
            left_out.add("client-with")  # the other loop is not TestClient's
        if "anyio-plugin" in facts or "pytest-asyncio" not in facts:
            left_out |= {"session-loop", "same-loop-scope"}
        if {"anyio-plugin", "pytest-asyncio"} <= facts:
            left_out |= {"anyio-one-loop", "dispose"}  # one plugin's fixture is not on both's loops
        if settings.fixture == settings.test == "session":
            left_out.add("session-loop")
        if "own-scope" in facts:
            # A fixture of each test is not on that loop. Whether a factory makes it, nothing says.
            left_out |= {"dispose", "explicit-loop", "function-engine"}
        if "narrow-scope" in facts:
            # A scope that stands at a fixture or a mark is not the option's to change. Where it is
            # session, the option's loop is the same one.
            left_out.add("session-loop")
    return cures_that_hold(kind, facts, versions, left_out)


def cure_line(cure: Cure, versions: Mapping[str, str], settings: Settings) -> str:
    """A cure as a line: what to do, with the versions and the settings that matter."""
    line = f"{cure.name}: {cure.do}"
    if cure.name == "session-loop" and settings != Settings():
        now = [
            f"{name} {value or 'not set'}"
            for name, value in (("fixtures", settings.fixture), ("tests", settings.test))
        ]
        line += f" in {settings.file or 'pytest.ini'} (now: {', '.join(now)})"
    for need in cure.needs:
        package = need_of(need)[0]
        here = versions.get(package)
        if meets(need, versions):
            line += f" [{package} {here} is here]"
        else:
            line += f" [needs {need}; here is {here or 'none'}]"
    return line
