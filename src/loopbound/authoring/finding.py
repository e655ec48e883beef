"""What is wrong with a notebook, as a plain record."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: which notebook (file name), which cell (its id, or None), what, and
    what a reader sees.
    """

    notebook: str
    cell: str | None
    what: str
    view: str = ""

    def __str__(self) -> str:
        where = self.notebook if self.cell is None else f"{self.notebook}, cell '{self.cell}'"
        text = f"{where}: {self.what}"
        return (
            f"{text}\n{textwrap.indent(self.view.rstrip(), '    ')}" if self.view.strip() else text
        )
