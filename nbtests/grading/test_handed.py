"""Whose a notebook is, in every layout in which notebooks come back, and what is passed over.
Nothing is run for it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest

from loopbound.grading import tree
from loopbound.grading.handed import HandIns, found
from loopbound.grading.roster import read_roster
from loopbound.grading.submission import read_submission
from loopbound.paths import repository
from loopbound.problem import Problem

N1, N2 = "01-what-a-loop-is", "02-what-binds-and-when"


def notebook(number: str = "01", who: str = "") -> str:
    """A notebook that is read as an exercise, with something of its owner's in it."""
    cells = [
        {"cell_type": "code", "metadata": {}, "source": f'check("{number}.1")'},
        {"cell_type": "code", "metadata": {}, "source": f"def speakers():\n    return {who!r}"},
    ]
    return json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}})


def written(folder: Path, *places: str) -> Path:
    """Notebooks in these places; a `02` or `Week 2` in a place makes it the second exercise."""
    for place in places:
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        number = "02" if N2 in place or "Week 2" in place or "Freitag" in place else "01"
        path.write_text(notebook(number, place), encoding="utf-8")
    return folder


def zipped(**files: str | bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def looked_at(*paths: Path, roster: Path | None = None) -> HandIns:
    with found(paths, read_roster(roster) if roster else None) as hand_ins:
        return hand_ins


def owners(hand_ins: HandIns) -> dict[str, str]:
    # In composed letters: to macOS the two spellings of a folder are one folder.
    return {
        unicodedata.normalize("NFC", handed.place): handed.learner for handed in hand_ins.notebooks
    }


MU, MU_MAC = (unicodedata.normalize(form, "Müller") for form in ("NFC", "NFD"))

# Each layout: where a notebook lies, and whose it is.
LAYOUTS: dict[str, dict[str, str]] = {
    "nbgrader": {f"submitted/mina/{N1}/{N1}.ipynb": "mina"},
    "nbgrader's exchange": {
        f"anna+{N1}+2026-11-27 10:00:00.123456 UTC+x/{N1}.ipynb": "anna",
        f"ben+{N1}+2026-11-27 10:00:00 UTC/{N1}.ipynb": "ben",
    },
    "homes of a hub": {
        f"mina/exercises/{N1}/{N1}.ipynb": "mina",
        f"omar/exercises/{N1}/{N1}.ipynb": "omar",
    },
    "Moodle": {
        f"Loops 1-1234/Anna Müller_55501_assignsubmission_file_/{N1}.ipynb": "Anna Müller",
        f"Loops 1-1234/李 伟_55502_assignsubmission_file_/{N1}.ipynb": "李 伟",
        f"Loops 2-1235/Anna Müller_66601_assignsubmission_file_/{N2}.ipynb": "Anna Müller",
    },
    "Moodle without folders": {
        f"Anna Müller_55501_assignsubmission_file_{N1}.ipynb": "Anna Müller",
        f"Ben O'Neil_55503_assignsubmission_file_{N1} (1).ipynb": "Ben O'Neil",
    },
    "Moodle, two of one name": {
        "Anna Müller_1_assignsubmission_file_/a.ipynb": "Anna Müller 1",
        "Anna Müller_2_assignsubmission_file_/a.ipynb": "Anna Müller 2",
    },
    "Canvas": {
        f"mulleranna_12345_678901_{N1}-1.ipynb": "mulleranna",
        f"oneilben_LATE_12346_678902_{N1}.ipynb": "oneilben",
        f"oneilben_12346_678903_{N1}-2.ipynb": "oneilben",
    },
    "Canvas, two of one name": {
        f"leeanna_12345_678901_{N1}.ipynb": "leeanna 12345",
        f"leeanna_22345_678902_{N1}.ipynb": "leeanna 22345",
    },
    "Blackboard": {
        f"Loops_amueller_attempt_2026-01-03-10-22-11_{N1}.ipynb": "amueller",
        f"Loops_amueller_attempt_2026-01-04-09-00-00_{N1}.ipynb": "amueller",
    },
    "Brightspace": {
        f"12345-678 - Anna Müller- Nov 3, 2026 1022 AM/{N1}.ipynb": "Anna Müller",
        f"12346-678 - Ben O'Neil - Nov 3, 2026 1122 PM - {N1}.ipynb": "Ben O'Neil",
    },
    "Sakai": {"Müller, Anna(amueller)/Submission attachment(s)/a.ipynb": "Müller, Anna"},
    "Teams": {
        "Submitted files/Anna Müller/Loops 1/Version 1/a.ipynb": "Anna Müller",
        "Submitted files/Anna Müller/Loops 1/Version 2/a.ipynb": "Anna Müller",
        "Submitted files/Ben O'Neil/Loops 1/a.ipynb": "Ben O'Neil",
    },
    "Google Classroom": {
        f"Anna Müller - {N1}.ipynb": "Anna Müller",
        f"Copy of {N1} - Ben O'Neil.ipynb": "Ben O'Neil",
    },
    "names in files": {
        f"Kopie von {N1} - ben.ipynb": "ben",
        f"anna {N1} (2).ipynb": "anna",
        "carla_01_what_a_loop_is.ipynb": "carla",
        f"{N1}-dan-Copy1.ipynb": "dan",
        f"{N1}_eva_müller_final_FINAL.ipynb": "eva_müller",
        "homework 1 finn (final).ipynb": "finn",
        "Turns on a loop gina.ipynb": "gina",
        "hugo 2026-11-27.ipynb": "hugo",
        "ida 01 - Kopie.ipynb": "ida",
        "user-07.ipynb": "user-07",
        "Jo (Johanna) Roy [they].ipynb": "Jo (Johanna) Roy [they]",
        "Kim Lee (Kimmy) homework.ipynb": "Kim Lee (Kimmy)",
        "20211125.ipynb": "20211125",
        "JanLee_Loops1.ipynb": "JanLee",
        "HW1 Kim.ipynb": "Kim",
        "Kim 2.ipynb": "Kim",
        "Semaine 3 - Léo.ipynb": "Léo",
        "Mia copy 2.ipynb": "Mia",
        f"{N1} (Lea Roy).ipynb": "Lea Roy",
        # Nothing names a person, and nothing merges them.
        f"{N1} (1).ipynb": f"{N1} (1)",
        f"Copy of {N1}.ipynb": f"Copy of {N1}",
        "04 (2).ipynb": "04 (2)",
        "Untitled.ipynb": "Untitled",
    },
    "GitHub Classroom": {
        f"loops-1-submissions/loops-1-anna-m/{N1}.ipynb": "anna-m",
        f"loops-1-submissions/loops-1-ben/{N1}.ipynb": "ben",
        f"loops-2-submissions/loops-2-anna-m/exercises/{N2}/{N2}.ipynb": "anna-m",
    },
    "archives of a shared drive": {
        f"Loops-20261127T101112Z-001/Loops/eva/{N1}.ipynb": "eva",
        f"homework 1 - Finn/{N1}.ipynb": "Finn",
        f"Copy of gina/{N1}.ipynb": "gina",
    },
    "weeks": {
        "Week 1/Anna.ipynb": "Anna",
        "Week 1/ben.ipynb": "ben",
        "Week 2/anna.ipynb": "Anna",
        "Week 2/ben.ipynb": "ben",
    },
    "days": {
        "Montag/anna.ipynb": "anna",
        "Montag/ben.ipynb": "ben",
        "Freitag/anna.ipynb": "anna",
        "Freitag/ben.ipynb": "ben",
    },
    "assignment first": {
        f"{N1}/anna.ipynb": "anna",
        f"{N2}/anna.ipynb": "anna",
        f"{N1}/ben.ipynb": "ben",
    },
    "numbers of assignments": {"01/anna.ipynb": "anna", "01/ben.ipynb": "ben"},
    "numbers of people": {f"{number}/{N1}.ipynb": number for number in ("01", "02", "17")},
    "folders below one's own": {
        f"anna/homework/notebooks/{N1}.ipynb": "anna",
        f"anna/{N2}.ipynb": "anna",
        f"ben/work/{N1}.ipynb": "ben",
        f"carl/stuff/{N1}.ipynb": "carl",
        f"dan/stuff/{N1}.ipynb": "dan",
        f"eva/Desktop/Loops/exercises/{N1}/{N1}.ipynb": "eva",
    },
    "a folder of many people": {f"{name}.ipynb": name for name in ("anna", "ben", "carl")},
    "groups around people": {
        "Group A/anna/a.ipynb": "anna",
        "Group A/ben/a.ipynb": "ben",
        "Group B/carl/a.ipynb": "carl",
    },
    "odd names in a person's folder": {
        "mina/my work.ipynb": "mina",
        "mina/night.ipynb": "mina",
        "omar/final version.ipynb": "omar",
    },
    "letters": {
        f"{MU}/{N1}.ipynb": MU,
        f"{MU_MAC}/{N2}.ipynb": MU,
        f"王小明/{N1}.ipynb": "王小明",
        f"=cmd/{N1}.ipynb": "=cmd",
        f"an/{N1}.ipynb": "an",
    },
}
# The same for file systems with more signs in names.
if os.name == "posix":
    LAYOUTS["signs"] = {
        f"Ödön & Šárka <team>/{N1}.ipynb": "Ödön & Šárka <team>",
        f'O\'Brien, "Pat"/{N1}.ipynb': 'O\'Brien, "Pat"',
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_notebook_belongs_to_whom_its_place_names(name: str, tmp_path: Path) -> None:
    layout = {unicodedata.normalize("NFC", place): who for place, who in LAYOUTS[name].items()}
    folder = written(tmp_path / "in", *LAYOUTS[name])
    together = looked_at(folder)
    assert owners(together) == layout and not together.passed
    # In another order and in parts, too: each entry of the folder, as a shell's * names them.
    parts = looked_at(*sorted(folder.iterdir(), reverse=True))
    assert sorted(handed.learner for handed in parts.notebooks) == sorted(layout.values())


@pytest.mark.parametrize(
    "name", ["Moodle without folders", "Canvas", "Blackboard", "Brightspace", "letters", "Sakai"]
)
def test_one_person_alone_is_called_as_among_the_others(name: str, tmp_path: Path) -> None:
    folder = written(tmp_path / "in", *LAYOUTS[name])
    for entry in folder.iterdir():
        one = looked_at(entry)
        assert {handed.learner for handed in one.notebooks} <= set(LAYOUTS[name].values())


def clone(folder: Path, *, answered: bool = True) -> None:
    """A whole clone as a learner hands it in: exercises, solutions, lessons."""
    for kind in ("exercises", "solutions"):
        for name in (N1, N2):
            target = folder / kind / name / f"{name}.ipynb"
            target.parent.mkdir(parents=True)
            shutil.copyfile(repository() / kind / name / f"{name}.ipynb", target)
    if answered:
        written(folder, f"exercises/{N1}/{N1}.ipynb")
    (folder / "notebooks").mkdir()
    shutil.copyfile(
        repository() / "notebooks" / f"{N1}.ipynb", folder / "notebooks" / f"{N1}.ipynb"
    )
    (folder / "lab.py").write_text("")
    (folder / ".git").mkdir()


def packed(folder: Path, target: Path) -> None:
    """A folder as GitHub packs it: in an archive, below a folder of its name."""
    target.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if ".git" not in path.parts:
                archive.write(path, Path(target.stem, path.relative_to(folder)).as_posix())


def test_of_a_whole_clone_the_exercises_are_graded(tmp_path: Path) -> None:
    for place in ("zips/anna/loopbound-main", "zips/ben/loopbound-main"):
        clone(tmp_path / place, answered="anna" in place)
    for place in ("repos/loops-anna-m", "repos/loops-ben-o"):
        clone(tmp_path / place)
    wanted = {
        "zips": {"anna", "ben"},
        "zips/anna": {"anna"},
        "zips/anna/loopbound-main": {"anna"},
        "repos": {"anna-m", "ben-o"},
        "repos/loops-ben-o": {"ben-o"},
    }
    for place, learners in wanted.items():
        hand_ins = looked_at(tmp_path / place)
        assert {handed.learner for handed in hand_ins.notebooks} == learners, place
        assert all("/exercises/" in f"/{handed.place}" for handed in hand_ins.notebooks)
        assert len(hand_ins.notebooks) == 2 * len(learners)
        reasons = {each.why for each in hand_ins.passed}
        assert reasons == {
            "the course's own solutions",
            "the lesson; the exercise is what counts",
            "a folder that tools keep for themselves",
            "the course's own files",
        }
    # The same in GitHub's archives.
    for name in ("loops-anna-m", "loops-ben-o"):
        packed(tmp_path / "repos" / name, tmp_path / "packed" / f"{name}-main.zip")
        packed(tmp_path / "repos" / name, tmp_path / f"{name}_1_assignsubmission_file_" / "x.zip")
    for paths in ([tmp_path / "packed"], sorted((tmp_path / "packed").iterdir())):
        learners = {handed.learner for handed in looked_at(*paths).notebooks}
        assert learners == {"anna-m", "ben-o"}
    in_moodle = looked_at(*tmp_path.glob("*_assignsubmission_file_"))
    assert {handed.learner for handed in in_moodle.notebooks} == {"loops-anna-m", "loops-ben-o"}
    # What came back as it was given out is no copy from a neighbour.
    assert not looked_at(tmp_path / "zips").remarks


def test_every_file_gets_a_line(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "in",
        "anna/a.ipynb",
        "anna/a (1).ipynb",
        "anna/.ipynb_checkpoints/a-checkpoint.ipynb",
        "anna/a.before-reset-20261126-120000.ipynb",
        f"finn/{N1}.IPYNB",
        f"dora/{N1}.ipynb.txt",
        f"emil/{N1}.json",
        f"jan/.ipynb_checkpoints/{N1}-checkpoint.ipynb",
    )
    (folder / "anna" / "a (1).ipynb").write_bytes((folder / "anna" / "a.ipynb").read_bytes())
    (folder / "gina").mkdir()
    for place, text in {
        f"ben/{N1}.html": "<html>",
        f"carl/{N1}.py": "def answer(): ...",
        "hugo/scan.pdf": "%PDF-1.4",
        "ida/work.rar": "Rar!",
        "kim/page.ipynb": "<!DOCTYPE html>\n<html><body>Sign in</body></html>",
        "lea/merge.ipynb": '{\n<<<<<<< HEAD\n "a": 1\n=======\n "a": 2\n>>>>>>> main\n}',
        "anna/photo.png": "PNG",
        "notes.md": "mine",
        ".hidden.ipynb": "",
    }.items():
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_text(text, encoding="utf-8")
    for number in range(9):
        (folder / "anna" / f"{number}.dat").write_text("")
    for name, source in (("mia", "notebooks"), ("noah", "solutions")):
        (folder / name).mkdir()
        inside = repository() / source / (f"{N1}.ipynb" if name == "mia" else f"{N1}/{N1}.ipynb")
        shutil.copyfile(inside, folder / name / "mine.ipynb")
    hand_ins = looked_at(folder)
    problems = {handed.learner: handed.problem for handed in hand_ins.notebooks}
    assert {name for name, problem in problems.items() if not problem} == {
        "anna",
        "dora",
        "emil",
        "finn",
    }
    for name, words in {
        "ben": "a web page, not a notebook",
        "carl": "Python code, not a notebook",
        "hugo": "a PDF",
        "ida": "an archive of a kind that is not opened",
        "jan": "a copy that Jupyter keeps for itself",
        "kim": "a web page that was saved under a notebook's name",
        "lea": "a merge conflict in it that was not settled (`<<<<<<<` in line 2)",
        "mia": f"the lesson 01, not an exercise.\nThe exercise is exercises/{N1}/{N1}.ipynb.",
        "noah": "the course's own solution",
    }.items():
        assert words in problems.pop(name), name
    assert len(problems) == 4
    passed = {each.place: (each.why, each.count) for each in hand_ins.passed}
    ask = "; ask for the file that ends in .ipynb"
    assert passed == {
        ".hidden.ipynb": ("hidden", 1),
        "anna/": ("no notebook", 9),
        "anna/.ipynb_checkpoints/a-checkpoint.ipynb": ("a copy that Jupyter keeps for itself", 1),
        "anna/a (1).ipynb": ("the same as anna/a.ipynb", 1),
        "anna/a.before-reset-20261126-120000.ipynb": ("a copy that loopbound reset has kept", 1),
        "anna/photo.png": (f"a picture, not a notebook{ask}", 1),
        "gina/": ("an empty folder", 1),
        "notes.md": (f"a text, not a notebook{ask}", 1),
    }
    # `loopbound check` reads the same way.
    with pytest.raises(Problem, match="is the lesson 01"):
        read_submission(folder / "mia" / "mine.ipynb")
    with pytest.raises(Problem, match="there is nothing to grade"):
        looked_at(folder / "gina")
    with pytest.raises(Problem, match="there is no"):
        looked_at(tmp_path / "nowhere")


def test_archives_are_opened_and_cannot_lead_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    (folder / "zoe").mkdir(parents=True)
    one = zipped(**{f"exercises/{N1}/{N1}.ipynb": notebook(who="anna")})
    (folder / "anna.zip").write_bytes(one)
    (folder / "zoe" / "exercises.zip").write_bytes(zipped(**{"a.ipynb": notebook(who="zoe")}))
    moodle = {
        "Ben O'Neil_7_assignsubmission_file_/work.zip": zipped(**{"x.ipynb": notebook(who="ben")}),
        "Émile_8_assignsubmission_file_/a.ipynb": notebook(who="emile"),
        "__MACOSX/Émile_8_assignsubmission_file_/._a.ipynb": "x",
        "../../../out.ipynb": notebook(who="out"),
        "/etc/absolute.ipynb": notebook(who="absolute"),
        "C:\\Windows\\drive.ipynb": notebook(who="drive"),
    }
    (folder / "Loops 1.zip").write_bytes(zipped(**moodle))
    (folder / "damaged.zip").write_bytes(one[: len(one) // 2])
    hand_ins = looked_at(folder)
    assert owners(hand_ins) == {
        f"anna.zip/exercises/{N1}/{N1}.ipynb": "anna",
        "zoe/exercises.zip/a.ipynb": "zoe",
        "Loops 1.zip/Ben O'Neil_7_assignsubmission_file_/work.zip/x.ipynb": "Ben O'Neil",
        "Loops 1.zip/Émile_8_assignsubmission_file_/a.ipynb": "Émile",
        "Loops 1.zip/out.ipynb": "out",
        "Loops 1.zip/etc/absolute.ipynb": "etc",
        "Loops 1.zip/C:/Windows/drive.ipynb": "C:",
        "damaged.zip": "damaged",
    }
    assert sorted(path.name for path in tmp_path.rglob("*.ipynb")) == []
    with found([folder]) as open_ones:
        unpacked = next(handed.path for handed in open_ones.notebooks if handed.learner == "anna")
        assert unpacked.is_file()
    assert not unpacked.parent.parent.exists()
    assert "cannot be read" in {h.learner: h.problem for h in hand_ins.notebooks}["damaged"]
    # What an archive unpacks to is bounded, also where its head lies.
    monkeypatch.setattr(tree, "LARGEST_FILE", 10_000)
    monkeypatch.setattr(tree, "MOST_BYTES", 15_000)
    bomb = {f"{name}/a.ipynb": " " * 9_000 for name in ("p", "q", "r")} | {
        "s/a.ipynb": " " * 20_000
    }
    (tmp_path / "bomb.zip").write_bytes(zipped(**bomb))
    problems = {
        handed.learner: handed.problem for handed in looked_at(tmp_path / "bomb.zip").notebooks
    }
    assert len(problems) == 4 and "is empty" in problems["p"]
    assert "of unpacked files" in problems["r"] and "of unpacked files" in problems["s"]
    inner = zipped(**{"a.ipynb": notebook()})
    for _ in range(4):
        inner = zipped(**{"more.zip": inner})
    (tmp_path / "nested.zip").write_bytes(inner)
    (problem,) = (handed.problem for handed in looked_at(tmp_path / "nested.zip").notebooks)
    assert "in 3 others, which is not opened" in problem
    (tmp_path / "empty.zip").write_bytes(zipped())
    (empty,) = looked_at(tmp_path / "empty.zip").notebooks
    assert empty.place == "empty.zip" and "with nothing in it" in empty.problem


def test_what_is_handed_in_again_stands_in_order(tmp_path: Path) -> None:
    folder = written(
        tmp_path / "in",
        f"anna/{N1} (1).ipynb",
        f"anna/{N1}.ipynb",
        f"ben/{N1}-resubmitted.ipynb",
        f"ben/{N1}.ipynb",
        f"oneil_LATE_12346_678902_{N1}.ipynb",
        f"oneil_12346_678903_{N1}.ipynb",
        f"L_lee_attempt_2026-01-04-09-00-00_{N1}.ipynb",
        f"L_lee_attempt_2026-01-03-10-22-11_{N1}.ipynb",
        f"zoe/{N1}.ipynb",
        f"zoe/{N1} (1).ipynb",
    )
    for path in folder.rglob("*.ipynb"):  # all at one moment, as an archive unpacks them
        os.utime(path, (1_760_000_000, 1_760_000_000))
    os.utime(folder / "zoe" / f"{N1}.ipynb", (1_770_000_000, 1_770_000_000))  # but for this one
    hand_ins = looked_at(folder)
    order = [handed.path.name for handed in hand_ins.notebooks]
    assert order == [
        f"{N1}.ipynb",
        f"{N1} (1).ipynb",
        f"{N1}.ipynb",
        f"{N1}-resubmitted.ipynb",
        f"L_lee_attempt_2026-01-03-10-22-11_{N1}.ipynb",
        f"L_lee_attempt_2026-01-04-09-00-00_{N1}.ipynb",
        f"oneil_LATE_12346_678902_{N1}.ipynb",
        f"oneil_12346_678903_{N1}.ipynb",
        f"{N1} (1).ipynb",
        f"{N1}.ipynb",
    ]
    assert [handed.place for handed in hand_ins.notebooks if handed.late] == [
        f"oneil_LATE_12346_678902_{N1}.ipynb"
    ]
    lee = [handed.when for handed in hand_ins.notebooks if handed.learner == "lee"]
    assert [when and f"{when:%d %H:%M}" for when in lee] == ["03 10:22", "04 09:00"]


def test_nbgraders_time_is_the_one_of_the_hand_in(tmp_path: Path) -> None:
    folder = written(tmp_path / "submitted", f"mina/{N1}/{N1}.ipynb")
    (folder / "mina" / N1 / "timestamp.txt").write_text("2026-11-27 10:00:00.123456 UTC")
    written(tmp_path / "autograded", f"mina/{N1}/{N1}.ipynb")
    hand_ins = looked_at(tmp_path)
    (handed,) = hand_ins.notebooks
    assert handed.when and handed.when.timestamp() == 1795773600.123456
    assert [(each.place, each.why) for each in hand_ins.passed] == [
        ("autograded/", "what nbgrader made of submitted/"),
        (f"submitted/mina/{N1}/timestamp.txt", "nbgrader's time of the hand-in"),
    ]


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_links_are_followed_where_they_are_named_alone(tmp_path: Path) -> None:
    written(tmp_path / "in", "anna/a.ipynb")
    (tmp_path / "in" / "ben").symlink_to(tmp_path / "in" / "anna")
    (tmp_path / "in" / "carl.ipynb").symlink_to(tmp_path / "in" / "anna" / "a.ipynb")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    hand_ins = looked_at(tmp_path / "link")
    assert {
        handed.learner: handed.problem.split(".")[-2]
        for handed in hand_ins.notebooks
        if handed.problem
    } == {"carl": " Hand in the notebook itself; links are not followed"}
    assert owners(hand_ins)["anna/a.ipynb"] == "anna"
    assert [each.place for each in hand_ins.passed] == ["ben"]


def test_the_same_file_from_two_people_is_remarked(tmp_path: Path) -> None:
    folder = written(tmp_path / "in", "anna/a.ipynb", "ben/b.ipynb", "carl/c.ipynb")
    shutil.copyfile(folder / "anna" / "a.ipynb", folder / "ben" / "b.ipynb")
    assert looked_at(folder).remarks == (f"The same file, byte by byte, of {N1}: anna, ben.",)


# The class list -----------------------------------------------------------------------------------

PEOPLE = [("55501", "Anna", "Müller"), ("12346", "Ben", "O'Neil"), ("3", "Zoë", "de Boer")]


@pytest.mark.parametrize(
    ("head", "separator", "encoding"),
    [
        ("ID;Nachname;Vorname;E-Mail-Adresse", ";", "cp1252"),
        ("id,last_name,first_name,email", ",", "utf-8"),
        ("ID number\tSurname\tFirst name\tEmail address", "\t", "utf-16"),
        ("sep=;\nID;Last name;First name;Email", ";", "utf-8-sig"),
    ],
)
def test_a_class_list_is_read_as_spreadsheets_write_it(
    head: str, separator: str, encoding: str, tmp_path: Path
) -> None:
    lines = [separator.join((*row[::2], row[1], f"{row[1][0].lower()}@x.de")) for row in PEOPLE]
    path = tmp_path / "class.csv"
    path.write_text("\r\n".join([head, *lines, ""]), encoding=encoding, newline="")
    roster = read_roster(path)
    assert [(member.id, member.name) for member in roster.members] == [
        (number, f"{first} {last}") for number, first, last in PEOPLE
    ]
    assert roster.members[0].email == "a@x.de"


def test_other_class_lists(tmp_path: Path) -> None:
    path = tmp_path / "class.csv"
    for text, wanted in {
        "Student,ID,SIS User ID,SIS Login ID,Section\n    Points Possible,,,,\n"
        '"Müller, Anna",12345,u1,amueller,A\n"Student, Test",9,,,\n': [("12345", "Anna Müller")],
        "Anna Müller,a@x.de,7\nBen Lee,b@x.de,8\n": [("7", "Anna Müller"), ("8", "Ben Lee")],
        '"identifier","github_username"\n"x","anna-m"\n': [("x", "x")],
        "name,id\nAnna Lee,1\nAnna Lee,2\n": [("1", "Anna Lee (1)"), ("2", "Anna Lee (2)")],
    }.items():
        path.write_text(text, encoding="utf-8")
        assert [(each.id, each.name) for each in read_roster(path).members] == wanted
    for content, words in {
        b"": "is empty",
        b"1,2\n3,4\n": "no column of names",
        b"id,name\n": "names no learner",
        b"PK\x03\x04rest": "is a workbook",
    }.items():
        path.write_bytes(content)
        with pytest.raises(Problem, match=words):
            read_roster(path)
    with pytest.raises(Problem, match="cannot be read"):
        read_roster(tmp_path / "nowhere.csv")


def test_the_class_list_mends_names_and_says_who_is_missing(tmp_path: Path) -> None:
    roster = tmp_path / "class.csv"
    roster.write_text(
        "id,name,email,group\n12345,Anna Müller,anna.m@x.de,\n7,Ben O'Neil,ben@x.de,Team Blue\n"
        "8,Zoë de Boer,zoe@x.de,Team Blue\n12,Roy Boo,roy@x.de,Team Blue\n9,Kim Lee,kim@x.de,\n10,Lea Lee,lea@x.de,\n"
        "11,Max Idle,max@x.de,\n",
        encoding="utf-8",
    )
    folder = written(
        tmp_path / "in",
        f"mulleranna_12345_678901_{N1}.ipynb",
        f"Anna Mueller_1_assignsubmission_file_/{N2}.ipynb",
        f"amueller/{N1} (2).ipynb",
        f"team blue/{N1}.ipynb",
        f"kim lee & lea/{N1}.ipynb",
        f"visitor/{N1}.ipynb",
        f"kim_roy/{N1}.ipynb",
    )
    hand_ins = looked_at(folder, roster=roster)
    assert {handed.place: handed.learners for handed in hand_ins.notebooks} == {
        f"mulleranna_12345_678901_{N1}.ipynb": ("Anna Müller",),
        f"Anna Mueller_1_assignsubmission_file_/{N2}.ipynb": ("Anna Müller",),
        f"amueller/{N1} (2).ipynb": ("Anna Müller",),
        f"team blue/{N1}.ipynb": ("Ben O'Neil", "Zoë de Boer", "Roy Boo"),
        f"kim lee & lea/{N1}.ipynb": ("Kim Lee", "Lea Lee"),
        f"visitor/{N1}.ipynb": ("visitor",),
        # One person who is not in the list, not two of it.
        f"kim_roy/{N1}.ipynb": ("kim_roy",),
    }
    assert [member.name for member in hand_ins.missing] == ["Max Idle"]
    mended = next(text for text in hand_ins.remarks if text.startswith("Called otherwise"))
    assert "mulleranna → Anna Müller" in mended and "visitor" not in mended
    assert "Not in the class list: kim_roy, visitor." in hand_ins.remarks
