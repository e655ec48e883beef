"""What long-running commands share: progress on stderr, and an end in good order."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
import threading
from collections.abc import Iterator


class Progress:
    """Lines on stderr; and, where somebody watches, one that moves between them and is gone at the
    end.
    """

    def __init__(self) -> None:
        # None: closed by the caller.
        self.moves = sys.stderr is not None and sys.stderr.isatty()
        self._lock = threading.Lock()

    def __enter__(self) -> Progress:
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
