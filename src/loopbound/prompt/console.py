"""Where the commands for learners print: in colours at a terminal, plain everywhere else."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap

__all__ = ["Console", "complain"]

_WIDEST = 96  # columns; longer lines are hard to read
_PLAIN = str.maketrans({"✓": "+", "✗": "x", "·": ".", "█": "#", "░": "-", "…": "...", "–": "-"})


class Console:
    """Standard output as it is now.

    ``colour``: it is a terminal, and nobody asked for no colours (``NO_COLOR``, or ``TERM=dumb``).
    """

    def __init__(self) -> None:
        # None: closed by the caller.
        terminal = sys.stdout is not None and sys.stdout.isatty()
        self.colour = (
            terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self.columns = (
            max(20, min(_WIDEST, shutil.get_terminal_size().columns - 1)) if terminal else _WIDEST
        )
        self._encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        if self.colour and os.name == "nt":
            os.system("")  # switches escape sequences on in an older Windows console

    def say(self, text: str = "") -> None:
        """Print a line, or lines, at once. Signs that the encoding lacks become plain ones."""
        if sys.stdout is None:
            return
        try:
            text.encode(self._encoding)
        except UnicodeEncodeError:
            text = (
                text.translate(_PLAIN)
                .encode(self._encoding, errors="replace")
                .decode(self._encoding)
            )
        print(text, flush=True)

    def wrapped(self, text: str) -> None:
        """Print a paragraph in lines that fit."""
        self.say(textwrap.fill(text, self.columns, break_long_words=False, break_on_hyphens=False))

    def painted(self, text: str, code: str) -> str:
        """The text in an ANSI style, such as ``"32"``, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour and text else text


def complain(text: str) -> None:
    """Say something beside a command's output."""
    if sys.stderr is not None:
        print(text, file=sys.stderr, flush=True)
