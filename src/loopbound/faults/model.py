"""What the catalogue says of a kind of fault: its words, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cure:
    """One way out.

    Attributes:
        name: by which the cases and the tree know it, such as ``"session-loop"``.
        do: what to do, a clause.
        price: what it costs.
        needs: versions without which it does not hold, such as ``"pytest-asyncio>=1.3"``.
        where: facts of a text (see `loopbound.faults.signs`) that have to be there, or with a
            leading ``!`` not; empty: everywhere.
        holds: under which circumstances it holds, in words.
    """

    name: str
    do: str
    price: str
    needs: tuple[str, ...] = ()
    where: str = ""
    holds: str = ""


@dataclass(frozen=True)
class Sign:
    """Facts that speak for a kind when one traceback, log record or whole text has all of them.

    Attributes:
        facts: words, such as ``"loop-closed by:redis"``; with a leading ``!`` the fact is missing.
        sure: whether they decide.
    """

    facts: str
    sure: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        id: by which cases, lessons and tools name it.
        name: what it is called, a clause.
        binds: what binds to what, and when.
        signs: what in a text speaks for it.
        tell: the circumstance by which its owner knows it, to complete "if …".
        look: what to look at next.
        mistaken_for: what it is mistaken for.
        cures: cheapest first.
        not_cures: what does not cure it, with the reason: ``{"pool_pre_ping": "…"}``.
        lesson: where the course explains it: the number of a lesson, such as "01d".
        other: it is *not* the fault that this course is about.
    """

    id: str
    name: str
    binds: str
    signs: tuple[Sign, ...]
    tell: str
    look: str
    mistaken_for: str
    cures: tuple[Cure, ...]
    not_cures: dict[str, str]
    lesson: str
    other: bool = False
