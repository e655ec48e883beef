"""Where the texts and boxes of a figure came to stand: what a reader would see as an overlap,
measured before it is SVG.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations
from typing import Any

import matplotlib.figure
import pytest
from matplotlib.backends.backend_svg import RendererSVG
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox


def measured(
    draw: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[Any, Bbox], list[Bbox], Bbox]:
    """The extents in inches of a figure's texts and of its boxes, and of its card; `draw` makes the
    figure.
    """
    kept: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig
    with monkeypatch.context() as patch:
        patch.setattr(
            matplotlib.figure.Figure,
            "savefig",
            lambda self, *a, **k: (kept.append(self), save(self, *a, **k))[1],
        )
        draw()
    (figure,) = kept
    figure.dpi = 72  # what SVG is written with
    # Measures as the file will, without a screen's hinting.
    renderer = RendererSVG(*figure.get_size_inches() * 72, io.StringIO())
    scale = figure.dpi_scale_trans.inverted()
    (axes,) = figure.axes
    texts = {
        text: text.get_window_extent(renderer).transformed(scale)
        for text in axes.texts
        if text.get_text().strip()
    }
    boxes = [
        patch.get_window_extent(renderer).transformed(scale)
        for patch in axes.patches
        if isinstance(patch, FancyBboxPatch)
    ]
    return texts, boxes, Bbox.from_bounds(0, 0, *figure.get_size_inches())


def overlaps(
    draw: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, slack: float = 0.02
) -> list[str]:
    """Each pair of texts that overlap, each text across a box's edge, each that leaves the card;
    `slack` inches are forgiven.
    """
    texts, boxes, card = measured(draw, monkeypatch)
    found = [
        f"{a.get_text()!r} and {b.get_text()!r}"
        for (a, one), (b, other) in combinations(texts.items(), 2)
        if _shared(one, other, slack)
    ]
    for text, extent in texts.items():
        crossed = (
            box for box in boxes if _shared(extent, box, slack) and not _within(extent, box, slack)
        )
        found += [f"{text.get_text()!r} and a box's edge" for _ in crossed]
        if not _within(extent, card, slack):
            found.append(f"{text.get_text()!r} and the card's edge")
    found += ["two boxes" for one, other in combinations(boxes, 2) if _shared(one, other, slack)]
    return found


def _shared(one: Bbox, other: Bbox, slack: float) -> bool:
    return (
        min(one.x1, other.x1) - max(one.x0, other.x0) > slack
        and min(one.y1, other.y1) - max(one.y0, other.y0) > slack
    )


def _within(inner: Bbox, outer: Bbox, slack: float) -> bool:
    return (
        inner.x0 >= outer.x0 - slack
        and inner.x1 <= outer.x1 + slack
        and inner.y0 >= outer.y0 - slack
        and inner.y1 <= outer.y1 + slack
    )
