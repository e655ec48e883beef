"""The command line.

Thin: each command imports what it needs when it runs, so that `--help` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    0: done; 1: a check found something, or a `Problem` that is printed as `loopbound: …`; 2: not a
        command; 130: Ctrl-C.
    """
    words = list(sys.argv[1:] if words is None else words)
    # pytest's own options are pytest's to read: argparse would take -k or -x for its own.
    if words[:1] == ["test"] and not {"-h", "--help"} & set(words[1:2]):
        options = argparse.Namespace(run=_test, words=words[1:])
    else:
        options = _parser().parse_args(words)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("\nloopbound: stopped.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `loopbound claims | head` is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from loopbound.problem import Problem

        if not isinstance(error, Problem):
            raise
        print(f"loopbound: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loopbound", description="The course's commands; without one: lab."
    )
    parser.set_defaults(run=_lab, browser=True, port=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run, help: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help, description=help)
        made.set_defaults(run=run)
        return made

    lab = command("lab", _lab, "open JupyterLab on the start page")
    lab.add_argument(
        "--no-browser",
        dest="browser",
        action="store_false",
        help="print the address and open nothing",
    )
    lab.add_argument(
        "--port", type=_port, help="the first port to try (8888); a taken one is stepped over"
    )

    command(
        "test", _test, "run every test, or with --quick the cheap ones; further words go to pytest"
    )
    command("doctor", _doctor, "check versions, database and fonts")

    check = command(
        "check",
        _check,
        "check a notebook's answers as they are saved; exit code 1 when not all of them passed",
    )
    check.add_argument(
        "notebook",
        metavar="FILE|TASK",
        help="a notebook, an assignment such as 04, or a task such as 04.2",
    )
    watch = command(
        "watch", _watch, "check answers again whenever their notebook is saved, until Ctrl-C"
    )
    watch.add_argument(
        "notebook",
        nargs="?",
        metavar="FILE|FOLDER",
        help="a notebook, an assignment such as 04, or a folder; default: the exercises",
    )
    command("progress", _progress, "show how far you have come, and what comes next")
    hint = command("hint", _hint, "give a hint to a task, one more each time")
    hint.add_argument("task", metavar="TASK", help="such as 04.2")
    reset = command(
        "reset",
        _reset,
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
        _grade,
        "grade learners' notebooks; exit code 0 when each could be read, whatever it earned",
    )
    grade.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a notebook, or a folder with notebooks of one or many learners",
    )
    grade.add_argument(
        "--jobs",
        type=_count,
        metavar="N",
        help="how many at a time; default: one for each processor, four at most",
    )
    grade.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the results to this file"
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
        metavar="FILE",
        help="where results are kept; default: loopbound-grades.sqlite here",
    )
    grade.add_argument("--again", action="store_true", help="grade what was graded before, too")

    tidy = command("format", _format, "bring notebooks into the form in which they are committed")
    tidy.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a notebook would change"
    )
    execute = command(
        "run",
        _run,
        "run notebooks in fresh kernels and compare their outputs with the committed ones",
    )
    execute.add_argument("--write", action="store_true", help="keep the new outputs")
    for made in (tidy, execute):
        made.add_argument(
            "notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: every lesson"
        )

    incident = command(
        "incident",
        _incident,
        "run the incident's backend suite, as found or with a fix; exit code 0 when it ran,"
        " whatever its tests said",
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
        "--json", type=Path, metavar="FILE", help="also write the outcomes to this file"
    )

    versions = command(
        "versions",
        _versions,
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
        "--json", type=Path, metavar="FILE", help="also write what was observed to this file"
    )
    versions.add_argument(
        "--write", action="store_true", help="store what was observed instead of comparing"
    )

    exercises = command("exercises", _exercises, "make the exercises from their solutions")
    exercises.add_argument("what", choices=["build"], help="build: write every exercise anew")
    exercises.add_argument(
        "names", nargs="*", metavar="ASSIGNMENT", help="such as 01; default: all"
    )
    exercises.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if an exercise would change"
    )

    workshop = command(
        "workshop", _workshop, "write the generated parts of the facilitator's guide anew"
    )
    workshop.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if the guide would change"
    )

    command("claims", _claims, "list the claims that the lessons settle: id, verdict, evidence")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 1000, not {text!r}")
    return int(text)


def _lab(options: argparse.Namespace) -> int:
    from loopbound.lab import run_lab

    return run_lab(port=options.port, browser=options.browser)


def _test(options: argparse.Namespace) -> int:
    from loopbound.lab import run_tests

    return run_tests(options.words)


def _doctor(options: argparse.Namespace) -> int:
    from loopbound.doctor import doctor_command

    return doctor_command()


def _check(options: argparse.Namespace) -> int:
    from loopbound.prompt.check import check_command
    from loopbound.prompt.executor import kernels

    return check_command(options.notebook, kernels)


def _watch(options: argparse.Namespace) -> int:
    from loopbound.prompt.executor import kernels
    from loopbound.prompt.watch import watch_command

    return watch_command(options.notebook, kernels)


def _progress(options: argparse.Namespace) -> int:
    from loopbound.prompt.progress import progress_command

    return progress_command()


def _hint(options: argparse.Namespace) -> int:
    from loopbound.prompt.hint import hint_command

    return hint_command(options.task)


def _reset(options: argparse.Namespace) -> int:
    from loopbound.prompt.reset import reset_command

    return reset_command(options.what, options.task)


def _grade(options: argparse.Namespace) -> int:
    from loopbound.grading.command import GRADEBOOK, grade_command, workers

    jobs, gradebook = options.jobs or workers(), options.gradebook or Path(GRADEBOOK)
    return grade_command(
        options.paths, jobs, options.json, options.html, gradebook, options.again, options.names
    )


def _format(options: argparse.Namespace) -> int:
    from loopbound.lessons.commands import format_command

    return format_command(options)


def _run(options: argparse.Namespace) -> int:
    from loopbound.lessons.commands import run_command

    return run_command(options)


def _incident(options: argparse.Namespace) -> int:
    from loopbound.suite.command import incident_command

    return incident_command(options.fix, options.order, options.repeat, options.json)


def _versions(options: argparse.Namespace) -> int:
    from loopbound.suite.versions.command import versions_command

    return versions_command(options.names, options.json, options.write)


def _exercises(options: argparse.Namespace) -> int:
    from loopbound.exercises.command import build_command

    return build_command(options.names, options.check)


def _workshop(options: argparse.Namespace) -> int:
    from loopbound.workshop.command import workshop_command

    return workshop_command(options.check)


def _claims(options: argparse.Namespace) -> int:
    from loopbound.lessons.commands import claims_command

    return claims_command(options)
