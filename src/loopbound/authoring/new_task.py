"""The work behind ``loopbound exercises new``: the first draft of a task, in each of its places.

The draft's solution does not pass, since nothing judges it yet: the tests say what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loopbound.authoring.release import build
from loopbound.authoring.solution_form import SCHEMA, dumped
from loopbound.course.manifest import Assignment, Task, assignment
from loopbound.course.solutions import BEGIN, END, grade_id_of
from loopbound.files import replace_text
from loopbound.paths import repository
from loopbound.problem import Problem

__all__ = ["new_task"]

_CHECK = """

# {id} {title}


def _judge_{name}(data: Data) -> Verdict:
    value = value_of(data)
    return failed("not judged yet", f"`{name}()` returned {{as_text(value)}}.")


CHECKS["{id}"] = TaskCheck(
    answers=("{name}",),
    judge=_judge_{name},
    hints=(
        "Where to look.",
        "What to look for there.",
    ),
)
"""

_WRONG = """
[["{id}"]]
name = "what a learner gets wrong"
code = '''
def {name}():
    return "a value that is wrong"
'''
diagnosis = "the mistake's name"
says = ["words of its feedback"]
"""

_ANSWER = f"""\
def {{name}}():
    # about 1 line
    ### {BEGIN}
    return "the value that is right"
    ### {END}"""

_NEXT = """
Next:
 1. The notebook in solutions/: what is asked, the answer, and how many tasks its opening names.
 2. The module in checks/: the judge, two hints or more, an observation where the answer is not one
    plain function without arguments. The tasks before it are the examples.
 3. wrong_answers.toml: three mistakes or more, each with a diagnosis of its own.
 4. The manifest, course.toml: kind, points and minutes; the notebook says the same.
 5. python3 lab.py exercises build && python3 lab.py workshop
    python3 lab.py test nbtests/checks/test_answers.py -k {id}"""


def new_task(words: Sequence[str]) -> int:
    """Draft one more task of an assignment; ``words`` are the assignment and the task's title.

    Raises:
        Problem: there is no such assignment, or its files are not as this expects them.
    """
    if len(words) != 2 or not words[1].strip():
        raise Problem('an assignment and a title are wanted, as in: exercises new 04 "A title"')
    which, root = assignment(words[0]), repository()
    title = " ".join(words[1].split())
    task = Task(f"{which.number}.{len(which.tasks) + 1}", title, "write", points=2, minutes=5)
    drafts = _drafts(root, which, task)
    for path, text in drafts.items():
        replace_text(path, text)
        print(f"{path.relative_to(root).as_posix()}: has a draft of {task.id}")
    for line in build(root, which):
        print(line)
    print(_NEXT.format(id=task.id))
    return 0


def _drafts(root: Path, which: Assignment, task: Task) -> dict[Path, str]:
    """The new text of each file that a task is written in."""
    words = {"id": task.id, "title": task.title, "name": f"answer_{task.id.replace('.', '_')}"}
    package, folder = root / "src" / "loopbound", root / "solutions"
    manifest = package / "course" / "course.toml"
    check = package / "checks" / f"lesson_{which.number}.py"
    solution, wrong = folder / which.file, folder / which.name / "wrong_answers.toml"
    row = (
        f'    {{ id = "{task.id}", title = {json.dumps(task.title, ensure_ascii=False)},'
        f' kind = "{task.kind}", points = {task.points}, minutes = {task.minutes} }},'
    )
    try:
        before = {path: path.read_text("utf-8") for path in (manifest, check, solution, wrong)}
    except OSError as error:
        raise Problem(f"{error.filename} cannot be read: {error.strerror}.") from error
    lines = before[manifest].splitlines()
    last = next(n for n, line in enumerate(lines) if f'id = "{which.tasks[-1].id}"' in line)
    return {
        manifest: "\n".join([*lines[: last + 1], row, *lines[last + 1 :], ""]),
        solution: _with_cells(before[solution], which, task, _ANSWER.format(**words)),
        check: before[check] + _CHECK.format(**words),
        wrong: before[wrong] + _WRONG.format(**words),
    }


def _with_cells(text: str, which: Assignment, task: Task, answer: str) -> str:
    """A solution notebook's text with a task's three cells before its closing one."""
    old, new = f"**{which.minutes} minutes**", f"**{which.minutes + task.minutes} minutes**"
    notebook = json.loads(text.replace(old, new, 1))
    heading = (
        f"## {task.id} {task.title}\n\n"
        f"*{task.kind.capitalize()} · {task.minutes} minutes · {task.points} points*\n\n"
        "What the learner reads and does."
    )
    notebook["cells"][-1:-1] = [
        {
            "cell_type": "markdown",
            "id": grade_id_of(task.id, "task"),
            "metadata": {},
            "source": heading,
        },
        _code(grade_id_of(task.id, "answer"), answer, solution=True),
        _code(
            grade_id_of(task.id, "check"),
            f'check("{task.id}")',
            grade=True,
            locked=True,
            points=task.points,
        ),
    ]
    return dumped(notebook)


def _code(identity: str, source: str, **marks: object) -> dict[str, Any]:
    kinds = dict.fromkeys(("grade", "locked", "solution", "task"), False)
    nbgrader = kinds | marks | {"grade_id": identity, "schema_version": SCHEMA}
    return {
        "cell_type": "code",
        "id": identity,
        "metadata": {"nbgrader": nbgrader},
        "source": source,
        "execution_count": None,
        "outputs": [],
    }
