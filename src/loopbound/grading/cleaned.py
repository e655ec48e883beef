"""Text that came from learners, such that it can be stored, printed and shown: bounded, in Unicode,
without what moves a terminal's cursor.
"""

from __future__ import annotations

import os
import re

__all__ = ["cleaned", "file_name"]

MOST = 4_000  # characters of feedback
LINE = 1_000  # and of one line of it

# Control characters but for the line's end and the tabulator, and those that turn the direction of
# writing round.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A file with its folders, as an error's text names it: where this machine keeps things is
# private.
# It begins behind a sign that ends a word: to begin anywhere takes quadratic time.
_PATH = re.compile(r"(?<![^\s:'\"`<>(\[=,])(?:/[^\s/:'\"`<>]+){2,}/([^\s/:'\"`<>]+\.pyx?\b)")
_ANSI = re.compile("\x1b\\[[0-9;]*m")


def cleaned(text: object, most: int = MOST, lines: bool = True) -> str:
    """The text without surrogates, colours and control characters, at most so long; in one line
    where ``lines`` is False.
    """
    found = text if isinstance(text, str) else ""
    found = (
        _PATH.sub(r"…/\1", _ANSI.sub("", found[: 2 * most]))
        .encode("utf-8", "backslashreplace")
        .decode()
    )
    found = _STEERING.sub(lambda sign: f"\\x{ord(sign[0]):02x}", found.replace("\r\n", "\n"))
    found = "\n".join(
        line if len(line) <= LINE else f"{line[: LINE - 1]}…" for line in found.split("\n")
    )
    if not lines:
        found = " ".join(found.split())
    return found if len(found) <= most else f"{found[: most - 1]}…"


def file_name(path: str | os.PathLike[str]) -> str:
    """A path as text that any store takes: bytes that are no Unicode are written as ``\\udcXX``."""
    return os.fspath(path).encode("utf-8", "backslashreplace").decode()
