"""Explain an error by its text: which kind of fault, who made the future, what cures it here.

It reads; it runs nothing of the text, and it says where it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from loopbound.faults.catalogue import KINDS
from loopbound.faults.cures import cures_that_hold, fits
from loopbound.faults.installed import meets, need_of, versions_here, versions_of
from loopbound.faults.model import Cure, Kind
from loopbound.faults.reading import Block, Reading, read, text_of
from loopbound.faults.signs import LIBRARY_WORDS

IN_TEXT = ", says your text"
"""After a version that the text names."""


@dataclass(frozen=True)
class Found:
    """One kind that fits, and how well.

    Attributes:
        kind: which.
        sure: its signs decide.
        weight: how many facts its sign has.
        block: the part of the text that shows it.
    """

    kind: Kind
    sure: bool
    weight: int
    block: Block


@dataclass(frozen=True)
class Answer:
    """What `explain` says of a text; shown as its lines.

    Attributes:
        kinds: ids of the kinds: one, two between which a question decides, or none.
        sure: the signs decide; otherwise the lines say what is open.
        lines: at most ten.
        also: ids of further faults that the text shows.
        cures: the cheapest of each kind, each as the id of its kind and its name.
        facts: what was seen, for tools.
    """

    kinds: tuple[str, ...]
    sure: bool
    lines: tuple[str, ...]
    also: tuple[str, ...] = ()
    facts: frozenset[str] = field(default=frozenset(), repr=False)
    cures: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """The same for a notebook: a table, whose lines break between words at each width."""
        left = 'style="text-align: left; vertical-align: top"'
        rows = (
            f"<tr><td {left}><b>{line[:9].strip()}</b></td><td {left}>{escape(line[9:])}</td></tr>"
            for line in self.lines
        )
        return (
            f"<table>{''.join(rows)}</table>" if self.kinds else f"<pre>{escape(str(self))}</pre>"
        )


def explain(text: str | bytes, python: str | None = None, left_out: int = 0) -> Answer:
    """Explain an error by its text.

    Args:
        text: a traceback, a whole log, what pytest printed.
        python: the interpreter of the environment that the error is of; default: this one. What
            the text itself says of versions comes first.
        left_out: bytes of a longer text that are not in it.

    Raises:
        Problem: that interpreter does not answer.
    """
    versions = versions_of(python) if python else {}
    said = text if isinstance(text, str) else text_of(text)
    if said is None:
        return _nothing(
            "This is not text: it looks like the bytes of a program or an archive.",
            "Give what was printed: pytest 2>&1 | loopbound explain",
        )
    reading = read(said, left_out)
    if reading.empty:
        return _nothing(
            "There is no text.",
            "Give what was printed: pytest 2>&1 | loopbound explain, or: loopbound explain FILE",
        )
    if not reading.blocks:
        return _unknown(reading)
    return _answer(reading, versions or versions_here())


def find(block: Block) -> list[Found]:
    """The kinds that fit a block, best first: sure ones, then those with more facts."""
    found = []
    for kind in KINDS:
        fitting = [
            (sign.sure, sum(not word.startswith("!") for word in sign.facts.split()))
            for sign in kind.signs
            if fits(sign.facts, block.facts)
        ]
        if fitting:
            sure, weight = max(fitting)
            found.append(Found(kind, sure, weight, block))
    # A stable sort: of equals the more particular kind comes first, as in the catalogue.
    return sorted(found, key=lambda each: (-each.sure, -each.weight))


def _answer(reading: Reading, versions: Mapping[str, str]) -> Answer:
    # A service's log has one error a thousand times: blocks with the same facts say the same.
    unlike: dict[frozenset[str], Block] = {}
    for block in reading.blocks:
        unlike.setdefault(frozenset(block.facts), block)
    ranked = [found for block in unlike.values() if (found := find(block))]
    if not ranked:
        return _unknown(reading)
    # Of several blocks the first whose signs decide speaks; without one, the first.
    best = next((found for found in ranked if found[0].sure), ranked[0])
    first = best[0]
    second = None if first.sure else _second(best, ranked)
    shown = {first.kind.id, *([second.kind.id] if second else [])}
    also = tuple(
        dict.fromkeys(
            found[0].kind.id for found in ranked if found[0].sure and found[0].kind.id not in shown
        )
    )
    # What the text says comes first, and is called so.
    known = {
        **versions,
        **{name: f"{said}{IN_TEXT}" for name, said in reading.versions.items()},
    }
    cures = _cures(first, second, known)
    lines = _lines(first, second, cures, also, reading, known)
    kinds = (first.kind.id, *([second.kind.id] if second else []))
    named = tuple((kind.id, cure.name) for kind, cure in cures)
    return Answer(kinds, first.sure, tuple(lines), also, frozenset(first.block.facts), named)


def _second(best: list[Found], ranked: list[list[Found]]) -> Found | None:
    """The kind that the first one may be mistaken for: another of its block, or of the next."""
    others = [*best[1:], *(found[0] for found in ranked)]
    return next((each for each in others if each.kind.id != best[0].kind.id), None)


def _lines(
    first: Found,
    second: Found | None,
    cures: list[tuple[Kind, Cure]],
    also: tuple[str, ...],
    reading: Reading,
    versions: Mapping[str, str],
) -> list[str]:
    block, kind = first.block, first.kind
    name = f"another fault, not the loops': {kind.name}" if kind.other else kind.name
    if first.sure:
        lines = [f"kind:    {name}", f"         {kind.binds}"]
    elif second:
        lines = [
            f"{head} {each.name} ({each.id}), if {each.tell}"
            for head, each in (("kind:   ", kind), ("or kind:", second.kind))
        ]
    else:
        lines = [f"kind:    probably {name}; no sign decides", f"         if {kind.tell}"]
    lines.append(f"maker:   {_maker(block)}")
    lines.append(f"yours:   {_yours(block)}")
    lines.append(f"seen:    {_seen(reading)}")
    lines.append(f"look at: {kind.look}")
    lines += _cure_lines(cures, second, versions)
    if kind.not_cures:
        what, why = next(iter(kind.not_cures.items()))
        lines.append(f"not:     {what}: {why}")
    lessons = sorted({kind.lesson, *([second.kind.lesson] if second else [])})
    more = f"; also here: {', '.join(also)}" if also else ""
    kinds = kind.id + (f", {second.kind.id}" if second else "")
    lines.append(f"lesson:  {' and '.join(lessons)} ({kinds}{more})")
    return lines[:10]


def _cures(
    first: Found, second: Found | None, versions: Mapping[str, str]
) -> list[tuple[Kind, Cure]]:
    """The two cheapest cures of each kind, the cheapest first; each once."""
    kinds = [first.kind, *([second.kind] if second else [])]
    lists = [
        [(kind, cure) for cure in cures_that_hold(kind.id, first.block.facts, versions)[:2]]
        for kind in kinds
    ]
    ordered = [cures[place] for place in range(2) for cures in lists if len(cures) > place]
    return list({cure.name: (kind, cure) for kind, cure in reversed(ordered)}.values())[::-1]


def _cure_lines(
    cures: list[tuple[Kind, Cure]], second: Found | None, versions: Mapping[str, str]
) -> list[str]:
    """Two cures: of one kind the two cheapest, of two kinds the cheapest of each."""
    said = [_cure(cure, versions) for _, cure in cures]
    if second is None:
        return [f"cure:    {words}" for words in said]
    if cures[1:] and cures[1][0] is second.kind:
        return [f"cure:    {said[0]}", f"or cure: {said[1]}"]
    return [f"cure:    {said[0]}; it helps with both kinds"]


def _maker(block: Block) -> str:
    if not block.speaker:
        return "not known: neither a callback nor a library's frame is in this text"
    name = LIBRARY_WORDS.get(block.speaker, block.speaker)
    if "_on_waiter" in block.said_by:
        return f"{name} ({block.said_by.rpartition('.')[2]} in the message)"
    return f"{name}, by its {'frames' if block.said_by.endswith('/') else 'name in the message'}"


def _yours(block: Block) -> str:
    return str(block.met) if block.met else "no line of yours is in this text"


def _seen(reading: Reading) -> str:
    quiet = {"TimeoutError", "ScopeMismatch:"}  # said by others too
    parts = [
        f"{phrase} ({'once' if count == 1 else f'{count} times'})"
        for phrase, count in reading.counts.items()
        if phrase not in quiet or len(reading.counts) == 1
    ]
    text = ", ".join(parts[:4])
    if reading.others:
        text += f"; not explained: {reading.others[0][:60]}"
    if reading.left_out:
        text += f"; {reading.left_out // 1_000_000} MB were only searched"
    return text


def _cure(cure: Cure, versions: Mapping[str, str]) -> str:
    parts = []
    for need in cure.needs:
        name, sign, bound = need_of(need)
        state = meets(need, versions)
        parts.append(
            f"{name} {versions[name].removesuffix(IN_TEXT)} is in"
            f" {'your text' if versions[name].endswith(IN_TEXT) else 'this Python'}"
            if state
            else f"needs {name} {f'before {bound}' if sign == '<' else f'{bound} or later'}"
            + (f", this is {versions[name]}" if state is False else "")
        )
    given = f" ({'; '.join(parts)})" if parts else ""
    return f"{cure.name}: {cure.do}{given}"


def _nothing(*lines: str) -> Answer:
    return Answer((), False, lines)


def _unknown(reading: Reading) -> Answer:
    if reading.passed and all(re.match(r"[\w.]*Warning\b", each) for each in reading.others):
        return _nothing(
            "kind:    none: the text shows no failure of this kind",
            f"seen:    a run of tests in which none failed: {reading.passed}",
            "         Give the text of a run that fails; loopbound stability PATH tries other orders.",
        )
    lines = ["kind:    not known: none of the messages of these faults is in the text"]
    if reading.others:
        lines.append(f"seen:    {reading.others[-1]}")
        lines.append("         That is another fault, as far as this catalogue goes.")
    else:
        lines.append(
            "seen:    no error's last line. Give the whole traceback, or pytest's whole output."
        )
    if reading.left_out:
        lines.append(
            f"         {reading.left_out // 1_000_000} MB were only searched for known messages."
        )
    return Answer((), False, tuple(lines))
