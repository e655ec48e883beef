"""What a reader reads in a Markdown text: words, links, headings, pictures.

Parsed by mistune, never by hand.
"""

from __future__ import annotations

import functools
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any


@dataclass
class Prose:
    """The parts of one Markdown text.

    ``text`` and ``code`` (inline only) are what a reader reads; code blocks are left out.
    """

    text: list[str] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)  # address, alternative text
    lists: list[list[str]] = field(default_factory=list)  # the items of each numbered list

    @property
    def words(self) -> int:
        """How many words a reader reads; inline code counts, signs alone do not."""
        return sum(
            bool(re.search(r"\w", word))
            for piece in (*self.text, *self.code)
            for word in piece.split()
        )


@functools.lru_cache(maxsize=512)
def prose(markdown: str) -> Prose:
    """The parts of a Markdown text. Treat the result as read-only: it is shared."""
    import mistune

    found = Prose()
    for token in mistune.create_markdown(renderer=None, plugins=["table", "strikethrough"])(
        markdown
    ):
        # Without a renderer each is a dict; mistune's types cannot say so.
        _collect(token, found)  # type: ignore[arg-type]
    return found


def _collect(token: dict[str, Any], found: Prose) -> None:
    kind = token["type"]
    if kind == "text":
        found.text.append(token["raw"])
    elif kind == "codespan":
        found.code.append(token["raw"])
    elif kind == "heading":
        found.headings.append(_flat(token))
    elif kind == "link":
        found.links.append(token["attrs"]["url"])
    elif kind == "image":
        found.pictures.append((token["attrs"]["url"], _flat(token)))
        return
    elif kind in ("block_html", "inline_html"):
        _Html(found).feed(token["raw"])
    elif kind == "list" and token["attrs"].get("ordered"):
        found.lists.append([_flat(item).strip() for item in token["children"]])
    for child in token.get("children", ()):
        _collect(child, found)


def _flat(token: dict[str, Any]) -> str:
    if "children" not in token:
        return " " if token["type"] in ("softbreak", "linebreak") else token.get("raw", "")
    return "".join(_flat(child) for child in token["children"])


class _Html(HTMLParser):
    def __init__(self, found: Prose) -> None:
        super().__init__()
        self.found = found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        if tag == "img":
            self.found.pictures.append((known.get("src", ""), known.get("alt", "")))
        elif tag == "a" and "href" in known:
            self.found.links.append(known["href"])

    def handle_data(self, data: str) -> None:
        self.found.text.append(data)


def pictures_in_html(html: str) -> list[tuple[str, str]]:
    """Address and alternative text of each picture in a piece of HTML."""
    found = Prose()
    _Html(found).feed(html)
    return found.pictures


def comments(source: str) -> list[str]:
    """The comments in a cell's code, without their signs."""
    return [
        piece.string.lstrip("# ") for piece in _pieces(source) if piece.type == tokenize.COMMENT
    ]


def names(source: str) -> list[str]:
    """The names and texts in a cell's code."""
    return [
        piece.string for piece in _pieces(source) if piece.type in (tokenize.NAME, tokenize.STRING)
    ]


def _pieces(source: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(source).readline)
    except (tokenize.TokenError, SyntaxError):
        return  # a magic, or code that is wrong on purpose: what was read so far counts
