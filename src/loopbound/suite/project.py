"""The project that a run gets: a copy of its own, with an overlay laid over it."""

from __future__ import annotations

import ast
import shutil
import stat
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from loopbound.machine import syntax_tree
from loopbound.problem import Problem

Project = str | Path | Mapping[str, str]

# What a copy leaves out at the top of a project: its overlays, and what tools leave behind.
LEFT_OUT = ("fixes", "versions", ".git", ".venv", ".pytest_cache", ".ruff_cache", ".mypy_cache")
SETTINGS = "overlay.toml"


def lay_out(project: Project, overlay: Project | None, target: Path) -> None:
    """Make `target`: the project's files, then what the overlay deletes, removes, adds and
    replaces.

    Raises:
        Problem: no such folder, no file in it, one that cannot be copied, or an overlay that does
            not fit.
    """
    try:
        _lay_out(project, overlay, target)
    except OSError as error:
        # copytree goes on after an error and raises a list of them: (from, to, reason)
        several = isinstance(error, shutil.Error) and isinstance(error.args[0], list)
        place, reason = (
            error.args[0][0][::2] if several else (error.filename, error.strerror or str(error))
        )
        raise Problem(
            "The project cannot be copied for a run:"
            f" {str(place).replace(str(target), 'project')}\nIt says: {reason}"
        ) from None


def _lay_out(project: Project, overlay: Project | None, target: Path) -> None:
    target.mkdir()
    if isinstance(project, Mapping):
        if not project:
            raise Problem(
                "The project is empty: give at least one file, {'test_report.py': 'def test_…'}."
            )
        _write(project, target)
    else:
        folder = Path(project)
        if not folder.is_dir():
            raise Problem(f"There is no project folder {folder}.")
        _copy(folder, target)
    if overlay is not None:
        _lay_over(overlay, target)


def _copy(folder: Path, target: Path, left_out: Iterable[str] = LEFT_OUT) -> None:
    def ignored(place: str, names: list[str]) -> list[str]:
        top = Path(place) == folder
        return [name for name in names if name == "__pycache__" or (top and name in left_out)]

    shutil.copytree(folder, target, ignore=ignored, dirs_exist_ok=True)
    # A clone may be read-only; its copy is there to be changed.
    for path in [target, *target.rglob("*")]:
        path.chmod(
            path.stat().st_mode | (stat.S_IRWXU if path.is_dir() else stat.S_IRUSR | stat.S_IWUSR)
        )


def _write(files: Mapping[str, str], target: Path) -> None:
    for name, text in files.items():
        path = target / _inside(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A notebook's cell holds it indented, between two quotes of a line each.
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or set("\\:\0") & set(name):
        raise Problem(
            f"{name!r} is no file below the project: write it like 'tests/test_report.py'."
        )
    return path


def _lay_over(overlay: Project, target: Path) -> None:
    if isinstance(overlay, Mapping):
        where, text = "the overlay", overlay.get(SETTINGS, "")
    else:
        folder = Path(overlay)
        if not folder.is_dir():
            raise Problem(f"There is no overlay folder {folder}.")
        where = str(folder)
        settings = folder / SETTINGS
        text = read_text(settings) if settings.is_file() else ""
    wanted = _settings(text, where)
    # First what goes: a fixture that the overlay brings itself has to stay.
    for name in wanted["delete"]:
        path = target / _inside(name)
        if not path.is_file():
            raise Problem(f"{SETTINGS} of {where} deletes {name}, which the project does not have.")
        path.unlink()
    _remove_fixtures(wanted["remove"], target, where)
    if isinstance(overlay, Mapping):
        _write({name: text for name, text in overlay.items() if name != SETTINGS}, target)
    else:
        _copy(folder, target, left_out=(SETTINGS, *LEFT_OUT))


def _settings(text: str, where: str) -> dict[str, list[str]]:
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"{SETTINGS} of {where} cannot be read: {error}.") from None
    for key, value in read.items():
        if key not in ("remove", "delete"):
            raise Problem(f"{SETTINGS} of {where} has {key!r}; known are remove and delete.")
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            raise Problem(f"{SETTINGS} of {where}: {key} is a list of names.")
    return {"remove": [], "delete": [], **read}


def _remove_fixtures(names: list[str], target: Path, where: str) -> None:
    missing = set(names)
    for path in sorted((target / "tests").rglob("*.py")) if names else ():
        text = read_text(path)
        try:
            shorter, found = without(text, names)
        except (SyntaxError, ValueError) as error:
            raise Problem(
                f"{SETTINGS} of {where} removes fixtures, but {path.relative_to(target)} is no"
                f" Python: {error}."
            ) from None
        missing -= found
        if found:
            path.write_text(shorter, encoding="utf-8")
    if missing:
        raise Problem(
            f"{SETTINGS} of {where} removes {', '.join(sorted(missing))}: no fixture below tests/"
            " has that name."
        )


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        Problem: it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Problem(f"{path.parent.name}/{path.name} is not UTF-8: {error}.") from None


def without(source: str, names: Iterable[str]) -> tuple[str, set[str]]:
    """A test file without the fixtures of these names, nor the imports that only they used; and the
    names it had.
    """
    tree = syntax_tree(source)
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    gone = [
        node
        for node in tree.body
        if isinstance(node, functions)
        and node.name in set(names)
        and any("fixture" in ast.dump(d) for d in node.decorator_list)
    ]
    if not gone:
        return source, set()
    kept = [node for node in tree.body if node not in gone]
    orphans = _used(gone) - _used(kept)
    lines = source.splitlines(keepends=True)
    edits = [
        (min(d.lineno for d in [*node.decorator_list, node]), node.end_lineno, "") for node in gone
    ]
    for node in kept:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            left = [
                alias
                for alias in node.names
                if (alias.asname or alias.name).split(".")[0] not in orphans
            ]
            if len(left) < len(node.names):
                node.names = left
                edits.append(
                    (node.lineno, node.end_lineno, ast.unparse(node) + "\n" if left else "")
                )
    for first, last, text in sorted(edits, reverse=True):
        lines[first - 1 : last] = [text]
    return "".join(lines), {node.name for node in gone}


def _used(nodes: Iterable[ast.AST]) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}
