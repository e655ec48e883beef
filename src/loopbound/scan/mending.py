"""What `--fix` changes: the two loop scopes in the right file, and dead event_loop fixtures with the
imports that only they used.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from loopbound.scan.cures import options_to_set
from loopbound.scan.findings import Finding
from loopbound.scan.scan import Report
from loopbound.scan.suite import FIXTURE_OPTION, TEST_OPTION, Suite

# One loop for all cures these in a suite of pytest-asyncio.
_CURED = ("ENGINE_OVER_FUNCTION_LOOPS", "FIXTURE_TEST_LOOP_MISMATCH", "NULLPOOL_NOT_ENOUGH")


@dataclass
class Change:
    """The new text of one file.

    Attributes:
        file: relative to the scanned folder.
        path: the file.
        before: its text.
        after: what it becomes.
        cured: the findings that this cures.
        idle: names that what was taken out used.
    """

    file: str
    path: Path
    before: str
    after: str
    cured: list[Finding]
    idle: set[str] = field(default_factory=set)

    def diff(self) -> str:
        """The change as a unified diff."""
        return "".join(
            line if line.endswith("\n") else line + "\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                f"a/{self.file}",
                f"b/{self.file}",
            )
        )


def changes(report: Report) -> list[Change]:
    """What can be mended safely; nothing is written."""
    found: dict[str, Change] = {}
    for suite in report.suites:
        cured = [each for each in report.findings if each.code in _CURED and _is_of(each, suite)]
        if cured and suite.version >= (0, 26) and suite.has_asyncio and options_to_set(suite):
            _set_options(report, suite, cured, found)
    for finding in report.findings:
        if finding.code == "DEAD_EVENT_LOOP_OVERRIDE":
            _delete(report, finding, found)
    for change in found.values():
        change.after = _without_imports(change.after, change.idle)
    return [each for each in found.values() if each.after != each.before]


def _is_of(finding: Finding, suite: Suite) -> bool:
    """Whether a finding comes from a suite whose tests pytest-asyncio runs."""
    if any(test.runner in ("anyio", "unittest") for test in suite.tests):
        return False
    places = {finding.file, *(file for file, _, _ in finding.also)}
    own = {module.relative for module in (*suite.modules, *suite.conftests.values())}
    return bool(places & own)


def _change(report: Report, file: str, found: dict[str, Change]) -> Change | None:
    if file not in found:
        path = report.root / file
        try:
            text = path.read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        found[file] = Change(file, path, text, text, [])
    return found[file]


def _set_options(
    report: Report, suite: Suite, cured: list[Finding], found: dict[str, Change]
) -> None:
    file = suite.settings.file
    if file is None:
        return  # which file pytest is to have is the owner's choice
    change = _change(report, file, found)
    if change is None:
        return
    name = file.rpartition("/")[2]
    heads = [r"\[pytest\]"]
    if name == "pyproject.toml":
        heads = [r"\[tool\.pytest\.ini_options\]", r"\[tool\.pytest\]"]
    elif name == "setup.cfg":
        heads = [r"\[tool:pytest\]"]
    value = '"session"' if name.endswith(".toml") else "session"
    text = change.after
    for option in (FIXTURE_OPTION, TEST_OPTION):
        set_already = re.compile(
            rf"^(\s*{option}\s*=[ \t]*)([^\r\n#]*?)([ \t]*(?:#[^\r\n]*)?)(?=\r?$)", re.M
        )
        if set_already.search(text):
            text = set_already.sub(rf"\g<1>{value}\g<3>", text, count=1)
            continue
        for head in heads:
            line = re.search(rf"^{head}[ \t]*(?:[#;][^\r\n]*)?(\r?\n|\Z)", text, re.M)
            if line:
                end = line[1] or "\n"
                start = text[: line.end()] + ("" if line[1] else end)
                text = f"{start}{option} = {value}{end}{text[line.end() :]}"
                break
        else:
            return
    change.after = text
    change.cured += cured


def _delete(report: Report, finding: Finding, found: dict[str, Change]) -> None:
    """Take a dead fixture out, with its decorators and the comment directly above it."""
    change = _change(report, finding.file, found)
    if change is None:
        return
    lines = change.after.splitlines(keepends=True)
    original = change.before.splitlines(keepends=True)
    module = report.suites[0].project.modules[finding.file]
    func = next(each for each in module.all_functions if each.line == finding.line)
    if func.owner is not None or lines[: finding.line] != original[: finding.line]:
        return
    first = finding.first - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    last = func.node.end_lineno or finding.line
    while last < len(lines) and not lines[last].strip():
        last += 1
    change.after = "".join(lines[:first] + lines[last:])
    change.cured.append(finding)
    change.idle |= _names(func.node)


# Imported for their names alone: another module's import may be there for what it does.
_FOR_NAMES = sys.stdlib_module_names | {"pytest", "pytest_asyncio"}


def _without_imports(text: str, names: set[str]) -> str:
    """A module without the imports that bind names which nothing in it uses.

    Args:
        text: the module's.
        names: those that may go.
    """
    try:
        tree = ast.parse(text) if names else ast.Module(body=[], type_ignores=[])
    except (SyntaxError, ValueError):
        return text
    idle = names - _names(tree)
    lines = text.splitlines(keepends=True)
    for node in reversed(tree.body):  # from the end on: the numbers of lines before stay
        if isinstance(node, ast.Import | ast.ImportFrom) and not getattr(node, "level", 0):
            _thin(lines, node, idle)
    return "".join(lines)


def _thin(lines: list[str], node: ast.Import | ast.ImportFrom, idle: set[str]) -> None:
    """Take names out of an import, or the whole of it; not where that would lose more."""
    source = getattr(node, "module", None)
    kept = [
        alias
        for alias in node.names
        if (alias.asname or alias.name.partition(".")[0]) not in idle
        or (source or alias.name).partition(".")[0] not in _FOR_NAMES
    ]
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    whole = "".join(lines[first:last])
    tail = lines[last - 1].encode()[node.end_col_offset or 0 :].decode()
    if len(kept) == len(node.names) or node.col_offset or tail.strip()[:1] not in ("", "#"):
        return
    if kept:
        if "#" not in whole.removesuffix(tail):
            node.names = kept
            lines[first:last] = [ast.unparse(node) + tail]
        return
    del lines[first:last]
    below_a_gap = not first or not lines[first - 1].strip()
    while below_a_gap and first < len(lines) and not lines[first].strip():
        del lines[first]


def _names(tree: ast.AST) -> set[str]:
    """The names that code uses, also those in its strings: annotations, ``__all__``."""
    return {name for node in ast.walk(tree) for name in _of_node(node)}


def _of_node(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name):
        yield node.id
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from re.findall(r"[A-Za-z_]\w*", node.value)
