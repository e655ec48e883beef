"""What pytest reads for a folder of tests, in its own precedence; and ``[tool.loopbound]``."""

from __future__ import annotations

import configparser
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from loopbound.scan.source import Project, matches, text_of

# In a folder, the first of these that counts is the one (pytest 9; older ones know fewer).
_NAMES = (
    "pytest.toml",
    ".pytest.toml",
    "pytest.ini",
    ".pytest.ini",
    "pyproject.toml",
    "tox.ini",
    "setup.cfg",
)
_COUNTS_WHEN_EMPTY = _NAMES[:4]


class Unreadable(Exception):
    """A configuration file that cannot be read."""


@dataclass
class Settings:
    """pytest's configuration for one folder of tests.

    Attributes:
        folder: pytest's rootdir, relative to the project's root.
        file: the configuration file, relative too; None: there is none.
        values: the options, as written.
        lines: option → its line.
    """

    folder: str
    file: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """An option's value, or None; ``addopts`` with ``-o`` wins."""
        value = self._overrides.get(name, self.values.get(name))
        if value is None:
            return None
        return " ".join(map(str, value)) if isinstance(value, list) else str(value).strip()

    def words(self, name: str, default: str) -> list[str]:
        """An option that is a list."""
        value = self.values.get(name)
        if isinstance(value, list):
            return [str(each) for each in value]
        return str(value).split() if value is not None else default.split()

    @cached_property
    def options(self) -> list[str]:
        """The words of ``addopts``."""
        value = self.values.get("addopts", "")
        if isinstance(value, list):
            return [str(each) for each in value]
        try:
            return shlex.split(str(value))
        except ValueError:
            return str(value).split()

    @cached_property
    def _overrides(self) -> dict[str, str]:
        found: dict[str, str] = {}
        words = self.options
        for number, word in enumerate(words):
            following = words[number + 1] if number + 1 < len(words) else ""
            if word in ("-o", "--override-ini"):
                word = f"-o{following}"
            elif word in ("--asyncio-mode", "--anyio-mode"):
                word = f"{word}={following}"
            if word.startswith(("-o", "--override-ini=")) and "=" in word:
                name, _, value = re.sub(r"^(-o|--override-ini=)=?", "", word).partition("=")
                found[name.strip()] = value.strip()
            elif word.startswith(("--asyncio-mode=", "--anyio-mode=")):
                name, _, value = word[2:].partition("=")
                found[name.replace("-", "_")] = value
        return found

    def without(self, plugin: str) -> bool:
        """Whether ``-p no:PLUGIN`` switches a plugin off."""
        words = self.options
        return f"-pno:{plugin}" in words or any(
            one == "-p" and two == f"no:{plugin}" for one, two in pairwise(words)
        )

    def collects(self, folder: str) -> bool:
        """Whether pytest goes into a folder when it is started here without words."""
        inside = folder[len(self.folder) :].lstrip("/")
        paths = self.words("testpaths", "")
        return not matches(inside, self.words("norecursedirs", "")) and (
            not paths or matches(inside, paths)
        )


class Configuration:
    """Finds the settings that hold for a folder."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.wrong: dict[str, str] = {}
        self._here: dict[str, Settings | None] = {}
        self._for: dict[str, Settings] = {}

    def settings(self, folder: str) -> Settings:
        """The settings for tests in a folder, relative to the project's root.

        The nearest file on the way up counts, as when pytest is started there; but not one in a
        folder that is no project of its own, below one that has a file and collects the tests:
        pytest is started above.
        """
        if folder not in self._for:
            found = [each for each in map(self._at, upwards(folder)) if each is not None]
            best = found[0] if found else None
            for outer in found[1:]:
                if best is None or self._is_project(best.folder):
                    break
                if outer.collects(folder):
                    best = outer
            self._for[folder] = best or Settings(self._nearest_project(folder))
        return self._for[folder]

    def _is_project(self, folder: str) -> bool:
        others = self.project.others
        names = (
            "pyproject.toml",
            "setup.py",
            "setup.cfg",
            "tox.ini",
            "requirements.txt",
            "Pipfile",
        )
        return any(f"{folder}/{name}".lstrip("/") in others for name in names)

    def _nearest_project(self, folder: str) -> str:
        return next((each for each in upwards(folder) if self._is_project(each)), "")

    def _at(self, folder: str) -> Settings | None:
        if folder not in self._here:
            self._here[folder] = self._read(folder)
        return self._here[folder]

    def _read(self, folder: str) -> Settings | None:
        for name in _NAMES:
            relative = f"{folder}/{name}".lstrip("/")
            path = self.project.others.get(relative) or self._hidden(relative)
            if path is None:
                continue
            try:
                values = _values(path, name)
            except (OSError, Unreadable) as error:
                self.wrong[relative] = str(error)
                continue
            if values is None and name not in _COUNTS_WHEN_EMPTY:
                continue
            return Settings(folder, relative, values or {}, _option_lines(path, values or {}))
        return None

    def _hidden(self, relative: str) -> Path | None:
        path = self.project.root / relative
        return (
            path if relative.rpartition("/")[2] in _COUNTS_WHEN_EMPTY and path.is_file() else None
        )


def _values(path: Path, name: str) -> dict[str, Any] | None:
    if name.endswith(".toml"):
        data = read_toml(path)
        if name == "pyproject.toml":
            table = data.get("tool", {}).get("pytest")
            if not isinstance(table, dict):
                return None
            inner = table.get("ini_options")
            # [tool.pytest] itself since pytest 9.
            own = {key: value for key, value in table.items() if key != "ini_options"}
            return inner if isinstance(inner, dict) else own
        table = data.get("pytest")
        return table if isinstance(table, dict) else {}
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(text_of(path))
    except configparser.Error as error:
        raise Unreadable(str(error).splitlines()[0]) from None
    section = "tool:pytest" if name == "setup.cfg" else "pytest"
    if not parser.has_section(section):
        return None
    return {key: value if value is not None else "" for key, value in parser.items(section)}


def _option_lines(path: Path, values: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, line in enumerate(text_of(path).splitlines(), 1):
        named = re.match(r"\s*([A-Za-z_]+)\s*[=:]", line)
        if named and named[1] in values:
            found.setdefault(named[1], number)
    return found


def upwards(folder: str) -> list[str]:
    """The folder and those above it, nearest first; "" is the project's root."""
    found = [folder] if folder else []
    while "/" in folder:
        folder = folder.rpartition("/")[0]
        found.append(folder)
    return [*found, ""]


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file's content.

    Raises:
        Unreadable: it is no TOML.
    """
    try:
        return tomllib.loads(text_of(path))
    except ValueError as error:
        raise Unreadable(str(error)) from None
