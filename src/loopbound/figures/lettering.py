"""How wide a text will be, and the text made to fit, measured with the drawing's font."""

from __future__ import annotations

from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

__all__ = ["ended", "line_height", "shorten", "width_of", "wrap"]


@lru_cache(maxsize=4096)
def width_of(text: str, size: float, weight: str = "normal") -> float:
    """The width in inches of one line of text at `size` points."""
    # DejaVu Sans comes with matplotlib, so this is the same number on every machine.
    font = FontProperties(family="DejaVu Sans", weight=weight, size=size)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] / 72


def line_height(size: float) -> float:
    """The inches from one line to the next at `size` points, as matplotlib sets them."""
    return size * 1.4 / 72


def wrap(text: str, inches: float, size: float, weight: str = "normal") -> list[str]:
    """`text` in lines of at most `inches`; its own line breaks stay, a longer word is cut."""
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if width_of(longer, size, weight) <= inches:
                line = longer
                continue
            if line:
                lines.append(line)
            while width_of(word, size, weight) > inches and len(word) > 1:
                cut = next(
                    n
                    for n in range(len(word) - 1, 0, -1)
                    if n == 1 or width_of(word[:n], size, weight) <= inches
                )
                lines.append(word[:cut])
                word = word[cut:]
            line = word
        lines.append(line)
    return lines


def shorten(
    text: str, inches: float, size: float, weight: str = "normal", keep: str = "start"
) -> str:
    """`text` cut to `inches` with an ellipsis at its end, or at its start where `keep` is "end"."""
    if width_of(text, size, weight) <= inches:
        return text
    for n in range(len(text) - 1, 0, -1):
        cut = f"…{text[-n:].lstrip()}" if keep == "end" else f"{text[:n].rstrip()}…"
        if width_of(cut, size, weight) <= inches:
            return cut
    return "…"


def ended(text: str) -> str:
    """`text` with a full stop, unless it ends with a mark of its own."""
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."
