"""What the reader has done so far: per task the best outcome, the points, how many checks and
hints, and when.

It is kept in one file in the user's data folder, or in the one that ``LOOPBOUND_PROGRESS`` names
(``off``: nowhere). Every clone of the course has entries of its own in it. The file is replaced
whole under a lock, so several kernels may write at once and one that is killed loses nothing. Each
entry has a line of its own: where a line is damaged, the others are still read.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fasteners
import platformdirs

from loopbound.course.manifest import assignments
from loopbound.files import replace_text
from loopbound.outcomes import NOT_ATTEMPTED, OUTCOMES, PASSED
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["Entry", "ProgressFile", "progress_path"]


_HEADER = {"loopbound": "progress", "version": 1}
_LOCK_SECONDS = 2.0  # an update takes a few milliseconds
_DRAFT_SECONDS = 600.0  # a draft older than this was left by a process that is gone

_mutex = threading.RLock()  # the lock between processes does not keep two threads of one apart
_said: set[str] = set()


@dataclass(frozen=True)
class Entry:
    """What is kept about one task.

    ``outcome`` is the best one so far, one of ``OUTCOMES``; ``points`` the most that were earned;
    ``checks`` and ``hints`` how many there were; ``last`` when something was last done, ISO 8601 in
    UTC.
    """

    task: str
    outcome: str = NOT_ATTEMPTED
    points: int = 0
    checks: int = 0
    hints: int = 0
    last: str = ""

    @property
    def passed(self) -> bool:
        return self.outcome == PASSED


def progress_path() -> Path | None:
    """Where progress is kept; None where ``LOOPBOUND_PROGRESS`` is ``off``."""
    named = os.environ.get("LOOPBOUND_PROGRESS", "")
    if named.strip().lower() == "off":
        return None
    if named.strip():
        return Path(named).expanduser().absolute()
    return (
        Path(platformdirs.user_data_dir("loopbound", appauthor=False)).absolute() / "progress.jsonl"
    )


class ProgressFile:
    """The progress in one clone of the course. None of its methods raises: a check's verdict is
    worth more than its record.

    ``say`` is called with one line where the file cannot be written, or was damaged; in one
    process, once for each message.
    """

    def __init__(
        self, path: Path | None = None, clone: str | None = None, say: Callable[[str], None] = print
    ) -> None:
        self.path = path
        self.clone = _this_clone() if clone is None else clone
        self._say = say
        if path is None:
            with self._quietly():  # a user without a home has no data folder
                self.path = progress_path()

    def entries(self) -> dict[str, Entry]:
        """Task id → entry, for the tasks of this clone about which anything is known."""
        kept: dict[str, Entry] = {}
        with self._quietly(), self._locked(reading=True):
            kept = {
                task: entry
                for (clone, task), entry in _moved(self._read().kept, self.clone).items()
                if clone == self.clone and task not in _former_names()
            }
        return kept

    def entry(self, task: str) -> Entry:
        """What is known about one task; an empty entry where nothing is."""
        return self.entries().get(task, Entry(task))

    def checked(self, task: str, outcome: str, points: int) -> None:
        """Write down that a check ended so. The best outcome and the most points stay."""

        def better(old: Entry) -> Entry:
            best = max(old.outcome, outcome, key=OUTCOMES.index)
            return replace(old, outcome=best, points=max(old.points, points), checks=old.checks + 1)

        self._update(task, better)

    def hinted(self, task: str, hints: int) -> None:
        """Write down that so many hints to a task have been given."""
        self._update(task, lambda old: replace(old, hints=max(old.hints, hints)))

    def _update(self, task: str, change: Callable[[Entry], Entry]) -> None:
        with self._quietly():
            if self.path is None:
                return
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                found = self._read()
                if found.damaged:
                    self._set_aside(found)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                _moved(found.kept, self.clone, task)
                key = (self.clone, task)
                found.kept[key] = replace(change(found.kept.get(key, Entry(task))), last=now)
                replace_text(self.path, _text(found.kept))
                self._sweep()

    def _read(self) -> _Found:
        if self.path is None:
            return _Found({}, 0)
        try:
            # A device or a pipe would be read without end.
            if not stat.S_ISREG(os.stat(self.path).st_mode):
                raise Problem(f"{self.path} is no file")
            content = self.path.read_bytes()
        except FileNotFoundError:
            return _Found({}, 0)
        return _found(content, self.path)

    def _set_aside(self, found: _Found) -> None:
        """Keep a copy of a damaged file.

        A copy, so that a process killed here leaves the entries that can be read where they are.
        """
        assert self.path is not None
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        aside = self.path.with_name(f"{self.path.stem}.damaged-{stamp}{self.path.suffix}")
        shutil.copyfile(self.path, aside)
        entries = "1 entry" if len(found.kept) == 1 else f"{len(found.kept)} entries"
        self._once(
            f"Your progress file was damaged. {entries} could be read and went on; the damaged file"
            f" is kept as {aside}."
        )

    def _sweep(self) -> None:
        # A process that is killed while it writes leaves a draft behind.
        assert self.path is not None
        for draft in Path(os.path.realpath(self.path)).parent.glob(".loopbound-*.partial"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _DRAFT_SECONDS:
                    draft.unlink()

    @contextlib.contextmanager
    def _locked(self, reading: bool = False) -> Iterator[None]:
        """Hold the lock between processes.

        A reader does so for Windows, where an open file cannot be replaced, and does without where
        it cannot.
        """
        if self.path is None or (reading and not self.path.exists()):
            yield
            return
        with _mutex:
            lock = fasteners.InterProcessLock(self.path.with_name(f"{self.path.name}.lock"))
            try:
                held = lock.acquire(timeout=_LOCK_SECONDS, delay=0.005, max_delay=0.05)
            except OSError:
                if not reading:
                    raise
                held = False
            if not held and not reading:
                _close(lock)
                raise Problem(f"{self.path} is locked by another process.")
            try:
                yield
            finally:
                if held:
                    lock.release()
                else:
                    _close(lock)

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            why = (
                str(error)
                if isinstance(error, Problem) or self.path is None
                else f"{self.path}: {getattr(error, 'strerror', None) or error}"
            )
            self._once(
                f"Your progress is not kept: {why.rstrip('.')}. Checks and hints work without it."
            )

    def _once(self, text: str) -> None:
        if text not in _said:
            _said.add(text)
            # Standard output may be closed, or be something that a learner's code put in its place.
            with contextlib.suppress(Exception):
                self._say(text)


@dataclass(frozen=True)
class _Found:
    """A file's entries by clone and task, and how many of its lines could not be read."""

    kept: dict[tuple[str, str], Entry]
    damaged: int


def _found(content: bytes, path: Path) -> _Found:
    kept: dict[tuple[str, str], Entry] = {}
    damaged = 0
    lines = content.decode("utf-8", errors="replace").splitlines()
    for line in lines:
        try:
            row = json.loads(line)
            if isinstance(row, dict) and row.get("loopbound") == _HEADER["loopbound"]:
                if row.get("version") != _HEADER["version"]:
                    raise Problem(
                        f"{path} was written by another version of Loopbound, and is left as it is"
                    )
                continue
            clone, entry = row.pop("clone"), Entry(**row)
            if not _sound(clone, entry):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            damaged += bool(line.strip())
        else:
            kept[clone, entry.task] = entry
    return _Found(kept, damaged or int(not lines))  # an empty file is one whose content was lost


def _moved(
    kept: dict[tuple[str, str], Entry], clone: str, task: str = ""
) -> dict[tuple[str, str], Entry]:
    """Bring a clone's entries on an assignment that has another number now under today's ids.

    The old ids may be those of another assignment now. So an entry of the former name says that
    this has been done; it is there as soon as one of those ids, ``task``, is written.
    """
    for which in assignments():
        mark, old_ids = (clone, which.formerly), which.former_ids
        if mark in kept:
            continue
        moved = {
            new: kept.pop((clone, old)) for old, new in old_ids.items() if (clone, old) in kept
        }
        kept |= {(clone, new): replace(entry, task=new) for new, entry in moved.items()}
        if moved or task in old_ids:
            kept[mark] = Entry(which.formerly)
    return kept


def _former_names() -> set[str]:
    return {which.formerly for which in assignments()}


def _sound(clone: Any, entry: Entry) -> bool:
    numbers = (entry.points, entry.checks, entry.hints)
    texts = (clone, entry.task, entry.last)
    return (
        all(type(number) is int and number >= 0 for number in numbers)
        and all(isinstance(text, str) and "�" not in text for text in texts)
        and entry.outcome in OUTCOMES
    )


def _text(kept: dict[tuple[str, str], Entry]) -> str:
    rows = [
        {"clone": clone} | asdict(entry)
        for (clone, _), entry in sorted(kept.items(), key=lambda item: item[0])
    ]
    return "".join(json.dumps(row) + "\n" for row in [_HEADER, *rows])


def _this_clone() -> str:
    """The folder of this clone, as entries name it; empty where the package is used without one."""
    try:
        return os.path.normcase(repository().resolve())
    except Problem:
        return ""


def _close(lock: fasteners.InterProcessLock) -> None:
    if lock.lockfile is not None:
        with contextlib.suppress(OSError):
            lock.lockfile.close()  # fasteners leaves it open where the lock was taken
