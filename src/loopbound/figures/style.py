"""What all figures share: colours, fonts, and the step from a matplotlib canvas to SVG with alt
text.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

# Okabe and Ito's palette (2008): told apart by readers with any common colour
# blindness, ordered so that neighbours differ in lightness too and survive grey print.
LOOP_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D1F", "#5F5F5F")
ALARM = "#D55E00"
INK = "#1F2933"
MUTED = "#66727F"
HAIRLINE = "#D5DCE3"
# A card of its own: an <img> cannot see the page's theme, so the figure brings paper along.
PAPER = "#FFFFFF"
WIDTH = 8.2  # inches, what a cell of JupyterLab shows without shrinking it

_SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "loopbound",  # else the ids in the file are random
    "svg.fonttype": "none",  # text stays text: small files, searchable, readable diffs
    "font.family": ["DejaVu Sans"],  # shipped with matplotlib: the same widths everywhere
    "font.size": 9.5,
    "text.parse_math": False,  # else the $1 and $2 of a statement are taken for a formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.8,
}
# Verdana was drawn to the same widths as DejaVu Sans; the others are narrower, so labels fit.
_FONT_STACK = "'DejaVu Sans', Verdana, 'Segoe UI', Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Figure:
    """A finished drawing.

    svg
        The SVG document, deterministic for the same input.
    alt
        What the picture says, in words, for those who do not see it.
    outline
        What is too long for one sentence: lines, each with its depth. A screen reader walks them
        as a list.
    """

    svg: str
    alt: str
    outline: tuple[tuple[int, str], ...] = ()

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # JupyterLab draws image/svg+xml as an <img> without alt text, and refuses it in a
        # notebook that it does not trust. An <img> of our own has neither fault.
        # Percent-encoding keeps the text of the drawing readable in a diff, base64 does not.
        data = quote(self.svg, safe=" /:;,=()'.-_!~*+@?&$[]|\n")
        data = re.sub(r"[\n ]+", " ", data)
        # JupyterLab shows the first line of an output that is folded: not what the picture says.
        return {
            "text/html": (
                "<!-- figure -->\n"
                f'<img alt="{html.escape(self.alt)}" style="max-width: 100%; border-radius: 6px" '
                f'src="data:image/svg+xml,{data.replace(chr(38), "%26")}">' + _list(self.outline)
            ),
            "text/plain": repr(self),
        }

    def __repr__(self) -> str:
        lines = (f"{'  ' * depth}- {text}" for depth, text in self.outline)
        return "\n".join([f"Figure: {self.alt}", *lines])


def _list(outline: tuple[tuple[int, str], ...]) -> str:
    """Lines as nested lists, folded below the picture."""
    if not outline:
        return ""
    parts, open_lists = ["\n<details><summary>The same as text</summary>"], 0
    for depth, text in outline:
        deeper = depth + 1 > open_lists
        parts += ["\n<ul>"] if deeper else ["</li>", "</ul></li>" * (open_lists - depth - 1)]
        parts.append(f"\n<li>{html.escape(text)}")
        open_lists = depth + 1
    return "".join(parts) + "</li></ul>" * open_lists + "</details>"


@contextmanager
def canvas(width: float, height: float) -> Iterator[tuple[Canvas, Axes]]:
    """A blank card of `width` × `height` inches with one axis-less Axes that fills it, in figure
    units of inches.

    The origin is the upper left corner, y grows downwards.
    """
    # A Figure made by hand instead of by pyplot: no global state, no back end that
    # would also show it, and it works in any thread.
    with matplotlib.rc_context(_SETTINGS):
        figure = Canvas(figsize=(width, height), facecolor=PAPER)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.set_axis_off()
        yield figure, axes


def finish(figure: Canvas, alt: str, outline: tuple[tuple[int, str], ...] = ()) -> Figure:
    """Write the canvas as an SVG document that carries `alt` as its title."""
    file = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure.savefig(
            file,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.S)
    svg = svg.replace("'DejaVu Sans'", _FONT_STACK)
    title = f"<title>{html.escape(alt, quote=False)}</title>"
    svg = re.sub(
        r"(<svg\b[^>]*)>", rf'\1 role="img">\n {title.replace(chr(92), chr(92) * 2)}', svg, count=1
    )
    return Figure(svg, alt, outline)


def colours_of(loops: list[str]) -> dict[str, str]:
    """A colour for each loop name, in order of appearance; after seven they repeat."""
    return {name: LOOP_COLOURS[i % len(LOOP_COLOURS)] for i, name in enumerate(loops)}


def tint(colour: str, share: float) -> str:
    """`colour` mixed with paper: 1.0 is the colour itself, 0.0 is paper."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - part) * share):02X}" for part in parts)
