"""The rows that `loopbound versions --write` has stored, and those that fit this machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopbound.problem import Problem
from loopbound.suite.incident import BACKEND

OBSERVED = BACKEND / "versions" / "observed.json"
"""Where they are stored."""
SHOWN = ("pytest", "pytest-asyncio", "sqlalchemy", "asyncpg", "anyio")
"""The packages whose versions a row carries."""


@dataclass(frozen=True)
class Row:
    """One thing that was observed on one set of versions.

    Attributes:
        environment: its name in the versions project, such as ``"asyncio-0-21"``; "" where there is
            none.
        versions: package → version, as that environment's own metadata said; ``"python"`` as x.y.
        fact: what was looked at, such as ``"mode when unset"``.
        observed: what was seen, in words: ``"strict"``.
    """

    environment: str
    versions: dict[str, str]
    fact: str
    observed: str


def stored(path: Path = OBSERVED) -> dict[str, Any]:
    """``{"environments": {name: {"versions": {package: version}, "observed": {fact: text}}}}`` as
    the file has it.

    Raises:
        Problem: the file is not there or cannot be read.
    """
    again = "Get it back with git restore, or make it: loopbound versions --write"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Problem(f"nothing has been observed yet: {path} is missing.\n{again}") from None
    except (OSError, ValueError) as error:
        raise Problem(f"{path} cannot be read: {error}.\n{again}") from None


def observed(*facts: str) -> list[Row]:
    """Rows of these facts, older versions first and then in the order asked for; of all facts
    without one.

    Raises:
        Problem: a fact that was not observed.
    """
    found = [
        Row(name, kept["versions"], fact, text)
        for name, kept in sorted(
            stored()["environments"].items(), key=lambda pair: _age(pair[1]["versions"])
        )
        for fact, text in kept["observed"].items()
    ]
    if unknown := set(facts) - {row.fact for row in found}:
        raise Problem(
            f"no such fact: {', '.join(sorted(unknown))}.\nobserved() without words gives them all."
        )
    if not facts:
        return found
    rank = {fact: number for number, fact in enumerate(facts)}
    return sorted(
        (row for row in found if row.fact in rank),
        key=lambda row: (_age(row.versions), rank[row.fact]),
    )


def expect_here(*facts: str, installed: dict[str, str] | None = None) -> list[Row]:
    """For each fact the row that fits the installed versions: those, or the nearest that are not
    newer.

    A fact about a connection pool goes by SQLAlchemy's version, the others by pytest-asyncio's.

    Args:
        facts: which; all without one.
        installed: package → version, for a look from elsewhere; what is installed here by default.

    Returns:
        A row a fact, in the order asked for. Where nothing fits, the row's environment is "" and
        its ``observed`` says so.
    """
    here = _installed() if installed is None else installed
    by_fact: dict[str, list[Row]] = {fact: [] for fact in facts}
    for row in observed(*facts):
        by_fact.setdefault(row.fact, []).append(row)
    return [_nearest(fact, rows, here) for fact, rows in by_fact.items()]


def _nearest(fact: str, rows: list[Row], here: dict[str, str]) -> Row:
    leading = "sqlalchemy" if "loop after loop" in fact else "pytest-asyncio"
    version = here.get(leading)
    if version is None:
        return Row("", here, fact, f"not known: {leading} is not installed here")
    fitting = [row for row in rows if number(row.versions[leading]) <= number(version)]
    if not fitting:
        return Row("", here, fact, f"not known: nothing as old as {leading} {version} was run")

    def nearness(row: Row) -> tuple[tuple[int, ...], int]:
        # Of several with the leading package's version, the one with most of the others like here.
        alike = sum(row.versions.get(package) == other for package, other in here.items())
        return number(row.versions[leading]), alike

    return max(fitting, key=nearness)


def number(version: str) -> tuple[int, ...]:
    """A version's numbers, to compare by: (1, 4, 1) of ``"1.4.1.post1"``."""
    leading = re.match(r"[0-9.]*", version)[0]  # type: ignore[index]  # matches every text
    return tuple(int(part) for part in leading.split(".") if part)


def _age(versions: dict[str, str]) -> tuple[tuple[int, ...], ...]:
    return tuple(
        number(versions[package]) for package in ("pytest-asyncio", "sqlalchemy", "asyncpg")
    )


def _installed() -> dict[str, str]:
    found = {}
    for package in SHOWN:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found
