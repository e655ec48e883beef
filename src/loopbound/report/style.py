"""The pages' style sheet: light and dark, wide and narrow, on screen and on paper.

Colours are those of the course's figures.
"""

from __future__ import annotations

from pathlib import Path

from loopbound.figures.style import ALARM, HAIRLINE, INK, LOOP_COLOURS, MUTED, PAPER
from loopbound.outcomes import NOT_ATTEMPTED, PASSED, RAISED, WRONG

__all__ = ["CLASSES", "COLOURS", "SHEET", "mixed"]

COLOURS = {PASSED: LOOP_COLOURS[2], WRONG: ALARM, RAISED: LOOP_COLOURS[3], NOT_ATTEMPTED: MUTED}
CLASSES = {PASSED: "passed", WRONG: "wrong", RAISED: "raised", NOT_ATTEMPTED: "untouched"}

_NIGHT = {
    "paper": "#14191F",
    "ink": "#E4E9EE",
    "muted": "#A3AFBB",
    "hairline": "#37434F",
    "soft": "#1C232B",
    "link": "#7CC4EE",
}
_DAY = {
    "paper": PAPER,
    "ink": INK,
    "muted": "#5A6672",
    "hairline": HAIRLINE,
    "soft": "#F4F6F8",
    "link": "#005A8F",
}


def mixed(colour: str, ground: str, share: float) -> str:
    """A colour laid over a ground: 1.0 is the colour itself, 0.0 the ground."""
    pairs = ((int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(
        f"{round(over * share + under * (1 - share)):02X}" for over, under in pairs
    )


def _theme(tones: dict[str, str], share: float) -> str:
    tones = tones | {
        CLASSES[outcome]: mixed(
            colour, tones["paper"], share if outcome != NOT_ATTEMPTED else share / 2
        )
        for outcome, colour in COLOURS.items()
    }
    return " ".join(f"--{name}: {tone};" for name, tone in tones.items())


SHEET = f"""
:root {{ {_theme(_DAY, 0.42)} color-scheme: light; }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ {_theme(_NIGHT, 0.5)} color-scheme: dark; }}
}}
{Path(__file__).with_name("style.css").read_text(encoding="utf-8")}"""
