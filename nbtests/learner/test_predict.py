"""Predictions: with any answer the notebook runs on, and the comparison tells the truth."""

import pytest

from loopbound import predict


def ask(answer=None):
    return predict("What does loop B get?", a="ok", b="different loop", answer=answer)


WHY = {"a": "the pool asks nobody", "b": "born on A"}


def test_no_answer_has_every_explanation_behind_a_click():
    text = ask().compare("different loop", **WHY)._repr_markdown_()
    said, *options = text.split("<details ")
    assert "different loop" not in said and "✓" not in said
    wrong, right = (option.split("</summary>") for option in options)
    assert [row[0].rpartition("<summary>")[2] for row in (wrong, right)] == [
        "<b>a</b> – ok",
        "<b>b</b> – different loop",
    ]
    assert (
        wrong[1].strip().startswith(f"✗ {WHY['a']} **The run gave:** different loop (option b).\n")
    )
    assert right[1].strip().startswith(f"✓ {WHY['b']}\n")


def test_a_question_has_a_line_to_click_on_for_each_option_and_for_none():
    text = ask()._repr_markdown_()
    assert text.count("<details ") == text.count("</details>") == 3
    assert " open>" not in text and "Click on your answer" in text
    # A letter in the source is an answer, as a click is.
    assert 'class="option option-b" name="' in (given := ask("b")._repr_markdown_())
    assert given.count(" open>") == 1 and "Your answer: b – different loop" in given


def test_what_an_option_shows_is_text_and_no_markup():
    guess = predict("Which?", a="<SuiteRun: 1 & 2>", b="`dispose()`")
    assert "<summary><b>a</b> – &lt;SuiteRun: 1 &amp; 2&gt;</summary>" in guess._repr_markdown_()
    assert "<summary><b>b</b> – <code>dispose()</code></summary>" in guess._repr_markdown_()
    assert (
        "**The run gave:** &lt;SuiteRun: 1 &amp; 2&gt; (option a)."
        in guess.compare("<SuiteRun: 1 & 2>", a="…", b="…")._repr_markdown_()
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
    assert "**You predicted:**" not in told and WHY["a"] in told and WHY["b"] in told


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
        "<b>a</b> – NullPool, aiosqlite"
        in predict("Which pass?", a={"aiosqlite", "NullPool"})._repr_markdown_()
    )
