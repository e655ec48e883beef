"""The cheat sheet: messages, who binds to what, bounds for hangs and the decision tree on one page.

Made from the catalogue and from lesson 06; nothing of it is written a second time.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from loopbound.course.manifest import lesson, notebooks_folder
from loopbound.faults.catalogue import BY_ID, KINDS
from loopbound.faults.index import index
from loopbound.faults.tree import Drawn, drawn
from loopbound.figures import owners
from loopbound.problem import Problem

__all__ = ["OWNERS", "SHEET", "owners_svg", "sheet"]

SHEET = Path("cheat-sheet.html")
OWNERS = Path("figures", "one-connection-two-loops.svg")
BOUNDS = "table-of-bounds"
"""The cell of lesson 06 whose table is on the sheet."""


def sheet(folder: Path | None = None) -> str:
    """The page as HTML, from the lessons in a folder (default: the notebooks).

    Raises:
        Problem: lesson 06 has no table of bounds.
    """
    style = resources.files(__package__).joinpath("sheet.css").read_text(encoding="utf-8")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        "<title>Loopbound: the cheat sheet</title>",
        f"<style>\n{style}</style></head><body>",
        "<h1>Loopbound: one sheet to keep</h1>",
        '<p class="screen muted">Print this page from the browser: it fills one side of A4.'
        ' Lines to paste: <a href="first-aid.ipynb">first aid</a>.</p>',
        '<div class="columns">',
        owners_svg().strip(),
        "<h2>What it says → what that is: what binds to what, and when (lesson)</h2>",
        *_messages(),
        "<h2>It hangs: what ends the wait</h2>",
        *_table(_bounds(folder or notebooks_folder())),
        "<h2>Which cure? Follow the answers; the cheapest is named</h2>",
        *_tree(),
        "</div></body></html>",
    ]
    return "\n".join(parts) + "\n"


def owners_svg() -> str:
    """The sheet's figure as a file, for lesson 01 and the glossary."""
    return owners().svg.strip() + "\n"


def _messages() -> Iterator[str]:
    """Each message with its kinds, then the kinds that have no message of their own."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for said, kinds in index():
        plain = [phrase for phrase in said if phrase[0].isalnum() or phrase[0] == "'"]
        rows.setdefault(kinds, []).append((plain or list(said))[0])
    told = set[str]()
    yield '<ul class="lines">'
    for kinds, phrases in rows.items():
        messages = " · ".join(f"<code>{html.escape(phrase)}</code>" for phrase in phrases)
        yield f"<li>{messages} → {' or '.join(_kind(kind, told) for kind in kinds)}</li>"
    yield "</ul>"
    yield "<h2>Who else binds: the message is one of those above</h2>"
    yield '<ul class="lines">'
    yield from (f"<li>{_kind(kind.id, told)}</li>" for kind in KINDS if kind.id not in told)
    yield "</ul>"


def _kind(kind: str, told: set[str]) -> str:
    """A kind's name, what binds (once, and where it is a fault of loops), and its lesson."""
    known = BY_ID[kind]
    binds = (
        ""
        if kind in told or known.other
        else f': <span class="muted">{html.escape(known.binds)}</span>'
    )
    told.add(kind)
    return f"<b>{html.escape(known.name)}</b>{binds} ({_link(known.lesson)})"


def _table(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield "<table>"
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>"
    yield "</table>"


def _link(number: str) -> str:
    return f'<a href="{lesson(number).file}">{number}</a>'


def _bounds(folder: Path) -> Iterator[tuple[str, ...]]:
    """The rows of lesson 06's table."""
    cells = json.loads((folder / lesson("06").file).read_text(encoding="utf-8"))["cells"]
    text = "".join(next((cell["source"] for cell in cells if cell["id"] == BOUNDS), ""))
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    if len(rows) < 3:
        raise Problem(f"{lesson('06').file}: the cell {BOUNDS!r} with the table of bounds is gone.")
    for row in rows[:1] + rows[2:]:
        yield tuple(
            re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(cell.strip())) for cell in row
        )


def _tree() -> Iterator[str]:
    """The tree as nested lists; what a cure does is said once."""
    root, said = drawn(), set[str]()
    if isinstance(root, str):
        raise TypeError("the tree is one leaf")
    question, answers = root
    yield f"<p><b>{_asked(question)}</b></p>"
    yield '<ul class="tree">'
    for answer, then in answers.items():
        yield from _branch(answer, then, said)
    yield "</ul>"


def _branch(answer: str, then: Drawn, said: set[str]) -> Iterator[str]:
    words = f"<i>{html.escape(answer)}</i>"
    if isinstance(then, str):
        yield f"<li>{words} → {_leaf(then, said)}</li>"
        return
    question, answers = then
    words += f" · {_asked(question)}"
    if all(isinstance(end, str) for end in answers.values()):  # on one line
        ends = (
            f"<i>{html.escape(further)}</i> → {_leaf(str(end), said)}"
            for further, end in answers.items()
        )
        yield f"<li>{words} {'; '.join(ends)}</li>"
        return
    yield f"<li>{words}<ul>"
    for further, end in answers.items():
        yield from _branch(further, end, said)
    yield "</ul></li>"


def _asked(question: str) -> str:
    """A question; how to answer it is in the lessons, as a sheet has no room for that."""
    return html.escape(question.partition("\n")[0])


def _leaf(text: str, said: set[str]) -> str:
    """A cure's name, and what it does where that was not said before."""
    name, _, do = text.partition(": ")
    told = f": {html.escape(do)}" if do and text not in said else ""
    said.add(text)
    return f"<b>{html.escape(name)}</b>{told}"
