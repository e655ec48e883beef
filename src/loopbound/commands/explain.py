"""`loopbound explain`: what kind of fault a text shows, in ten lines."""

from __future__ import annotations

import sys
from pathlib import Path

from loopbound.faults.explain import explain
from loopbound.faults.reading import taken
from loopbound.problem import Problem
from loopbound.terminal import Console


def explain_command(file: Path | None, python: str | None) -> int:
    """Explain a file, or standard input; returns 0 when a kind was named, else 1.

    Args:
        file: the text; None or ``-``: standard input.
        python: the interpreter of the environment that the error is of.

    Raises:
        Problem: the file cannot be read, or the interpreter does not answer.
    """
    if file is None or str(file) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise Problem(
                "there is no text.\nGive a file, or pipe it in: pytest 2>&1 | loopbound explain"
            )
        data, left_out = taken(sys.stdin.buffer)
    else:
        try:
            with file.open("rb") as stream:
                data, left_out = taken(stream)
        except OSError as error:
            raise Problem(
                f"{file} cannot be read: {(error.strerror or str(error)).lower()}."
            ) from None
    answer = explain(data, python, left_out)
    Console().say(str(answer))
    return 0 if answer.kinds else 1
