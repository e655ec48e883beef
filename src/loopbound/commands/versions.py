"""`loopbound versions`: run the probes in each environment, then compare with what is stored, or
store it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopbound.files import check_writable, write_json
from loopbound.suite.versions.environments import chosen, environments, python_of, versions_in
from loopbound.suite.versions.observed import OBSERVED, stored
from loopbound.suite.versions.running import observe
from loopbound.terminal import ProgressLine, ended_in_good_order


def versions_command(names: Sequence[str], target: Path | None, write: bool) -> int:
    """Observe on these environments (all without a name); returns 1 where something is not as
    stored, else 0.

    Args:
        names: of environments.
        target: where to write what was observed now, as JSON.
        write: keep it as the new stored rows, instead of comparing.

    Raises:
        Problem: no such environment, it cannot be made, or a file cannot be written.
    """
    wanted = chosen(names)
    for path in filter(None, (target, OBSERVED if write else None)):
        check_writable(path)  # before the runs, which take long
    before = {"environments": {}} if write and not OBSERVED.exists() else stored()
    found: dict[str, Any] = {"environments": {}}
    with ended_in_good_order():
        for environment in wanted:
            found["environments"][environment.name] = observe_one(
                environment.name, environment.runs
            )
    if target:
        write_json(target, tidy(found))
    if write:
        known = {environment.name for environment in environments()}
        kept = {name: rows for name, rows in before["environments"].items() if name in known}
        write_json(OBSERVED, tidy({"environments": kept | found["environments"]}))
        print(f"Written: {OBSERVED}")
        return 0
    different = differences(before, found)
    for line in different:
        print(line)
    facts = sum(len(rows["observed"]) for rows in found["environments"].values())
    print(
        f"{facts} facts on {len(wanted)} environments:"
        f" {f'{len(different)} differ' if different else 'all as stored'}."
    )
    return 1 if different else 0


def observe_one(
    name: str, topics: Sequence[str], fixes: Sequence[str] | None = None
) -> dict[str, dict[str, str]]:
    """Observe in one environment, with progress on stderr.

    Args:
        name: the environment's.
        topics: of "incident", "matrix", "plugin", "pool".
        fixes: the incident's, all by default.

    Returns:
        ``{"versions": {package: version}, "observed": {fact: text}}``.
    """
    began = time.perf_counter()
    with ProgressLine() as progress:
        progress.pass_by(f"{name}: making the environment ...")
        python = python_of(name)
        versions = versions_in(python)
        facts = observe(
            python,
            topics,
            fixes,
            lambda number, of: progress.pass_by(f"{name}: {number} of {of} runs"),
        )
        progress.stay(f"{name}: {len(facts)} facts, {time.perf_counter() - began:.0f} s")
    return {"versions": versions, "observed": facts}


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not as it was, a line each, in the environments that `now` has. Another Python alone
    is no difference.

    Args:
        before, now: as `stored` gives them.
    """
    lines = []
    for name, rows in now["environments"].items():
        old = before["environments"].get(name)
        if old is None:
            lines.append(f"{name}: nothing is stored of it")
            continue
        for kind, label in (("versions", "version of "), ("observed", "")):
            for key in sorted((old[kind].keys() | rows[kind].keys()) - {"python"}):
                was, seen = old[kind].get(key, "nothing"), rows[kind].get(key, "nothing")
                if was != seen:
                    lines.append(f"{name}: {label}{key}: stored {was!r}, now {seen!r}")
    return lines


def tidy(rows: dict[str, Any]) -> dict[str, Any]:
    """The same, sorted."""
    return {
        key: tidy(value) if isinstance(value, dict) else value
        for key, value in sorted(rows.items())
    }
