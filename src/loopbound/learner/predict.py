"""Commit to an answer, run the experiment, compare: the heart of every lesson."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Comparison", "Prediction", "predict"]


def predict(question: str, *, answer: str | None = None, **options: Any) -> Prediction:
    """Ask a question with lettered options; `answer` is the reader's letter, or None for not yet.

    >>> guess = predict("What does loop B get?", a="ok", b="different loop", answer="b")
    >>> guess.compare("different loop", a="the pool hands out …", b="the connection was …")

    An answer that is none of the letters is said so when the prediction is shown; nothing is
    raised, so that a notebook can always be run from top to bottom.
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
        lines = [f"**{self.question}**", ""]
        lines += [f"- **{letter}** – {shown(value)}" for letter, value in self.options.items()]
        return "\n".join([*lines, "", f"*Your answer: {self._choice()}*"])

    @property
    def chosen(self) -> bool:
        """Whether the answer is one of the letters.

        Anything may have been written there, a list too.
        """
        return isinstance(self.answer, str) and self.answer in self.options

    def _choice(self) -> str:
        if self.answer is None:
            return "none yet. Set `answer=` above to a letter and run this cell again."
        if not self.chosen:
            return (
                f"`{self.answer}` is none of {', '.join(self.options)}. Set `answer=` above and run"
                " this cell again."
            )
        return f"{self.answer} – {shown(self.options[self.answer])}"

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
        """The comparison; behind a line to click on as long as there is no prediction, so that
        the answer is not on the screen of a reader who still thinks.
        """
        compared = self._compared()
        if self.prediction.chosen:
            return compared
        summary = "<summary>Show what the run gave, and why</summary>"
        return f"<details>{summary}\n\n{compared}\n\n</details>"

    def _compared(self) -> str:
        choice, options = self.prediction.answer, self.prediction.options
        right = self.right
        observed = f"**The run gave:** {shown(self.observed)}"
        observed += f" (option {right})." if right else ", which none of the options names."
        if choice is None or not self.prediction.chosen:
            told = (
                "nothing yet"
                if choice is None
                else f"`{choice}`, which is none of {', '.join(options)}"
            )
            told, explained = f"**You predicted:** {told}, so here is every option.", list(options)
        else:
            mark = "✓" if choice == right else "✗"
            told = f"**You predicted:** {shown(options[choice])} (option {choice}) {mark}"
            explained = [letter for letter in options if letter in (choice, right)]
        lines = [f"{told}  ", f"{observed}", ""]
        lines += [
            f"- **{letter}** {'✓' if letter == right else '✗'} {shown(options[letter])} –"
            f" {self.why[letter]}"
            for letter in explained
        ]
        return "\n".join(lines)

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
