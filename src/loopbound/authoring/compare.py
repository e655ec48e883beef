"""Compares what a notebook has committed with what a fresh run of it gave."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import unquote

from loopbound.authoring.finding import Finding
from loopbound.authoring.normal_form import stable_outputs
from loopbound.authoring.stable import comparable, without_colour

_LINES_SHOWN = 24
_PICTURE = re.compile(r"<img\b[^>]*?\bsrc=(\"|')data:image/svg\+xml[^>]*>", re.IGNORECASE)


def compare(name: str, committed: Mapping[str, Any], fresh: Mapping[str, Any]) -> list[Finding]:
    """The differences between two versions of one notebook (as nbformat reads them), cell by cell.

    A cell tagged ``output-varies`` is compared by the kinds of its outputs only. Tracebacks are
    compared by type and
    message, pictures by their alternative text and the words drawn in them: the rest depends on
        library versions.
    """
    findings = []
    fresh_cells = {cell["id"]: cell for cell in fresh["cells"]}
    for cell in committed["cells"]:
        if cell["cell_type"] != "code":
            continue
        other = fresh_cells.get(cell["id"])
        if other is None:
            findings.append(Finding(name, cell["id"], "is missing from the fresh run"))
        elif not same_outputs(cell, other):
            findings.append(_difference(name, cell, other))
    return findings


def same_outputs(committed: Mapping[str, Any], fresh: Mapping[str, Any]) -> bool:
    """Whether two runs of one code cell gave the same outputs, as ``compare`` sees them."""
    if _varies(committed):
        return _kinds(committed) == _kinds(fresh)
    return comparable_lines(committed) == comparable_lines(fresh)


def comparable_lines(cell: Mapping[str, Any]) -> list[str]:
    """A code cell's outputs as lines of text that are equal for equal runs."""
    tasks: dict[str, str] = {}
    lines: list[str] = []
    for output in stable_outputs(cell.get("outputs", [])):
        kind = output["output_type"]
        if kind == "stream":
            lines += [
                f"{output['name']}: {line}"
                for line in comparable(output["text"], tasks).splitlines()
            ]
        elif kind == "error":
            lines += f"{output['ename']}: {comparable(output['evalue'], tasks)}".splitlines()
        else:
            for mime in sorted(output["data"]):
                lines += [
                    f"{mime}: {line}" for line in _data_lines(mime, output["data"][mime], tasks)
                ]
    return lines


def _data_lines(mime: str, value: Any, tasks: dict[str, str]) -> list[str]:
    if mime == "text/html":
        value = _PICTURE.sub(lambda found: _picture_words(found[0]), value)
    if isinstance(value, str) and mime.startswith("text/"):
        return comparable(without_colour(value), tasks).splitlines()
    if mime == "image/svg+xml":
        return _drawing(value)
    if mime.startswith("image/"):
        return ["a picture"]
    return str(value).splitlines()


def _picture_words(tag: str) -> str:
    alternative = re.search(r"\balt=(\"|')(.*?)\1", tag, re.DOTALL)
    # `_PICTURE` has found it already.
    source = re.search(r"src=(\"|')(.*?)\1", tag, re.DOTALL)[2]  # type: ignore[index]
    return "\n".join(
        [
            "figure: " + unescape(alternative[2] if alternative else ""),
            *_drawing(unquote(unescape(source))),
        ]
    )


def _drawing(svg: str) -> list[str]:
    """An SVG document as its words and one line for all the rest: a reader of the difference wants
    no path data.
    """
    words = [
        re.sub(r"<[^>]+>|\s+", " ", word).strip()
        for word in re.findall(r"<text\b[^>]*>(.*?)</text>", svg, re.DOTALL)
    ]
    return [*sorted(words), f"drawing {hashlib.sha256(_agreed(svg).encode()).hexdigest()[:12]}"]


def _agreed(svg: str) -> str:
    """The document as two machines agree on it: lengths to a tenth, no names that are made from
    them.
    """
    svg = re.sub(r"""\s(?:id|clip-path|xlink:href|href)=("[^"]*"|'[^']*')|url\(#[^)]*\)""", "", svg)
    svg = re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.1f}", svg)
    return re.sub(r">\s+<", "><", re.sub(r"\s+", " ", svg))


def _varies(cell: Mapping[str, Any]) -> bool:
    return "output-varies" in cell.get("metadata", {}).get("tags", [])


def _kinds(cell: Mapping[str, Any]) -> list[tuple[str, ...]]:
    kinds: list[tuple[str, ...]] = []
    for output in stable_outputs(cell.get("outputs", [])):
        more = {"stream": lambda: [output["name"]], "error": lambda: [output["ename"]]}
        kinds.append(
            (
                output["output_type"],
                *more.get(output["output_type"], lambda: sorted(output["data"]))(),
            )
        )
    return kinds


def _difference(name: str, committed: Mapping[str, Any], fresh: Mapping[str, Any]) -> Finding:
    if _varies(committed):
        before, after = ([" ".join(kind) for kind in _kinds(cell)] for cell in (committed, fresh))
    else:
        before, after = comparable_lines(committed), comparable_lines(fresh)
    errors = [
        [
            f"{output['ename']}: {output['evalue']}"
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]
        for cell in (committed, fresh)
    ]
    what = "the output differs from the committed one"
    if errors[0] and not errors[1]:
        what = f"the wanted error {errors[0][0].splitlines()[0]!r} did not come"
    elif errors[0] and _first_line(errors[0][0]) != _first_line(errors[1][0]):
        what = (
            f"raised {errors[1][0].splitlines()[0]!r}, wanted is {errors[0][0].splitlines()[0]!r}"
        )
    lines = list(difflib.unified_diff(before, after, "committed", "fresh run", lineterm="", n=1))
    if len(lines) > _LINES_SHOWN:
        lines = [*lines[:_LINES_SHOWN], f"… {len(lines) - _LINES_SHOWN} more lines"]
    return Finding(name, committed["id"], what, "\n".join(lines))


def _first_line(text: str) -> str:
    return comparable(text).split("\n", 1)[0]
