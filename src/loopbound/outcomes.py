"""The four outcomes of a check, and how each is shown."""

__all__ = [
    "ANSI",
    "NOT_ATTEMPTED",
    "OUTCOMES",
    "PASSED",
    "RAISED",
    "SIGNS",
    "TABLE_SIGNS",
    "WRONG",
]

PASSED = "passed"
WRONG = "wrong"
RAISED = "raised"
NOT_ATTEMPTED = "not attempted"

OUTCOMES = (NOT_ATTEMPTED, RAISED, WRONG, PASSED)
"""The worst first: code that ran to its end came further than code that did not."""

SIGNS = {PASSED: "✓", WRONG: "✗", RAISED: "✗", NOT_ATTEMPTED: "·"}
"""The sign of each outcome where its word stands beside it."""

TABLE_SIGNS = SIGNS | {RAISED: "!"}
"""The same in a table, where no word tells what raised from what was wrong."""

ANSI = {PASSED: "32", WRONG: "31", RAISED: "31", NOT_ATTEMPTED: "34"}
"""The colour of each outcome at a terminal: green, red, blue."""
