"""Which notebooks a reader has changed: their outputs differ because of that, and the way back is
one command.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def changed_notebooks(root: Path) -> list[str]:
    """Names of the notebooks in ``root/notebooks`` that differ from the last commit; none where git
    cannot tell.
    """
    git = shutil.which("git")
    if git is None:
        return []
    command = [
        git,
        "-c",
        "core.quotepath=off",
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        "notebooks",
    ]
    done = subprocess.run(
        command, cwd=root, capture_output=True, encoding="utf-8", errors="replace"
    )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return sorted(
        Path(line[3:].strip('"')).name for line in lines if line.rstrip('"').endswith(".ipynb")
    )


def restore_hint(root: Path) -> str:
    """What to tell a reader whose run differs: empty where no notebook was changed."""
    names = changed_notebooks(root)
    if not names:
        return ""
    return (
        f"Changed since the last commit: {', '.join(names)}. To have the originals back: git"
        " restore notebooks"
    )
