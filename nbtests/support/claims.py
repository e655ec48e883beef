"""Marks the tests that settle a claim of the incident documents.

    @claim("B09", verdict="refuted", observed="create_async_engine() opened 0 connections")
    def test_creating_an_engine_opens_nothing(): …

The mark is an ordinary pytest mark, so `pytest -m claim` runs these tests and `loopbound claims`
lists them.
"""

from __future__ import annotations

import pytest

VERDICTS = ("holds", "holds since", "holds until", "holds with a correction", "refuted")


def claim(
    identity: str,
    *,
    verdict: str,
    observed: str,
    since: str | None = None,
    until: str | None = None,
) -> pytest.MarkDecorator:
    """A mark for the test that settles the claim ``identity`` (A01 to A18, B01 to B54).

    ``verdict`` is one of ``VERDICTS``; "holds since" and "holds until" name the version in
    ``since`` or ``until`` ("pytest-asyncio 1.0"). ``observed`` says in a sentence what the test
    sees. Raises ``ValueError`` for anything else.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"{identity}: the verdict {verdict!r} is none of {', '.join(VERDICTS)}")
    if (verdict == "holds since") != (since is not None) or (verdict == "holds until") != (
        until is not None
    ):
        raise ValueError(
            f"{identity}: 'holds since' needs since=, 'holds until' needs until=, and other"
            " verdicts neither"
        )
    if len(observed.split()) < 3:
        raise ValueError(f"{identity}: say in a sentence what was observed")
    return pytest.mark.claim(identity, verdict=verdict, observed=observed, since=since, until=until)
