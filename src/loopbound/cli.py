"""The command line.

Thin: each command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Commands that share a module; every other one has its own.
_MODULES = {"format": "notebooks", "run": "notebooks"}
# For a suite of one's own; the others need the packages of the course.
TOOLS = ("explain", "scan", "stability")


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: a check found something, or a `Problem` that is printed as `loopbound: …`; 2: not a
        command; 130: Ctrl-C.
    """
    bare = not find_spec("jupyterlab")
    words = list(sys.argv[1:] if words is None else words) or ["--help" if bare else "lab"]
    # pytest's own options are pytest's to read: argparse would take -k or -x for its own.
    if words[:1] == ["test"] and not {"-h", "--help"} & set(words[1:2]):
        options: dict[str, Any] = {"command": "test", "words": words[1:]}
    elif words[:1] == ["stability"]:
        own = words[: words.index("--")] if "--" in words else words
        options = {**vars(_parser(bare).parse_args(own)), "words": words[len(own) + 1 :]}
    else:
        options = vars(_parser(bare).parse_args(words))
    name = options.pop("command")
    try:
        return _function_of(name)(**options) or 0
    except KeyboardInterrupt:
        print("\nloopbound: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `loopbound claims | head` is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from loopbound.problem import Problem

        if isinstance(error, ModuleNotFoundError) and bare:
            error = Problem(
                f"`{name}` belongs to the course, which is not installed: it needs {error.name}.\n"
                "Run it in a clone of the course: python3 lab.py"
            )
        if not isinstance(error, Problem):
            raise
        print(f"loopbound: {error}", file=sys.stderr)
        return 1


def _function_of(command: str) -> Callable[..., int]:
    """What carries a command out; its arguments are called as the parser calls them."""
    module = import_module(f"loopbound.commands.{_MODULES.get(command, command)}")
    return getattr(module, f"{command}_command")


def _parser(bare: bool = False) -> argparse.ArgumentParser:
    """The parser of all commands; its help names only the tools where the course is not there."""
    parser = argparse.ArgumentParser(
        prog="loopbound",
        description="Tools for a suite of your own. A further one is pytest's: pytest --loop-guard."
        if bare
        else "The course's commands; without one: lab.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        if bare and name not in TOOLS:  # without "help" it is not listed
            made = commands.add_parser(name, description=help)
        else:
            made = commands.add_parser(name, description=help, help=help)
        made.set_defaults(command=name)
        return made

    lab = command("lab", "open JupyterLab on the start page")
    lab.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="print the address and open nothing",
    )
    lab.add_argument(
        "--port", type=_port, help="the first port to try (8888); a taken one is stepped over"
    )

    command("test", "run every test, or with --quick the quick ones; further words go to pytest")
    command("doctor", "check versions, database and fonts")

    check = command(
        "check",
        "check a notebook's answers as they are saved; exit code 1 when not all of them passed",
    )
    check.add_argument(
        "word",
        metavar="FILE|TASK",
        help="a notebook, an assignment such as 04, or a task such as 04.2",
    )
    watch = command("watch", "check answers again whenever their notebook is saved, until Ctrl-C")
    watch.add_argument(
        "word",
        nargs="?",
        metavar="FILE|FOLDER",
        help="a notebook, an assignment such as 04, or a folder; default: the exercises",
    )
    command("progress", "show how far you have come, and what comes next")
    hint = command("hint", "give a hint to a task, one more each time")
    hint.add_argument("word", metavar="TASK", help="such as 04.2")
    reset = command(
        "reset",
        "put an exercise, or one task of it, back as it was handed out; keeps a copy of what it"
        " replaces",
    )
    reset.add_argument(
        "what",
        metavar="FILE|TASK",
        help="a notebook, an assignment such as 04, or a task such as 04.2",
    )
    reset.add_argument("task", nargs="?", metavar="TASK", help="of FILE, only this task")

    grade = command(
        "grade",
        "grade learners' notebooks; exit code 0 when each could be read",
    )
    grade.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a notebook, or a folder or a zip archive with those of one or many learners",
    )
    grade.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help="how many at a time; default: one for each processor, four at most",
    )
    grade.add_argument(
        "--json",
        dest="target",
        type=Path,
        metavar="FILE",
        help="also write the results to this file",
    )
    grade.add_argument(
        "--html",
        type=Path,
        metavar="DIR",
        help="also write a page for each learner and one for the cohort",
    )
    grade.add_argument(
        "--no-names",
        dest="names",
        action="store_false",
        help="leave the learners' names out of the pages",
    )
    grade.add_argument(
        "--gradebook",
        type=Path,
        default=Path("loopbound-grades.sqlite"),
        metavar="FILE",
        help="where results are kept; default: %(default)s here",
    )
    grade.add_argument("--again", action="store_true", help="grade what was graded before, too")
    grade.add_argument(
        "--dry-run",
        action="store_true",
        help="run nothing: list whose each file is, and what is passed over, and why",
    )
    grade.add_argument(
        "--learners",
        type=Path,
        metavar="FILE",
        help="the class as CSV, with columns such as id,name,email,group: mends names, and says"
        " who is missing",
    )
    grade.add_argument(
        "--keep",
        choices=["best", "latest"],
        default="best",
        help="which of several hand-ins counts; default: %(default)s",
    )
    grade.add_argument(
        "--due",
        type=_deadline,
        metavar="DATE",
        help="what was handed in after it is late, such as 2026-11-28 or 2026-11-28T18:00",
    )
    grade.add_argument(
        "--by-hand",
        type=Path,
        metavar="FILE",
        help="points and comments that you set, and that are kept: CSV with"
        " learner,task,points,comment",
    )
    grade.add_argument(
        "--notebooks",
        type=Path,
        metavar="DIR",
        help="also write each notebook as it ran, with its tracebacks and what the checks said",
    )
    grade.add_argument(
        "--csv",
        type=Path,
        metavar="FILE",
        help="also write a table: a row for each learner and assignment, a column for each task",
    )
    grade.add_argument(
        "--csv-totals",
        type=Path,
        metavar="FILE",
        help="also write a row for each learner, a column for each assignment: what Canvas and"
        " Moodle import",
    )

    tidy = command("format", "bring notebooks into the form in which they are committed")
    tidy.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a notebook would change"
    )
    execute = command(
        "run",
        "run notebooks in fresh kernels and compare their outputs with the committed ones",
    )
    execute.add_argument("--write", action="store_true", help="keep the new outputs")
    for made in (tidy, execute):
        made.add_argument(
            "notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: every lesson"
        )

    incident = command(
        "incident",
        "run the incident's backend suite, as found or with a fix; exit code 0 when it ran",
    )
    incident.add_argument(
        "--fix", metavar="NAME", help="lay this fix over it first; 'list' names them"
    )
    incident.add_argument(
        "--order",
        default="default",
        help="default, reverse, random:SEED, or alone: each test in a process of its own",
    )
    incident.add_argument(
        "--repeat", type=_count, default=1, metavar="N", help="run it N times (1)"
    )
    incident.add_argument(
        "--json",
        dest="target",
        type=Path,
        metavar="FILE",
        help="also write the outcomes to this file",
    )

    versions = command(
        "versions",
        "run the incident, its fixes and the loop scopes on other versions, and compare with what"
        " is stored",
    )
    versions.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="an environment, such as asyncio-0-21; default: all",
    )
    versions.add_argument(
        "--json",
        dest="target",
        type=Path,
        metavar="FILE",
        help="also write what was observed to this file",
    )
    versions.add_argument(
        "--write", action="store_true", help="store what was observed instead of comparing"
    )

    explain = command(
        "explain",
        "explain a pasted error: its kind, its cure, its lesson; exit code 0 when a kind is named",
    )
    explain.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="what was printed; default: standard input",
    )
    explain.add_argument(
        "--python",
        metavar="PATH",
        help="the interpreter of the environment that the error is of; default: this one",
    )

    scan = command(
        "scan",
        "look through a project for loops that cross, running nothing of it; exit code 1 when"
        " something was found",
    )
    scan.add_argument(
        "path", nargs="?", type=Path, default=Path(), metavar="PATH", help="a folder or a file (.)"
    )
    scan.add_argument(
        "--format",
        dest="form",
        choices=["text", "json", "sarif", "github"],
        default="text",
        help="how it is printed; default: %(default)s",
    )
    scan.add_argument(
        "--python",
        metavar="VERSION|PATH",
        help="a Python version, or the interpreter of the project's environment; default: what is"
        " locked, pinned or installed there",
    )
    scan.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="CODE",
        help="report only these codes, or those that start so; several with commas",
    )
    scan.add_argument(
        "--ignore", action="append", default=[], metavar="CODE", help="leave these codes out"
    )
    mend = scan.add_mutually_exclusive_group()
    mend.add_argument(
        "--fix",
        action="store_true",
        help="show as a diff what can be mended safely, write it, and scan again",
    )
    mend.add_argument("--diff", action="store_true", help="show that diff and write nothing")

    stability = command(
        "stability",
        "run a suite in its own order, reversed and in random orders, and find the tests that are"
        " to blame; exit code 1 when one failed; pytest's own options follow after --",
    )
    stability.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="PATH",
        help="a project's folder, or here a folder or a file of tests (.)",
    )
    stability.add_argument(
        "--orders", type=_count, default=3, metavar="N", help="random orders (%(default)s)"
    )
    stability.add_argument(
        "--seed", type=_whole, metavar="S", help="of the random orders; default: a new one"
    )
    stability.add_argument(
        "--mix",
        action="store_true",
        help="do not keep the tests of a file together: its fixtures are set up more often",
    )
    stability.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="end a run after so long; default: 600 for the first, then 60 and five times the"
        " first",
    )
    stability.add_argument(
        "--bisect",
        type=_whole,
        default=5,
        metavar="N",
        help="find for so many tests on which others they depend (%(default)s)",
    )
    stability.add_argument(
        "--python", metavar="PATH", help="the project's interpreter; default: this one"
    )
    stability.add_argument(
        "--format",
        dest="form",
        choices=["text", "json"],
        default="text",
        help="how it is printed; default: %(default)s",
    )

    exercises = command("exercises", "make the exercises from their solutions, or draft a new task")
    exercises.add_argument(
        "what", choices=["build", "new"], help="build: write every exercise; new: draft a task"
    )
    exercises.add_argument(
        "names",
        nargs="*",
        metavar="ASSIGNMENT",
        help="such as 01; default: all. For new: one assignment, and the task's title",
    )
    exercises.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if an exercise would change"
    )

    workshop = command("workshop", "write the generated parts of the facilitator's guide")
    workshop.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if the guide would change"
    )

    slides = command(
        "slides", "write slides for a workshop: a page that is shown without network or kernel"
    )
    slides.add_argument(
        "what",
        nargs="*",
        metavar="LESSON|AGENDA",
        help="numbers of lessons, or an agenda such as half a day; default: all lessons",
    )
    slides.add_argument(
        "--to",
        type=Path,
        default=Path("slides.html"),
        metavar="FILE",
        help="default: slides.html in this folder",
    )

    claims = command("claims", "list the claims that the lessons settle: id, verdict, evidence")
    claims.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="also write them as a page, with a figure of the verdicts by lesson",
    )
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"a whole number from 0 on, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        if 0 < float(text) < 1e6:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"a number of seconds above 0, not {text!r}")


def _deadline(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        # A date lasts until its end.
        found = found if len(text) > 10 else datetime.combine(found.date(), time.max)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError):  # at the ends of time, there is no local one
        raise argparse.ArgumentTypeError(
            f"a date is written as 2026-11-28 or 2026-11-28T18:00, not {text!r}"
        ) from None


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 1000, not {text!r}")
    return int(text)
