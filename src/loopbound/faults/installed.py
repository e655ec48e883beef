"""Which versions there are, here or in another environment."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata

from loopbound.problem import Problem

PACKAGES = (
    "pytest",
    "pytest-asyncio",
    "anyio",
    "sqlalchemy",
    "asyncpg",
    "psycopg",
    "psycopg-pool",
    "aiosqlite",
    "redis",
    "httpx",
    "grpcio",
    "pymongo",
    "aiohttp",
)
_ASK = """
import sys
try:
    from importlib import metadata
except ImportError:
    metadata = None
found = {"python": "%d.%d" % sys.version_info[:2]}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except Exception:
        pass
import json
print(json.dumps(found))
"""
_LIMIT = 30  # seconds for an interpreter to answer


def versions_here() -> dict[str, str]:
    """Package → version in this environment; with ``"python"`` as x.y."""
    found = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}"}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def versions_of(python: str) -> dict[str, str]:
    """The same in the environment of another interpreter, which is asked.

    Raises:
        Problem: it does not answer.
    """
    try:
        done = subprocess.run(
            [python, "-I", "-c", _ASK, *PACKAGES],
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT,
        )
        return {str(name): str(version) for name, version in json.loads(done.stdout).items()}
    except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired):
        raise Problem(
            f"{python} does not answer as a Python interpreter.\n"
            "Give the path of one, such as .venv/bin/python (Windows: .venv\\Scripts\\python.exe)."
        ) from None


def need_of(needs: str) -> tuple[str, str, str]:
    """The package of a need, such as ``"pytest-asyncio<1.0"``, its ``">="`` or ``"<"``, and the
    version.
    """
    sign = "<" if "<" in needs else ">="
    name, _, version = needs.partition(sign)
    return name, sign, version


def meets(needs: str, versions: Mapping[str, str]) -> bool | None:
    """Whether versions fulfil a need such as ``"pytest-asyncio>=1.3"``; None where the package's
    version is not known.
    """
    name, sign, bound = need_of(needs)
    version = versions.get(name)
    if version is None:
        return None
    return (_numbers(version) < _numbers(bound)) == (sign == "<")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])
