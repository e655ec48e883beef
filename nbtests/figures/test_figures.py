"""Figures: deterministic SVG with alt text, readable without colour, drawn from whatever the
reader's run gave.
"""

import functools
import itertools
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest
from figure_samples import SAMPLES

from loopbound.figures import outcome_grid, schedule, timeline
from loopbound.figures.style import ALARM, INK, LOOP_COLOURS, MUTED, PAPER
from loopbound.recorder import Event

CROSSING = [
    Event(0, "loop opened", "A"),
    Event(1, "born", "A", "connection 1", "A"),
    Event(2, "used", "A", "connection 1", "A"),
    Event(3, "returned", "A", "connection 1", "A"),
    Event(4, "loop closed", "A"),
    Event(5, "loop opened", "B"),
    Event(6, "used", "B", "connection 1", "A", "different loop", "ask", "RuntimeError: …"),
    Event(7, "logged", "B", text="Exception terminating connection"),
]
GRID = {"default": ["ok", "different loop"], "NullPool": ["ok", "ok"]}
TURNS = [("report", ["mail"], []), ("mail", [], ["report"]), ("", [], ["report", "mail"])]

FIGURES = {
    "timeline": lambda: timeline(CROSSING, "One & only <engine>"),
    "empty timeline": lambda: timeline([]),
    "timeline of twelve loops": lambda: timeline(
        [Event(i, "loop opened", f"L{i}") for i in range(12)]
    ),
    "grid": lambda: outcome_grid(GRID, ["A", "B"], "Pools"),
    "grid with gaps": lambda: outcome_grid({"row": ["", "odd"]}, ["A", "B"], neutral=["odd"]),
    "schedule": lambda: schedule(TURNS, "Turns"),
    "empty schedule": lambda: schedule([]),
    **SAMPLES,
}


@functools.cache
def drawn(name):
    """The figure of a name, drawn once for all the tests that look at it."""
    return FIGURES[name]()


@pytest.fixture(params=FIGURES, ids=str)
def figure(request):
    return drawn(request.param)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_input_gives_the_same_bytes(name):
    assert FIGURES[name]().svg == drawn(name).svg


def test_it_is_well_formed_svg_with_a_title_for_those_who_do_not_see_it(figure):
    root = ET.fromstring(figure.svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("role") == "img"
    assert root.findtext("{http://www.w3.org/2000/svg}title") == figure.alt
    assert figure.alt.strip()


def test_what_a_notebook_gets_is_an_image_with_alt_text(figure):
    bundle = figure._repr_mimebundle_()
    tag = ET.fromstring(bundle["text/html"].partition("\n<details>")[0].replace('">', '"/>'))
    assert tag.tag == "img" and tag.get("alt") == figure.alt
    shown = unquote(tag.get("src").removeprefix("data:image/svg+xml,"))
    assert re.sub(r"\s+", " ", shown) == re.sub(r"\s+", " ", figure.svg)
    assert figure.alt in bundle["text/plain"]


def test_nothing_in_it_depends_on_the_clock_or_the_machine(figure):
    assert not re.search(r"20\d\d-\d\d|/home|/usr|matplotlib v", figure.svg)


def test_a_crossing_is_told_in_words_as_well_as_in_colour():
    figure = timeline(CROSSING)
    assert (
        "connection 1, born on A, used on A: ok; on B: different loop; kept to the end"
        in figure.alt
    )
    words = " ".join(ET.fromstring(figure.svg).itertext())
    assert (
        "different" in words
        and "its loop is closed" in words
        and "used on another loop: error" in words
    )


def test_a_crossing_that_passes_has_another_sign_than_one_that_fails():
    passing = [
        e if e.symptom == "ok" else Event(6, "used", "B", "connection 1", "A") for e in CROSSING
    ]
    words = " ".join(ET.fromstring(timeline(passing).svg).itertext())
    assert "passes" in words and "error" not in words


def test_a_short_row_is_refused():
    with pytest.raises(ValueError, match="row 'default' has 1 outcomes for 2 columns"):
        outcome_grid({"default": ["ok"]}, ["A", "B"])


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_contrast_reaches_wcag_aa_on_the_figures_own_paper():
    assert contrast(INK, PAPER) >= 4.5 and contrast(MUTED, PAPER) >= 4.5
    assert contrast(ALARM, PAPER) >= 3  # bold or a sign with a word beside it: large-scale text


def test_the_first_four_loop_colours_differ_in_grey_too():
    grey = sorted(luminance(colour) for colour in LOOP_COLOURS[:4])
    assert all(b / a > 1.05 for a, b in itertools.pairwise(grey))


def test_every_figure_brings_its_own_paper_for_the_dark_theme(figure):
    assert f"fill: {PAPER.lower()}" in figure.svg
