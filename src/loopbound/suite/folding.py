"""A case's source with its cure decided: what a reader would have in the file, without `CURE`.

Cases choose by the name in ``CURE``, so that one file holds the fault and all its cures. What runs,
and what a reader is shown to paste, is the file after that choice.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator

__all__ = ["defined_in", "folded", "imports_of"]

KEPT = "# of the case"
"""On a line whose choice is the experiment's own, such as a time limit, and no part of a cure."""


@functools.cache
def folded(source: str, cure: str | None) -> str:
    """The source with each choice by ``CURE`` made.

    Comments and the form of all other lines stay. The name ``CURE`` itself stays defined.

    Args:
        source: a module of a case.
        cure: the value of ``CURE`` in it.
    """
    while edit := _next_edit(source, cure):
        start, end, text = edit
        data = source.encode()
        source = (data[:start] + text.encode() + data[end:]).decode()
    source = _without_dead_lines(_without_options(source))
    source = re.sub(r"@\(([\w.]+)\)", r"@\1", source)
    return re.sub(r"\n{4,}", "\n\n\n", source)


def imports_of(source: str) -> dict[str, str]:
    """Name → the import statement of the module that binds it."""
    bound = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                bound[(alias.asname or alias.name).partition(".")[0]] = f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                bound[alias.asname or alias.name] = f"from {node.module} import {alias.name}"
    return bound


def defined_in(source: str) -> dict[str, str]:
    """Name → the statement at the top level of the module that defines it, imports left out."""
    found = {}
    for node in ast.parse(source).body:
        text = ast.get_source_segment(source, node) or ""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.decorator_list:
            found[node.name] = text
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = text
    return found


def _next_edit(source: str, cure: str | None) -> tuple[int, int, str] | None:
    """The outermost choice that is still there: from, to (bytes), and what takes its place."""
    lines = source.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    for parent in ast.walk(tree):
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.If) and _decides(node.test, lines):
                text = _branch(node, lines, _value(node.test, cure), alone=_alone(parent, node))
                return starts[node.lineno - 1], starts[node.end_lineno or 0], text
            if isinstance(node, ast.IfExp) and _decides(node.test, lines):
                chosen: ast.expr = node.body if _value(node.test, cure) else node.orelse
            elif isinstance(node, ast.Call) and _looks_up(node):
                chosen = _found(node, cure)
            else:
                continue
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)
            return begin, end, ast.get_source_segment(source, chosen) or ""
    return None


def _decides(test: ast.expr, lines: list[bytes]) -> bool:
    """Whether a test asks for the cure and for nothing else."""
    if KEPT.encode() in lines[test.lineno - 1]:
        return False
    words = ast.unparse(test)
    names = set(re.findall(r"[A-Za-z_][\w.]*", re.sub(r"(['\"]).*?\1", "", words)))
    return bool(names & {"CURE", "backend.CURE"}) and names <= _WORDS


_WORDS = {"CURE", "backend.CURE", "in", "is", "not", "None"}


def _value(test: ast.expr, cure: str | None) -> bool:
    expression = ast.unparse(test).replace("backend.CURE", "CURE")
    return bool(eval(expression, {"__builtins__": {}, "CURE": cure}))


def _looks_up(call: ast.Call) -> bool:
    """Whether a call is ``{…}.get(CURE, …)``."""
    return (
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Dict)
        and len(call.args) == 2
        and ast.unparse(call.args[0]) == "CURE"
    )


def _found(call: ast.Call, cure: str | None) -> ast.expr:
    assert isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Dict)
    table = call.func.value
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == cure:
            return value
    return call.args[1]


def _branch(node: ast.If, lines: list[bytes], taken: bool, alone: bool) -> str:
    """The lines of the branch that is taken, as far left as the ``if`` stood."""
    chosen = node.body if taken else node.orelse
    indent = " " * node.col_offset
    if not chosen:
        return f"{indent}pass\n" if alone else ""
    first, last = _first(chosen[0]) - 1, chosen[-1].end_lineno or 0
    if lines[first].lstrip().startswith(b"elif"):
        text = b"".join(lines[first:last]).decode()
        return text.replace("elif", "if", 1)
    while lines[first - 1].lstrip().startswith(b"#"):  # a comment that leads to it
        first -= 1
    shift = chosen[0].col_offset - node.col_offset
    return "".join(
        line[shift:] if line.strip() else line
        for line in (raw.decode() for raw in lines[first:last])
    )


def _first(node: ast.stmt) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])


def _alone(parent: ast.AST, node: ast.stmt) -> bool:
    """Whether a statement is the only one of its block."""
    return any(block == [node] for block in _blocks(parent))


def _blocks(parent: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(parent, name, None)
        if isinstance(block, list):
            yield block


def _without_dead_lines(source: str) -> str:
    """Without what stands after a return in the same block."""
    lines = source.splitlines(keepends=True)
    for parent in ast.walk(ast.parse(source)):
        for block in _blocks(parent):
            for number, node in enumerate(block[:-1]):
                if isinstance(node, ast.Return):
                    dead = slice(node.end_lineno or 0, block[-1].end_lineno)
                    lines[dead] = [""] * len(lines[dead])
                    del block[number + 1 :]
    return "".join(lines)


def _without_options(source: str) -> str:
    """A call with ``**options``, a dictionary in plain sight, with the arguments themselves."""
    for node in ast.parse(source).body:
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "options"
            and isinstance(node.value, ast.Dict)
        ):
            pairs = zip(node.value.keys, node.value.values, strict=True)
            given = "".join(
                f", {key.value}={ast.get_source_segment(source, value)}"
                for key, value in pairs
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )
            statement = ast.get_source_segment(source, node) or ""
            source = source.replace(f"{statement}\n", "").replace(", **options", given)
    return source
