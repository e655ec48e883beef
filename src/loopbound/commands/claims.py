"""``loopbound claims``: every claim with its verdict, what was observed, its cell and its test."""

from __future__ import annotations

from pathlib import Path

from loopbound.authoring.claims import listing, of_the_course
from loopbound.files import check_writable
from loopbound.terminal import Console

__all__ = ["claims_command"]


def claims_command(html: Path | None) -> int:
    """Print the claims, and write them as a page to ``html``; 0 if each has its test and its cell,
    else 1.
    """
    if html is not None:
        check_writable(html)
    claims, missing = of_the_course()
    if html is not None:
        from loopbound.report.claims_page import write_claims_page  # with matplotlib: slow to load

        write_claims_page(html, claims)
    Console().say("\n".join(listing(claims, missing)))
    return 1 if missing else 0
