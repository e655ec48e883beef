"""Run a suite in several orders, and find the tests that a failure depends on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loopbound.faults.explain import explain
from loopbound.stability.orders import shuffled, smallest
from loopbound.stability.process import Run, Suite

FIRST_LIMIT = 600.0
"""Seconds for a run, until it is known how long one takes."""
LIMIT, TIMES = 60.0, 5.0
"""After that: seconds, and times the first run."""
RUNS = 60
"""At most for one test, to find what it depends on."""
MOST_EXPLAINED = 20
"""Failures for which the catalogue is asked; those of another kind come first."""
AFTER = "only-after"
WITHOUT = "only-without"
ALWAYS = "always"
UNSTEADY = "unsteady"
UNKNOWN = "unknown"
NOT_VARIED = "clock, network, load of the machine, order of sets (PYTHONHASHSEED is fixed)"
NOT_LOOKED_AT = (
    "files, rows of a database, open transactions (pytest --loop-guard names these), loops of"
    " uvloop, and processes, which are ended with the run"
)
Say = Callable[[str, bool], None]


@dataclass
class Order:
    """One order of the whole suite, and its run."""

    name: str
    run: Run


@dataclass
class Suspect:
    """A test that failed, and what its failure depends on.

    Attributes:
        test: its name.
        fails: orders in which it fails.
        passes: orders in which it does not.
        error: the first line of its error.
        text: all that pytest says of it.
        verdict: `AFTER`: it fails only after `others`; `WITHOUT`: it passes only after them;
            `ALWAYS`: it fails in every order, and alone; `UNSTEADY`: the same order gave two
            outcomes; `UNKNOWN`: not looked for, or not found.
        others: the tests that decide, in order.
        smallest: none of them can be left out; False where the runs did not suffice to know.
        verified: the command was run, and did what it says.
        command: the words that repeat it.
        leaves: of `others`: what it leaves or changes.
    """

    test: str
    fails: list[str]
    passes: list[str]
    error: str
    text: str = field(repr=False)
    verdict: str = UNKNOWN
    others: list[str] = field(default_factory=list)
    smallest: bool = True
    verified: bool = False
    command: str = ""
    leaves: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Explained:
    """What the catalogue says of failures.

    Attributes:
        kinds: ids of its kinds.
        lines: what it says.
        tests: which failed so.
    """

    kinds: tuple[str, ...]
    lines: tuple[str, ...]
    tests: list[str]


@dataclass
class Report:
    """What came of it."""

    seed: int
    python: str
    orders: list[Order]
    suspects: list[Suspect]
    explained: list[Explained]
    runs: int

    @property
    def stable(self) -> bool:
        """Every test passed in every order."""
        return not self.suspects and not any(
            order.run.hung or order.run.crashed for order in self.orders
        )


class Spent(Exception):
    """No more runs."""


def study(
    suite: Suite,
    number: int,
    mix: bool,
    timeout: float | None,
    most: int,
    say: Say,
    named: str = "python",
) -> Report:
    """Run a suite in its own order, reversed and in random orders, and look for what is to blame.

    Args:
        suite: which one; its seed is that of the orders, too.
        number: of random orders.
        mix: do not keep the tests of a file together.
        timeout: seconds for a run; None: from what the first one takes.
        most: for how many tests the others are looked for.
        say: told of the progress, and whether that line stays.
        named: the interpreter, as the commands have it.

    Raises:
        Problem: pytest could not begin.
    """
    return _Study(suite, mix, timeout, say, named).report(number, most)


class _Study:
    def __init__(
        self, suite: Suite, mix: bool, timeout: float | None, say: Say, named: str
    ) -> None:
        self.suite = suite
        self.mix = mix
        self.timeout = timeout
        self.say = say
        self.named = named
        self.limit = timeout or FIRST_LIMIT
        self.orders: list[Order] = []
        self.known: dict[tuple[str, ...], Run] = {}
        self.runs = 0

    def report(self, number: int, most: int) -> Report:
        own = self.order("own", None)
        if not self.timeout and not own.hung:
            self.limit = LIMIT + TIMES * own.seconds
        orders = {"reversed": own.tests[::-1]}
        for each in range(1, number + 1):
            seed = f"{self.suite.seed}:{each}"
            orders[f"random {each}"] = shuffled(own.tests, own.groups, seed, self.mix)
        done = {tuple(own.tests)}
        for name, tests in orders.items():
            if tuple(tests) not in done:  # a suite of two tests has no more than two orders
                done.add(tuple(tests))
                self.order(name, tests)
        suspects = self.suspects()
        self.find(suspects, most)
        return Report(
            self.suite.seed,
            self.suite.python,
            self.orders,
            suspects,
            self.explained(suspects),
            self.runs,
        )

    # -- runs --------------------------------------------------------------------------------------

    def order(self, name: str, tests: list[str] | None) -> Run:
        """Run the whole suite."""
        self.say(f"{name} ...", False)
        run = self.suite.run(tests, self.limit)
        self.runs += 1
        self.orders.append(Order(name, run))
        self.known[tuple(run.tests)] = run
        end = f"; ended after {self.limit:g} s, {run.hung}" if run.hung else ""
        end += f"; ended by {run.crashed}" if run.crashed else ""
        self.say(f"{name}: {count(len(run.tests), 'test')}, {len(run.failed)} failed{end}", True)
        return run

    def run(self, tests: list[str]) -> Run:
        """Run some of the tests, once."""
        key = tuple(tests)
        if key not in self.known:
            self.known[key] = self.suite.run(tests, self.limit)
            self.runs += 1
        return self.known[key]

    # -- what failed -------------------------------------------------------------------------------

    def suspects(self) -> list[Suspect]:
        """The tests that failed in an order, those first that did so in another way."""
        found: dict[str, Suspect] = {}
        for order in self.orders:
            for test in order.run.failed:
                error, text = order.run.errors[test], order.run.texts.get(test, "")
                suspect = found.setdefault(test, Suspect(test, [], [], error, text))
                suspect.fails.append(order.name)
        for suspect in found.values():
            suspect.passes = [
                order.name
                for order in self.orders
                if order.run.outcomes.get(suspect.test) in ("passed", "skipped")
            ]
        seen: dict[str, int] = {}
        ranks = {}
        for test, suspect in found.items():
            kind = suspect.error.partition(":")[0]
            ranks[test] = seen[kind] = seen.get(kind, -1) + 1
        return sorted(found.values(), key=lambda each: ranks[each.test])

    def find(self, suspects: list[Suspect], most: int) -> None:
        """Find what they depend on; what is found for one is tried first for the next."""
        pairs: list[list[str]] = []
        for number, suspect in enumerate(suspects[:most], 1):
            about = f"{number} of {min(most, len(suspects))}: {suspect.test}"
            self.say(f"bisecting {about} ...", False)
            self.bisect(suspect, pairs)
            if suspect.others and suspect.others not in pairs:
                pairs.append(suspect.others)
            self.say(f"bisected {about}: {suspect.verdict}", True)

    def bisect(self, suspect: Suspect, pairs: list[list[str]]) -> None:
        """Find what one depends on."""
        test, begun = suspect.test, self.runs
        for order in self.orders:
            # One that came first was alone as far as it is concerned.
            if order.run.tests[:1] == [test] and test in order.run.outcomes:
                self.known[test,] = order.run
        alone = self.run([test]).outcomes.get(test)
        if alone is None:
            return
        # What is looked for: a sequence before it that makes the outcome another one.
        wanted = "failed" if alone != "failed" else "passed"
        names = suspect.fails if wanted == "failed" else suspect.passes
        if not names:
            suspect.verdict = ALWAYS
            return

        def enough(before: list[str]) -> bool:
            sequence = [*before, test]
            if tuple(sequence) not in self.known and self.runs - begun >= RUNS:
                raise Spent
            self.say(f"bisecting {test}: {count(len(before), 'test')} before it ...", False)
            found = self.run(sequence).outcomes.get(test)
            return found == "failed" if wanted == "failed" else found in ("passed", "skipped")

        for before in pairs:
            if test not in before and enough(before):
                break
        else:
            # The order in which the fewest come before it.
            before = min(
                (
                    order.run.tests[: order.run.tests.index(test)]
                    for order in self.orders
                    if order.name in names
                ),
                key=len,
            )
            self.known.pop((*before, test), None)  # once is not enough: does it do so again?
            if not before or not enough(before):
                suspect.verdict = UNSTEADY
                return
        smaller = list(before)

        def tried(part: list[str]) -> bool:
            if enough(part):
                smaller[:] = part
                return True
            return False

        try:
            smaller = smallest(before, tried)
        except Spent:
            suspect.smallest = False
        suspect.others = smaller
        suspect.verdict = AFTER if wanted == "failed" else WITHOUT
        self.verify(suspect, wanted)

    def verify(self, suspect: Suspect, wanted: str) -> None:
        """Run what is to be printed, as it is printed."""
        words = [word for word in self.suite.words if word not in self.orders[0].run.arguments]
        words = [*words, *self.orders[0].run.words]
        words += [self.named_here(name) for name in [*suspect.others, suspect.test]]
        run = self.suite.run(None, self.limit, words)
        self.runs += 1
        outcome = run.outcomes.get(suspect.test)
        suspect.verified = (outcome == "failed") == (wanted == "failed") and outcome is not None
        suspect.leaves = {
            test: run.left_by[test] for test in suspect.others if run.left_by.get(test)
        }
        if suspect.test in run.texts and wanted == "failed":
            suspect.error, suspect.text = run.errors[suspect.test], run.texts[suspect.test]
        join = subprocess.list2cmdline if sys.platform == "win32" else shlex.join
        suspect.command = join([self.named, "-m", "pytest", *words])
        if not os.path.samefile(self.suite.folder, os.getcwd()):
            suspect.command = f"cd {join([str(self.suite.folder)])} && {suspect.command}"

    def named_here(self, test: str) -> str:
        """A test as pytest is given it in the suite's folder."""
        path, mark, rest = test.partition("::")
        root = self.orders[0].run.root
        path = os.path.relpath(os.path.join(root, path), os.path.realpath(self.suite.folder))
        return path.replace(os.sep, "/") + mark + rest

    # -- what the catalogue says -------------------------------------------------------------------

    def explained(self, suspects: Sequence[Suspect]) -> list[Explained]:
        """The kinds of fault among the failures, each once."""
        found: dict[tuple[str, ...], Explained] = {}
        here = Path(self.suite.python) == Path(sys.executable)
        for suspect in [each for each in suspects if each.text][:MOST_EXPLAINED]:
            answer = explain(
                f"=== test session starts ===\n{suspect.text}",
                None if here else self.suite.python,
            )
            if answer.kinds:
                lines = tuple(
                    line for line in answer.lines if not line.startswith(("yours", "seen", "maker"))
                )
                made = found.setdefault(lines, Explained(answer.kinds, lines, []))
                made.tests.append(suspect.test)
        return list(found.values())


def count(number: int, word: str) -> str:
    """``3 tests``, ``1 test``."""
    return f"{number} {word}" + ("" if number == 1 else "s")
