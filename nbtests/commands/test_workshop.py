"""The facilitator's guide: its generated parts are what the course gives, its agendas fit, its
links lead somewhere, and the hub's file does what it says.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from lesson_rules import AMERICAN, BANNED
from prose import prose
from traitlets.config import Config

from loopbound.authoring.guide import agenda_block, filled
from loopbound.authoring.proof import wrong_answers
from loopbound.cli import _parser
from loopbound.commands import workshop as command
from loopbound.course.manifest import (
    Agenda,
    Lesson,
    Pause,
    Task,
    agendas,
    assignments,
    lesson,
    lessons,
    task,
)
from loopbound.paths import repository
from loopbound.problem import Problem

ROOT = repository()
TEXT = (ROOT / command.GUIDE).read_text(encoding="utf-8")
AGENDAS = pytest.mark.parametrize("agenda", agendas(), ids=lambda agenda: agenda.title)


# What is generated --------------------------------------------------------------------------------


def test_the_guide_is_what_the_course_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.workshop_command(check=True) == 0, capsys.readouterr().out


def test_every_lesson_and_every_wrong_answer_is_in_it() -> None:
    for each in lessons():
        assert (
            f"### {each.number} · {each.title}\n" in TEXT
            and (not each.ask or f"**Ask:** {each.ask}\n" in TEXT)
            and (not each.debrief or f"**Debrief:** {each.debrief}\n" in TEXT)
        )
    for which in assignments():
        for answer in wrong_answers(ROOT, which):
            section = TEXT.split(f"#### {answer.task} {task(answer.task).title}\n")[1].split("\n#")[
                0
            ]
            named = {line.replace("\\", "").replace("`", "") for line in section.splitlines()}
            wanted = f"- {answer.name} → **{answer.diagnosis or answer.outcome}**".replace("`", "")
            assert any(line.startswith(wanted) for line in named), wanted


def test_a_lesson_has_one_question_and_one_sentence_of_debrief() -> None:
    # A deeper notebook beside a lesson needs none: a workshop leaves it to its readers.
    for each in (each for each in lessons() if not each.number.endswith("d")):
        assert re.fullmatch(r"[^?]+\?", each.ask), each.name
        assert (
            re.fullmatch(r"(?:[^.]|\.(?=\w))+\.", each.debrief) and len(each.debrief.split()) <= 30
        ), each.name


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The guide in a repository of its own, up to date and to be spoilt."""
    shutil.copytree(ROOT / "solutions", tmp_path / "solutions")
    path = tmp_path / command.GUIDE
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8", newline="")
    monkeypatch.setattr(command, "repository", lambda: tmp_path)
    command.workshop_command(check=False)
    return path


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("**Ask:** Which loop", "**Ask:** What loop"),
        ("| 0:00 | 15 |", "| 0:00 | 20 |"),
        ("#### 01.2 ", "#### 01.9 "),
    ],
    ids=["a question", "an agenda", "a task"],
)
def test_a_stale_part_is_found_and_written_anew(
    copy: Path, capsys: pytest.CaptureFixture[str], old: str, new: str
) -> None:
    # What a facilitator wrote stays.
    own = copy.read_text(encoding="utf-8").replace("## On the day", "## On the day itself")
    assert old in own
    copy.write_text(own.replace(old, new), encoding="utf-8", newline="")
    assert command.workshop_command(check=True) == 1
    assert "run: python3 lab.py workshop" in capsys.readouterr().out
    assert new in copy.read_text(encoding="utf-8")
    assert command.workshop_command(check=False) == 0
    assert copy.read_text(encoding="utf-8") == own


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- a: generated -->\n",
        "<!-- a: end --> <!-- a: generated -->\n",
        "<!-- a: generated -->\n<!-- a: end -->\n" * 2,
    ],
    ids=["no marks", "no end", "turned round", "twice"],
)
def test_marks_that_do_not_pair_are_a_problem(text: str) -> None:
    with pytest.raises(Problem, match="<!-- a: end -->"):
        filled(text, {"a": "new"})
    assert (
        filled("x\n<!-- a: generated -->\nold\n<!-- a: end -->\ny", {"a": r"\1 new"})
        == "x\n<!-- a: generated -->\n\n\\1 new\n<!-- a: end -->\ny"
    )


def test_a_guide_that_is_gone_is_told_the_way_back(copy: Path) -> None:
    copy.unlink()
    with pytest.raises(Problem, match="git restore workshop/README.md"):
        command.workshop_command(check=True)


# The agendas --------------------------------------------------------------------------------------


def test_there_are_three_of_them() -> None:
    assert [(agenda.title, agenda.minutes) for agenda in agendas()] == [
        ("90 minutes", 90),
        ("Half a day", 240),
        ("A day", 480),
    ]


@AGENDAS
def test_an_agenda_fits_and_teaches_before_it_asks(agenda: Agenda) -> None:
    assert 0 <= agenda.minutes - sum(part.minutes for part in agenda.parts) <= agenda.minutes // 3
    taught = [part.number for part in agenda.parts if isinstance(part, Lesson)]
    assert taught == sorted(set(taught)) and taught[0] == "00"
    asked = [part.id for part in agenda.parts if isinstance(part, Task)]
    assert asked == sorted(set(asked)) and len(asked) >= 2
    for number, part in enumerate(agenda.parts):
        if isinstance(part, Task):
            assert lesson(part.id[:2]) in agenda.parts[:number], (
                f"{part.id} comes before its lesson"
            )


@AGENDAS
def test_nobody_sits_longer_than_two_hours(agenda: Agenda) -> None:
    stretch = 0
    for part in agenda.parts:
        stretch = 0 if isinstance(part, Pause) else stretch + part.minutes
        assert stretch <= 120


def test_an_agenda_that_takes_too_long_is_a_problem() -> None:
    parts = (lesson("00"), lesson("01"))
    taken = sum(part.minutes for part in parts)
    with pytest.raises(Problem, match=f"'Too much' has 30 minutes, and its parts take {taken}"):
        agenda_block([Agenda("Too much", 30, parts)])


# As a page ----------------------------------------------------------------------------------------


def test_links_lead_somewhere() -> None:
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    }
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    assert len(links) > 40
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        elif not link.startswith("https://"):
            assert (ROOT / "workshop" / link).is_file(), link


def test_its_language_is_that_of_the_lessons() -> None:
    # A check's own words are looked at with the exercises.
    pieces = prose(re.sub(r"“[^”]*”", "", TEXT)).text
    assert [
        found[0]
        for piece in pieces
        for rule in (BANNED, AMERICAN)
        for found in rule.finditer(piece)
    ] == []
    outside = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    assert [line for line in outside.splitlines() if line.count("`") % 2] == []


def test_every_command_in_it_is_one() -> None:
    commands = re.findall(r"python3 lab\.py((?: [^\s`#)]+)*)", TEXT.replace(" -->", ""))
    assert {"grade", "doctor", "workshop"} <= {words.split()[0] for words in commands if words}
    for words in commands:
        if words.split()[:1] != ["test"]:  # further words of `test` are pytest's
            assert _parser().parse_args(words.split() or ["lab"]).command


# The hub ------------------------------------------------------------------------------------------


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """What JupyterHub would read, with homes in a folder of the test's."""
    monkeypatch.setenv("LOOPBOUND_HOMES", str(tmp_path / "homes"))
    monkeypatch.setenv("LOOPBOUND_PASSWORD", "eight or more")
    path, config = ROOT / "workshop" / "jupyterhub_config.py", Config()
    exec(
        compile(path.read_text(encoding="utf-8"), str(path), "exec"),
        {"get_config": lambda: config, "__file__": str(path)},
    )
    return config


def test_a_learner_s_first_start_hands_out_and_the_second_keeps(
    hub: Config, tmp_path: Path
) -> None:
    mina = SimpleNamespace(user=SimpleNamespace(name="mina"))
    hub.Spawner.pre_spawn_hook(mina)
    home = Path(hub.SimpleLocalProcessSpawner.home_dir_template.format(username="mina"))
    assert (
        home == tmp_path / "homes" / "mina"
        and (home / hub.Spawner.default_url.removeprefix("/lab/tree/")).is_file()
    )
    exercise = home / "exercises" / assignments()[0].file
    assert exercise.read_bytes() == (ROOT / "exercises" / assignments()[0].file).read_bytes()
    assert not list(home.rglob("wrong_answers.toml")) and not (home / "solutions").exists()
    exercise.write_text("mine", encoding="utf-8")
    hub.Spawner.pre_spawn_hook(mina)
    assert exercise.read_text(encoding="utf-8") == "mine"


def test_a_name_is_no_way_out_of_the_homes(hub: Config) -> None:
    names = re.compile(hub.Authenticator.username_pattern)
    assert names.fullmatch("mina-2")
    assert [
        name for name in ("..", "../omar", "a/b", ".hub", "Mina", "") if names.fullmatch(name)
    ] == []
