"""The form in which a solution notebook is committed: a lesson's normal form, with nbgrader's
metadata and without outputs.
"""

from __future__ import annotations

import json
from typing import Any

from loopbound.authoring.normal_form import normal_form
from loopbound.problem import Problem

__all__ = ["dumped", "solution_form"]

SCHEMA = 3
_FIELDS = ("grade", "grade_id", "locked", "points", "schema_version", "solution", "task")


def solution_form(text: str, name: str = "notebook") -> str:
    """The normal form of a solution notebook's text.

    Idempotent.

    Raises:
        Problem: it is no notebook.
    """
    normal = json.loads(normal_form(text, name))
    for cell, source in zip(normal["cells"], json.loads(text)["cells"], strict=True):
        found = source["metadata"].get("nbgrader")
        if found is not None:
            if found.get("schema_version") != SCHEMA:
                raise Problem(
                    f"{name}, cell '{cell['id']}': nbgrader's schema version is"
                    f" {found.get('schema_version')}, wanted is {SCHEMA}."
                )
            cell["metadata"]["nbgrader"] = {
                field: found[field] for field in _FIELDS if field in found
            }
        if cell["cell_type"] == "code":
            cell["outputs"] = []
    return dumped(normal)


def dumped(notebook: dict[str, Any]) -> str:
    """A notebook's text as nbformat writes it, with a newline at the end."""
    import nbformat

    return nbformat.writes(nbformat.from_dict(notebook)).rstrip("\n") + "\n"
