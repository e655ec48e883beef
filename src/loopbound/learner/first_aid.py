"""First aid: from an error's text, or its kind, to the lines that cure it; the index of messages.

The lines are those of the catalogue's cases, which the tests run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from loopbound.course.manifest import lesson
from loopbound.faults.catalogue import BY_ID
from loopbound.faults.cures import cure_named, cures_that_hold
from loopbound.faults.explain import Answer
from loopbound.faults.index import index
from loopbound.faults.installed import versions_here
from loopbound.problem import Problem
from loopbound.suite.cases import Case, Change, cases

__all__ = ["cure_lines", "messages"]

_WHOSE = {
    "backend.py": "the module that makes your engine",
    "clients.py": "where your client is made",
    "conftest.py": "tests/conftest.py",
    "main.py": "your program",
    "pyproject.toml": "pyproject.toml, below [tool.pytest.ini_options], each name once",
}
_YOURS = {"backend": "your own module with the engine", "clients": "library: your client's library"}


@dataclass(frozen=True)
class Shown:
    """A text for a notebook's cell."""

    text: str

    def __str__(self) -> str:
        return self.text

    __repr__ = __str__


@dataclass(frozen=True)
class Table:
    """A table for a notebook's cell."""

    html: str
    text: str

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.text}


def cure_lines(wanted: Answer | str) -> Shown:
    """The lines to paste for the cures of an error.

    Args:
        wanted: what `explain` gave, or the id of a kind such as ``"engine-in-a-row"``.

    Raises:
        Problem: there is no such kind.
    """
    if isinstance(wanted, Answer):
        if not wanted.cures:
            return Shown("No kind is known for this text. Look for its words in the table below.")
        parts = [
            _of_cure(kind, cure, wanted.facts, _kinds_with(cure, wanted.kinds))
            for kind, cure in wanted.cures
        ]
    elif wanted in BY_ID:
        # Without a text: what holds in tests, then what holds in other programs.
        parts = [
            _of_cure(wanted, cure.name, frozenset(facts))
            for facts in ({"pytest"}, {"program"})
            for cure in cures_that_hold(wanted, facts, versions_here())[:2]
        ]
    else:
        raise Problem(f"there is no kind {wanted!r}.\nKinds: {', '.join(BY_ID)}")
    return Shown("\n\n\n".join(dict.fromkeys(parts)))


def _kinds_with(cure: str, kinds: tuple[str, ...]) -> str:
    """Which of several kinds a cure is for; empty where there is one kind alone."""
    named = [kind for kind in kinds if any(cure == known.name for known in BY_ID[kind].cures)]
    return " and ".join(named) if kinds[1:] else ""


def _of_cure(kind: str, name: str, facts: frozenset[str], kinds: str = "") -> str:
    cure = cure_named(kind, name, facts)
    lines = [f"── {name}: {cure.do}"]
    lines += [f"   For: {kinds}."] if kinds else []
    lines += [f"   It costs: {cure.price}."]
    case = _case(kind, name, facts)
    for change in case.changes(name) if case else ():
        lines += ["", *_of_change(_still_to_do(change, facts))]
    return "\n".join(lines)


def _still_to_do(change: Change, facts: frozenset[str]) -> Change:
    """A change without the options that are set already, as the header in the text says."""
    if change.old:
        return change
    new = (line for line in change.new if _fact(line) not in facts)
    return replace(change, new=tuple(new))


def _fact(line: str) -> str:
    """The fact that a line of settings stands in the configuration."""
    return "set:" + line.replace(" ", "").replace('"', "")


def _of_change(change: Change) -> Iterator[str]:
    file = f"# {_WHOSE.get(change.file, 'your tests')}"
    where = f"{file}, in {change.place}" if change.place else file
    top = list(_at_the_top(change))
    if top and change.place:
        yield f"{file}, at the top: add"
        yield from (*top, "")
    if change.old:
        yield f"{where}: instead of" if change.new else f"{where}: take out"
        yield from (f"#   {line}" for line in change.old)
    if not (change.old or change.new):
        yield f"# {change.file}: nothing to add, these options are set already."
        yield "# Look for a mark or a fixture with a loop_scope= of its own: it goes before them."
    if change.new:
        yield "# write" if change.old else f"{where}: add"
        if change.file == "pyproject.toml":
            yield "# (pytest.ini: below [pytest], without quotes)"
        yield from (*top, "") if top and not change.place else ()
        yield from change.new


def _at_the_top(change: Change) -> Iterator[str]:
    """The imports and definitions that the new lines of a change need."""
    for line in change.imports:
        module = line.split()[1]
        yield line + (f"  # {_YOURS[module]}" if module in _YOURS else "")
    for statement in change.own:
        yield from ("", *statement.splitlines())


def _case(kind: str, cure: str, facts: frozenset[str]) -> Case | None:
    """The case that shows a cure, as near to the text's circumstances as there is one."""
    tests = bool(facts & {"pytest", "unittest", "scope-mismatch"})
    tools = {
        "anyio": "anyio-plugin",
        "celery": "celery",
        "mismatch": "scope-mismatch",
        "per_request": "portal",
    }
    fitting = (
        case
        for case in cases().values()
        if case.kind == kind and cure in (*case.cures, *case.older)
    )
    return max(
        fitting,
        key=lambda case: (
            all((word in case.name) == (fact in facts) for word, fact in tools.items()),
            case.tests == tests,
        ),
        default=None,
    )


def messages() -> Table:
    """Each message that the catalogue knows: which kind it speaks for, and its lesson."""
    rows = index()
    cells = [
        "".join(f'<td style="text-align: left">{cell}</td>' for cell in _cells(said, kinds))
        for said, kinds in rows
    ]
    heads = "".join(
        f'<th style="text-align: left">{head}</th>'
        for head in ("the message says", "what it is", "lesson")
    )
    text = "\n".join(f"{' / '.join(said)}: {', '.join(kinds)}" for said, kinds in rows)
    body = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return Table(f"<table>\n<tr>{heads}</tr>\n{body}\n</table>", text)


def _cells(said: tuple[str, ...], kinds: tuple[str, ...]) -> tuple[str, str, str]:
    numbers = sorted({BY_ID[kind].lesson for kind in kinds})
    return (
        # A name may be broken after these signs: the table has to fit a narrow page.
        re.sub("[._](?=[^._])", r"\g<0><wbr>", "<br>".join(html.escape(phrase) for phrase in said)),
        "<br>or ".join(f"{html.escape(BY_ID[kind].name)}: <code>{kind}</code>" for kind in kinds),
        "<br>".join(f'<a href="{lesson(number).file}">{number}</a>' for number in numbers),
    )
