"""What was handed in instead of an exercise: a lesson, a web page, a merge conflict. Each has words
of its own.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable

from loopbound.course.manifest import assignments, lessons, notebooks_folder

__all__ = ["instead_of_json", "instead_of_text", "lesson_words", "squeezed"]

_CONFLICT = [re.compile(rf"^[ \t]*{sign}{{7}}(?: |$)", re.MULTILINE) for sign in "<=>"]
_PAGE = re.compile(r"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.DOTALL)


def instead_of_json(text: str, name: str) -> str:
    """What a text that is no JSON is, and what to do; "" for what has no words of its own."""
    conflict = [mark.search(text) for mark in _CONFLICT]
    if conflict[0] and all(conflict):
        line = text.count("\n", 0, conflict[0].start()) + 1
        return (
            f"{name} has a merge conflict in it that was not settled (`<<<<<<<` in line {line}).\n"
            "Settle it in Git, open the notebook in Jupyter, and hand it in again."
        )
    if _PAGE.match(text[:4096]):
        return (
            f"{name} is a web page that was saved under a notebook's name.\nDownload the notebook"
            " itself; on GitHub that is “Download raw file”."
        )
    if text.startswith("%PDF"):
        return f"{name} is a PDF under a notebook's name. Ask for the notebook itself."
    if text.startswith("version https://git-lfs"):
        return f"{name} is a pointer of Git LFS, not the notebook. Fetch it with: git lfs pull"
    return ""


def instead_of_text(content: bytes, name: str) -> str:
    """The same for bytes that are no text."""
    if content.startswith(b"PK\x03\x04"):
        return f"{name} is a zip archive under a notebook's name. Let it end in .zip."
    return instead_of_json(content[:4096].decode("latin-1"), name)


def lesson_words(sources: Iterable[str], name: str) -> str:
    """What to say where these cells' sources are a lesson's; "" where they are not."""
    there = {squeezed(source) for source in sources}
    for number, (heading, cells) in _lessons().items():
        known = len(cells & there)
        headed = any(source.split("\n", 1)[0] == heading for source in there)
        if known and (2 * known >= len(cells) or headed):
            which = next((each for each in assignments() if each.number == number[:2]), None)
            ending = (
                f"The exercise is exercises/{which.file.as_posix()}."
                if which
                else "It has no exercise."
            )
            return f"{name} is the lesson {number}, not an exercise.\n{ending}"
    return ""


@functools.cache
def _lessons() -> dict[str, tuple[str, frozenset[str]]]:
    """For each lesson its heading, and the sources of its code cells, squeezed."""
    found = {}
    for each in lessons():
        try:
            notebook = json.loads((notebooks_folder() / each.file).read_text(encoding="utf-8"))
            cells = [
                squeezed("".join(cell["source"]))
                for cell in notebook["cells"]
                if cell["cell_type"] == "code"
            ]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # without the lessons none is told apart
        # What an exercise begins with too tells nothing.
        found[each.number] = each.heading, frozenset(cell for cell in cells if len(cell) > 80)
    return found


def squeezed(source: str) -> str:
    """A source without what saving and copying change at the ends of its lines."""
    return "\n".join(line.rstrip() for line in source.strip().splitlines())
