"""Commit to an answer, run the experiment, compare: the heart of every lesson."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Comparison", "Prediction", "predict"]

RUN_ON = "Now run the cells below, and read on."
CLOSED = "Closed until you click on an answer above."

# The tab keeps a click, so that it is there when the page is loaded again: a saved output that is
# trusted runs its script then. Where a browser keeps nothing, an answer lasts as long as the page.
# A script closes and opens, not `:has()` in the style: with that, each change in a cell, such as a
# pressed key, took Chromium a quarter of a second. Without this output nothing is closed.
_BEHAVIOUR = """<style>
.predict.NAME summary {cursor: pointer; list-style: inside '○ '}
.predict.NAME [open] > summary {list-style: inside '◉ '}
.compare.NAME .chosen > summary::after {content: ' ← your answer'}
.NAME-closed:not(.jp-mod-noOutputs) .jp-Cell-outputArea > *,
.jp-MarkdownCell.NAME-closed .jp-Cell-inputArea > * {display: none}
.NAME-closed:not(.jp-mod-noOutputs) .jp-Cell-outputArea::before,
.jp-MarkdownCell.NAME-closed .jp-Cell-inputArea::before {content: 'CLOSED'; font-style: italic;
  margin-left: calc(var(--jp-cell-prompt-width, 0px) + 14px)}
</style>
<script>
document.querySelectorAll(".predict.NAME").forEach((ask) => {
  let kept = {};
  try { kept = sessionStorage; } catch {}
  const notebook = ask.closest(".jp-Notebook");
  if (!notebook) return;
  const update = () => {
    const why = notebook.querySelector(".compare.NAME");
    const cells = [...notebook.querySelectorAll(".jp-Cell")];
    const place = (item) => cells.findIndex((cell) => cell.contains(item));
    const answer = ask.querySelector("details[open]");
    const [from, to] = [place(ask), why ? place(why) : -1];
    let end = to;
    while (end > 0 && end < cells.length && !cells[end].matches(".jp-MarkdownCell")) end++;
    let told = false;
    cells.forEach((cell, at) => {
      const between = from < at && at < end && at !== to && !cell.querySelector(".predict");
      told ||= between && cell.matches(".jp-CodeCell:not(.jp-mod-noOutputs)");
      const closes = between && (told || cell.matches(".jp-CodeCell"));
      cell.classList.toggle("NAME-closed", closes && !answer);
    });
    const explanation = cells[end]?.querySelector("details.explanation");
    if (explanation) explanation.open = Boolean(answer);
    why?.querySelectorAll("details").forEach((option) => {
      const chosen = option.classList.contains(answer?.classList[1]);
      option.classList.toggle("chosen", chosen);
      option.open = answer && (chosen || option.matches(".right") || answer.matches(".unanswered"));
    });
  };
  const options = [...ask.querySelectorAll("details")];
  const before = options.find((option) => option.className === kept["NAME"]);
  if (before && !options.some((option) => option.open)) before.open = true;
  ask.addEventListener("toggle", () => {
    kept["NAME"] = options.find((option) => option.open)?.className ?? "";
    update();
  }, true);
  update();
});
</script>"""
_COMPARED = """<script>
document.querySelectorAll(".predict.NAME").forEach((ask) => ask.dispatchEvent(new Event("toggle")));
</script>"""


def predict(question: str, *, answer: str | None = None, **options: Any) -> Prediction:
    """Ask a question with lettered options, to be answered by a click or by a letter in `answer`.

    >>> guess = predict("What does loop B get?", a="ok", b="different loop", answer="b")
    >>> guess.compare("different loop", a="the pool hands out …", b="the connection was …")

    A click is kept by the browser's tab, a letter by the notebook. An answer that is none of the
    letters is said so when the prediction is shown; nothing is raised, so that a notebook can
    always be run from top to bottom.
    """
    return Prediction(question, options, answer)


@dataclass(frozen=True)
class Prediction:
    """A question, its options (letter → the value that an experiment could give), the chosen
    letter.
    """

    question: str
    options: dict[str, Any]
    answer: str | None

    def compare(self, observed: Any, **why: str) -> Comparison:
        """Hold the choice against what the experiment gave.

        observed
            What was measured; it belongs to the option whose value is equal to it.
        why
            Letter → one sentence that explains that option, right or wrong.
        """
        missing = self.options.keys() - why.keys()
        if missing:
            raise ValueError(
                f"no explanation for option {', '.join(sorted(missing))} of {self.question!r}"
            )
        return Comparison(self, observed, why)

    def _repr_markdown_(self) -> str:
        """The question, with each option to click on.

        An option is a ``<details>`` and no radio button: JupyterLab disables buttons in what it has
        not run itself, and GitHub removes them. It works without a kernel, and nothing is executed.
        """
        options = [
            folded(
                f"option-{letter}", self.option(letter), RUN_ON, self.name, letter == self.answer
            )
            for letter in self.options
        ]
        show = folded("unanswered", "<i>show without an answer</i>", RUN_ON, self.name, False)
        return "\n\n".join(
            [
                f'<div class="predict {self.name}">',
                f"**{self.question}**",
                *options,
                show,
                "</div>",
                f"*{self._choice()}*",
                self._behaviour(),
            ]
        )

    @property
    def name(self) -> str:
        """A class in the page that only the outputs of this prediction have."""
        return f"predict-{zlib.crc32(self.question.encode()):08x}"

    def option(self, letter: str) -> str:
        """An option as HTML: its letter and its value."""
        return f"<b>{letter}</b> – {_html(shown(self.options[letter]))}"

    def _behaviour(self) -> str:
        """What makes a click an answer where the page keeps it: after a run in JupyterLab.

        Outputs between the question and the explanation, and the text after the first of them, are
        closed until then; afterwards the comparison shows the chosen option and the right one, and
        the explanation (``<details class="explanation">``) is open. Elsewhere each of them is
        opened by a click of its own.
        """
        return _BEHAVIOUR.replace("NAME", self.name).replace("CLOSED", CLOSED)

    @property
    def chosen(self) -> bool:
        """Whether the answer is one of the letters.

        Anything may have been written there, a list too.
        """
        return isinstance(self.answer, str) and self.answer in self.options

    def _choice(self) -> str:
        if self.answer is None:
            return (
                "Click on your answer. Or open this cell, set `answer=` in it to a letter, and run"
                " it again."
            )
        if not self.chosen:
            return (
                f"Your answer `{self.answer}` is none of {', '.join(self.options)}. Click on one,"
                " or open this cell, set `answer=` in it, and run it again."
            )
        return f"Your answer: {self.answer} – {shown(self.options[self.answer])}"

    def __repr__(self) -> str:
        return (
            f"{self.question} {', '.join(f'{k}: {shown(v)}' for k, v in self.options.items())};"
            f" answer: {self.answer}"
        )


@dataclass(frozen=True)
class Comparison:
    """A prediction beside what was observed."""

    prediction: Prediction
    observed: Any
    why: dict[str, str]

    @property
    def right(self) -> str | None:
        """The letter that the run confirmed, None where no option names what was observed."""
        return next((k for k, v in self.prediction.options.items() if v == self.observed), None)

    def _repr_markdown_(self) -> str:
        """The comparison; for each option behind a line to click on as long as no letter is given,
        so that the answer is not on the screen of a reader who still thinks.
        """
        if self.prediction.chosen:
            return self._compared()
        options = [
            folded(
                f"option-{letter} right" if letter == self.right else f"option-{letter}",
                self.prediction.option(letter),
                f"✓ {self.why[letter]}"
                if letter == self.right
                else f"✗ {self.why[letter]} {self._observed()}",
            )
            for letter in self.prediction.options
        ]
        head = "**What the run gave, and why**, for each answer:"
        return "\n\n".join(
            [
                f'<div class="compare {self.prediction.name}">',
                head,
                *options,
                "</div>",
                _COMPARED.replace("NAME", self.prediction.name),
            ]
        )

    def _observed(self) -> str:
        told = f"**The run gave:** {_html(shown(self.observed))}"
        return told + (
            f" (option {self.right})." if self.right else ", which none of the options names."
        )

    def _compared(self) -> str:
        options, right = self.prediction.options, self.right
        choice = str(self.prediction.answer)
        mark = "✓" if choice == right else "✗"
        told = f"**You predicted:** {shown(options[choice])} (option {choice}) {mark}"
        lines = [f"{told}  ", self._observed(), ""]
        lines += [
            f"- **{letter}** {'✓' if letter == right else '✗'} {shown(options[letter])} –"
            f" {self.why[letter]}"
            for letter in options
            if letter in (choice, right)
        ]
        # Nothing to open here, but in the explanation below.
        lines += ["", f'<div class="compare {self.prediction.name}"></div>', ""]
        return "\n".join([*lines, _COMPARED.replace("NAME", self.prediction.name)])

    def __repr__(self) -> str:
        return (
            f"predicted {self.prediction.answer}, observed {shown(self.observed)} (option"
            f" {self.right})"
        )


def shown(value: Any) -> str:
    """A value as a reader likes to see it: a list as a row of arrows, a set with commas, anything
    else as its text.
    """
    if isinstance(value, (list, tuple)):
        return " → ".join(str(item) for item in value)
    if isinstance(value, (set, frozenset)):
        return ", ".join(sorted(str(item) for item in value))
    return str(value)


def folded(kind: str, summary: str, text: str, name: str = "", opened: bool = False) -> str:
    """An option as a line to click on, ``summary`` in HTML, with Markdown behind it.

    Of those with the same ``name`` one is open at a time.
    """
    more = f' name="{name}"' * bool(name) + " open" * opened
    classes = kind if kind == "unanswered" else f"option {kind}"
    return f'<details class="{classes}"{more}><summary>{summary}</summary>\n\n{text}\n\n</details>'


def _html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
