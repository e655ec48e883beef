"""``loopbound claims``: every claim with its verdict, what was observed, its cell and its test."""

from loopbound.authoring.claims import listing

__all__ = ["claims_command"]


def claims_command() -> int:
    """Print the claims; 0 if each has its test and its cell, else 1."""
    lines, complete = listing()
    print("\n".join(lines))
    return 0 if complete else 1
