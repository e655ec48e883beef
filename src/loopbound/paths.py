"""Where things are: the clone of the course, and the folder for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from loopbound.problem import Problem

ELSEWHERE = "Set LOOPBOUND_CACHE to a folder that you can write to."


def is_root() -> bool:
    """True on POSIX for user id 0.

    Windows needs no such care: pg_ctl drops an administrator's rights itself.
    """
    return os.name == "posix" and os.geteuid() == 0


def repository() -> Path:
    """The folder that holds ``notebooks/``: the clone that the package was installed from, or the
    current folder.

    Raises:
        Problem: neither has a ``notebooks`` folder.
    """
    for folder in (*Path(__file__).resolve().parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").is_file():
            return folder
    raise Problem(
        f"no notebooks folder was found from {Path.cwd()}.\nRun this inside the clone of the"
        " course."
    )


def cache_folder() -> Path:
    """The folder for servers, environments and logs, made if need be: LOOPBOUND_CACHE, or the
    system's folder for such things.

    Raises:
        Problem: it cannot be made.
    """
    if given := os.environ.get("LOOPBOUND_CACHE", "").strip():
        folder = Path(given).expanduser().absolute()
    else:
        folder = Path(platformdirs.user_cache_dir("loopbound", appauthor=False)).absolute()
        if is_root():
            # Asked of what exists already, so that nothing is made where it cannot be used, and
            # nothing of root's in the home of the person who typed sudo.
            existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
            passable = all(place.stat().st_mode & 0o001 for place in (existing, *existing.parents))
            if existing.stat().st_uid != 0 or not passable:
                folder = Path(platformdirs.site_cache_dir("loopbound", appauthor=False)).absolute()
    if not folder.is_dir():  # one that was there keeps its mode
        try:
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(own_mode())
        except OSError as error:
            raise Problem(
                f"The folder {folder} cannot be made: {(error.strerror or str(error)).lower()}.\n"
                f"{ELSEWHERE}"
            ) from None
    return folder


def own_mode() -> int:
    """The mode of a folder of ours. As root, whose server runs as 'nobody', that user has to pass
    through to the data; it can neither list nor write.
    """
    return 0o711 if is_root() else 0o700
