"""Which communities talk about what a product does? Keywords, and communities ranked by them."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_WORDS_PER_TURN = 2_000

STOP_WORDS = frozenset(
    "a an and are as at be by can for from has have how i in into is it its my of on or our so that the their them"
    " they this to us use want was we what when which who will with you your".split()
)

CATALOGUE: dict[str, frozenset[str]] = {
    "r/notetaking": frozenset({"note", "note-taking", "notes", "markdown", "knowledge", "app"}),
    "r/productivity": frozenset({"app", "calendar", "focus", "note-taking", "notes", "tasks", "team", "time"}),
    "r/selfhosted": frozenset({"backup", "docker", "home", "monitoring", "privacy", "server", "sync"}),
    "r/smallbusiness": frozenset({"customers", "invoice", "invoices", "orders", "shop", "team", "time"}),
    "r/datascience": frozenset({"ai", "ai-powered", "charts", "data", "model", "models", "statistics"}),
}


@dataclass(frozen=True)
class Community:
    """A community and the keywords that it shares with the product."""

    name: str
    shared: tuple[str, ...]


async def extract_keywords(text: str, limit: int = 10) -> list[str]:
    """The words that say what `text` is about: most frequent first, then in order of appearance.

    Words are lower-cased; stop words, numbers and single letters are left out. Long texts give way to the
    event loop's other tasks now and then.
    """
    counts: Counter[str] = Counter()
    for number, match in enumerate(_WORD.finditer(text.lower()), start=1):
        word = match.group()
        if len(word) > 1 and word not in STOP_WORDS and not word.isdigit():
            counts[word] += 1
        if number % _WORDS_PER_TURN == 0:
            await asyncio.sleep(0)
    return [word for word, _ in counts.most_common(limit)]


async def discover_communities(keywords: list[str], limit: int = 3) -> list[Community]:
    """Communities that share keywords with the product, most shared first, then by name."""
    found = [Community(name, tuple(word for word in keywords if word in topics)) for name, topics in CATALOGUE.items()]
    found = [community for community in found if community.shared]
    return sorted(found, key=lambda community: (-len(community.shared), community.name))[:limit]
