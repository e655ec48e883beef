"""What commands print: lines on standard output, complaints and progress on stderr; and an end in
good order for those that run long.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import textwrap
import threading
from collections.abc import Iterator

__all__ = ["Console", "ProgressLine", "complain", "ended_in_good_order"]

_WIDEST = 96  # columns; longer lines are hard to read
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "·": ".", "█": "#", "░": "-", "…": "...", "–": "-", "→": "->"}
)


class Console:
    """Standard output as it is now.

    ``colour``: it is a terminal, and colours are not switched off (``NO_COLOR``, or ``TERM=dumb``).
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

    def data(self, text: str) -> None:
        """Print what a program reads, as it is: in UTF-8, also where the console has another
        encoding.
        """
        if sys.stdout is not None:
            getattr(sys.stdout, "reconfigure", lambda **_: None)(encoding="utf-8")
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


class ProgressLine:
    """Lines on stderr; and, at a terminal, one that moves between them and is gone at the
    end.
    """

    def __init__(self) -> None:
        # None: closed by the caller.
        self.moves = sys.stderr is not None and sys.stderr.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        self.pass_by("")

    def stay(self, text: str) -> None:
        """A line that stays."""
        self._show(text, "\n")

    def pass_by(self, text: str) -> None:
        """The line that moves; nothing where it cannot.

        May be called from any thread, as `stay`.
        """
        if self.moves:
            # A line that wraps could not be taken back.
            self._show(text[: shutil.get_terminal_size().columns - 1])

    def _show(self, text: str, end: str = "") -> None:
        if sys.stderr is not None:
            with self._lock:
                print(
                    ("\r\x1b[K" if self.moves else "") + text, end=end, file=sys.stderr, flush=True
                )


@contextlib.contextmanager
def ended_in_good_order() -> Iterator[None]:
    """A terminal that is closed, or `kill`, ends the suites as Ctrl-C does, unless the caller had
    them ignored.
    """

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    changed = []
    if threading.current_thread() is threading.main_thread():
        wanted = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        changed = [number for number in wanted if signal.getsignal(number) is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
