"""Predictions: with any answer the notebook runs on, and the comparison tells the truth."""

import pytest

from loopbound import predict


def ask(answer=None):
    return predict("What does loop B get?", a="ok", b="different loop", answer=answer)


WHY = {"a": "the pool asks nobody", "b": "born on A"}


def test_no_answer_has_every_explanation_behind_a_click():
    text = ask().compare("different loop", **WHY)._repr_markdown_()
    assert text.startswith("<details><summary>") and text.endswith("</details>")
    assert (
        "nothing yet" in text
        and WHY["a"] in text
        and WHY["b"] in text
        and "**The run gave:** different loop (option b)" in text
    )


def test_a_right_answer_shows_its_own_explanation_only():
    text = ask("b").compare("different loop", **WHY)._repr_markdown_()
    assert "✓" in text.splitlines()[0] and WHY["b"] in text and WHY["a"] not in text
    assert "<details>" not in text


def test_a_wrong_answer_shows_why_it_is_wrong_and_what_is_right():
    text = ask("a").compare("different loop", **WHY)._repr_markdown_()
    assert "✗" in text.splitlines()[0] and WHY["a"] in text and WHY["b"] in text


@pytest.mark.parametrize("answer", ["z", "", 3, "A", ["a"], {}, {"a"}])
def test_an_answer_that_is_no_letter_stops_nothing_and_is_named(answer):
    assert f"`{answer}` is none of a, b" in ask(answer)._repr_markdown_()
    told = ask(answer).compare("ok", **WHY)._repr_markdown_()
    assert (
        f"**You predicted:** `{answer}`, which is none of a, b" in told
        and WHY["a"] in told
        and WHY["b"] in told
    )


def test_an_observation_that_no_option_names_is_said_so_and_nothing_is_ticked():
    comparison = ask("b").compare("operation in progress", **WHY)
    assert comparison.right is None
    text = comparison._repr_markdown_()
    assert "which none of the options names" in text and "✓" not in text


def test_an_option_without_explanation_is_the_authors_mistake():
    with pytest.raises(ValueError, match="no explanation for option b"):
        ask().compare("ok", a="…")


def test_sequences_read_as_rows():
    row = predict("Seven loops?", a=["ok", "ok"], b=("ok", "different loop"))
    assert "ok → different loop" in row._repr_markdown_()
    assert row.compare(["ok", "ok"], a="…", b="…").right == "a"


def test_sets_read_without_an_order():
    assert (
        "a** – NullPool, aiosqlite"
        in predict("Which pass?", a={"aiosqlite", "NullPool"})._repr_markdown_()
    )
