"""Values of a learner's code as plain data, so that they can be carried away as JSON and judged
elsewhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

_DEEPEST, _LONGEST, _MOST = 6, 200, 20_000
_WIDEST = 10_000  # bits of a number; JSON's digits of a longer one take long to write


def plain(value: Any) -> Any:
    """The value in JSON's own types; what has none becomes ``{"type": "coroutine"}``, with its
    type's name.

    Exact types only: a subclass may say anything of itself. Tuples become lists, sets
    sorted lists. What is deeper, longer or more than anything that a task asks for is
    cut off.
    """
    return _plain(value, 0, iter(range(_MOST)))


def _plain(value: Any, depth: int, room: Iterator[int]) -> Any:
    kind = type(value)
    left = next(room, None) is not None
    if left and kind is str:
        return value[:20_000]
    if kind in (float, bool, type(None)) or (kind is int and value.bit_length() <= _WIDEST):
        return value
    if left and depth < _DEEPEST:
        if kind in (list, tuple):
            return [_plain(item, depth + 1, room) for item in value[:_LONGEST]]
        if kind in (set, frozenset):
            return sorted((_plain(item, depth + 1, room) for item in value), key=repr)[:_LONGEST]
        if kind is dict:
            return {
                str(_plain(key, depth + 1, room)): _plain(item, depth + 1, room)
                for key, item in list(value.items())[:_LONGEST]
            }
    return {"type": "coroutine" if inspect.iscoroutine(value) else kind.__name__}


def as_text(value: Any) -> str:
    """A plain value as feedback prints it: short, with things by their type's name."""
    if isinstance(value, dict) and list(value) == ["type"]:
        return f"{'an' if value['type'][:1] in 'aeiouAEIO' else 'a'} {value['type']} object"
    if isinstance(value, list):
        text = f"[{', '.join(as_text(item) for item in value)}]"
    else:
        text = repr(value)
    return text if len(text) <= 160 else f"{text[:150]} …"


def first_difference(mine: list[Any], theirs: list[Any]) -> int:
    """The first place at which two lists of one length differ."""
    return next(n for n, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other)
