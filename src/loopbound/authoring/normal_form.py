"""The one form in which a notebook is committed, so that a difference in Git is a difference in the
lesson.

nbformat 4.5; kebab-case cell ids; no metadata but the kernel's name, tags, claims and what is
folded; no execution counts; stable outputs; JSON with an indent of one, sorted keys, letters
unescaped and a newline at the end.
"""

from __future__ import annotations

import copy
import json
import re
from typing import Any

from loopbound.authoring.stable import stable
from loopbound.problem import Problem

METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
TAGS = ("raises-exception", "output-varies", "harness")
# JupyterLab shows the first line of a folded cell, so these begin a prediction and its comparison.
QUESTION, RESULT = "# Question\n", "# Result and reason\n"
# JupyterLab shows the first line of a folded output: this one, and not the answer.
_CLOSED = {
    "output_type": "display_data",
    "data": {"text/plain": "Open this after your answer."},
    "metadata": {"loopbound": "closed"},
}
_CELL_METADATA = ("loopbound", "tags")
_PREDICTION = re.compile(r"^(\w+) = predict\(", re.MULTILINE)
_READABLE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MADE_BY_AN_EDITOR = re.compile(r"[0-9a-f]{8}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def normal_form(text: str, name: str = "notebook") -> str:
    """The normal form of a notebook's text. Idempotent.

    Raises ``Problem`` where ``text`` is no notebook of format 4, or none that nbformat finds valid.
    ``name`` is for that message.
    """
    import nbformat

    notebook = _read(text, name)
    notebook = {
        "cells": _cells(notebook["cells"]),
        "metadata": METADATA,
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise Problem(f"{name} is not a valid notebook: {str(error).splitlines()[0]}") from error
    return nbformat.writes(nbformat.from_dict(notebook)).rstrip("\n") + "\n"


def form_differences(text: str, name: str = "notebook") -> list[tuple[str | None, str]]:
    """Where a notebook's text is not in normal form: pairs of a cell's id (or None) and what is
    wrong. Empty when it is.
    """
    wanted_text = normal_form(text, name)
    if text == wanted_text:
        return []
    found, wanted = json.loads(text), json.loads(wanted_text)
    differences: list[tuple[str | None, str]] = []
    if (found.get("nbformat"), found.get("nbformat_minor")) != (4, 5):
        differences.append(
            (None, f"is nbformat {found.get('nbformat')}.{found.get('nbformat_minor')}, not 4.5")
        )
    if found.get("metadata") != METADATA:
        more = sorted(set(found.get("metadata", {})) - set(METADATA))
        differences.append(
            (None, f"metadata holds {', '.join(more)}" if more else "metadata is not the course's")
        )
    for position, (cell, better) in enumerate(
        zip(found["cells"], wanted["cells"], strict=True), start=1
    ):
        for what in _cell_differences(cell, better):
            differences.append((cell.get("id", str(position)), what))
    return differences or [
        (None, "the JSON is laid out differently (indent 1, sorted keys, a newline at the end)")
    ]


def _read(text: str, name: str) -> dict[str, Any]:
    import nbformat

    try:
        notebook = json.loads(text)
    except ValueError as error:
        raise Problem(
            f"{name} is not JSON: {error}\nTo have the committed one back: git restore"
            f" notebooks/{name}"
        ) from error
    if (
        not isinstance(notebook, dict)
        or not isinstance(notebook.get("cells"), list)
        or notebook.get("nbformat") != 4
    ):
        raise Problem(f"{name} is not a notebook of format 4.")
    for position, cell in enumerate(notebook["cells"], start=1):
        if not (
            isinstance(cell, dict)
            and isinstance(cell.get("metadata"), dict)
            and "cell_type" in cell
            and "source" in cell
        ):
            raise Problem(
                f"{name} is not a valid notebook: cell {position} lacks its type, metadata or"
                " source."
            )
    # Joins the lists of lines in which sources and texts are stored.
    return nbformat.v4.reads(text)


def _cells(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    taken: set[str] = set()
    normal = []
    for cell in cells:
        better: dict[str, Any] = {"cell_type": cell["cell_type"], "id": _identity(cell, taken)}
        better["metadata"] = {
            key: cell["metadata"][key]
            for key in _CELL_METADATA
            if cell.get("metadata", {}).get(key)
        }
        better["source"] = "\n".join(line.rstrip() for line in cell["source"].split("\n")).strip(
            "\n"
        )
        if cell["cell_type"] == "code":
            better["execution_count"] = None
            better["outputs"] = stable_outputs(cell.get("outputs", []))
        elif cell.get("attachments"):
            better["attachments"] = cell["attachments"]
        normal.append(better)
    _fold(normal)
    return normal


def _fold(cells: list[dict[str, Any]]) -> None:
    """Fold what a reader may skip, and what would give the answer to a prediction away: outputs
    between the question and the explanation (the first text after the comparison), and the
    comparison's source, which explains the options; the question's source too, since its output
    asks it. JupyterLab opens an output when its cell runs. A note stands first in a folded output.
    """
    asked: set[str] = set()
    explained = True
    for cell in cells:
        if cell["cell_type"] != "code":
            explained = True
            continue
        compared = {name for name in asked if f"{name}.compare(" in cell["source"]}
        hidden = {}
        compares = cell["source"].startswith(tuple(f"{RESULT}{name}.compare(" for name in compared))
        asks = cell["source"].startswith(QUESTION)
        if asks or compares or "harness" in cell["metadata"].get("tags", ()):
            hidden["source_hidden"] = True
        if (asked or not explained) and cell["outputs"] and not compares:
            hidden["outputs_hidden"] = True
            cell["outputs"].insert(0, copy.deepcopy(_CLOSED))
        if hidden:
            cell["metadata"]["jupyter"] = hidden
        explained = explained and not compared
        asked = (asked - compared) | set(_PREDICTION.findall(cell["source"]))


def _identity(cell: dict[str, Any], taken: set[str]) -> str:
    identity = cell.get("id", "")
    if (
        not _READABLE.fullmatch(identity)
        or _MADE_BY_AN_EDITOR.fullmatch(identity)
        or identity in taken
    ):
        # The first words say what a cell is about better than the random id that an editor gave it.
        words = re.findall(r"[a-z0-9]+", re.sub(r"^\*\*.*?\*\*", "", cell["source"]).lower())
        stem = "-".join(words[:4])[:40].strip("-") or cell["cell_type"]
        identity, count = stem, 1
        while identity in taken or _MADE_BY_AN_EDITOR.fullmatch(identity):
            count += 1
            identity = f"{stem}-{count}"
    taken.add(identity)
    return identity


def stable_outputs(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A code cell's outputs as they are committed: streams merged, counts removed, texts stable.

    The note of a folded output is no output of the cell, and left out; so are styles and
    scripts in Markdown.
    """
    tasks: dict[str, str] = {}
    merged: list[dict[str, Any]] = []
    for output in outputs:
        if output.get("metadata") == _CLOSED["metadata"]:
            continue
        output = dict(output)
        last = merged[-1] if merged else {}
        if (
            output["output_type"] == "stream"
            and last.get("output_type") == "stream"
            and last["name"] == output["name"]
        ):
            last["text"] += output["text"]
        else:
            merged.append(output)
    for output in merged:
        if output["output_type"] == "stream":
            output["text"] = stable(output["text"], tasks)
        elif output["output_type"] == "error":
            output["evalue"] = stable(output["evalue"], tasks)
            output["traceback"] = [stable(frame, tasks) for frame in output["traceback"]]
        else:
            output["data"] = {
                kind: _stable_data(kind, value, tasks) for kind, value in output["data"].items()
            }
        if "execution_count" in output:
            output["execution_count"] = None
    return merged


def _stable_data(kind: str, value: Any, tasks: dict[str, str]) -> Any:
    if not isinstance(value, str) or not kind.startswith("text/"):
        return value
    # A prediction's style and script work only in what JupyterLab has run itself, and other pages
    # print them.
    if kind == "text/markdown":
        value = re.sub(r"\n*<(style|script)>.*?</\1>", "", value, flags=re.DOTALL)
    # A picture inside HTML is encoded: what looks like an address there is none.
    pieces = re.split(r"(data:[^\"'\s]+)", value) if kind == "text/html" else [value]
    return "".join(piece if piece.startswith("data:") else stable(piece, tasks) for piece in pieces)


def _cell_differences(cell: dict[str, Any], better: dict[str, Any]) -> list[str]:
    differences = []
    if cell.get("id") != better["id"]:
        differences.append(f"the id is not readable or not unique; call it '{better['id']}'")
    if surplus := sorted(set(cell.get("metadata", {})) - set(better["metadata"])):
        differences.append(f"metadata holds {', '.join(surplus)}")
    elif cell.get("metadata", {}).get("jupyter") != (fold := better["metadata"].get("jupyter")):
        differences.append(f"its metadata lacks 'jupyter': {fold}")
    if "".join(cell["source"]) != "".join(better["source"]):
        differences.append("the source has blanks at the end of a line, or empty lines around it")
    if cell["cell_type"] == "code":
        if cell.get("execution_count") is not None:
            differences.append("execution_count is set")
        outputs, wanted = cell.get("outputs", []), better["outputs"]
        if any(output.get("execution_count") is not None for output in outputs):
            differences.append("execution_count is set in an output")
        outputs = [
            output | ({"execution_count": None} if "execution_count" in output else {})
            for output in outputs
        ]
        if outputs != wanted and not differences:
            differences.append(
                "outputs hold parts that differ on every run (addresses, task numbers, ports,"
                " folders)"
            )
    return differences
