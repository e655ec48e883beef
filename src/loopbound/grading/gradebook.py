"""The gradebook: an SQLite file with what every submission earned, written as results come, so that
a run which was killed goes on where it stopped.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ForeignKey, UniqueConstraint, create_engine, delete, event, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import loopbound.checks
from loopbound.course.manifest import assignments
from loopbound.grading.cleaned import file_name
from loopbound.grading.results import Graded, TaskResult
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["Gradebook", "course_digest"]

LOCK_SECONDS = 5


class _Base(DeclarativeBase):
    pass


class _Submission(_Base):
    __tablename__ = "submission"
    __table_args__ = (UniqueConstraint("file", "digest", "course"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    learner: Mapped[str]
    digest: Mapped[str]
    course: Mapped[str]
    assignment: Mapped[str]
    problem: Mapped[str]
    notes: Mapped[str]
    seconds: Mapped[float]
    graded: Mapped[datetime]
    tasks: Mapped[list[_Task]] = relationship(cascade="all, delete-orphan", order_by="_Task.task")


class _Task(_Base):
    __tablename__ = "task"

    submission: Mapped[int] = mapped_column(ForeignKey("submission.id"), primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    outcome: Mapped[str]
    points: Mapped[int]
    of: Mapped[int]
    says: Mapped[str]
    diagnosis: Mapped[str]
    seconds: Mapped[float]
    answer: Mapped[str]


class _Shown(_Base):
    """What the report in a folder shows: a later one, of some learners, keeps the others."""

    __tablename__ = "shown"

    folder: Mapped[str] = mapped_column(primary_key=True)
    file: Mapped[str] = mapped_column(primary_key=True)
    learner: Mapped[str] = mapped_column(primary_key=True)
    handed_in: Mapped[str]
    late: Mapped[bool]
    order: Mapped[str]


class Gradebook:
    """A gradebook in a file, made where there is none. A context manager.

    Raises ``Problem`` where the file is no gradebook, is locked by another program, or cannot be
    written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.absolute().parent.is_dir() or path.is_dir():
            raise Problem(
                f"{path} cannot be a gradebook: it is a folder, or its folder does not exist."
            )
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": LOCK_SECONDS})

        @event.listens_for(self._engine, "connect")
        def _settings(connection: sqlite3.Connection, _: object) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

        try:
            with self._told(), self._engine.begin() as connection:
                # Another program's database gets no tables of ours.
                known = {
                    name
                    for (name,) in connection.exec_driver_sql(
                        "SELECT name FROM sqlite_master WHERE type = 'table'"
                    )
                }
                if known and not {"submission", "task"} <= known:
                    raise Problem(
                        f"{path} is no gradebook of this course: it is a database of something"
                        " else.\nName another one: --gradebook FILE."
                    )
                _Base.metadata.create_all(connection)
                connection.execute(select(_Submission).limit(1))
                connection.execute(select(_Task).limit(1))
        except BaseException:
            self.close()
            raise

    def known(self, file: str, digest: str) -> Graded | None:
        """What is stored of this very file, graded by this very course; else None."""
        with self._told(), Session(self._engine) as session:
            wanted = select(_Submission).where(
                _Submission.file == file, _Submission.digest == digest
            )
            for row in session.scalars(wanted):
                if row.course == course_digest(row.assignment):
                    return _graded(row)
        return None

    def store(self, graded: Graded) -> None:
        """Write a result, in one transaction; an older one of the same file goes."""
        with self._told(), Session(self._engine) as session, session.begin():
            for old in session.scalars(select(_Submission).where(_Submission.file == graded.file)):
                session.delete(old)
            session.flush()
            session.add(
                _Submission(
                    file=graded.file,
                    learner=graded.learner,
                    digest=graded.digest,
                    course=course_digest(graded.assignment),
                    assignment=graded.assignment,
                    problem=graded.problem,
                    notes=json.dumps(graded.notes),
                    seconds=graded.seconds,
                    graded=datetime.now(UTC).replace(tzinfo=None),
                    tasks=[
                        _Task(
                            task=result.task,
                            outcome=result.outcome,
                            points=int(result.points),
                            of=result.of,
                            says=result.says,
                            diagnosis=result.diagnosis,
                            seconds=result.seconds,
                            answer=result.answer,
                        )
                        for result in graded.tasks
                    ],
                )
            )

    def all(self) -> list[Graded]:
        """Every stored result, by learner and assignment."""
        with self._told(), Session(self._engine) as session:
            rows = session.scalars(
                select(_Submission).order_by(
                    _Submission.learner, _Submission.assignment, _Submission.file
                )
            )
            return [_graded(row) for row in rows]

    def name(self, file: str, learner: str) -> None:
        """Store whose a file is, where that is read otherwise than before."""
        with self._told(), Session(self._engine) as session, session.begin():
            for row in session.scalars(select(_Submission).where(_Submission.file == file)):
                row.learner = learner

    def shown(self, folder: Path) -> list[Graded]:
        """What the last report in a folder showed, as far as it is known."""
        with self._told(), Session(self._engine) as session:
            rows = session.execute(
                select(_Shown, _Submission)
                .join(_Submission, _Submission.file == _Shown.file)
                .where(_Shown.folder == _stored(folder))
            )
            return [
                replace(
                    _graded(row),
                    learner=shown.learner,
                    handed_in=shown.handed_in,
                    late=shown.late,
                    order=shown.order,
                )
                for shown, row in rows
            ]

    def show(self, folder: Path, results: Iterable[Graded]) -> None:
        """Remember what the report in a folder shows now."""
        with self._told(), Session(self._engine) as session, session.begin():
            session.execute(delete(_Shown).where(_Shown.folder == _stored(folder)))
            session.add_all(
                _Shown(
                    folder=_stored(folder),
                    file=graded.file,
                    learner=graded.learner,
                    handed_in=graded.handed_in,
                    late=graded.late,
                    order=graded.order,
                )
                for graded in {(each.file, each.learner): each for each in results}.values()
            )

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Gradebook:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DatabaseError as error:
            said = str(error.orig).lower()
            if "locked" in said:
                raise Problem(
                    f"the gradebook {self.path} is locked by another program.\nClose that, or name"
                    " another one: --gradebook FILE."
                ) from None
            if "full" in said:
                raise Problem(
                    f"the gradebook {self.path} cannot be written: the disk is full.\nWhat was"
                    " stored before is safe; make room and start again."
                ) from None
            if "not a database" in said or "no such" in said or "has no column" in said:
                raise Problem(
                    f"{self.path} is no gradebook of this course ({said}).\nName another one:"
                    " --gradebook FILE."
                ) from None
            raise Problem(f"the gradebook {self.path} cannot be used: {said}.") from None


def _stored(folder: Path) -> str:
    return file_name(folder.absolute())


def _graded(row: _Submission) -> Graded:
    tasks = tuple(
        TaskResult(
            each.task,
            each.outcome,
            each.points,
            each.of,
            each.says,
            each.diagnosis,
            each.seconds,
            each.answer,
        )
        for each in row.tasks
    )
    return Graded(
        row.file,
        row.learner,
        row.digest,
        row.assignment,
        tasks,
        tuple(json.loads(row.notes)),
        row.problem,
        row.seconds,
    )


@functools.cache
def course_digest(name: str) -> str:
    """A digest of what decides over an assignment's points: its solution with the files beside
    it, hidden tests and bugs too, and the checks, of which one may use another. Of the whole
    course, for no assignment.
    """
    solutions, checks = repository() / "solutions", Path(loopbound.checks.__file__).parent
    known = {which.name for which in assignments()}
    decisive = [
        path
        for folder in ({name} if name in known else known)
        for path in (solutions / folder).rglob("*")
    ] + list(checks.glob("*.py"))
    digest = hashlib.sha256()
    for path in sorted(decisive):
        if path.is_file() and not {"__pycache__", ".ipynb_checkpoints", "wrong_answers.toml"} & set(
            path.parts
        ):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]
