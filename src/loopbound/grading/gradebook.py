"""The gradebook: an SQLite file with what every submission earned, written as results come, so that
a run which was killed goes on where it stopped.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import ForeignKey, UniqueConstraint, create_engine, delete, event, inspect, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

import loopbound.checks
from loopbound.course.manifest import assignments
from loopbound.grading.cleaned import file_name
from loopbound.grading.counting import Mark
from loopbound.grading.results import Graded, TaskResult
from loopbound.grading.roster import Member
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["Gradebook", "course_digest", "place_of"]

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
    tasks: Mapped[list[_Task]] = relationship(
        cascade="all, delete-orphan", order_by="_Task.task", lazy="selectin"
    )


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
    """What a report or a table shows: a later one, of some learners, keeps the others. ``folder``
    is the folder of a report, or a table's file.
    """

    __tablename__ = "shown"

    folder: Mapped[str] = mapped_column(primary_key=True)
    file: Mapped[str] = mapped_column(primary_key=True)
    learner: Mapped[str] = mapped_column(primary_key=True)
    handed_in: Mapped[str]
    late: Mapped[bool]
    order: Mapped[str]
    place: Mapped[str] = mapped_column(server_default="")
    notes: Mapped[str] = mapped_column(server_default="")  # as JSON; "": the submission's own


# What it has of a result that the submission has not, under the names of `Graded`.
_SEEN = ("learner", "handed_in", "late", "order", "place")


class _Member(_Base):
    """The class list by which a report or a table was written."""

    __tablename__ = "member"

    folder: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[str]
    email: Mapped[str]
    group: Mapped[str]
    ids: Mapped[str]


class _Mark(_Base):
    """What a person has set by hand."""

    __tablename__ = "mark"

    learner: Mapped[str] = mapped_column(primary_key=True)
    task: Mapped[str] = mapped_column(primary_key=True)
    points: Mapped[float | None]
    comment: Mapped[str]


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
                # A gradebook of an earlier release keeps what it knows.
                columns = {each["name"] for each in inspect(connection).get_columns("shown")}
                for name in ("place", "notes"):
                    if name not in columns:
                        connection.exec_driver_sql(
                            f"ALTER TABLE shown ADD COLUMN {name} VARCHAR NOT NULL DEFAULT ''"
                        )
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

    def shown(self) -> dict[str, list[Graded]]:
        """What each report and table showed last, by its place."""
        found: dict[str, list[Graded]] = defaultdict(list)
        with self._told(), Session(self._engine) as session:
            rows = session.execute(
                select(_Shown, _Submission)
                .join(_Submission, _Submission.file == _Shown.file)
                .order_by(_Shown.folder, _Shown.file, _Shown.learner)
            )
            for shown, row in rows:
                graded = _graded(row)
                notes = tuple(json.loads(shown.notes)) if shown.notes else graded.notes
                seen = {name: getattr(shown, name) for name in _SEEN}
                found[shown.folder].append(replace(graded, notes=notes, **seen))
        return dict(found)

    def show(
        self, targets: Iterable[Path], results: Iterable[Graded], members: Iterable[Member]
    ) -> None:
        """Remember what the reports and tables in these places show now, and their class list."""
        known, people = list(results), list(members)
        with self._told(), Session(self._engine) as session, session.begin():
            for place in {*map(place_of, targets)}:
                for kind in (_Shown, _Member):
                    session.execute(delete(kind).where(kind.folder == place))
                session.add_all(
                    _Shown(
                        folder=place,
                        file=graded.file,
                        notes=json.dumps(graded.notes),
                        **{name: getattr(graded, name) for name in _SEEN},
                    )
                    for graded in {(each.file, each.learner): each for each in known}.values()
                )
                session.add_all(
                    _Member(
                        folder=place,
                        name=member.name,
                        number=member.id,
                        email=member.email,
                        group=member.group,
                        ids=json.dumps(member.ids),
                    )
                    for member in people
                )

    def members(self) -> dict[str, list[Member]]:
        """The class list by which each report and table was written, by its place."""
        found: dict[str, list[Member]] = defaultdict(list)
        with self._told(), Session(self._engine) as session:
            for row in session.scalars(select(_Member)):
                ids = tuple(json.loads(row.ids))
                found[row.folder].append(Member(row.name, row.number, row.email, row.group, ids))
        return dict(found)

    def marks(self) -> list[Mark]:
        """What was set by hand, by learner and task."""
        with self._told(), Session(self._engine) as session:
            rows = session.scalars(select(_Mark).order_by(_Mark.learner, _Mark.task))
            return [Mark(row.learner, row.task, row.points, row.comment) for row in rows]

    def mark(self, marks: Iterable[Mark]) -> None:
        """Store what was set by hand, in the place of all that was set before."""
        with self._told(), Session(self._engine) as session, session.begin():
            session.execute(delete(_Mark))
            session.add_all(
                _Mark(
                    learner=each.learner, task=each.task, points=each.points, comment=each.comment
                )
                for each in marks
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


def place_of(path: Path) -> str:
    """By what the gradebook knows the report or the table at a path."""
    return file_name(path.absolute())


def _graded(row: _Submission) -> Graded:
    # An assignment may have another number today.
    now = next(
        (which for which in assignments() if row.assignment and which.formerly == row.assignment),
        None,
    )
    ids = now.former_ids if now else {}
    tasks = tuple(
        TaskResult(
            ids.get(each.task, each.task),
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
        now.name if now else row.assignment,
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
