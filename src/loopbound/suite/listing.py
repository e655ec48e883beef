"""Python code as a notebook shows it: highlighted, from the file that is run."""

from __future__ import annotations

import re
from pathlib import Path


class Listing(str):
    """Python code, which a notebook shows highlighted."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"

    def __repr__(self) -> str:
        return str(self)


def listing(code: Path | str, begin: str = "", end: str = "") -> Listing:
    """Show code, or a part of it, without the docstrings and remarks that a lesson's text has.

    Args:
        code: a Python file, or code itself.
        begin: words of the line with which the part begins.
        end: words of the line before which it ends.

    Raises:
        ValueError: no line holds these words.
    """
    lines = (code.read_text(encoding="utf-8") if isinstance(code, Path) else code).splitlines()
    first = _line(lines, begin, 0)
    part = "\n".join(lines[first : _line(lines, end, first + 1) if end else None])
    part = re.sub(r'^ *"""(.|\n)*?"""\n', "", part, flags=re.MULTILINE)
    part = re.sub(r" *# (type: ignore|noqa|the factory stays).*", "", part)
    return Listing(re.sub(r"\n{3,}", "\n\n", part).strip("\n"))


def _line(lines: list[str], words: str, start: int) -> int:
    for number, line in enumerate(lines[start:], start):
        if words in line:
            return number
    raise ValueError(f"no line has {words!r}")
