"""The README's picture: taken out of lesson 00's committed output, never drawn for the purpose."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import nbformat

from loopbound.course.manifest import lesson, notebooks_folder
from loopbound.problem import Problem

CELL = "teaser-figure"
COVER = Path("figures", "one-engine-two-loops.svg")


def cover(folder: Path | None = None) -> str:
    """The SVG document that lesson 00's cell ``teaser-figure`` shows in `folder` (default: the
    notebooks).

    Raises ``Problem`` if that cell has no figure.
    """
    folder = folder or notebooks_folder()
    notebook = nbformat.read(folder / lesson("00").file, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []) if cell["id"] == CELL else []:
            html = "".join(output.get("data", {}).get("text/html", ""))
            if found := re.search(r'src="data:image/svg\+xml,([^"]*)"', html):
                return unquote(unescape(found[1])).replace("> <", ">\n<") + "\n"
    raise Problem(
        f"{lesson('00').file}, cell '{CELL}': there is no figure to take for the README; run:"
        " python3 lab.py run --write 00"
    )
