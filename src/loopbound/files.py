"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from loopbound.problem import Problem


def check_writable(path: Path) -> None:
    """Find out, before any work is done for it, whether `replace_text` can write there.

    Raises:
        Problem: it cannot.
    """
    if os.path.isdir(path) or not os.path.isdir(path.absolute().parent):
        raise Problem(f"{path} cannot be written: it is a folder, or its folder does not exist.")
    # Putting a file in its place would take /dev/null away from the whole machine.
    if os.path.exists(path) and not os.path.isfile(path):
        raise Problem(f"{path} cannot be written: it exists and is no file.")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.stat(path)  # a name that is too long
        draft = _draft(path)
        draft.touch(exist_ok=False)
        draft.unlink()
    except OSError as error:
        raise _unwritable(path, error) from None


def make_folder(folder: Path, what: str) -> None:
    """Make the folder for an output, with those around it; ``what`` is the output's name.

    Raises:
        Problem: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(
            f"{folder} cannot hold the {what}: {(error.strerror or str(error)).lower()}."
        ) from None


def replace_text(path: Path, text: str) -> None:
    """Put a file in a path's place in one step: a reader sees the old or the new one, also when
    this is interrupted.

    UTF-8, with the line ends that the text has. Where `path` is a link, the file that it leads to
    is replaced.

    Raises:
        Problem: it cannot be written.
    """
    check_writable(path)
    draft = _draft(path)
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        os.replace(draft, os.path.realpath(path))
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, data: dict[str, Any]) -> None:
    """Write a whole file of JSON or none.

    Raises:
        Problem: it cannot be written.
    """
    replace_text(target, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def _draft(path: Path) -> Path:
    return Path(os.path.realpath(path)).with_name(f".loopbound-{secrets.token_hex(4)}.partial")


def _unwritable(path: Path, error: OSError) -> Problem:
    return Problem(f"{path} cannot be written: {(error.strerror or str(error)).lower()}.")
