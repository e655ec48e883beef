"""What all pages share: the frame, the marker by which we know our own, and an outcome's badge."""

from __future__ import annotations

from loopbound.outcomes import TABLE_SIGNS
from loopbound.report.markup import Content, Html, tag
from loopbound.report.style import CLASSES, SHEET

__all__ = ["OPENING", "badge", "block", "counted", "page"]

# By these first lines a later run knows that it may replace a page, or take it away. Nothing that a
# learner wrote can come before them.
OPENING = (
    "<!DOCTYPE html>\n<!-- written by loopbound grade; the next report replaces or removes this"
    " page -->\n"
)

# A page runs nothing and fetches nothing, also where an answer asks for it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(
    title: str,
    *content: Content,
    sheet: str = "",
    width: str | None = None,
    opening: str = OPENING,
) -> str:
    """A whole page. ``sheet`` adds to the style sheet; ``width`` is the class of its main part;
    ``opening`` says whose it is.
    """
    head = tag(
        "head",
        "\n",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title} · Loopbound"),
        tag("style", Html(SHEET + sheet)),
    )
    return opening + tag(
        "html", "\n", head, tag("body", "\n", tag("main", "\n", *content, class_=width)), lang="en"
    )


def badge(outcome: str) -> Html:
    """An outcome by colour, sign and word."""
    return tag(
        "span",
        tag("span", TABLE_SIGNS[outcome], aria_hidden="true"),
        f" {outcome}",
        class_=f"badge {CLASSES[outcome]}",
    )


def block(label: str, *content: Content) -> Html:
    """A part that can be scrolled sideways, also with the keyboard."""
    return tag("div", *content, class_="scroll", tabindex=0, role="region", aria_label=label)


def counted(number: int, one: str, many: str = "") -> str:
    """``"1 task"``, ``"3 tasks"``."""
    return f"{number} {one if number == 1 else many or one + 's'}"
