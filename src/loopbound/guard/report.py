"""What a run's guard has seen: a table, and a file for people or for programs."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

COLUMNS = 60  # tests in the drawing for a terminal
ROWS = 12  # loops in it
SVG_COLUMNS = 400


class Book:
    """The crossings of a run, also of several processes."""

    def __init__(self) -> None:
        self.tests: list[str] = []
        self.crossings: list[dict[str, Any]] = []
        self.loops: list[dict[str, Any]] = []
        self.explained: dict[str, str] = {}
        self.left: list[list[str]] = []
        self.broken = ""

    def add(self, report: Any) -> None:
        """One phase of a test."""
        if report.when == "setup":
            self.tests.append(report.nodeid)
        given = getattr(report, "loop_guard", None)
        if given:
            worker = getattr(getattr(getattr(report, "node", None), "gateway", None), "id", "")
            self.crossings += [{**each, "worker": worker} for each in given["crossings"]]
            if given["explained"] and not given["crossings"]:
                self.explained[report.nodeid] = given["explained"]

    def worker(self, name: str, given: dict[str, Any]) -> None:
        """What a process has left to say at its end; "" is this one."""
        self.loops += [{**loop, "worker": name} for loop in given.get("loops", ())]
        self.crossings += [{**each, "worker": name} for each in given.get("stray", ())]
        self.left += given.get("left", ())
        self.broken = self.broken or given["broken"]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The crossings that are faults."""
        return [each for each in self.crossings if each["severity"] == "error"]

    @property
    def notes(self) -> list[dict[str, Any]]:
        """The others: what got away with it."""
        return [each for each in self.crossings if each["severity"] != "error"]

    def lines(self) -> list[str]:
        """The table for a terminal."""
        errors = self.errors
        tests = {each["test"] for each in errors}
        ran, loops = _count(len(self.tests), "test"), _count(len(self.loops), "loop")
        where = f"in {len(tests)} of {ran} ({loops})" if errors else f"({ran}, {loops})"
        lines = [f"{_count(len(errors), 'crossing')} {where}"]
        lines += self._objects(errors)
        if errors:
            cure, times = self.cure()
            lines.append(
                f"cure for the suite ({times} of {_count(len(errors), 'crossing')}): {cure}"
            )
            lines += self.drawing()
        if self.notes:
            lines.append("notes: crossings that a driver gets away with, and closings elsewhere")
            lines += self._objects(self.notes)
        if self.left:
            lines.append("note: a transaction was left open on a loop that has closed")
            lines += [f"  {line}" for line in self.left[0]]
        said: dict[str, list[str]] = {}
        for test, text in self.explained.items():
            said.setdefault(text, []).append(test)
        for text, found in said.items():
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            lines.append(f"{found[0]}{more}: nothing crossed; the failure says:")
            lines += [f"  {line}" for line in text.splitlines()]
        if self.broken:
            lines.append(f"The guard itself failed once, so it may have missed one: {self.broken}")
        return lines

    @staticmethod
    def _objects(crossings: list[dict[str, Any]]) -> list[str]:
        """Crossings by object and kind."""
        rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for each in crossings:
            rows.setdefault((each["object"], each["kind"]), []).append(each)
        return [
            f"  {len(found):>4} × {name} [{kind}], first in {found[0]['test'] or 'no test'}"
            for (name, kind), found in sorted(rows.items(), key=lambda row: -len(row[1]))
        ]

    def cure(self) -> tuple[str, int]:
        """The cure that holds for the most crossings, and for how many; of equals the cheapest."""
        places: dict[str, list[int]] = {}  # cure → where it stands among each crossing's cures
        for each in self.errors:
            for place, cure in enumerate(each["cures"]):
                places.setdefault(cure, []).append(place)
        best = min(places, key=lambda cure: (-len(places[cure]), sum(places[cure])))
        return best, len(places[best])

    def drawing(self) -> list[str]:
        """The loops over the tests: a row each, o where it was used, x where something crossed."""
        loops, tests = self._drawn(COLUMNS)
        left_out = len(loops) - ROWS
        if left_out > 0:
            crossed = self._crossed()
            loops = [loop for loop in loops if _key(loop) in crossed][:ROWS]
        names = [f"{_loop(loop)} {loop['runner']}" for loop in loops]
        width = max(map(len, names), default=0)
        lines = ["loops over the tests, o used, n gets away with it, x crossed:"]
        for name, loop in zip(names, loops, strict=True):
            row = "".join(loop["tests"].get(test, "·") for test in tests)
            lines.append(f"  {name:<{width}}  {row}")
        if left_out > 0:
            lines.append("  and other loops; --loop-guard-report=FILE.html has them all")
        return lines

    def _crossed(self) -> set[tuple[str, int]]:
        """The loops of which a crossing tells: of birth and of use."""
        return {
            (each["worker"], each[moment]["loop"])
            for each in self.errors
            for moment in ("born", "used")
        }

    def _drawn(self, columns: int) -> tuple[list[dict[str, Any]], list[str]]:
        """The loops on which something was used, and the tests that used something: the first
        ones, with one that crossed among them.
        """
        loops = [loop for loop in self.loops if loop["tests"]]
        of_loops = {test for loop in loops for test in loop["tests"]}
        used = [test for test in self.tests if test in of_loops]
        crossed = {each["test"] for each in self.errors}
        first = next((at for at, test in enumerate(used) if test in crossed), 0)
        begin = max(0, first - columns // 2)
        tests = used[begin : begin + columns]
        drawn = set(tests)
        return [loop for loop in loops if not drawn.isdisjoint(loop["tests"])], tests

    def data(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "tests": self.tests,
            "crossings": self.errors,
            "notes": self.notes,
            "loops": self.loops,
            "left_open": self.left,
            "explained": self.explained,
            "guard_failed": self.broken,
        }

    def write(self, path: Path) -> None:
        """Write the file that its suffix asks for.

        Raises:
            OSError: it cannot be written.
        """
        if path.suffix == ".json":
            text = json.dumps(self.data(), indent=1, ensure_ascii=False) + "\n"
        else:
            text = self.page()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def page(self) -> str:
        """The report as one page that stands alone."""
        head, *rest = self.lines()
        parts = [f"<p>{html.escape(head)}</p>", self._svg()]
        for title, found in (("Crossings", self.errors), ("Notes", self.notes)):
            if found:
                rows = "".join(
                    f"<tr><td>{html.escape(each['test'] or 'no test')}</td>"
                    f"<td><pre>{html.escape(chr(10).join(each['lines']))}</pre></td></tr>"
                    for each in found
                )
                parts.append(f"<h2>{title}</h2><table>{rows}</table>")
        parts.append(f"<h2>Summary</h2><pre>{html.escape(chr(10).join(rest))}</pre>")
        return _PAGE.format(body="\n".join(parts))

    def _svg(self) -> str:
        """The drawing: a lane for each loop, tests from left to right."""
        loops, tests = self._drawn(SVG_COLUMNS)
        if not loops or not tests:
            return ""
        step, lane, left = 14, 22, 220
        size = f'width="{left + step * len(tests) + 10}" height="{lane * len(loops) + 10}"'
        marks = []
        for row, loop in enumerate(loops):
            y = lane * row + 16
            at = [number for number, test in enumerate(tests) if test in loop["tests"]]
            name = html.escape(f"{_loop(loop)} · {loop['runner']}")
            marks.append(f'<text x="4" y="{y + 4}">{name}</text>')
            first, last = left + step * at[0], left + step * at[-1]
            marks.append(f'<line x1="{first}" x2="{last}" y1="{y}" y2="{y}"/>')
            for number in at:
                mark = loop["tests"][tests[number]]
                x = left + step * number
                title = f"<title>{html.escape(tests[number])}</title>"
                if mark == "x":
                    cross = f"M{x - 4} {y - 4}l8 8m0 -8l-8 8"
                    marks.append(f'<path class="x" d="{cross}">{title}</path>')
                else:
                    marks.append(f'<circle class="{mark}" cx="{x}" cy="{y}" r="4">{title}</circle>')
        lanes = {_key(loop): lane * row + 16 for row, loop in enumerate(loops)}
        columns = {test: left + step * number for number, test in enumerate(tests)}
        for each in self.errors:
            ends = [
                (columns.get(each[m]["test"]), lanes.get((each["worker"], each[m]["loop"])))
                for m in ("born", "used")
            ]
            if all(None not in end for end in ends):
                (x1, y1), (x2, y2) = ends
                marks.append(f'<line class="c" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
        label = "A lane for each loop; a circle: used; a cross: crossed, with a line from the birth"
        return f'<svg {size} role="img" aria-label="{label}">{"".join(marks)}</svg>'


def _key(loop: dict[str, Any]) -> tuple[str, int]:
    return loop["worker"], loop["number"]


def _loop(loop: dict[str, Any]) -> str:
    return f"loop {loop['number']}" + (f" of {loop['worker']}" if loop["worker"] else "")


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Loop guard</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em }}
pre {{ white-space: pre-wrap; margin: 0 }} td {{ padding: .4em .8em; vertical-align: top }}
tr {{ border-top: 1px solid #ccc }} svg {{ display: block; overflow: auto; font-size: 12px }}
line {{ stroke: #888; stroke-width: 2 }} circle {{ fill: #2a6 }} circle.n {{ fill: #d92 }}
line.c {{ stroke: #c22; stroke-width: 1; stroke-dasharray: 3 2 }}
.x {{ stroke: #c22; stroke-width: 3; fill: none }}
</style></head><body>
<h1>Loop guard</h1>
{body}
</body></html>
"""
