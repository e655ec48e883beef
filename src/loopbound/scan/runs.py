"""Where sync code starts a loop, and what it runs on it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from loopbound.scan.source import External, Func, Symbol, dotted, last_name

_STARTS = ("asyncio.run", "anyio.run", "uvloop.run", "asyncio.runners.run")
_CONVERTS = ("asgiref.sync.async_to_sync", "asgiref.sync.AsyncToSync")


@dataclass(frozen=True)
class Run:
    """One start of a loop.

    Attributes:
        node: the call.
        line: the line to name: where the loop is made.
        target: what is run on it; None: not known.
        parameter: the parameter of the function that holds what is run, or "".
        fresh: the loop is a new one each time.
        requested: it is the one of the event_loop fixture.
        way: how it is written, for people.
    """

    node: ast.Call
    line: int
    target: Symbol | None
    parameter: str
    fresh: bool
    requested: bool
    way: str


def runs_in(func: Func) -> Iterator[Run]:
    """The loops that a function starts itself, without functions in it."""
    for node in sorted(
        (n for n in func.own_nodes if isinstance(n, ast.Call)),
        key=lambda n: (n.lineno, n.col_offset),
    ):
        symbol = func.module.resolve(node.func, func)
        name = symbol.name if isinstance(symbol, External) else ".".join(dotted(node.func) or ())
        if name in _STARTS and node.args:
            target, parameter = _target(node.args[0], func)
            yield Run(node, node.lineno, target, parameter, True, False, name)
        elif isinstance(node.func, ast.Call) and node.func.args:
            inner = func.module.resolve(node.func.func, func)
            if isinstance(inner, External) and inner.name in _CONVERTS:
                target = func.module.resolve(node.func.args[0], func)
                yield Run(node, node.lineno, target, "", True, False, "async_to_sync")
        elif isinstance(node.func, ast.Attribute) and node.func.attr in (
            "run_until_complete",
            "run",
        ):
            base = node.func.value
            made = _maker(base, func)
            if node.func.attr == "run" and (made is None or last_name(made.func) != "Runner"):
                continue
            if not node.args:
                continue
            target, parameter = _target(node.args[0], func)
            fresh = made is not None and last_name(made.func) in ("new_event_loop", "Runner")
            asked = (
                isinstance(base, ast.Name)
                and base.id in ("event_loop", "loop")
                and base.id in func.params
            )
            line = made.lineno if made is not None and fresh else node.lineno
            yield Run(node, line, target, parameter, fresh, asked, f"{node.func.attr}()")


def _maker(base: ast.expr, func: Func) -> ast.Call | None:
    """The call that made a loop or a runner in this function."""
    if isinstance(base, ast.Call):
        return base
    if isinstance(base, ast.Name) and base.id not in func.declared_global:
        for value in func.bindings.get(base.id, []):
            if isinstance(value, ast.Call):
                return value
    return None


def _target(argument: ast.expr, func: Func) -> tuple[Symbol | None, str]:
    """What coroutine an argument is."""
    if isinstance(argument, ast.Name):
        for value in func.bindings.get(argument.id, []):
            if isinstance(value, ast.Call):
                return func.module.resolve(value.func, func), ""
        if argument.id in func.params:
            return None, argument.id
        return func.module.resolve(argument, func), ""
    if isinstance(argument, ast.Call):
        if last_name(argument.func) in ("wait_for", "gather", "shield") and argument.args:
            return _target(argument.args[0], func)
        if isinstance(argument.func, ast.Name) and argument.func.id in func.params:
            return None, argument.func.id
        return func.module.resolve(argument.func, func), ""
    return None, ""
