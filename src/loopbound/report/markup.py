"""HTML from text of any kind: what is not markup of ours is escaped, and characters that no reader
could see are made visible.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator

__all__ = ["Content", "Html", "prose", "shortened", "shown", "spoken", "tag"]


class Html(str):
    """Markup that may stand in a page as it is. Every other string is text."""

    __slots__ = ()


Content = str | None | Iterable["Content"]
"""What can stand inside an element: markup, text, nothing, or several of them."""

# A line's end after these, so that the files can be read and compared.
_BLOCKS = frozenset(
    [
        "article",
        "body",
        "dd",
        "dl",
        "dt",
        "footer",
        "h1",
        "h2",
        "h3",
        "head",
        "header",
        "html",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "style",
        "table",
        "tbody",
        "tfoot",
        "thead",
        "title",
        "tr",
        "ul",
    ]
)
_VOID = frozenset({"meta"})


def tag(name: str, /, *content: Content, **attributes: str | int | bool | None) -> Html:
    """An element.

    Args:
        name: of the element.
        content: text is escaped; ``Html`` stays as it is.
        attributes: ``class_`` and ``aria_label`` stand for ``class`` and ``aria-label``. False and
            None leave one out.
    """
    given = "".join(
        _attribute(key, value)
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    end = "\n" if name in _BLOCKS or name in _VOID else ""
    if name in _VOID:
        return Html(f"<{name}{given}>{end}")
    return Html(f"<{name}{given}>{''.join(_flat(content))}</{name}>{end}")


def _attribute(key: str, value: str | int | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(shown(str(value)))}"'


def _flat(content: Content) -> Iterator[str]:
    if isinstance(content, Html):
        yield content
    elif isinstance(content, str):
        yield html.escape(shown(content))
    elif content is not None:
        for part in content:
            yield from _flat(part)


def shown(text: str) -> str:
    """A text with line ends of one kind, in which everything that would not be seen, or would turn
    the text around, has a sign.

    Control characters get their pictures (``␛``), others their number (``⟨U+202E⟩``). What comes
    out can be written as UTF-8.
    """
    text = text.replace("\r\n", "\n")
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(sign: str) -> str:
    # The joiners belong to how some scripts, and emoji, are written.
    if sign in "\n\t\u200c\u200d" or sign.isprintable():
        return sign
    code = ord(sign)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    kind = unicodedata.category(sign)
    # Spaces are not printable in Python's sense either. What has no meaning yet in one version of
    # Unicode may get one in the next.
    return (
        f"⟨U+{code:04X}⟩"
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or code & 0xFFFF >= 0xFFFE
        else sign
    )


def prose(text: str, **attributes: str) -> Html:
    """Paragraphs, one a line, with `code` where the text has backticks."""
    return Html(
        "".join(tag("p", spoken(line), **attributes) for line in text.split("\n") if line.strip())
    )


def spoken(text: str) -> list[Content]:
    """The parts of a paragraph: text, and `code` where it has backticks."""
    parts = re.split(r"`([^`\n]+)`", text)
    return [tag("code", part) if place % 2 else part for place, part in enumerate(parts)]


def shortened(text: str, most: int) -> str:
    """The text, cut where it has more than so many characters."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} characters more)"
