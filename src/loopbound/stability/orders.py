"""Orders of a suite, and the smallest part of one that still does a thing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise


def shuffled(
    tests: Sequence[str], groups: Sequence[Sequence[str]], seed: str, mix: bool = False
) -> list[str]:
    """The tests in a random order, the same for the same seed.

    Args:
        tests: all of them.
        groups: for each its folders, file and classes, outermost first.
        seed: of the order.
        mix: do not keep the tests of a file or a class together.
    """
    chance = random.Random(seed)
    if mix:
        order = list(tests)
        chance.shuffle(order)
        return order
    # Each group gets a place of its own among its like, and so does each test in its group.
    places: dict[str, float] = {}
    for test, outer in zip(tests, groups, strict=True):
        for name in (*_files(outer), test):
            if name not in places:
                places[name] = chance.random()
    keys = {
        test: [places[name] for name in (*_files(outer), test)]
        for test, outer in zip(tests, groups, strict=True)
    }
    return sorted(tests, key=keys.__getitem__)


def _files(groups: Sequence[str]) -> list[str]:
    """Without the folders: files of several of them may follow each other."""
    return [name for name in groups if ".py" in name] or list(groups[-1:])


def smallest(parts: Sequence[str], enough: Callable[[list[str]], bool]) -> list[str]:
    """A smallest subsequence that is enough: without any one of its parts it is not (ddmin).

    Args:
        parts: enough as they are; at least one.
        enough: tries a subsequence; one that it has tried costs nothing.
    """
    parts, pieces = list(parts), 2
    while len(parts) > 1:
        cuts = [len(parts) * number // pieces for number in range(pieces + 1)]
        spans = list(pairwise(cuts))
        # The last ones first: what stands closest is to blame most often.
        for start, stop in reversed(spans):
            if enough(parts[start:stop]):
                parts, pieces = parts[start:stop], 2
                break
        else:
            for start, stop in spans:
                rest = parts[:start] + parts[stop:]
                if pieces > 2 and enough(rest):
                    parts, pieces = rest, max(pieces - 1, 2)
                    break
            else:
                if pieces == len(parts):
                    break
                pieces = min(len(parts), 2 * pieces)
    return parts
