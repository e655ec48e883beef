"""The index of messages: which kinds of fault each one speaks for."""

from __future__ import annotations

from loopbound.faults.catalogue import KINDS
from loopbound.faults.explain import find
from loopbound.faults.reading import read
from loopbound.faults.signs import MESSAGES

__all__ = ["index"]


def index() -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Messages that speak for the same kinds, and the ids of these kinds; the commonest first."""
    rows = []
    for name, phrases in MESSAGES.items():
        by_kinds: dict[tuple[str, ...], list[str]] = {}
        for phrase in phrases:
            by_kinds.setdefault(_kinds_of(name, phrase), []).append(phrase)
        rows += [(tuple(said), kinds) for kinds, said in by_kinds.items()]
    return rows


def _kinds_of(name: str, phrase: str) -> tuple[str, ...]:
    """The kinds that a message speaks for: alone or in a test, and in a thread; or else beside
    other signs.
    """
    said = phrase.replace("…", " ")
    alone, tested, threaded = (
        _found(text)
        for text in (
            said,
            f"{said}\n=== short test summary info ===",
            f"asyncpg/ threading.py {said}",
        )
    )
    if kinds := dict.fromkeys([*(alone or tested), *threaded[:1]]):
        return tuple(kinds)
    return tuple(
        kind.id for kind in KINDS if any(name in sign.facts.split() for sign in kind.signs)
    )[:2]


def _found(text: str) -> list[str]:
    """The ids of the kinds that a text speaks for: one that is sure, or two."""
    for block in read(text).blocks[:1]:
        if found := find(block):
            return [each.kind.id for each in found[: 1 if found[0].sure else 2]]
    return []
