"""The forms in which a report is printed: text and JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Any

from loopbound.stability.study import (
    AFTER,
    ALWAYS,
    NOT_LOOKED_AT,
    NOT_VARIED,
    UNSTEADY,
    WITHOUT,
    Report,
    Suspect,
    count,
)

SHOWN = 8  # of like lines


def formatted(report: Report, form: str, columns: int = 96) -> str:
    """A report as ``"text"`` or ``"json"``."""
    if form == "json":
        return json.dumps(_data(report), indent=2, ensure_ascii=False)
    return "\n".join(_text(report, columns))


def _text(report: Report, columns: int) -> Iterator[str]:
    yield f"{'order':<12}{'tests':>6}{'failed':>8}{'not run':>9}{'seconds':>9}"
    for order in report.orders:
        run = order.run
        numbers = f"{len(run.tests):>6}{len(run.failed):>8}{len(run.not_run):>9}"
        yield f"{order.name:<12}{numbers}{run.seconds:>9.1f}"
        if run.hung:
            yield f"  ended because of the time in {run.hung}"
        if run.crashed:
            yield f"  the process ended before its time: {run.crashed}"
    for title, verdicts in (
        ("What depends on the order", (AFTER, WITHOUT)),
        ("The order does not explain", (UNSTEADY, ALWAYS)),
        ("Not bisected (--bisect N)", ("unknown",)),
    ):
        found = [each for each in report.suspects if each.verdict in verdicts]
        if found:
            yield from ("", f"{title}:")
        for each in found[: SHOWN if "unknown" in verdicts else None]:
            yield from _suspect(each, columns)
        if "unknown" in verdicts and len(found) > SHOWN:
            yield f"  and {len(found) - SHOWN} more"
    for told in report.explained:
        yield from ("", f"{', '.join(told.tests[:3])}{_more(told.tests, 3)}:")
        yield from (f"  {line}" for line in told.lines)
    left = _left(report)
    if left:
        most = Counter[str]()
        for order in report.orders:
            most |= Counter(order.run.left)
        yield from ("", "Left at the end of a run, and not there before the first test:")
        for text, tests in list(left.items())[:SHOWN]:
            since = f", since {tests[0]}" if tests else ""
            yield f"  {_numbered(text, most[text])}{since}{_more(tests, 1)}"
        yield from _rest(left)
    tasks = _tasks(report)
    if tasks:
        yield from ("", "Tasks that still ran when the test that began them was over:")
        for text, tests in list(tasks.items())[:SHOWN]:
            yield f"  {text}, of {tests[0]}{_more(tests, 1)}"
        yield from _rest(tasks)
    yield ""
    for text in (f"Not varied: {NOT_VARIED}.", f"Not looked at: {NOT_LOOKED_AT}."):
        yield from textwrap.wrap(text, columns, break_long_words=False)
    yield verdict(report)


def verdict(report: Report) -> str:
    """The last line."""
    runs = f"{count(len(report.orders), 'order')}, {count(report.runs, 'run')}"
    end = f"({runs}; --seed {report.seed} repeats them)"
    tests = max(len(order.run.tests) for order in report.orders)
    if report.stable:
        return f"Stable: {count(tests, 'test')} passed in every order {end}."
    always = sum(each.verdict == ALWAYS for each in report.suspects)
    some = len(report.suspects) - always
    parts = [f"{some} of {count(tests, 'test')} failed in some order" if some else ""]
    parts += [f"{always} in every order, and alone" if always else ""]
    said = ", ".join(part for part in parts if part) or "a run was ended"
    return f"Not stable: {said} {end}."


def _shortened(error: str, width: int) -> str:
    """The line of an error in so many columns, with its end: a task and a future are written there
    at length before the words that name the fault.
    """
    if len(error) > width:
        error = re.sub(r"<(Task|Future) (\w+)(?:[^<>]|<[^<>]*>)*>", r"<\1 \2>", error)
    return textwrap.shorten(error, width, placeholder=" ...")


def _suspect(each: Suspect, columns: int) -> Iterator[str]:
    yield f"{each.test}"
    alone = "; passes alone" if each.verdict == AFTER else ""
    passes = f"; passes in {', '.join(each.passes)}" if each.passes else alone
    yield f"  fails in {', '.join(each.fails)}{passes}"
    yield f"  {_shortened(each.error, columns - 2)}"
    yield from (f"  {line}" for line in each.guard)
    if each.verdict in (AFTER, WITHOUT):
        less = "" if each.smallest else " (these suffice; fewer may)"
        word = "fails" if each.verdict == AFTER else "passes"
        yield f"  {word} only after{less}:"
        for test in each.others[:SHOWN]:
            leaves = each.leaves.get(test, [])
            texts = [_numbered(*item) for item in Counter(leaves).items()][:SHOWN]
            said = f", which leaves: {', '.join(texts)}" if texts else ""
            yield f"    {test}{said}"
        yield from _rest(each.others)
        if each.verified:
            yield f"  to repeat it: {each.command}"
        else:
            yield f"  but not by themselves (other files may have to be imported): {each.command}"
    elif each.verdict == UNSTEADY:
        yield "  and passed when the same tests ran in the same order again"
    elif each.verdict == ALWAYS:
        yield "  alone, too"


def _more(tests: list[str], shown: int) -> str:
    rest = len(tests) - shown
    return f" and {rest} more" if rest > 0 else ""


def _rest(found: Any) -> Iterator[str]:
    if len(found) > SHOWN:
        yield f"  and {len(found) - SHOWN} more"


def _numbered(text: str, number: int) -> str:
    return text if number == 1 else f"{text} ({number})"


def _left(report: Report) -> dict[str, list[str]]:
    """What was left at the end of a run → the tests after which it was first there."""
    found: dict[str, list[str]] = {}
    for order in report.orders:
        for text in order.run.left:
            first = next((t for t, left in order.run.left_by.items() if text in left), "")
            tests = found.setdefault(text, [])
            if first and first not in tests:
                tests.append(first)
    return found


def _tasks(report: Report) -> dict[str, list[str]]:
    """The tasks that outlived their test's body → those tests."""
    found: dict[str, list[str]] = {}
    for order in report.orders:
        for test, left in order.run.left_by.items():
            for text in left:
                if text.startswith("task ") and test not in found.setdefault(text, []):
                    found[text].append(test)
    return found


def _data(report: Report) -> dict[str, Any]:
    return {
        "stable": report.stable,
        "seed": report.seed,
        "python": report.python,
        "runs": report.runs,
        "orders": [
            {
                "name": order.name,
                "tests": order.run.tests,
                "failed": order.run.failed,
                "not_run": order.run.not_run,
                "hung": order.run.hung or None,
                "crashed": order.run.crashed or None,
                "seconds": round(order.run.seconds, 3),
                "left": order.run.left,
            }
            for order in report.orders
        ],
        "tests": [
            {
                "test": each.test,
                "verdict": each.verdict,
                "fails_in": each.fails,
                "passes_in": each.passes,
                "error": each.error,
                "guard": each.guard,
                "others": each.others,
                "smallest": each.smallest,
                "verified": each.verified,
                "command": each.command or None,
                "leaves": each.leaves,
            }
            for each in report.suspects
        ],
        "explained": [
            {"kinds": told.kinds, "lines": told.lines, "tests": told.tests}
            for told in report.explained
        ],
        "left": _left(report),
        "tasks": _tasks(report),
        "not_varied": NOT_VARIED,
        "not_looked_at": NOT_LOOKED_AT,
    }
