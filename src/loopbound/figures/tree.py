"""A decision tree: questions down the left, recommendations on the right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.axes import Axes

from loopbound.figures.cells import round_box
from loopbound.figures.lettering import ended, line_height, width_of, wrap
from loopbound.figures.style import INK, MUTED, WIDTH, Figure, canvas, finish, tint

__all__ = ["decision_tree"]

Tree = str | tuple[str, Mapping[str, "Tree"]]

_LEFT, _TOP, _INDENT, _GAP, _PAD, _SIZE, _SMALL = 0.2, 0.56, 0.5, 0.2, 0.1, 9, 8
_QUESTION, _LEAF = "#0072B2", "#009E73"


@dataclass
class _Question:
    lines: list[str]
    how: list[str]  # how to answer it, below the question in its box
    depth: int
    top: float = 0.0
    height: float = 0.0  # of its box
    # Answer, lines, top, height.
    leaves: list[tuple[str, list[str], float, float]] = field(default_factory=list)
    # Answer, the question it leads to.
    below: list[tuple[str, _Question]] = field(default_factory=list)


def decision_tree(root: Tree, title: str = "") -> Figure:
    """Draw questions, their answers, and the recommendation that each path ends with.

    root
        `(question, {answer: subtree, …})`, where a subtree is another such pair or, at the end of a
        path, the recommendation: a string. Texts are wrapped; a line break in one stays. What
        stands below the first line of a question says how to answer it.

    An answer that ends with a recommendation goes to the right. One that asks on goes down: the
    last straight, those before it indented. Raises ValueError for a question without answers.
    """
    asked = list(_questions(root, 0)) if not isinstance(root, str) else []
    deepest = max([depth for _, _, depth in asked] + [0])
    answers = [
        answer
        for _, branches, _ in asked
        for answer, subtree in branches.items()
        if isinstance(subtree, str)
    ]
    gap = min(max([width_of(answer, 8, "bold") for answer in answers] + [0.3]), 1.3) + 0.42
    room = WIDTH - 2 * _LEFT - deepest * _INDENT - gap
    question_width = room * 0.47
    leaf_at = _LEFT + deepest * _INDENT + question_width + gap
    leaf_width = WIDTH - _LEFT - leaf_at
    with_boxes = _Layout(question_width, leaf_width, gap)
    tree = with_boxes.place(root, 0, _TOP)
    with canvas(WIDTH, with_boxes.bottom + 0.16) as (figure, axes):
        axes.text(
            0.16, 0.26, title or "Which way to go", fontsize=11, fontweight="bold", va="center"
        )
        if isinstance(tree, _Question):
            _draw(axes, tree, question_width, leaf_at, leaf_width, gap)
        else:
            _box(axes, _LEFT, _TOP, WIDTH - 2 * _LEFT, with_boxes.bottom - _TOP, tree, leaf=True)
        asks = root if isinstance(root, str) else root[0]
        return finish(
            figure,
            f"{ended(title or 'Decision tree')} {ended(_line(asks))}",
            tuple(_in_words(root, 0)),
        )


def _questions(
    node: tuple[str, Mapping[str, Tree]], depth: int
) -> Iterator[tuple[str, Mapping[str, Tree], int]]:
    """Each question with its answers and how far it is indented."""
    question, branches = node
    if not branches:
        raise ValueError(f"question {question!r} has no answers")
    yield question, branches, depth
    on = [subtree for subtree in branches.values() if not isinstance(subtree, str)]
    for subtree in on:
        yield from _questions(subtree, depth + (subtree is not on[-1]))


class _Layout:
    """Gives each question and each recommendation its place, from the top down."""

    def __init__(self, question_width: float, leaf_width: float, gap: float) -> None:
        self.question_width, self.leaf_width, self.gap = question_width, leaf_width, gap
        self.bottom = _TOP

    def place(self, node: Tree, depth: int, top: float) -> _Question | list[str]:
        if isinstance(node, str):
            lines = wrap(node, WIDTH - 2 * _LEFT - 2 * _PAD, _SIZE)
            self.bottom = top + _height(lines)
            return lines
        text, branches = node
        asked, _, how = text.partition("\n")
        lines = wrap(asked, self.question_width - 2 * _PAD, _SIZE, "bold")
        hint = wrap(how, self.question_width - 2 * _PAD, _SMALL) if how else []
        question = _Question(lines, hint, depth, top, _height(lines, hint))
        y = top
        for answer, subtree in branches.items():
            if isinstance(subtree, str):
                leaf = wrap(subtree, self.leaf_width - 2 * _PAD, _SIZE)
                # The answer stands above its arrow, and may be higher than its recommendation.
                answer_height = len(wrap(answer, self.gap - 0.42, 8, "bold")) * line_height(8)
                if question.leaves:
                    height = _height(leaf)
                    y += max(answer_height - height / 2, 0)
                else:  # side by side, so that the arrow between them is straight
                    height = max(_height(leaf), answer_height * 2, question.height)
                    question.height = height
                question.leaves.append((answer, leaf, y, height))
                y += height + 0.1
        self.bottom = max(top + question.height, y - 0.1 if question.leaves else top)
        on = [
            (answer, subtree)
            for answer, subtree in branches.items()
            if not isinstance(subtree, str)
        ]
        for answer, subtree in on:
            last = subtree is on[-1][1]
            lines_above = len(wrap(answer, self.question_width - 0.5, 8, "bold"))
            start = self.bottom + _GAP + lines_above * line_height(8)
            below = self.place(subtree, depth + (not last), start)
            question.below.append((answer, below))  # type: ignore[arg-type]  # not a leaf
        return question


def _height(lines: list[str], how: Sequence[str] = ()) -> float:
    return len(lines) * line_height(_SIZE) + len(how) * line_height(_SMALL) + 2 * _PAD


def _box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    lines: list[str],
    leaf: bool,
    how: Sequence[str] = (),
) -> None:
    colour = _LEAF if leaf else _QUESTION
    radius, share, line = (0.03, 0.14, 1.1) if leaf else (0.16, 0.07, 1.4)
    round_box(
        axes,
        x,
        y,
        width,
        height,
        radius,
        facecolor=tint(colour, share),
        edgecolor=colour,
        lw=line,
        zorder=2,
    )
    below = len(how) * line_height(_SMALL)
    axes.text(
        x + _PAD,
        y + (height - below) / 2,
        "\n".join(lines),
        va="center",
        fontsize=_SIZE,
        linespacing=1.2,
        zorder=3,
        fontweight="normal" if leaf else "bold",
    )
    if how:
        axes.text(
            x + _PAD,
            y + (height + _height(lines) - 2 * _PAD) / 2,
            "\n".join(how),
            va="center",
            fontsize=_SMALL,
            linespacing=1.15,
            color=MUTED,
            zorder=3,
        )


def _arrow(axes: Axes, *points: tuple[float, float]) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        color=INK,
        lw=1.2,
        zorder=1,
        solid_joinstyle="round",
    )
    (x0, y0), (x1, y1) = points[-2:]
    axes.plot(
        [x1 - 0.035 * (x1 > x0)],
        [y1 - 0.035 * (y1 > y0)],
        marker=">" if x1 > x0 else "v",
        ms=5,
        mfc=INK,
        mec=INK,
        zorder=2,
    )


def _answer(axes: Axes, x: float, y: float, words: str, ha: str = "left") -> None:
    axes.text(
        x,
        y,
        words,
        ha=ha,
        va="bottom",
        fontsize=8,
        fontweight="bold",
        color=MUTED,
        linespacing=1.15,
        zorder=3,
    )


def _draw(
    axes: Axes, question: _Question, width: float, leaf_at: float, leaf_width: float, gap: float
) -> None:
    x = _LEFT + question.depth * _INDENT
    right = x + width
    _box(axes, x, question.top, width, question.height, question.lines, False, question.how)
    trunk = x + 0.22
    middle_of_it = question.top + question.height / 2
    for answer, lines, top, height in question.leaves:
        middle = top + height / 2
        _box(axes, leaf_at, top, leaf_width, height, lines, leaf=True)
        if lines is question.leaves[0][1]:
            _arrow(axes, (right, middle_of_it), (leaf_at, middle_of_it))
        else:
            _arrow(axes, (right + 0.12, middle_of_it), (right + 0.12, middle), (leaf_at, middle))
        wrapped = wrap(answer, gap - 0.42, 8, "bold")
        _answer(axes, leaf_at - 0.16, middle - 0.03, "\n".join(wrapped), ha="right")
    for answer, child in question.below:
        words = "\n".join(wrap(answer, width - 0.5, 8, "bold"))
        child_x = _LEFT + child.depth * _INDENT
        foot = question.top + question.height
        if child.depth == question.depth:
            _arrow(axes, (trunk, foot), (trunk, child.top))
            _answer(axes, trunk + 0.1, child.top - 0.06, words)
        else:
            middle = child.top + child.height / 2
            _arrow(axes, (trunk, foot), (trunk, middle), (child_x, middle))
            _answer(axes, child_x + 0.1, child.top - 0.06, words)
        _draw(axes, child, width, leaf_at, leaf_width, gap)


def _in_words(node: Tree, depth: int) -> Iterator[tuple[int, str]]:
    """A line for each answer: the question that it leads to, or the recommendation."""
    if not isinstance(node, str):
        for answer, subtree in node[1].items():
            yield depth, f"{answer}: {subtree if isinstance(subtree, str) else _line(subtree[0])}"
            yield from _in_words(subtree, depth + 1)


def _line(question: str) -> str:
    """A question with how to answer it, on one line."""
    return " ".join(question.split("\n"))
