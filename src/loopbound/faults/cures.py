"""Which cures of a kind hold: by name, by the facts of a place, by versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from loopbound.faults.catalogue import BY_ID
from loopbound.faults.installed import meets
from loopbound.faults.model import Cure


def fits(wanted: str, facts: Collection[str]) -> bool:
    """Whether facts fulfil a line such as ``"loop-closed by:redis !pytest"``."""
    return all(
        word[1:] not in facts if word.startswith("!") else word in facts for word in wanted.split()
    )


def cure_named(kind: str, name: str, facts: Collection[str] = ()) -> Cure:
    """One cure of a kind; of several with this name the one that fits the facts."""
    named = [cure for cure in BY_ID[kind].cures if cure.name == name]
    return next((cure for cure in named if fits(cure.where, facts)), named[0])


def cures_that_hold(
    kind: str,
    facts: Collection[str],
    versions: Mapping[str, str],
    left_out: Collection[str] = (),
) -> list[Cure]:
    """The cures of a kind that hold in a place, cheapest first; at least one.

    Args:
        kind: its id in the catalogue.
        facts: what is known of the place.
        versions: package → version; a package that is not among them excludes no cure.
        left_out: names of cures that are known not to hold there.
    """
    cures = [cure for cure in BY_ID[kind].cures if cure.name not in left_out]
    placed = [cure for cure in cures if fits(cure.where, facts)] or cures
    holding = [
        cure for cure in placed if all(meets(need, versions) is not False for need in cure.needs)
    ]
    return holding or placed or list(BY_ID[kind].cures)
