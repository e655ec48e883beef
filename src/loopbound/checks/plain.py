"""Values of a learner's code as plain data, so that they can be carried away as JSON and judged
elsewhere.
"""

from __future__ import annotations

import inspect
from typing import Any

_DEEPEST, _LONGEST = 6, 200


def plain(value: Any, depth: int = 0) -> Any:
    """The value in JSON's own types; what has none becomes ``{"type": "coroutine"}``, with its
    type's name.

    Exact types only: a subclass may say anything of itself. Tuples become lists, sets
    sorted lists.
    """
    kind = type(value)
    if kind in (str, int, float, bool, type(None)):
        return value[:20_000] if kind is str else value
    if depth < _DEEPEST:
        if kind in (list, tuple):
            return [plain(item, depth + 1) for item in value[:_LONGEST]]
        if kind in (set, frozenset):
            return sorted((plain(item, depth + 1) for item in value), key=repr)[:_LONGEST]
        if kind is dict:
            return {
                str(plain(key, depth + 1)): plain(item, depth + 1)
                for key, item in list(value.items())[:_LONGEST]
            }
    return {"type": "coroutine" if inspect.iscoroutine(value) else kind.__name__}


def told(value: Any) -> str:
    """A plain value as feedback prints it: short, with things by their type's name."""
    if isinstance(value, dict) and list(value) == ["type"]:
        return f"a {value['type']} object"
    if isinstance(value, list):
        text = f"[{', '.join(told(item) for item in value)}]"
    else:
        text = repr(value)
    return text if len(text) <= 160 else f"{text[:150]} …"


def first_difference(mine: list[Any], theirs: list[Any]) -> int:
    """The first place at which two lists of one length differ."""
    return next(n for n, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other)
