"""Figures of suites and cures to draw in tests: small, large, and with what does not fit or is not
there.
"""

from loopbound.figures import (
    cost_bars,
    decision_tree,
    owners,
    pool_queue,
    scope_matrix,
    verdict_table,
    waiting_chain,
)

SCOPES = ["function", "class", "module", "package", "session"]


def _scope(fixture: str, test: str) -> str:
    if fixture != "session":
        return "ScopeMismatch"
    return "ok" if test == "session" else "different loop"


MATRIX = {(fixture, test): _scope(fixture, test) for fixture in SCOPES for test in SCOPES}

QUEUE = [
    ("test_login", [], 2, "ok"),
    ("test_hash", ["test_login", "test_login"], 0, "no database"),
    ("test_token", ["test_login", "test_login"], 0, "no database"),
    ("test_reports", ["test_login", "test_login"], 1, "different loop"),
    ("test_status", ["test_login", ""], 3, "operation in progress"),
    ("test_stream", ["", "test_status"], 1, "ok"),
]


def _thirty_three() -> list:
    """As many steps as the incident has tests, with names as long as its own and a queue as long as
    a pool's.
    """
    steps = []
    for n in range(1, 34):
        label = (
            f"tests/services/test_community_discovery.py::test_get_report_requires_completion_{n}"
        )
        queue = [
            "" if (n + place) % 4 == 0 else f"loop {max(n - place, 1)}" for place in range(n % 7)
        ]
        taken = n % 3
        steps.append((label, queue, taken, ("no database", "ok", "operation in progress")[taken]))
    return steps


COSTS = {
    "dispose": (1.43, 1.31, 1.6),
    "session loop": (0.86, 0.8, 0.93),
    "NullPool": (12.4, 11.0, 15.2),
}

TREE = (
    "Is it a test suite?",
    {
        "no": (
            "Does each task call asyncio.run?",
            {
                "yes": (
                    "Make the engine inside the coroutine that asyncio.run runs, and dispose of it"
                    " there."
                ),
                "no": "Make the engine in the lifespan.",
            },
        ),
        "yes": (
            "May all the tests share one loop?",
            {
                "yes": "Session loop: both options.",
                "no": (
                    "Can the engine be replaced?",
                    {
                        "yes": "An engine for each test.",
                        "no": (
                            "Is a connection for each checkout affordable?",
                            {
                                "yes": "NullPool in the tests' settings.",
                                "only with a pooler in between": (
                                    "Is there one?",
                                    {"yes": "NullPool.", "no": "Dispose."},
                                ),
                                "no": "Dispose of the engine after each test.",
                            },
                        ),
                    },
                ),
            },
        ),
    },
)

CHAIN = [
    (
        "session 1",
        "idle in transaction",
        "Client: ClientRead",
        "SELECT id FROM reports WHERE owner = $1 AND state = $2",
        [],
    ),
    ("session 2", "active", "Lock: relation", "TRUNCATE users,\n reports", ["session 1"]),
]
CROWD = [
    *CHAIN,
    ("session 3", "active", "Lock: relation", "SELECT " + "a_long_column, " * 20, ["session 2"]),
    ("session 4", "active", "Lock: relation", "SELECT 1", ["session 2", "session 1", "session 9"]),
    ("session 5", "idle", "", "", []),
    ("session 6", "active", "Lock: tuple", "UPDATE users", ["session 7"]),
    ("session 7", "active", "Lock: tuple", "UPDATE reports", ["session 6"]),
]

MEASURES = ["all pass", "any order", "leaks nothing", "never hangs", "in production", "cost"]
VERDICTS = {
    "as found": [
        *(("bad", word) for word in ("28/33", "no", "5 sockets", "may hang")),
        ("partly", "it depends"),
        "1.0×",
    ],
    "session loop with rollback": [
        *[("good", "yes")] * 3,
        ("partly", ""),
        ("bad", "tests only"),
        "0.9×",
    ],
    "NullPool": [*[("good", "yes")] * 4, ("partly", "a connection for each request"), ""],
}

SAMPLES = {
    "queue": lambda: pool_queue(QUEUE, "Six tests"),
    "queue of 33 tests": lambda: pool_queue(_thirty_three()),
    "queue of 33 tests, none folded": lambda: pool_queue(_thirty_three(), fold=False),
    "queue longer than the row": lambda: pool_queue(
        [("test_" + "long_" * 20, ["Jupyter's loop"] * 14, 12, "TimeoutError")]
    ),
    "empty queue": lambda: pool_queue([]),
    "scope matrix": lambda: scope_matrix(MATRIX, SCOPES, SCOPES, "Whose loop?"),
    "scope matrix with gaps": lambda: scope_matrix({("session", "session"): "ok"}, SCOPES, SCOPES),
    "costs": lambda: cost_bars(COSTS, "What a cure costs", floor="as found"),
    "many costs": lambda: cost_bars(
        {
            f"{n} tests with a fixture that makes an engine for each of them": (n, n / 2, 2 * n)
            for n in range(1, 13)
        },
        floor="a bare connection, opened and closed",
        measure="times as much as a connection",
        spread="quartiles",
    ),
    "no costs": lambda: cost_bars({}),
    "owners": lambda: owners(),
    "tree": lambda: decision_tree(TREE, "Which cure?"),
    "tree of one leaf": lambda: decision_tree("Dispose."),
    "tree of long words": lambda: decision_tree(
        (
            "asyncio_default_fixture_loop_scope and asyncio_default_test_loop_scope?",
            {"set in pyproject.toml, and no pytest.ini": "A. " * 40},
        )
    ),
    "chain": lambda: waiting_chain(CHAIN, "Why it stands still"),
    "crowd": lambda: waiting_chain(CROWD),
    "empty chain": lambda: waiting_chain([]),
    "verdicts": lambda: verdict_table(VERDICTS, MEASURES, "Every cure by every measure"),
    "one verdict": lambda: verdict_table({"dispose": [("good", "yes")]}, ["leaks nothing"]),
    "verdicts of too many words": lambda: verdict_table(
        {"a cure": [("bad", "attached to a different loop")] * 7},
        ["asyncio_default_test_loop_scope"] * 7,
    ),
    "no verdicts": lambda: verdict_table({}, []),
}
