"""The scan of one project: options, rules, and what comments and options leave out."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopbound.faults.installed import versions_of
from loopbound.problem import Problem
from loopbound.scan.engines import LENIENT_DRIVERS, STRICT_DRIVERS, Engines
from loopbound.scan.findings import CODES, Finding
from loopbound.scan.programs import ProgramRules
from loopbound.scan.rules import SuiteRules
from loopbound.scan.settings import Configuration, Unreadable, read_toml
from loopbound.scan.source import Project, matches, text_of
from loopbound.scan.suite import Suite, Suites
from loopbound.scan.versions import Versions, parse

_IGNORE = re.compile(r"#\s*loopbound:\s*ignore(?:\[([^\]]*)\])?")
_IGNORE_FILE = re.compile(r"^\s*#\s*loopbound:\s*ignore-file(?:\[([^\]]*)\])?", re.MULTILINE)
_OPTIONS = {"select": list, "ignore": list, "exclude": list, "per-file-ignores": dict}
# A recursion in a very nested expression is the parser's, not ours; ours follow it.
_NESTING = 3000


@dataclass
class Options:
    """What the command line and ``[tool.loopbound]`` say.

    Attributes:
        select: codes, or beginnings of codes, to report; empty: all.
        ignore: those not to report.
        exclude: paths or patterns that are not read.
        per_file_ignores: pattern of a path → codes.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    per_file_ignores: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class Report:
    """What a scan found.

    Attributes:
        root: the folder that the files' names start from.
        findings: in order of file and line.
        suites: the test suites, for `loopbound.scan.mending`.
        lines: lines of Python that were looked at.
        files: how many files.
        unread: file → why it could not be read or parsed.
    """

    root: Path
    findings: list[Finding]
    suites: list[Suite]
    lines: int
    files: int
    unread: dict[str, str]


def scan(
    path: Path,
    python: str | None = None,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
) -> Report:
    """Scan a project.

    Args:
        path: its folder, or one file: then only findings in it are reported.
        python: a version such as ``"3.10"``, or the interpreter of the project's environment,
            which is asked for the versions that it has.
        select: codes to report; they win over ``[tool.loopbound]``.
        ignore: codes not to report, with those of ``[tool.loopbound]``.

    Raises:
        Problem: there is no such path, a code is unknown, or a setting is wrong.
    """
    if not path.exists():
        raise Problem(f"{path} does not exist.\nGive the folder of the project: loopbound scan .")
    root = path if path.is_dir() else _project_of(path)
    options = _options(root)
    if select:
        options.select = _codes(select, "--select")
    options.ignore = (*options.ignore, *_codes(ignore, "--ignore"))
    asked, version = _python(python)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _NESTING))
    # Trees of nodes, all of which stay: the collector only costs time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _scanned(path, root, options, asked, version)
    finally:
        sys.setrecursionlimit(limit)
        if collecting:
            gc.enable()


def _scanned(
    path: Path,
    root: Path,
    options: Options,
    asked: dict[str, str] | None,
    version: tuple[int, ...] | None,
) -> Report:
    project = Project(root, options.exclude)
    configuration = Configuration(project)
    versions = Versions(project, asked, version)

    def drivers(folder: str) -> list[str]:
        return [name for name in (*STRICT_DRIVERS, *LENIENT_DRIVERS) if versions.has(name, folder)]

    engines = Engines(project, drivers)
    suites = list(Suites(project, configuration, versions))
    found: list[Finding] = []
    for suite in suites:
        found += SuiteRules(suite, engines).findings()
    found += ProgramRules(project, engines).findings()
    unique = {(each.code, each.file, each.line): each for each in reversed(found)}
    kept = [each for each in unique.values() if _is_kept(each, project, options)]
    if path.is_file():
        only = path.resolve().relative_to(root.resolve()).as_posix()
        kept = [each for each in kept if each.file == only]
    return Report(
        root,
        sorted(kept, key=lambda each: each.rank),
        suites,
        project.lines,
        len(project.modules),
        {**configuration.wrong, **versions.wrong, **project.unread},
    )


def _project_of(file: Path) -> Path:
    """The folder of the project that a file belongs to."""
    file = file.resolve()
    for folder in file.parents:
        if any((folder / name).exists() for name in (".git", "pyproject.toml", "setup.py")):
            return folder
    return file.parent


def _python(said: str | None) -> tuple[dict[str, str] | None, tuple[int, ...] | None]:
    if said is None:
        return None, None
    if re.fullmatch(r"\d+(\.\d+){0,2}", said):
        return None, parse(said)[:2]
    return versions_of(said), None


def _options(root: Path) -> Options:
    """``[tool.loopbound]`` of the nearest pyproject.toml, in the folder or above it.

    Raises:
        Problem: a key or a value of it is wrong.
    """
    for folder in (root.resolve(), *root.resolve().parents):
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                table = read_toml(file).get("tool", {}).get("loopbound")
            except (Unreadable, OSError) as error:
                raise Problem(f"{file} cannot be read: {error}") from None
            if table is not None:
                return _checked(table, file)
        if (folder / ".git").exists():
            break
    return Options()


def _checked(table: Any, file: Path) -> Options:
    here = f"[tool.loopbound] in {file}"
    if not isinstance(table, dict):
        raise Problem(f"{here} is no table.")
    for key, value in table.items():
        kind = _OPTIONS.get(key)
        if kind is None:
            raise Problem(f"{here}: there is no option {key!r}.\nThere are: {', '.join(_OPTIONS)}.")
        if not isinstance(value, kind):
            raise Problem(f"{here}: {key} is to be a {'list' if kind is list else 'table'}.")
    per_file = {}
    for pattern, codes in table.get("per-file-ignores", {}).items():
        if not isinstance(codes, list):
            raise Problem(f"{here}: per-file-ignores needs a list of codes for {pattern!r}.")
        per_file[str(pattern)] = _codes(map(str, codes), here)
    return Options(
        _codes(map(str, table.get("select", ())), here),
        _codes(map(str, table.get("ignore", ())), here),
        tuple(map(str, table.get("exclude", ()))),
        per_file,
    )


def _codes(said: Iterable[str], where: str) -> tuple[str, ...]:
    """Codes, or beginnings of codes, in the capitals in which they are written."""
    found = [part.strip().upper() for each in said for part in each.split(",") if part.strip()]
    for code in found:
        if code != "ALL" and not any(each.startswith(code) for each in CODES):
            raise Problem(
                f"{where}: no code is, or starts with, {code}.\nCodes: {', '.join(CODES)}."
            )
    return tuple("" if code == "ALL" else code for code in found)


def _is_kept(finding: Finding, project: Project, options: Options) -> bool:
    if options.select and not finding.code.startswith(options.select):
        return False
    if options.ignore and finding.code.startswith(options.ignore):
        return False
    for pattern, codes in options.per_file_ignores.items():
        if matches(finding.file, [pattern]) and finding.code.startswith(codes):
            return False
    module = project.modules.get(finding.file)
    if module is None:
        file = project.others.get(finding.file)
        lines = text_of(file).splitlines() if file else []
    else:
        lines = module.lines
        whole = _IGNORE_FILE.search(module.source) if b"loopbound" in module.data else None
        if whole and _covers(whole[1], finding.code):
            return False
    first, last = finding.first or finding.line, max(finding.last, finding.line)
    for line in lines[first - 1 : last]:
        found = _IGNORE.search(line)
        if found and _covers(found[1], finding.code):
            return False
    return True


def _covers(codes: str | None, code: str) -> bool:
    return codes is None or any(
        part.strip() and code.startswith(part.strip().upper()) for part in codes.split(",")
    )
