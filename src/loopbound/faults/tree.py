"""The decision tree: from what crossed, over versions and what may change, to the cheapest cure.

Each answer leads to a further question, or to a leaf: a kind and a cure of the catalogue. The cases
follow it by their answers, and run its leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Union

from loopbound.faults.cures import cure_named


@dataclass(frozen=True)
class Leaf:
    """An end: what it is, and the cheapest cure under the answers that led here.

    The kind ``"any-client"`` stands for the kinds of all clients: their cures are the same.

    Attributes:
        kind: its id in the catalogue.
        cure: its name there.
        facts: what tells two cures of this name apart.
    """

    kind: str
    cure: str
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question with its answers.

    Attributes:
        ask: the question.
        answers: answer → where it leads.
        rules_out: answer → cures that it excludes, though they might work.
        how: how to find the answer, a sentence; "" where the answers say it.
    """

    ask: str
    answers: dict[str, Question | Leaf]
    rules_out: dict[str, tuple[str, ...]] = field(default_factory=dict)
    how: str = ""


_PLUGIN = "The first lines of a run of pytest name the plugins, with versions."
_WHERE = (
    "Has each test its own loop? asyncio_default_test_loop_scope=function, in pytest's first lines,"
    " says yes."
)
_SHARE = "No, if tests leave tasks running, or need a loop with other settings."
_WITH = "No, if the application's start-up must not run in tests: with runs it."
_ONE_LOOP = "Yes, if you write the line with asyncio.run: asyncio.Runner keeps a loop."
_HAND_OVER = "Yes, if the first loop keeps running: asyncio.run_coroutine_threadsafe."


def _tests(kind: str, other: Question | Leaf) -> Question:
    """Whether tests may share a loop, asked with the version that this needs."""
    return Question(
        "Which plugin runs the async tests?",
        {
            "pytest-asyncio 1.3 or later": Question(
                "May all tests share one loop?",
                {"yes": Leaf(kind, "session-loop"), "no": other},
                {"no": ("session-loop",)},
                _SHARE,
            ),
            "an older pytest-asyncio, or unittest": other,
        },
        {"an older pytest-asyncio, or unittest": ("session-loop",)},
        _PLUGIN,
    )


def _wide_fixture(other: Question | Leaf, then_0_23: Leaf | None = None) -> Question:
    """The same for a fixture that is wider than its tests: since 0.23 it has a loop of its own,
    and since 0.24 that loop can be named.
    """
    asked = _tests("fixture-and-test", other)
    (newest, then), _ = asked.answers.items()
    between, oldest = "pytest-asyncio 0.24 to 1.2", "pytest-asyncio 0.22 or older"
    return Question(
        asked.ask,
        {
            newest: then,
            between: other,
            **({"pytest-asyncio 0.23": then_0_23} if then_0_23 else {}),
            oldest: Leaf("fixture-and-test", "event-loop-fixture"),
        },
        {
            between: ("session-loop",),
            "pytest-asyncio 0.23": ("session-loop", "same-loop-scope"),
            oldest: ("session-loop", "same-loop-scope"),
        },
        asked.how,
    )


_CONFTEST, _SETTINGS, _MODULE = (
    "conftest.py (the usual case)",
    "conftest.py, and tests need engines with different settings",
    "only the line that makes the engine",
)
_EMPTY_POOL = Question(
    "What may you change, so that no connection waits for the next test?",
    {
        _CONFTEST: Leaf("engine-in-a-row", "dispose", ("pytest",)),
        _SETTINGS: Leaf("engine-in-a-row", "function-engine"),
        _MODULE: Leaf("engine-in-a-row", "null-pool"),
    },
    {
        _SETTINGS: ("dispose", "explicit-loop"),
        _MODULE: ("dispose", "explicit-loop", "function-engine"),
    },
    "Begin with the first answer. The last one opens the most connections.",
)
_LOOP_OF_A_CLASS = (
    "no, one for each class or module (pytest-asyncio 1.4, and no sync test asks for an async"
    " fixture)"
)

_ENGINE = Question(
    "Where does the second loop come from?",
    {
        "tests, one loop each": Question(
            "Which plugin runs the async tests?",
            {
                "pytest-asyncio 1.3 or later": Question(
                    "May all tests share one loop?",
                    {
                        "yes": Leaf("engine-in-a-row", "session-loop"),
                        _LOOP_OF_A_CLASS: Leaf("engine-in-a-row", "explicit-loop"),
                        "no, one for each test": _EMPTY_POOL,
                    },
                    {
                        _LOOP_OF_A_CLASS: ("session-loop", "dispose"),
                        "no, one for each test": ("session-loop",),
                    },
                    _SHARE,
                ),
                "anyio's": Question(
                    "May all tests share one loop?",
                    {"yes": Leaf("engine-in-a-row", "anyio-one-loop"), "no": _EMPTY_POOL},
                    {"no": ("anyio-one-loop",)},
                    _SHARE,
                ),
                "an older pytest-asyncio, or unittest": _EMPTY_POOL,
            },
            {"an older pytest-asyncio, or unittest": ("session-loop", "explicit-loop")},
            _PLUGIN,
        ),
        "a wider async fixture": _wide_fixture(
            Question(
                "May a wider scope be named at the fixture and at its tests?",
                {
                    "yes": Leaf("fixture-and-test", "same-loop-scope"),
                    "no": Leaf("fixture-and-test", "null-pool"),
                },
                {"no": ("same-loop-scope",)},
                "Yes, if you can write loop_scope= at the fixture and in its tests' mark.",
            ),
            Leaf("fixture-and-test", "null-pool"),
        ),
        "a sync test that asks for an async fixture": _tests(
            "sync-test-async-fixture",
            Question(
                "May those tests become async?",
                {
                    "yes": Leaf("sync-test-async-fixture", "async-test"),
                    "no": Leaf("sync-test-async-fixture", "null-pool"),
                },
                {"no": ("async-test",)},
                "No, if they call asyncio.run themselves: it refuses to run on a running loop.",
            ),
        ),
        "TestClient, a loop for each request": Question(
            "May the client be used in a with block?",
            {
                "yes": Leaf("engine-in-a-row", "client-with"),
                "no": Leaf("engine-in-a-row", "null-pool"),
            },
            {"no": ("client-with",)},
            _WITH,
        ),
        "asyncio.run, one call after another (a job, Celery, Lambda)": Question(
            "May the process keep one loop?",
            {
                "yes": Leaf("engine-in-a-row", "one-loop"),
                "no": Question(
                    "Does one call end before the next begins?",
                    {
                        "yes": Leaf("engine-in-a-row", "dispose"),
                        "no, threads call": Leaf("engine-in-a-row", "null-pool"),
                    },
                    {"no, threads call": ("dispose",)},
                    "No, if a pool of threads makes the calls.",
                ),
            },
            {"no": ("one-loop",)},
            _ONE_LOOP,
        ),
        "start-up work, before the server's": Question(
            "May it move into the application's lifespan?",
            {
                "yes": Leaf("startup-loop", "lifespan"),
                "no": Leaf("startup-loop", "dispose"),
            },
            {"no": ("lifespan",)},
            "Yes, if nothing needs its result before the server starts.",
        ),
        "a thread, beside the first loop": Question(
            "Can it hand its work to the first loop?",
            {
                "yes": Leaf("two-awake-loops", "hand-over"),
                "no": Question(
                    "Can it have an engine of its own?",
                    {
                        "yes": Leaf("two-awake-loops", "own-engine"),
                        "no": Leaf("two-awake-loops", "null-pool"),
                    },
                    {"no": ("own-engine",)},
                    "Yes, if its code takes the engine, or the session factory, as an argument.",
                ),
            },
            {"no": ("hand-over",)},
            _HAND_OVER,
        ),
        "a forked process": Question(
            "Can the parent dispose of the engine before it forks?",
            {
                "yes": Leaf("fork", "dispose-before-fork"),
                "no": Question(
                    "Can the parent leave the engine alone before it forks?",
                    {"yes": Leaf("fork", "after-fork"), "no": Leaf("fork", "null-pool")},
                    {"no": ("after-fork",)},
                    "Yes, if it needs no database before it forks.",
                ),
            },
            {"no": ("dispose-before-fork",)},
            "Yes, if you write the line that forks, or the framework has a hook before it.",
        ),
    },
    how=_WHERE,
)


_CLIENT = Question(
    "Where does the second loop come from?",
    {
        "tests, a loop for each": Question(
            "May all tests share one loop (pytest-asyncio 1.3 or later)?",
            {
                "yes": Leaf("any-client", "session-loop"),
                "no": Leaf("any-client", "client-per-test"),
            },
            {"no": ("session-loop",)},
            _SHARE,
        ),
        "asyncio.run, one call after another": Question(
            "May the process keep one loop?",
            {"yes": Leaf("any-client", "one-loop"), "no": Leaf("any-client", "client-per-loop")},
            {"no": ("one-loop", "no-keep-alive")},
            _ONE_LOOP,
        ),
        "TestClient, one request after another": Question(
            "May TestClient be used in a with block?",
            {
                "yes": Leaf("any-client", "client-with", ("portal",)),
                "no": Leaf("any-client", "client-per-loop"),
            },
            {"no": ("client-with", "no-keep-alive")},
            _WITH,
        ),
        "a thread with a loop of its own": Question(
            "Can it hand its work to the first loop?",
            {"yes": Leaf("any-client", "hand-over"), "no": Leaf("any-client", "client-per-loop")},
            {
                "yes": ("one-loop", "client-per-loop", "no-keep-alive"),
                "no": ("one-loop", "hand-over", "no-keep-alive"),
            },
            _HAND_OVER,
        ),
    },
    how=_WHERE,
)

ROOT = Question(
    "What crossed?",
    {
        "a pooled connection of an engine": _ENGINE,
        "a session or connection object": Question(
            "May all tests share one loop (pytest-asyncio 1.3 or later)?",
            {
                "yes": Leaf("session-object", "session-loop"),
                "no": Leaf("session-object", "session-per-use"),
            },
            {"no": ("session-loop",)},
            _SHARE,
        ),
        "a client, or a pool that is no engine": _CLIENT,
        "a lock, queue or event": Question(
            "Are the two loops awake together?",
            {
                "no, in a row": Leaf("contended-primitive", "make-inside"),
                "yes, and the second is refused": Leaf("contended-primitive", "hand-over"),
                "yes, and a waiter never wakes": Leaf("silent-waiter", "hand-over"),
            },
            how="No, if the first loop was closed before the second one ran.",
        ),
        "a callback of another thread": Leaf("other-thread", "threadsafe"),
        "a task: a cancel scope, a task group, a session of the task": Question(
            "What is bound to the task?",
            {
                "a cancel scope or task group": Leaf("task-bound", "enter-in-test"),
                "a session, by current_task": Leaf("task-bound", "scope-per-test"),
            },
        ),
        "a transaction: something waits for its lock": Leaf("open-transaction", "close-it"),
        "only the closing: a log at the end, nothing fails": Question(
            "Who closes?",
            {
                "a dispose on another loop": Leaf("dispose-elsewhere", "dispose-in-owner"),
                "no code, the garbage collector": Leaf("left-open", "dispose-in-owner"),
                "a sync dispose": Leaf("missing-greenlet", "await-dispose"),
            },
        ),
        "nothing: pytest refuses a fixture": Question(
            "What does it say?",
            {
                "ScopeMismatch, with a loop or runner": _wide_fixture(
                    Leaf("fixture-and-test", "same-loop-scope")
                ),
                "ScopeMismatch, between two fixtures": Leaf("scope-mismatch-other", "equal-scopes"),
                "fixture 'event_loop' not found": Leaf("event-loop-override", "delete-override"),
                "async def is not supported, no plugin in the header": Leaf(
                    "async-not-handled", "install-plugin"
                ),
                "an async fixture that no plugin handles": Question(
                    "May all async tests be pytest-asyncio's?",
                    {
                        "yes": Leaf("async-not-handled", "auto-mode"),
                        "no": Leaf("async-not-handled", "mark-them"),
                    },
                    {"no": ("auto-mode",)},
                    "No, if some are run by another plugin, such as anyio's.",
                ),
            },
        ),
        "nothing: a loop runs already, or none": Question(
            "What does the message say?",
            {
                "cannot be called from a running event loop": Question(
                    "Who runs the first loop?",
                    {
                        "your coroutine": Question(
                            "May its caller be async?",
                            {
                                "yes": Leaf("loop-already-runs", "await-it"),
                                "no": Leaf("loop-already-runs", "own-thread"),
                            },
                            {"no": ("await-it",)},
                            "No, if a library calls it and awaits nothing.",
                        ),
                        "the sync Playwright": Leaf("loop-already-runs", "narrow-fixture"),
                    },
                ),
                "There is no current event loop": Leaf("no-current-loop", "asyncio-run"),
            },
        ),
        "nothing: there is one loop in all": Question(
            "What does the message say?",
            {
                "concurrent operations, or another operation": Leaf(
                    "concurrent-tasks", "session-per-task"
                ),
                "connection is closed": Leaf("lost-connection", "pre-ping"),
                "QueuePool limit": Leaf("pool-exhausted", "close-sessions"),
                "greenlet_spawn has not been called": Leaf("missing-greenlet", "load-early"),
                "was never awaited": Leaf("never-awaited", "await-it"),
                "a driver refuses the loop's type": Leaf("loop-type", "selector-loop"),
            },
        ),
    },
    how="Paste the error: python3 lab.py explain names it.",
)


def follow(answers: Sequence[str]) -> tuple[Leaf, frozenset[str]]:
    """The leaf to which answers lead from the root, and the cures that they rule out.

    Raises:
        KeyError: an answer that its question does not have.
        ValueError: answers that end before a leaf, or go on after it.
    """
    at: Question | Leaf = ROOT
    out: set[str] = set()
    for answer in answers:
        if isinstance(at, Leaf):
            raise ValueError(f"{answer!r} comes after the end")
        out |= set(at.rules_out.get(answer, ()))
        at = at.answers[answer]
    if isinstance(at, Question):
        raise ValueError(f"nothing answers {at.ask!r}")
    return at, frozenset(out)


def paths(at: Question | Leaf = ROOT) -> Iterator[tuple[str, ...]]:
    """Every way through the tree, as answers."""
    if isinstance(at, Leaf):
        yield ()
    else:
        for answer, then in at.answers.items():
            for rest in paths(then):
                yield (answer, *rest)


Drawn = Union[str, tuple[str, dict[str, "Drawn"]]]  # noqa: UP007 - Python 3.10 evaluates it


def drawn(at: Question | Leaf = ROOT, only: Collection[str] = (), others: str = "") -> Drawn:
    """The tree, or a part of it, as `loopbound.figures.decision_tree` takes it: a question, on a
    line of its own how to answer it, with its answers, and at each end the cure with what to do.

    A question to which several answers lead is drawn once, under a letter; the other places name
    the letter.

    Args:
        at: where to begin.
        only: answers. A question that has some of them keeps these alone; the others become one,
            "something else".
        others: where that one leads, such as ``"lesson 10"``.
    """
    return _once(_nested(at, only, others))


def _nested(at: Question | Leaf, only: Collection[str], others: str) -> Drawn:
    if isinstance(at, Question):
        kept = [answer for answer in at.answers if answer in only] or list(at.answers)
        then = {answer: _nested(at.answers[answer], only, others) for answer in kept}
        asked = f"{at.ask}\n{at.how}" if at.how else at.ask
        return asked, then if len(kept) == len(at.answers) else {**then, "something else": others}
    cure = cure_named(at.kind, at.cure, at.facts)
    return f"{cure.name}: {cure.do}"


def _once(tree: Drawn) -> Drawn:
    """The same tree, in which a question that comes again is a letter."""
    letters: dict[str, str] = {}

    def meet(node: Drawn, met: set[str]) -> None:
        if isinstance(node, str):
            return
        if repr(node) in met:
            letters[repr(node)] = ""
            return
        met.add(repr(node))
        for then in node[1].values():
            meet(then, met)

    def fold(node: Drawn) -> Drawn:
        if isinstance(node, str):
            return node
        key, (asked, answers) = repr(node), node
        if letters.get(key):
            return f"go on at {letters[key]}"
        if key in letters:
            letters[key] = "ABCDEFGHIJ"[sum(map(bool, letters.values()))]
            asked = f"{letters[key]}: {asked}"
        return asked, {answer: fold(then) for answer, then in answers.items()}

    meet(tree, set())
    return fold(tree)
