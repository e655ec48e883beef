"""Cures in the words of the catalogue, for the versions and the files that a project has."""

from __future__ import annotations

from loopbound.faults.catalogue import BY_ID
from loopbound.faults.cures import cure_named
from loopbound.scan.suite import FIXTURE_OPTION, TEST_OPTION, Suite

# For the end of a reason.
GET_AWAY = " aiosqlite and psycopg get away with it, asyncpg and aiomysql do not."


def cure_of(kind: str, name: str, where: str = "") -> str:
    """The catalogue's clause of one cure; of several, the one that is for ``where``."""
    return cure_named(kind, name, where.split()).do


def no_cure(kind: str, name: str) -> str:
    """Why something does not cure a kind."""
    return BY_ID[kind].not_cures[name]


def no_ping() -> str:
    """The same of pool_pre_ping, for the end of a reason."""
    return f" pool_pre_ping is no protection: {no_cure('engine-in-a-row', 'pool_pre_ping')}."


def options_to_set(suite: Suite) -> list[str]:
    """The two options that are not set to session."""
    return [
        name for name in (FIXTURE_OPTION, TEST_OPTION) if suite.settings.text(name) != "session"
    ]


def one_loop(suite: Suite) -> str:
    """How the tests of a suite come to share one loop with their fixtures."""
    file = suite.settings.file or "the pytest configuration"
    if suite.version >= (0, 26):
        missing = options_to_set(suite)
        if not missing:
            return "Remove the narrower loop_scope= from marks and fixtures."
        quote = '"' if (suite.settings.file or "x.toml").endswith(".toml") else ""
        return (
            "Set "
            + " and ".join(f"{each} = {quote}session{quote}" for each in missing)
            + f" in {file}."
        )
    if suite.version >= (0, 24):
        return (
            f"Set {FIXTURE_OPTION} = session in {file}, and mark the tests with"
            " pytest.mark.asyncio(loop_scope='session'); from pytest-asyncio 0.26 on"
            f" {TEST_OPTION} = session does the second."
        )
    if suite.version >= (0, 23):
        return (
            "Mark the tests with pytest.mark.asyncio(scope='session') and give the async fixtures"
            " scope='session'; or go to pytest-asyncio 1.3 or newer, and set both loop scopes."
        )
    return (
        "Go to pytest-asyncio 1.3 or newer and"
        f" {cure_of('fixture-and-test', 'session-loop')}; on this version only a session-scoped"
        " event_loop fixture gives one loop."
    )


def version_name(suite: Suite) -> str:
    """pytest-asyncio with its version, for people."""
    return "pytest-asyncio " + ".".join(map(str, suite.version))
