"""Which version of a package a project has: locked, pinned, installed, or the newest allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.scan.settings import Unreadable, read_toml, upwards
from loopbound.scan.source import Project, text_of

Version = tuple[int, ...]

# The released ones, newest first, with the oldest Python that each runs on.
_PYTEST_ASYNCIO: tuple[tuple[Version, Version], ...] = (
    ((1, 5, 0), (3, 10)),
    ((1, 4, 1), (3, 10)),
    ((1, 4, 0), (3, 10)),
    ((1, 3, 0), (3, 10)),
    ((1, 2, 0), (3, 9)),
    ((1, 1, 1), (3, 9)),
    ((1, 1, 0), (3, 9)),
    ((1, 0, 0), (3, 9)),
    ((0, 26, 0), (3, 9)),
    ((0, 25, 3), (3, 9)),
    ((0, 25, 0), (3, 9)),
    ((0, 24, 0), (3, 8)),
    ((0, 23, 8), (3, 8)),
    ((0, 23, 0), (3, 8)),
    ((0, 21, 2), (3, 7)),
    ((0, 21, 1), (3, 7)),
    ((0, 21, 0), (3, 7)),
    ((0, 20, 3), (3, 7)),
    ((0, 20, 0), (3, 7)),
    ((0, 19, 0), (3, 7)),
    ((0, 18, 3), (3, 7)),
    ((0, 18, 0), (3, 7)),
    ((0, 17, 2), (3, 7)),
    ((0, 17, 0), (3, 7)),
    ((0, 16, 0), (3, 6)),
    ((0, 15, 1), (3, 6)),
    ((0, 14, 0), (3, 5)),
    ((0, 12, 0), (3, 5)),
    ((0, 10, 0), (3, 5)),
)
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_LOCKS = ("uv.lock", "poetry.lock", "pdm.lock", "pylock.toml", "Pipfile.lock", "pixi.lock")


@dataclass
class Stated:
    """What files say of one package.

    Attributes:
        wanted: requirement strings after the name, such as ``">=1.3"``.
        locked: the version of a lock file.
    """

    wanted: list[str] = field(default_factory=list)
    locked: str | None = None


class Versions:
    """The packages of a project, as seen from a folder of it.

    Args:
        project: the project.
        asked: versions of an interpreter that was asked; they win.
        python: the Python version to count with, such as ``(3, 9)``.
    """

    def __init__(
        self, project: Project, asked: dict[str, str] | None = None, python: Version | None = None
    ) -> None:
        self.project = project
        self.asked = asked
        self.python = python
        self.wrong: dict[str, str] = {}
        self._folders: dict[str, dict[str, Stated]] = {}
        self._files: dict[str, list[str]] = {}
        for relative in project.others:
            self._files.setdefault(relative.rpartition("/")[0], []).append(relative)

    def has(self, name: str, folder: str) -> bool:
        """Whether a package is asked for, locked or installed."""
        if self.asked is not None:
            return name in self.asked
        return self._stated(name, folder) is not None or self._installed(name, folder) is not None

    def of(self, name: str, folder: str) -> Version | None:
        """The version of a package that tests in a folder meet; None: nothing says it."""
        if self.asked is not None and name in self.asked:
            return parse(self.asked[name])
        stated = self._stated(name, folder)
        if stated is not None and stated.locked:
            return parse(stated.locked)
        pinned = [w for w in stated.wanted if re.match(r"={2,3}\s*\d", w)] if stated else []
        if pinned and "*" not in pinned[0]:
            return parse(pinned[0])
        installed = self._installed(name, folder)
        if installed is not None:
            return parse(installed)
        if name != "pytest-asyncio":
            return None
        wanted = stated.wanted if stated else []
        for version, least in _PYTEST_ASYNCIO:
            if self.python is not None and self.python < least:
                continue
            if all(allows(each, version) for each in wanted):
                return version
        return None

    def _stated(self, name: str, folder: str) -> Stated | None:
        best: Stated | None = None
        for here in upwards(folder):
            found = self._in_folder(here).get(name)
            if found is not None and (best is None or (found.locked and not best.locked)):
                if best is not None:
                    found = Stated(best.wanted, found.locked)
                best = found
            if best is not None and best.locked:
                break
        return best

    def _in_folder(self, folder: str) -> dict[str, Stated]:
        if folder not in self._folders:
            found: dict[str, Stated] = {}
            files = list(self._files.get(folder, ()))
            # requirements/dev.txt and the like belong to the folder above.
            for name in ("requirements", "reqs", "deps"):
                files += self._files.get(f"{folder}/{name}".lstrip("/"), ())
            for relative in sorted(files):
                try:
                    pairs = list(_requirements(self.project.others[relative]))
                except (OSError, Unreadable, ValueError) as error:
                    self.wrong[relative] = str(error)
                    continue
                for name, wanted, locked in pairs:
                    stated = found.setdefault(_normal(name), Stated())
                    if locked:
                        # Of several (for several Pythons) the newest, unless an older is asked for.
                        if stated.locked is None or parse(locked) > parse(stated.locked):
                            stated.locked = locked
                    else:
                        stated.wanted.append(wanted)
            self._folders[folder] = found
        return self._folders[folder]

    def _installed(self, name: str, folder: str) -> str | None:
        pattern = f"{name.replace('-', '_')}-*.dist-info"
        for environment in self.project.environments:
            above = environment.parent.relative_to(self.project.root).as_posix()
            if above != "." and above not in upwards(folder):
                continue
            for packages in (
                *environment.glob("lib*/python*/site-packages"),
                environment / "Lib" / "site-packages",
            ):
                for found in packages.glob(pattern):
                    return found.name.removesuffix(".dist-info").rpartition("-")[2]
        return None


def parse(version: str) -> Version:
    """The numbers of a version."""
    numbers = re.findall(r"\d+", re.split(r"[+a-zA-Z]", version.lstrip("=v ^~<>!"))[0])
    return tuple(int(each) for each in numbers[:3])


def allows(wanted: str, version: Version) -> bool:
    """Whether a requirement, in pip's or Poetry's words, admits a version."""
    wanted = wanted.split(";")[0].strip().strip("()")
    if "||" in wanted:
        return any(allows(each, version) for each in wanted.split("||"))
    return all(_allows(part.strip(), version) for part in re.split(r",|\s+(?=[<>=!~^])", wanted))


def _allows(part: str, version: Version) -> bool:
    named = re.match(r"(===|==|!=|<=|>=|~=|<|>|\^|~|=)?\s*v?([\d.]+)(\.?\*)?", part)
    if not named or not named[2].strip("."):
        return True
    sign, star = named[1] or "==", named[3]
    limit = tuple(int(each) for each in named[2].strip(".").split("."))
    size = max(len(limit), len(version))
    one, two = (each + (0,) * (size - len(each)) for each in (version, limit))
    if star and sign in ("==", "="):
        return version[: len(limit)] == limit
    if sign == "^":
        # The first number that is not 0 stays.
        fixed = next((n for n, each in enumerate(limit) if each), len(limit) - 1) + 1
        return one >= two and version[:fixed] == limit[:fixed]
    if sign == "~":
        return one >= two and version[:2] == limit[:2]
    if sign == "~=":
        return one >= two and version[: len(limit) - 1] == limit[:-1]
    return {
        "==": one == two,
        "===": one == two,
        "=": one == two,
        "!=": star is not None or one != two,
        "<=": one <= two,
        ">=": one >= two,
        "<": one < two,
        ">": one > two,
    }[sign]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(path: Path) -> Iterator[tuple[str, str, str]]:
    """What a file says of packages: name, requirement, locked version."""
    name = path.name
    if name in _LOCKS:
        yield from _locked(path)
    elif name == "pyproject.toml":
        yield from _of_pyproject(read_toml(path))
    elif name == "Pipfile":
        data = read_toml(path)
        for group in ("packages", "dev-packages"):
            yield from _table(data.get(group))
    elif name.endswith((".txt", ".in")):
        for line in text_of(path).splitlines():
            yield from _line(line)
    elif name in ("setup.py", "setup.cfg", "tox.ini", "noxfile.py"):
        for found in re.finditer(
            rf"""^\s*["']?({_NAME})(\[[^\]]*\])?\s*([<>=!~][^"'#\n;]*)""",
            text_of(path),
            re.MULTILINE,
        ):
            if not re.fullmatch(r"=\s.*|=[^=].*", found[3].strip()):
                yield found[1], found[3].strip(), ""
        for found in re.finditer(
            rf"""["']({_NAME})(\[[^\]]*\])?\s*([<>=!~][^"'#]*)?["']""", text_of(path)
        ):
            yield found[1], (found[3] or "").strip(), ""
    elif name in ("environment.yml", "environment.yaml"):
        for found in re.finditer(rf"^\s*-\s+({_NAME})\s*([<>=!~].*)?$", text_of(path), re.M):
            wanted = (found[2] or "").strip()
            yield found[1], re.sub(r"^=(?=\d)", "==", wanted), ""


def _line(line: str) -> Iterator[tuple[str, str, str]]:
    found = re.match(rf"\s*({_NAME})(\[[^\]]*\])?\s*\(?([^;#)]*)", line)
    if found and not re.match(r"\s*(-|https?:|git\+|#)", line):
        yield found[1], re.split(r"\s--|\\", found[3])[0].strip(), ""


def _table(table: Any) -> Iterator[tuple[str, str, str]]:
    for name, value in table.items() if isinstance(table, dict) else ():
        for each in value if isinstance(value, list) else [value]:
            version = each.get("version", "") if isinstance(each, dict) else each
            yield name, "" if version == "*" else str(version), ""


def _of_pyproject(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    project = data.get("project", {})
    tool = data.get("tool", {})
    lists: list[Any] = [project.get("dependencies")]
    for groups in (
        project.get("optional-dependencies"),
        data.get("dependency-groups"),
        tool.get("pdm", {}).get("dev-dependencies"),
    ):
        lists += groups.values() if isinstance(groups, dict) else ()
    lists.append(tool.get("uv", {}).get("dev-dependencies"))
    for environment in tool.get("hatch", {}).get("envs", {}).values():
        if isinstance(environment, dict):
            lists += [environment.get("dependencies"), environment.get("extra-dependencies")]
    for each in lists:
        for line in each if isinstance(each, list) else ():
            if isinstance(line, str):
                yield from _line(line)
    poetry = tool.get("poetry", {})
    yield from _table(poetry.get("dependencies"))
    yield from _table(poetry.get("dev-dependencies"))
    for group in poetry.get("group", {}).values():
        yield from _table(group.get("dependencies") if isinstance(group, dict) else None)


def _locked(path: Path) -> Iterator[tuple[str, str, str]]:
    text = text_of(path)
    if path.name == "Pipfile.lock":
        data = json.loads(text)
        for group in ("default", "develop"):
            for name, entry in data.get(group, {}).items():
                yield name, "", str(entry.get("version", "")).lstrip("=")
    elif path.name == "pixi.lock":
        for found in re.finditer(rf"name: ({_NAME})\s+version: ['\"]?([\w.]+)", text):
            yield found[1], "", found[2]
    else:
        # The same in all of them, and much faster than a TOML parser on a megabyte.
        for found in re.finditer(
            rf'^name = "({_NAME})"\nversion = "([^"]+)"', text.replace("\r\n", "\n"), re.M
        ):
            yield found[1], "", found[2]
