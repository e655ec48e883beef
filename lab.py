#!/usr/bin/env python3
"""Set Loopbound up and start it: the one command of this course.

    python3 lab.py              JupyterLab on the start page
    python3 lab.py test ...     every test (--quick: the quick ones; further words go to pytest)
    python3 lab.py doctor       is this machine fit for the course, and what helps where it is not?
    python3 lab.py check 04     check an exercise as it is saved (a number, or a notebook's path)
    python3 lab.py watch        check answers again whenever their notebook is saved
    python3 lab.py progress     how far have you come, and what comes next?
    python3 lab.py hint 04.2    a hint to a task, one more each time
    python3 lab.py reset 04.2   put a task or an exercise back as it was handed out (keeps a copy)
    python3 lab.py grade DIR    grade learners' notebooks (--html: pages for each and for all)
    python3 lab.py run 03       execute a notebook and compare it with the committed one (--write)
    python3 lab.py format       write notebooks in their one normal form (--check only looks)
    python3 lab.py incident     the incident's suite: 33 tests, five failures (--fix, --order, ...)
    python3 lab.py versions     the same on other versions of its libraries (--write stores it)
    python3 lab.py explain FILE what kind of fault is this error, and what cures it? (or < FILE)
    python3 lab.py scan PATH    do loops cross in this project? Runs nothing of it (--fix mends)
    python3 lab.py stability PATH   which orders fail, and which tests are to blame? (--orders)
    python3 lab.py exercises build   make the exercises from their solutions (--check only looks)
    python3 lab.py exercises new 04 "A title"   draft a new task in each of its places
    python3 lab.py workshop     write the workshop guide's generated parts (--check only looks)
    python3 lab.py slides       write slides for a workshop, a page that needs no kernel
    python3 lab.py claims       the incident documents' claims, each with its verdict, cell and test

The first start makes .venv from uv.lock, with uv if it is there and else with pip; later starts
find it finished. Standard library only. The file has to *parse* on every old Python, 2.7 too, so
that "too old" is said in a sentence instead of a SyntaxError: no f-strings, no type hints, no
keyword-only arguments.
"""

from __future__ import print_function

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(HERE, ".venv")
LOCK = os.path.join(HERE, "uv.lock")
PROJECT = os.path.join(HERE, "pyproject.toml")
SETTINGS = os.path.join(HERE, "src", "loopbound", "lab_settings.json")  # copied into .venv
# The last thing that a set-up writes. A .venv without it is half-made.
MARK = os.path.join(VENV, "loopbound-setup.json")
COURSE = "course"  # the extra with a reader's packages
# Words of the command line that need more than those.
EXTRAS = {"test": ["test"], "versions": ["test"]}
WINDOWS = os.name == "nt"
NEEDED_MB = 700

# Settings that would change what is installed, or where to. What says *from* where (index, proxy,
# certificates, cache) stays. Without bytecode each of our interpreters would compile all it
# imports.
UNWANTED = re.compile(
    r"^(PYTHON(HOME|PATH|STARTUP|WARNINGS|DEVMODE|ASYNCIODEBUG|INSPECT|OPTIMIZE|SAFEPATH|PLATLIBDIR"
    r"|DONTWRITEBYTECODE|PYCACHEPREFIX)"
    r"|VIRTUAL_ENV|CONDA_PREFIX|CONDA_DEFAULT_ENV|__PYVENV_LAUNCHER__"
    r"|PIP_(TARGET|PREFIX|ROOT|USER|CONSTRAINT|BUILD_CONSTRAINT|REQUIREMENT|EDITABLE|DRY_RUN|PYTHON"
    r"|PLATFORM|NO_BINARY|ONLY_BINARY|PRE|QUIET|VERBOSE|LOG|REPORT|IGNORE_INSTALLED|REQUIRE_VIRTUALENV|REQUIRE_HASHES|SRC)"
    r"|UV_(PROJECT|PROJECT_ENVIRONMENT|WORKING_DIRECTORY|WORKING_DIR|PYTHON|SYSTEM_PYTHON"
    r"|BREAK_SYSTEM_PACKAGES|NO_SYNC|FROZEN|LOCKED|NO_EDITABLE|NO_DEFAULT_GROUPS|NO_GROUP|DEV|NO_DEV|NO_BINARY\w*|NO_BUILD\w*|TARGET|PREFIX|CONSTRAINT"
    r"|BUILD_CONSTRAINT|OVERRIDE|EXCLUDE\w*|CONFIG_FILE|COMPILE_BYTECODE|MANAGED_PYTHON|NO_MANAGED_PYTHON|NO_PROGRESS"
    r"|PREVIEW\w*|ENV_FILE|ISOLATED|NO_SOURCES\w*|RESOLUTION|PRERELEASE))$"
)

NO_NETWORK = re.compile(
    r"NewConnectionError|Failed to establish|[Nn]ame resolution|getaddrinfo|Max retries exceeded"
    r"|ConnectTimeout|ReadTimeout|ProxyError|Connection refused|[Nn]etwork is unreachable|dns error"
    r"|error sending request|[Tt]imed out|tcp connect error"
    r"|client error \(Connect\)|from versions: none|Connection reset|RemoteDisconnected|offline"
)
BAD_CERTIFICATE = re.compile(
    r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|certificate verify failed"
)
DISK_FULL = re.compile(
    r"No space left|[Dd]isk quota exceeded|not enough space on the disk|Errno 28|Errno 122"
    r"|os error (28|112|122)\b|Errno 27|File too large|os error 27\b"
)
CANNOT_WRITE = re.compile(
    r"Read-only file system|Permission denied|Access is denied|Errno 13|Errno 30"
    r"|os error (5|13|30)\b"
)


class Problem(Exception):
    """Something that the person at the keyboard has to mend; one to three lines."""


def main(words):
    try:
        check_python()
        if words[:1] in (["-h"], ["--help"]):
            print(__doc__.strip().split("\n\nThe first")[0])
            return 0
        if not words or words[0].startswith("-"):
            words = ["lab"] + words  # so that "lab.py --no-browser" is what one expects
        set_up([COURSE] + EXTRAS.get(words[0], []))
        return hand_over(words)
    except Problem as problem:
        print("lab.py: %s" % problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab.py: stopped.", file=sys.stderr)
        return 130


# Before anything is made --------------------------------------------------------------------------


def supported():
    """The lowest Python that works and the first one that does not, as (major, minor) pairs, from
    pyproject.toml.
    """
    with open(PROJECT) as file:
        found = re.search(r'requires-python = ">=(\d+)\.(\d+),<(\d+)\.(\d+)"', file.read())
    if not found:
        raise Problem(
            "pyproject.toml does not say which Pythons will do.\n"
            "Bring the file back with: git restore pyproject.toml"
        )
    low, high, first, last = (int(text) for text in found.groups())
    return (low, high), (first, last)


def check_python():
    lowest, too_new = supported()
    here = sys.version_info[:2]
    if lowest <= here < too_new:
        return
    lines = [
        "Loopbound needs Python %d.%d to %d.%d; this is %d.%d (%s)."
        % (lowest + (too_new[0], too_new[1] - 1) + tuple(here) + (sys.executable,))
    ]
    other = other_python(lowest, too_new)
    if other:
        lines.append("There is one on this machine: %s lab.py" % other)
    else:
        lines.append(
            "Get one from https://www.python.org/downloads/ or your package manager, and run lab.py"
            " with it."
        )
    raise Problem("\n".join(lines))


def other_python(lowest, too_new):
    """The command of a Python that would do, tried by running it (a version manager's shim may be
    there and not work).
    """
    for minor in range(too_new[1] - 1, lowest[1] - 1, -1):
        for command in (["py", "-3.%d" % minor] if WINDOWS else ["python3.%d" % minor],):
            try:
                said = subprocess.Popen(
                    command + ["--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
                )
                if (
                    "Python 3.%d." % minor in said.communicate()[0].decode("ascii", "replace")
                    and said.returncode == 0
                ):
                    return " ".join(command)
            except OSError:
                pass
    return None


def base_python():
    """The interpreter outside any virtual environment: .venv must not be made from itself or from
    another one.
    """
    return getattr(sys, "_base_executable", None) or sys.executable


def venv_python():
    return (
        os.path.join(VENV, "Scripts", "python.exe")
        if WINDOWS
        else os.path.join(VENV, "bin", "python")
    )


# Is .venv finished? -------------------------------------------------------------------------------


def wanted(extras):
    stamp = hashlib.sha256()
    for path in (LOCK, PROJECT, SETTINGS):
        try:
            with open(path, "rb") as file:
                stamp.update(file.read())
        except OSError as error:
            raise Problem("cannot read %s: %s\nIs the clone complete?" % (path, error.strerror))
    return {
        "lock": stamp.hexdigest(),
        "python": "%s %d.%d" % ((sys.implementation.name,) + sys.version_info[:2]),
        # scripts in a virtual environment carry absolute paths: a moved folder needs new ones
        "folder": HERE,
        "extras": sorted(extras),
    }


def read_mark():
    try:
        with open(MARK, "rb") as file:
            mark = json.loads(file.read().decode("utf-8"))
        return mark if isinstance(mark, dict) else {}
    except (OSError, ValueError):
        return {}


def contents():
    """What lies in .venv's folder of packages, by name.

    Cheap enough to be looked at on every start.
    """
    folder = os.path.join(
        VENV,
        "Lib" if WINDOWS else "lib",
        "" if WINDOWS else "python%d.%d" % sys.version_info[:2],
        "site-packages",
    )
    try:
        return sorted(name for name in os.listdir(folder) if name != "__pycache__")
    except OSError:
        return []


def missing(mark):
    """What the finished set-up had put there and is there no longer."""
    return sorted(set(mark.get("holds", [])) - set(contents()))


def why_not_finished(want, mark):
    """None if .venv can be used as it is, else the reason in words."""
    if not os.path.lexists(VENV):
        return "there is none yet"
    if not mark:
        return "the one that is there was not finished by lab.py"
    if mark.get("folder") != want["folder"]:
        return "the folder was moved or copied"
    if mark.get("python") != want["python"]:
        return "it was made with %s, this is %s" % (mark.get("python"), want["python"])
    if not os.path.exists(venv_python()):
        return "its Python is gone"
    if missing(mark):
        return "parts of it are gone: %s" % ", ".join(missing(mark)[:3])
    if mark.get("lock") != want["lock"]:
        return "the locked packages changed"
    more = sorted(set(want["extras"]) - set(mark.get("extras", [])))
    if more:
        return "this needs more packages: %s" % ", ".join(more)
    return None


def set_up(extras):
    """Make or complete .venv; returns at once when it is finished."""
    want = wanted(extras)
    if why_not_finished(want, read_mark()) is None:
        return
    with OneAtATime():
        mark = read_mark()
        reason = why_not_finished(want, mark)
        if reason is None:  # another process finished it while this one waited
            return
        # What an earlier set-up added (the tests' packages, say) stays.
        want["extras"] = sorted(set(want["extras"]) | set(mark.get("extras", [])))
        keep = (
            bool(mark)
            and all(mark.get(key) == want[key] for key in ("folder", "python"))
            and os.path.exists(venv_python())
        )
        # An installer that finds the rest of a package takes it for whole.
        keep = keep and not missing(mark)
        steps = Steps()
        steps.say("Setting up .venv (%s)." % reason)
        try:
            if keep:
                os.remove(MARK)
            else:
                clear_venv(steps)
            install(want, steps)
            want["holds"] = contents()
            with open(MARK + ".partial", "w") as file:
                json.dump(want, file, indent=1)
            os.replace(MARK + ".partial", MARK)
        except OSError as error:
            reason = explain(str(error)) or "cannot set up %s: %s" % (VENV, error)
            remove_quietly()
            raise Problem(reason)
        except BaseException:
            remove_quietly()  # it would be made again anyway; a full disk needs the room now
            raise
        steps.say("Ready.")


def clear_venv(steps):
    import shutil

    if os.path.islink(VENV) or os.path.isfile(VENV):
        raise Problem("%s is not a folder of this course: move it away and start again." % VENV)
    for attempt in range(5):
        if not os.path.exists(VENV):
            return
        if attempt == 0:
            steps.say("Removing the old one.")
        # An orphan of a killed set-up may still be writing for a moment: hence more than one try.
        shutil.rmtree(VENV, ignore_errors=attempt < 4)
        time.sleep(0.2 * attempt)


def remove_quietly():
    import shutil

    if not os.path.islink(VENV):
        shutil.rmtree(VENV, ignore_errors=True)


class OneAtATime:
    """Two set-ups of one folder take turns.

    The lock is on this file itself, so it leaves nothing behind.
    """

    def __enter__(self):
        global _lock_number
        try:
            self.file = open(os.path.realpath(__file__), "r+b")
        except OSError:
            # A read-only clone; making .venv will say what is wrong.
            self.file = open(os.path.realpath(__file__), "rb")
        waited = False
        while not self.take():
            if not waited:
                print("Another lab.py is setting up this folder; waiting for it.", flush=True)
                waited = True
            time.sleep(0.2)
        _lock_number = self.file.fileno()
        return self

    def take(self):
        try:
            if WINDOWS:
                import msvcrt

                # Beyond the end: locking bytes that exist would stop others from reading them.
                self.file.seek(1 << 30)
                msvcrt.locking(self.file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import errno
                import fcntl

                try:
                    fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    if error.errno in (errno.EAGAIN, errno.EACCES):
                        return False
                    # A file system without locks (some network folders): going on alone is better
                    # than not at all.
            return True
        except OSError:
            return False

    def __exit__(self, *exception):
        global _lock_number
        _lock_number = None
        if WINDOWS:
            import msvcrt

            self.file.seek(1 << 30)
            msvcrt.locking(self.file.fileno(), msvcrt.LK_UNLCK, 1)
        self.file.close()


_lock_number = None


# Making it ----------------------------------------------------------------------------------------


def install(want, steps):
    uv = find_uv()
    if uv:
        try:
            return install_with_uv(uv, want, steps)
        except CommandFailed as failed:
            reason = explain(failed.output)
            if reason:
                raise Problem(reason)
            # An old uv that cannot read the lock, a broken one: pip needs neither.
            steps.say("uv gave up (%s); trying pip." % failed.last_line())
            clear_venv(steps)
    try:
        install_with_pip(want, steps)
    except CommandFailed as failed:
        raise Problem(
            explain(failed.output)
            or "%s failed: %s\nRun it again; if it stays so, report the line above."
            % (failed.what, failed.last_line())
        )


def find_uv():
    import shutil

    path = shutil.which("uv")
    # A uv inside .venv goes away with it.
    return None if path and os.path.realpath(path).startswith(VENV + os.sep) else path


def install_with_uv(uv, want, steps):
    command = [
        uv,
        "sync",
        "--frozen",
        "--no-dev",
        "--no-progress",
        "--python",
        base_python(),
        "--project",
        HERE,
    ]
    # The build back end comes from the lock as well, so there is nothing left that a build would
    # have to fetch.
    command += ["--group", "build", "--no-build-isolation-package", "loopbound"]
    for extra in want["extras"]:
        command += ["--extra", extra]
    more = {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        steps.run("Installing the locked packages with uv", command, more)
    except CommandFailed as failed:
        if not BAD_CERTIFICATE.search(failed.output):
            raise
        # uv brings certificates of its own; behind a company's proxy only the system's will do.
        # Its new name, and its name before.
        more.update({"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"})
        steps.run("Once more with the system's certificates", command, more)


def install_with_pip(want, steps):
    try:
        text, count = requirements(want["extras"])
    except (ValueError, KeyError, StopIteration) as error:
        raise Problem(
            "uv.lock is damaged: %s\nBring the file back with: git restore uv.lock" % error
        )
    if not os.path.exists(venv_python()):
        try:
            import ensurepip  # noqa: F401  (Debian and Ubuntu keep it in a package of its own)
            import venv  # noqa: F401
        except ImportError as error:
            raise Problem(
                "this Python has no '%s' module, so it cannot make a virtual environment: %s\n"
                "On Debian or Ubuntu: sudo apt install python%d.%d-venv. Or install uv: https://docs.astral.sh/uv/"
                % ((error.name, base_python()) + sys.version_info[:2])
            )
        steps.run("Making a virtual environment", [base_python(), "-m", "venv", VENV])
    path = os.path.join(VENV, "loopbound-requirements.txt")
    with open(path, "w") as file:
        file.write(text)
    pip = [
        venv_python(),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        "install",
        "--no-user",
        "--no-deps",
    ]
    # Compiling every module of every package takes longer than all downloads; Python does it for
    # those that are used.
    pip += ["--no-warn-script-location", "--progress-bar", "off", "--no-compile"]
    steps.run(
        "Installing the locked packages with pip",
        pip + ["--require-hashes", "--prefer-binary", "-r", path],
        {"PIP_RETRIES": os.environ.get("PIP_RETRIES", "2"), "PYTHONUNBUFFERED": "1"},
        ("Collecting ", "Processing ", "Requirement already", "Ignoring "),
        count,
    )
    steps.run("Installing the course itself", pip + ["--no-build-isolation", "--editable", HERE])


def requirements(extras, lock=LOCK):
    """The locked packages of the course with these extras, as pip's requirement lines with hashes;
    and how many they are.

    Walks uv.lock from the project's own entry. Each line carries the markers of the ways that lead
    to it, so the text is the same on every platform and pip decides what applies; the number counts
    lines, some of which are for other platforms.
    """
    import tomllib

    with open(lock, "rb") as file:
        packages = tomllib.load(file)["package"]
    versions = {}
    for package in packages:
        versions.setdefault(package["name"], []).append(package)
    root = next(package for package in packages if package["source"].get("editable") == ".")

    def targets(edge):
        """The places that an edge leads to: the package, and each extra of it that the edge asks
        for.
        """
        chosen = [p for p in versions[edge["name"]] if edge.get("version") in (None, p["version"])]
        for package in chosen:
            for extra in [None] + edge.get("extra", []):
                yield package["name"], package["version"], extra

    def edges(package, extra):
        if extra is None:
            return package.get("dependencies", [])
        return package.get("optional-dependencies", {}).get(extra, [])

    # ways[place]: the sets of markers under which it is needed. A set that holds another one adds
    # nothing and is left out; the empty set (always needed) therefore ends every search, cycles
    # included.
    ways = {}
    todo = []

    def arrive(place, markers):
        known = ways.setdefault(place, [])
        if any(way <= markers for way in known):
            return
        known[:] = [way for way in known if not markers <= way] + [markers]
        todo.append((place, markers))

    start = list(root.get("dependencies", []))
    for extra in extras:
        start += root.get("optional-dependencies", {})[extra]
    start += root.get("dev-dependencies", {}).get("build", [])
    for edge in start:
        for place in targets(edge):
            arrive(place, frozenset([edge["marker"]] if "marker" in edge else []))
    by_place = dict(((p["name"], p["version"]), p) for p in packages if "version" in p)
    while todo:
        (name, version, extra), markers = todo.pop()
        for edge in edges(by_place[name, version], extra):
            further = markers | frozenset([edge["marker"]] if "marker" in edge else [])
            for place in targets(edge):
                arrive(place, further)

    lines = []
    for name, version, extra in sorted(ways, key=str):
        if extra is not None:
            continue  # an extra always comes together with its package, whose line is the same
        package = by_place[name, version]
        line = "%s==%s" % (name, version)
        if frozenset() not in ways[name, version, None]:
            either = sorted(
                " and ".join("(%s)" % m for m in sorted(way)) for way in ways[name, version, None]
            )
            line += " ; " + " or ".join("(%s)" % way if len(either) > 1 else way for way in either)
        files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
        hashes = sorted(set(file["hash"] for file in files))
        lines.append(" \\\n    ".join([line] + ["--hash=" + one for one in hashes]))
    return "\n".join(lines) + "\n", len(lines)


class CommandFailed(Exception):
    def __init__(self, what, output):
        Exception.__init__(self, what)
        self.what = what
        self.output = output

    def last_line(self):
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        return (errors or lines or ["no output"])[-1][:200]


def explain(output):
    """What went wrong, for people, if it is of a kind that is known; else None.

    To be asked while .venv is still there.
    """
    # `python -m venv` fails on a full disk without saying why.
    if DISK_FULL.search(output) or free_mb() < 5:
        return (
            "the disk is full: %s needs about %d MB.\n"
            "Make room and start again; nothing half-made was kept." % (VENV, NEEDED_MB)
        )
    if CANNOT_WRITE.search(output) and not writable():  # it could be a cache elsewhere that is not
        return (
            "cannot write in %s.\nClone Loopbound into a folder of your own and start again." % HERE
        )
    if BAD_CERTIFICATE.search(output):
        return (
            "the package index's certificate is not one that this machine trusts (a proxy that"
            " reads along?).\nSet SSL_CERT_FILE and PIP_CERT to the file with your network's"
            " certificates and start again."
        )
    if NO_NETWORK.search(output):
        return (
            "no network: the first start has to fetch the course's packages from pypi.org.\n"
            "Connect (behind a proxy, set HTTPS_PROXY) and start again; nothing half-made was kept."
        )
    return None


def free_mb():
    import shutil

    try:
        return shutil.disk_usage(HERE).free / 1e6
    except OSError:
        return float("inf")


def writable():
    import tempfile

    try:
        tempfile.TemporaryFile(dir=HERE).close()
        return True
    except OSError:
        return False


def clean_environment(more=None):
    keep = dict(
        (key, value)
        for key, value in os.environ.items()
        if not UNWANTED.match(key.upper() if WINDOWS else key)
    )
    # Under LC_ALL=C Python reads the .pth file that names this folder as ASCII, and ends if the
    # folder's name is not.
    if keep.get("LC_ALL") in ("C", "POSIX"):
        keep["LC_ALL"] = "C.UTF-8"
    keep.update(more or {})
    return keep


class Steps:
    """Says what is being done, and the seconds since the start; on a terminal a line moves."""

    def __init__(self):
        self.start = time.time()
        self.live = sys.stdout.isatty()

    def say(self, text):
        print(
            "%s[%3.0f s] %s" % ("\r\033[K" if self.live else "", time.time() - self.start, text),
            flush=True,
        )

    def run(self, what, command, more=None, counted=(), total=0):
        """Run a command to its end.

        Its output is kept for the case that it fails; lines that begin with `counted` are counted.
        """
        self.say(what + " ...")
        output = []
        done = [0]
        options = {"cwd": HERE, "env": clean_environment(more)}
        if _lock_number is not None and not WINDOWS:
            # The lock goes to the child as well: if this process is killed, the next one waits
            # until the child has ended too.
            options["pass_fds"] = [_lock_number]
        options.update(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        process = subprocess.Popen(command, **options)  # 2.7 allows no comma after the last word

        def read():
            for raw in process.stdout:
                line = raw.decode("utf-8", "replace")
                output.append(line)
                if counted and line.lstrip().startswith(counted):
                    done[0] += 1

        reader = threading.Thread(target=read)
        reader.daemon = True
        reader.start()
        try:
            spoken = time.time()
            while process.poll() is None:
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    pass
                progress = (
                    "%d of %d fetched" % (done[0], total)
                    if done[0] < total
                    else "unpacking"
                    if total
                    else "working"
                )
                if self.live:
                    text = "\r\033[K[%3.0f s] %s ... %s" % (
                        time.time() - self.start,
                        what,
                        progress,
                    )
                    print(text, end="", flush=True)
                elif time.time() - spoken > 10:
                    self.say("    %s" % progress)
                    spoken = time.time()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        reader.join(5)
        if self.live:
            print("\r\033[K", end="", flush=True)
        if process.returncode:
            raise CommandFailed(what, "".join(output))


# Handing over -------------------------------------------------------------------------------------


def hand_over(words):
    """Become `loopbound WORDS`, in .venv; on Windows run it and return its exit code."""
    scripts = os.path.dirname(venv_python())
    environment = clean_environment(
        {"VIRTUAL_ENV": VENV, "PATH": scripts + os.pathsep + os.environ.get("PATH", os.defpath)}
    )
    command = [venv_python(), "-m", "loopbound"] + words
    sys.stdout.flush()
    if not WINDOWS:
        os.execve(command[0], command, environment)
    import signal

    # Ctrl-C reaches every process of the console; the child decides what it means and this one
    # waits for it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command, env=environment, creationflags=0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
