"""What `loopbound grade` makes of results: tables, plain data, pages. The results are in the
gradebook before, so nothing is run.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import loopbound.grading
from loopbound.cli import main
from loopbound.course.manifest import assignment
from loopbound.grading.gradebook import Gradebook
from loopbound.grading.handed import found
from loopbound.grading.results import Graded, TaskResult
from loopbound.outcomes import PASSED, TABLE_SIGNS, WRONG
from loopbound.paths import repository

N1, N2 = "01-what-a-loop-is", "02-what-binds-and-when"
SIGNS = {sign: outcome for outcome, sign in TABLE_SIGNS.items()}
EARLY, LATE = 1_790_000_000, 1_790_600_000  # September 2026, and a week later


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def hand_in(place: str, signs: str, when: int = EARLY, called: str = "") -> None:
    """A notebook, and in the gradebook what it earned; under another name with ``called``."""
    path = Path("team", place)
    path.parent.mkdir(parents=True, exist_ok=True)
    number = "02" if N2 in place else "01"
    cells = [
        {"cell_type": "code", "metadata": {}, "source": f'check("{number}.1")'},
        {"cell_type": "code", "metadata": {}, "source": f"def speakers():\n    return {place!r}"},
    ]
    notebook = {"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}
    if set(signs) == {"·"}:  # as it was given out
        path.write_bytes((repository() / "exercises" / assignment(number).file).read_bytes())
    else:
        path.write_text(json.dumps(notebook), encoding="utf-8")
    os.utime(path, (when, when))
    tasks = tuple(
        TaskResult(
            task.id,
            SIGNS[sign],
            task.points if SIGNS[sign] == PASSED else 0,
            task.points,
            "It was seen.",
            "one place" if SIGNS[sign] == WRONG else "",
            0.5,
            "x = 1",
        )
        for task, sign in zip(assignment(number).tasks, signs, strict=True)
    )
    with Gradebook(Path("book.sqlite")) as book, found([path]) as hand_ins:
        (handed,) = hand_ins.notebooks
        name = assignment(number).name
        book.store(
            Graded(handed.file, called or "wrong", handed.digest(), name, tasks, seconds=1.5)
        )


def grade(*words: str) -> int:
    return main(["grade", "--gradebook", "book.sqlite", *words])


def a_class() -> None:
    hand_in(f"mina/{N1}.ipynb", "✓✗··")
    hand_in(f"mina/{N1} (1).ipynb", "✗✗··", LATE)
    hand_in(f"mina/{N2}.ipynb", "····")
    hand_in(f"=joel/{N1}.ipynb", "✓✓✓✓", LATE)
    hand_in(f"noor/{N1}.ipynb", "····")
    Path("team/aiko").mkdir()
    Path("team/aiko/work.html").write_text("<html>", encoding="utf-8")
    Path("class.csv").write_text("id,name,email\n7,Mina Ito,mina@x\n8,Max Idle,@max\n")


def rows(file: str) -> list[dict[str, str]]:
    content = Path(file).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf"), "by which Excel knows UTF-8"
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_tables_and_plain_data(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    outputs = ["--csv", "g.csv", "--csv-totals", "t.csv", "--json", "g.json"]
    asked = ["team", "--learners", "class.csv", "--due", "2026-09-25", *outputs]
    assert grade(*asked) == 1
    said = capsys.readouterr().out
    points = sum(task.points for task in assignment("01").tasks)
    first = assignment("01").tasks[0].points
    by_place = {(row["Student"], row["Assignment"]): row for row in rows("g.csv")}
    mina = by_place["Mina Ito", N1]
    assert [*mina][:7] == ["Student", "ID", "Email", "Assignment", "Status", "Points", "Maximum"]
    assert (mina["ID"], mina["Points"], mina["Maximum"]) == ("7", str(first), str(points))
    assert (mina["01.1"], mina["01.2"], mina["Late"]) == (str(first), "0", "no")
    assert mina["File"] == f"mina/{N1}.ipynb" and mina["Other files"] == f"mina/{N1} (1).ipynb"
    assert mina["Handed in"].startswith("2026-09-2") and mina["Seconds"] == "1.5"
    # What a spreadsheet would take for a formula is text.
    joel = by_place["'=joel", N1]
    assert (joel["Late"], joel["File"]) == ("yes", f"'=joel/{N1}.ipynb")
    assert by_place["noor", N1]["Status"] == "as it was given out"
    idle = by_place["Max Idle", N1]
    assert (idle["Status"], idle["Points"], idle["Email"]) == ("nothing handed in", "", "'@max")
    assert by_place["aiko", ""]["Status"] == "not graded"
    assert by_place["Mina Ito", N2]["Status"] == "as it was given out" and mina["02.1"] == ""
    totals = {row["Student"]: row for row in rows("t.csv")}
    title = f"01 {assignment('01').title}"
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Email", title]
    # As Canvas' gradebook has them; an assignment that not one learner has begun sets no zeros.
    assert [*totals["Mina Ito"]] == head
    assert totals["Mina Ito"][title] == str(first) and totals["Max Idle"][title] == ""

    data = json.loads(Path("g.json").read_text(encoding="utf-8"))
    schema = Path(loopbound.grading.__file__ or "").with_name("grades.schema.json")
    jsonschema.validate(data, json.loads(schema.read_text(encoding="utf-8")))
    assert str(Path.cwd()) not in json.dumps(data), "paths are relative"
    counting = [row["file"] for row in data["submissions"] if row["counts"]]
    assert sorted(counting) == sorted(
        [f"=joel/{N1}.ipynb", f"mina/{N1}.ipynb", f"mina/{N2}.ipynb", f"noor/{N1}.ipynb"]
    )
    learners = {row["learner"]: row for row in data["learners"]}
    assert learners["Mina Ito"]["points"] == first and learners["Mina Ito"]["seconds"] == 3.0
    assert data["missing"] == ["Max Idle"]

    # The names were stored otherwise, and are read again.
    with Gradebook(Path("book.sqlite")) as book:
        assert {graded.learner for graded in book.all()} == {"Mina Ito", "=joel", "noor", "aiko"}
    assert (
        "the one with the most points counts" in said and "Handed in nothing (1): Max Idle" in said
    )
    assert "As given out, and not begun: 01 (noor)." in said and "mina  " not in said
    assert "aiko, work.html: work.html is a web page, not a notebook" in said


def test_a_dry_run_says_everything_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    Path("book.sqlite").unlink()
    before = sorted(Path().rglob("*"))
    asked = ["team", "--dry-run", "--html", "report", "--json", "g.json", "--due", "2026-09-25"]
    assert grade(*asked) == 1
    said = capsys.readouterr().out
    lines = {line.split(" → ")[0].strip(): line for line in said.splitlines() if " → " in line}
    assert set(lines) == {
        "aiko/work.html",
        f"=joel/{N1}.ipynb",
        f"mina/{N1}.ipynb",
        f"mina/{N1} (1).ipynb",
        f"mina/{N2}.ipynb",
        f"noor/{N1}.ipynb",
    }
    assert f"→ mina  → {N2}" in lines[f"mina/{N2}.ipynb"]
    assert "cannot be graded" in lines["aiko/work.html"]
    untouched = {place for place, line in lines.items() if ", as given out" in line}
    assert untouched == {f"mina/{N2}.ipynb", f"noor/{N1}.ipynb"}
    assert lines[f"=joel/{N1}.ipynb"].endswith(" late") and "Nothing was run" in said
    assert sorted(Path().rglob("*")) == before


def test_an_encoding_without_our_signs_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    a_class()
    for words, sign in ((["--dry-run"], b"mina  -> 02"), (["--csv", "g.csv"], b"+x..")):
        written = io.BytesIO()
        # As a file into which Windows redirects has it.
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="cp1252"))
            assert grade("team", *words) == 1
            sys.stdout.flush()
            assert sign in written.getvalue(), written.getvalue()


def test_the_latest_counts_where_that_is_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    assert grade("team/mina", "--keep", "latest", "--csv", "g.csv", "--html", "report") == 0
    row = next(row for row in rows("g.csv") if row["Assignment"] == N1)
    assert (row["Points"], row["File"]) == ("0", f"{N1} (1).ipynb")
    assert f"the latest one counts: {N1} (1).ipynb, not {N1}.ipynb" in capsys.readouterr().out
    page = Path("report/learner-mina.html").read_text(encoding="utf-8")
    assert "earned 2 of 9; the latest one counts." in page


def pages(folder: str) -> set[str]:
    return {path.name.removeprefix("learner-")[:4] for path in Path(folder).iterdir()}


def test_a_run_for_one_speaks_of_the_others_as_the_page_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_class()
    outputs = ["--html", "report", "--csv", "g.csv", "--csv-totals", "t.csv", "--json", "g.json"]
    grade("team", "--learners", "class.csv", *outputs)
    before, totals = rows("g.csv"), rows("t.csv")
    everybody = {"inde", "aiko", "joel", "mina", "noor"}
    assert pages("report") == {*everybody - {"mina"}, "mina"}
    hand_in(f"noor/{N1}.ipynb", "✓···")
    capsys.readouterr()
    # Without the class list, too: the report and the tables know it.
    assert grade("team/noor", *outputs) == 0
    said = capsys.readouterr().out
    assert pages("report") == everybody and "3 learners are kept from earlier runs" in said
    assert "Handed in nothing (1): Max Idle." in said and "joel" not in said
    assert "The class list of an earlier run was used, with 2 names" in said
    others = [row for row in before if row["Student"] != "noor"]
    assert [row for row in rows("g.csv") if row["Student"] != "noor"] == others
    assert [row["Student"] for row in rows("t.csv")] == [row["Student"] for row in totals]
    data = json.loads(Path("g.json").read_text(encoding="utf-8"))
    assert data["missing"] == ["Max Idle"] and len(data["learners"]) == 5
    schema = Path(loopbound.grading.__file__ or "").with_name("grades.schema.json")
    jsonschema.validate(data, json.loads(schema.read_text(encoding="utf-8")))
    index = Path("report/index.html").read_text(encoding="utf-8")
    assert "4 learners" in index and "Max Idle" in index
    # So does another table of the same class; without the list, it knows nothing of them.
    grade("team/noor", "--learners", "class.csv", "--csv", "other.csv")
    assert {row["Student"] for row in rows("other.csv")} == {"Mina Ito", "noor", "Max Idle"}
    assert "was replaced" not in capsys.readouterr().out
    Path("alone.csv").write_text("mine")
    grade("team/noor", "--csv", "alone.csv")
    assert "alone.csv was replaced. This gradebook knew nothing" in capsys.readouterr().out
    assert {row["Student"] for row in rows("alone.csv")} == {"noor"}
    # In a gradebook of its own, nothing is said of those of whom nothing is known.
    fresh = ["--gradebook", "fresh.sqlite", "--learners", "class.csv", "--csv", "fresh.csv"]
    Path("team/noor").rename("team/Max Idle")
    assert main(["grade", "team/Max Idle", *fresh]) == 0
    assert "This run is about Max Idle alone. It says nothing about the other 1" in (
        capsys.readouterr().out
    )
    assert {row["Student"] for row in rows("fresh.csv")} == {"Max Idle"}


def test_pages_are_taken_away_with_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    grade("team", "--html", "report")
    everybody = pages("report")
    # A renamed folder is known by its pages; in the gradebook of an earlier release, too.
    Path("report").rename("moved")
    with contextlib.closing(sqlite3.connect("book.sqlite")) as connection:
        for change in ("shown DROP COLUMN place", "shown DROP COLUMN notes"):
            connection.execute(f"ALTER TABLE {change}")
        for name in ("member", "mark"):
            connection.execute(f"DROP TABLE {name}")
    assert grade("team/noor", "--html", "moved") == 0
    assert pages("moved") == everybody
    # Another gradebook knows nothing of them.
    before = {path.name: path.read_bytes() for path in Path("moved").iterdir()}
    capsys.readouterr()
    assert main(["grade", "team/noor", "--gradebook", "new.sqlite", "--html", "moved"]) == 1
    said = capsys.readouterr().err
    assert "moved has 3 pages of learners of whom this gradebook knows nothing: learner-" in said
    assert {path.name: path.read_bytes() for path in Path("moved").iterdir()} == before
    # A report elsewhere is without them; and who is gone from what was named goes.
    grade("team/noor", "--html", "other")
    assert len([*Path("other").iterdir()]) == 2
    Path("team/aiko/work.html").unlink()
    capsys.readouterr()
    assert grade("team", "--html", "moved") == 0
    assert pages("moved") == everybody - {"aiko"}
    assert "No longer in what was named, and taken out: aiko." in capsys.readouterr().out


def test_a_moved_report_is_known_with_a_class_list_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_class()
    grade("team", "--html", "report")
    Path("report").rename("moved")
    capsys.readouterr()
    # The list calls mina otherwise than her page does.
    grade("team", "--learners", "class.csv", "--html", "moved")
    assert "knows nothing" not in capsys.readouterr().err
    assert pages("moved") == {"inde", "aiko", "joel", "mina", "noor"}
    assert "Mina Ito" in Path("moved/index.html").read_text(encoding="utf-8")


def test_no_output_takes_the_place_of_an_input_or_another_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    a_class()
    Path("hand.csv").write_text("learner,task,points\nmina,01.1,1\n")
    mine = f"team/mina/{N1}.ipynb"
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for words, said in {
        ("team", "--learners", "class.csv", "--csv", "./class.csv"): "--learners and --csv",
        ("team", "--by-hand", "hand.csv", "--json", "hand.csv"): "--by-hand and --json",
        ("team", "--csv", "book.sqlite"): "--gradebook and --csv",
        ("team", "--csv", "g.csv", "--csv-totals", "team/../g.csv"): "--csv and --csv-totals",
        ("team", mine, "--json", mine): f"{mine} and --json",
    }.items():
        assert grade(*words) == 1
        assert f"{said} name one file" in capsys.readouterr().err
    for folder in ("--html", "--notebooks"):
        assert grade("team", "--csv", "out", folder, "out") == 1
        said = capsys.readouterr()
        assert "out cannot be written: it is a folder" in said.err and not said.out
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_one_content_of_one_learner_is_one_hand_in(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    grade("team", "--html", "report", "--csv", "g.csv", "--due", "2026-11-01")
    before = rows("g.csv")
    # The same notebook from elsewhere, as an archive and its unpacked copy are.
    place = f"=joel/{N1}.ipynb"
    path = Path("copy", place)
    path.parent.mkdir(parents=True)
    path.write_bytes(Path("team", place).read_bytes())
    os.utime(path, (LATE + 9_000_000, LATE + 9_000_000))
    with Gradebook(Path("book.sqlite")) as book, found([Path("copy")]) as hand_ins:
        (handed,) = hand_ins.notebooks
        (known,) = (graded for graded in book.all() if "joel" in graded.file)
        assert known.digest == handed.digest()
        book.store(replace(known, file=handed.file))
    asked = ["--html", "report", "--csv", "g.csv", "--due", "2026-11-01"]
    assert grade("copy", *asked) == 0
    row, old = (
        next(row for row in given if row["Student"] == "'=joel" and row["Assignment"] == N1)
        for given in (rows("g.csv"), before)
    )
    assert row == old and row["Late"] == "no"
    index = Path("report/index.html").read_text(encoding="utf-8")
    assert "4 learners, 6 notebooks" in index
    (page,) = Path("report").glob("learner-joel*.html")
    assert "Another notebook" not in page.read_text(encoding="utf-8")


def test_what_was_read_and_refused_is_said_so_everywhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hand_in(f"mina/{N1}.ipynb", "✓✗··")
    solution = (repository() / "solutions" / assignment("01").file).read_bytes()
    for name in ("anna", "zoë"):
        Path("team", name).mkdir()
        Path("team", name, f"{N1}.ipynb").write_bytes(solution)
    Path("hand.csv").write_text(
        "learner,task,comment,points\nanna,01,Come and see me.,\nanna,01.1,,1\n"
    )
    outputs = ["--csv", "g.csv", "--json", "g.json", "--html", "report"]
    assert grade("team", "--by-hand", "hand.csv", *outputs) == 1
    said = capsys.readouterr().out
    same = f"The same file, byte by byte, of {N1}: anna, zoë."
    refused = f"{N1}.ipynb was read and refused: it is the course's own solution"
    assert f"anna, {N1}.ipynb: {refused}" in said and said.count(same) == 1
    assert "hand.csv, line 3 was not used: anna, 01.1: nothing of it was graded." in said
    found = {row["Student"]: row for row in rows("g.csv")}
    status = [(row["Assignment"], row["Status"], row["Maximum"]) for row in found.values()]
    assert status == [(N1, "not graded", "9"), (N1, "graded", "9"), (N1, "not graded", "9")]
    assert found["anna"]["Comment"].startswith(f"Come and see me. {refused}")
    data = json.loads(Path("g.json").read_text(encoding="utf-8"))
    assert [each["assignment"] for each in data["submissions"]] == [N1] * 3
    assert same in data["remarks"]
    index = Path("report/index.html").read_text(encoding="utf-8")
    assert index.count('<span class="hidden">not graded</span>') == 2 * 4
    assert "nothing that could be read" not in index and "could not be read" not in index
    assert "of which 2 were not graded" in index and "<dt>The same file, byte by byte" in index
    page = Path("report/learner-anna.html").read_text(encoding="utf-8")
    assert "was read and refused" in page and "Come and see me." in page
    # One of the two alone: the other is known.
    grade("team/anna", *outputs)
    assert same in capsys.readouterr().out


def test_what_was_set_by_hand_survives(capsys: pytest.CaptureFixture[str]) -> None:
    a_class()
    hand = Path("hand.csv")
    hand.write_text(
        "Learner;Task;Points;Comment\n7;01.3;1,5;Half of it.\nmina@x;01;;Come and see me.\n"
        "visitor;01.1;2;\naiko;01.1;2;\nMax Idle;01;;Where are you?\nnoor;01.4;;\n",
        encoding="cp1252",
    )
    outputs = ["--learners", "class.csv", "--csv", "g.csv", "--html", "report"]
    # In a run without the file, too.
    for by_hand in (["--by-hand", "hand.csv"], [], ["--by-hand", "hand.csv"]):
        grade("team", *by_hand, *outputs)
        row = next(row for row in rows("g.csv") if row["File"] == f"mina/{N1}.ipynb")
        assert (row["01.3"], row["Points"]) == ("1.5", "3.5")
        assert row["Comment"] == "Come and see me. 01.3: Half of it."
        said = capsys.readouterr().out
        assert "Set by hand, and kept in book.sqlite: Mina Ito 01, Mina Ito 01.3. A line" in said
    for words in (
        "hand.csv, line 4 was not used: this run knows no learner 'visitor'.",
        "hand.csv, line 5 was not used: aiko, 01.1: nothing of it was graded.",
        f"hand.csv, line 6 was not used: Max Idle, {N1}: nothing was handed in.",
        "hand.csv, line 7 takes nothing back: nothing was set there.",
    ):
        assert words in said
    page = next(Path("report").glob("learner-mina*.html")).read_text(encoding="utf-8")
    assert "1.5 of 2 points, set by hand" in page and "Come and see me." in page
    with Gradebook(Path("book.sqlite")) as book:
        assert not any(task.by_hand for graded in book.all() for task in graded.tasks)
    hand.write_text("learner,task,points,comment\nMina Ito,01.3,,\n")
    grade("team/mina", "--by-hand", "hand.csv", *outputs)
    row = next(row for row in rows("g.csv") if row["Student"] == "Mina Ito")
    assert (row["01.3"], row["Comment"]) == ("0", "Come and see me.")
    capsys.readouterr()
    for text, words in {
        "learner,points\n": "needs a first line with these columns",
        "learner,task,points\nmina,01,3\n": "stand beside a task such as 04.2",
        "learner,task,points\nmina,99.9,3\n": "hand.csv, line 2: there is no task '99.9'",
        "learner,task,points\nmina,01.1,many\n": "points are a number",
        "learner,task,points\nmina,01.3,5\n": "line 2: 5 points are more than the 2 that 01.3 has",
    }.items():
        hand.write_text(text, encoding="utf-8")
        assert grade("team", "--by-hand", "hand.csv") == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("date", ["tomorrow", "2026-13-01", "0001-01-01"])
def test_a_date_is_a_date(date: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        grade("team", "--due", date)
    assert "a date is written as 2026-11-28" in capsys.readouterr().err


def test_each_of_a_group_has_the_result() -> None:
    hand_in(f"kim & lea/{N1}.ipynb", "✓✓✓✓")
    Path("class.csv").write_text("name\nKim Lee\nLea Roy\n", encoding="utf-8")
    assert grade("team", "--learners", "class.csv", "--csv", "g.csv", "--html", "report") == 0
    found = {row["Student"]: row["Points"] for row in rows("g.csv")}
    assert found == {"Kim Lee": "9", "Lea Roy": "9"}
    assert len([*Path("report").iterdir()]) == 3


def test_what_is_known_is_written_where_grading_stops(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    a_class()
    Path("team/omar").mkdir()
    fresh = json.loads(Path(f"team/mina/{N1}.ipynb").read_text(encoding="utf-8"))
    fresh["cells"][1]["source"] = "def speakers():\n    return []"
    Path("team/omar/a.ipynb").write_text(json.dumps(fresh), encoding="utf-8")

    # No server is there to grade with.
    Path("cache").write_text("")
    monkeypatch.setenv("LOOPBOUND_CACHE", str(Path("cache").absolute()))
    assert grade("team", "--csv", "g.csv", "--html", "report") == 1
    assert {row["Student"] for row in rows("g.csv")} == {"mina", "'=joel", "noor", "aiko"}
    assert Path("report/learner-mina.html").exists() and "loopbound: " in capsys.readouterr().err
