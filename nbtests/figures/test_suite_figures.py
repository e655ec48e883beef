"""The figures of suites and cures: nothing overlaps, small or large, and what they say stands in
words as well.
"""

import xml.etree.ElementTree as ET

import pytest
from drawn_text import overlaps
from figure_samples import CHAIN, COSTS, CROWD, MATRIX, QUEUE, SAMPLES, SCOPES, TREE, VERDICTS

from loopbound.figures import (
    cost_bars,
    decision_tree,
    pool_queue,
    scope_matrix,
    verdict_table,
    waiting_chain,
)
from loopbound.figures.cells import round_box
from loopbound.figures.lettering import shorten, width_of, wrap
from loopbound.figures.style import PAPER, WIDTH, canvas, finish


def words(figure):
    """The texts in the drawing, without the title that only screen readers read."""
    texts = (node for node in ET.fromstring(figure.svg).iter() if node.tag.endswith("}text"))
    return [" ".join("".join(node.itertext()).split()) for node in texts]


def rank(texts, *wanted):
    """Whether `wanted` stand in this order, from the top down, as the SVG lists them."""
    places = [texts.index(text) for text in wanted]
    return places == sorted(places)


@pytest.mark.parametrize("name", SAMPLES)
def test_nothing_overlaps_and_nothing_leaves_a_card_as_wide_as_a_cell_shows(name, monkeypatch):
    kept = []

    def draw():
        kept.append(SAMPLES[name]())

    assert overlaps(draw, monkeypatch) == []
    assert f'width="{WIDTH * 72:g}pt"' in kept[0].svg


@pytest.mark.parametrize(
    ("there", "boxes", "what"),
    [
        (2.0, [], []),
        (2.0, [(0.9, 0.8)], []),
        (1.1, [], ["'here' and 'there'"]),
        (2.0, [(0.5, 0.6)], ["'here' and a box's edge"]),
        (2.9, [], ["'there' and the card's edge"]),
        (2.0, [(0.2, 0.4), (0.4, 0.4)], ["two boxes"]),
    ],
)
def test_an_overlap_is_found(there, boxes, what, monkeypatch):
    def draw():
        with canvas(3, 1) as (figure, axes):
            axes.text(1.0, 0.5, "here", va="center")
            axes.text(there, 0.5, "there", va="center")
            for left, width in boxes:
                round_box(axes, left, 0.3, width, 0.4, facecolor=PAPER)
            return finish(figure, "Two texts.")

    assert overlaps(draw, monkeypatch) == what


def test_a_pools_queue_is_told_row_by_row():
    figure = pool_queue(QUEUE, "Six tests")
    assert "4 test_reports: queue test_login, test_login; takes 1; different loop." in figure.alt
    assert (
        "5 test_status: queue test_login, no connection; takes 3; operation in progress."
        in figure.alt
    )
    drawn = words(figure)
    # The row's number, the boxes of test_login (two rows are folded)
    assert drawn.count("1") == 1 + 2 * 2 + 1
    assert (
        "connection made in test 12" in drawn and "new record" in drawn and "in progress" in drawn
    )


def test_neighbours_that_take_nothing_share_a_row_unless_one_of_them_failed():
    drawn = words(pool_queue(QUEUE))
    assert "… 2 tests take no connection" in drawn and "test_hash" not in drawn
    failed = [*QUEUE[:1], (*QUEUE[1][:3], "AssertionError"), *QUEUE[2:]]
    drawn = words(pool_queue(failed))
    assert {"test_hash", "test_token", "AssertionError"} <= set(drawn)
    assert {"test_hash", "test_token"} <= set(words(pool_queue(QUEUE, fold=False)))


def test_a_folded_row_keeps_the_numbers_of_the_others():
    assert rank(
        words(pool_queue(QUEUE)),
        "… 2 tests take no connection",
        "4",
        "test_reports",
        "5",
        "test_status",
    )


def test_boxes_of_one_loop_have_its_number():
    drawn = words(
        pool_queue([("test_stream", ["loop 17", "loop 17", "loop 3"], 1, "different loop")])
    )
    assert drawn.count("17") == 2 and "connection of loop 12" in drawn


def test_a_scope_matrix_says_who_passes_with_whom():
    figure = scope_matrix(MATRIX, SCOPES, SCOPES)
    assert (
        "ok (1 of 25): session × session" in figure.alt and "ScopeMismatch (20 of 25)" in figure.alt
    )
    drawn = words(figure)
    assert (
        drawn.count("ScopeMismatch") == 20
        and drawn.count("different loop") == 4
        and "loop scope of the test" in drawn
    )


def test_a_cell_outside_the_matrix_is_refused():
    with pytest.raises(ValueError, match="cell 'session' × 'suite' is in no row"):
        scope_matrix({("session", "suite"): "ok"}, SCOPES, SCOPES)


def test_costs_stand_at_their_bars():
    figure = cost_bars(COSTS, floor="as found")
    drawn = words(figure)
    assert rank(drawn, "as found", "dispose", "session loop", "NullPool")
    assert {"1.4 times as long", "0.86 times as long", "12 times as long"} <= set(drawn)
    assert drawn.count("no clear difference") == 0
    assert "dispose 1.4 (1.3 to 1.6)" in figure.alt
    level = cost_bars({"dispose": (1.4, 0.9, 1.6)}, floor="as found")
    assert {"no clear difference", "no clear difference: the line reaches 1×"} <= set(words(level))
    assert "dispose 1.4 (0.90 to 1.6), no clear difference" in level.alt


@pytest.mark.parametrize(
    "row",
    [(1.0, 1.1, 1.2), (2.0, 1.0, 1.5), (float("nan"), 1, 2), (1, 1, float("inf")), (1, -1, 2)],
)
def test_a_cost_outside_its_own_range_is_refused(row):
    with pytest.raises(ValueError, match="row 'dispose'"):
        cost_bars({"dispose": row})


def test_each_path_of_a_tree_is_told_as_a_sentence():
    figure = decision_tree(TREE, "Which cure?")
    assert figure.alt.startswith("Which cure? ")
    assert (
        "Is it a test suite? yes: May all the tests share one loop? no: Can the engine be replaced?"
        " yes: An engine for each test." in figure.alt
    )
    assert "Make the engine in the lifespan." in words(figure)


def test_a_question_without_answers_is_refused():
    with pytest.raises(ValueError, match="question 'Why' has no answers"):
        decision_tree(("So?", {"yes": ("Why", {})}))


def test_those_who_wait_stand_above_those_they_wait_for():
    drawn = words(waiting_chain(CROWD))
    assert rank(drawn, "session 3", "session 2", "session 1", "session 5")
    assert rank(drawn, "session 4", "session 9") and "not in the list" in drawn
    assert drawn.count("waits for") == 7


def test_a_statement_is_shown_as_it_is_written():
    figure = waiting_chain(CHAIN)
    assert "SELECT id FROM reports WHERE owner = $1 AND state = $2" in words(figure)
    assert (
        "session 2, active, Lock: relation, waits for session 1: TRUNCATE users, reports."
        in figure.alt
    )
    assert (
        "session 1, idle in transaction, Client: ClientRead, waits for no session and is waited for"
        in figure.alt
    )


def test_a_verdict_is_a_sign_and_a_word():
    figure = verdict_table(VERDICTS, [f"measure {n}" for n in range(6)])
    assert (
        "as found: measure 0 28/33 (bad)" in figure.alt
        and "measure 3 partly" in figure.alt
        and "measure 5 0.9×" in figure.alt
    )
    assert {"28/33", "5 sockets", "1.0×"} <= set(words(figure))


def test_a_verdict_that_is_none_is_refused():
    with pytest.raises(ValueError, match="verdict 'yes' is none of good, partly, bad"):
        verdict_table({"dispose": [("yes", "33/33")]}, ["all pass"])
    with pytest.raises(ValueError, match="row 'dispose' has 1 verdicts for 2 columns"):
        verdict_table({"dispose": ["1.4×"]}, ["all pass", "cost"])


def test_texts_are_made_to_fit():
    text = "tests/api/test_status.py::test_get_status_forbidden"
    assert width_of(text, 8.5, "bold") > width_of(text, 8.5) > width_of(text, 8)
    for inches in (0.3, 1, 2):
        assert all(
            width_of(line, 9) <= inches for line in wrap(f"{text} and more\nof it", inches, 9)
        )
        assert width_of(shorten(text, inches, 9), 9) <= inches
    assert "".join(wrap(text, 1, 9)) == text and shorten(text, 9, 9) == text
    assert shorten(text, 2, 9).endswith("…") and shorten(text, 2, 9, keep="end").endswith(
        "forbidden"
    )
