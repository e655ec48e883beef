"""A sandbox around a process, on Linux: namespaces, a file system of its own, resource limits, a
user without rights.

It runs in a forked child before any of a learner's code does. Only the kernel's own calls are used,
because a warm process cannot be handed to a program that builds such a sandbox and then starts
another one. Where namespaces are not to be had, `available` says so and limits and process groups
are what is left.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import resource
import signal
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Settings",
    "adopt_orphans",
    "available",
    "build_root",
    "die_with_parent",
    "drop_rights",
    "leave_namespaces",
    "limit",
    "loopback",
    "not_to_be_traced",
]

# From <sched.h>, <sys/mount.h> and <sys/prctl.h>.
NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = (
    1,
    2,
    4,
    32,
    4096,
    16384,
    1 << 18,
)
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = (
    1,
    4,
    24,
    36,
    38,
)
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
LAST_CAPABILITY = 63

# Users of no account, one for each place at which a submission runs. Graders that run at one time
# begin at different ones: the system counts processes by user.
FIRST_USER, GRADERS, PLACES = 60_600, 18, 32
MEMORY = 3 * 2**30  # bytes of address space a process
FILE = 256 * 2**20  # bytes a file
PROCESSES = 160  # and threads, of one submission
OPEN_FILES = 512
SCRATCH = 256  # MB that a submission may write


@dataclass(frozen=True)
class Settings:
    """What a child is to be surrounded with.

    ``place`` tells submissions that run side by side apart; ``shared`` is a folder that stays
    writable, for the kernel's sockets; ``seen`` are folders and files that can be read; ``port``
    the port on 127.0.0.1 behind which the database is reached.
    """

    place: int
    shared: str
    seen: tuple[str, ...]
    port: int


def available() -> bool:
    """Whether namespaces can be had here: tried once, in a child."""
    if sys.platform != "linux" or os.uname().machine not in PIVOT_ROOT:
        return False
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            leave_namespaces()
            inner = os.fork()
            if inner == 0:
                with contextlib.suppress(BaseException):
                    _mount("none", "/", None, MS_REC | MS_PRIVATE)
                    _mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
                    os._exit(0)
                os._exit(1)
            code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def leave_namespaces() -> None:
    """Leave the caller's namespaces; its next child is the first process of a new one.

    Raises OSError where that is forbidden.
    """
    user, group = os.geteuid(), os.getegid()
    _call("unshare", NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET | (NEWUSER if user else 0))
    if user:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path("/proc/self", name).write_text(text)


def die_with_parent() -> None:
    """Have this process killed when its parent ends, in any way."""
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of the processes that a descendant leaves behind, so that daemons are
    ended too.
    """
    _call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def build_root(settings: Settings) -> str:
    """Make a root of its own with what may be seen, read-only, and step into it; returns the folder
    to work in.
    """
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    root = settings.shared + ".root"
    os.makedirs(root, exist_ok=True)
    _mount("tmpfs", root, "tmpfs", MS_NOSUID, "size=1m,mode=755")
    for name in ("tmp", "dev", "proc", "home"):
        os.makedirs(f"{root}/{name}", exist_ok=True)
    _mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={SCRATCH}m,mode=1777")
    _mount("tmpfs", f"{root}/home", "tmpfs", MS_NOSUID | MS_NODEV, f"size={SCRATCH}m,mode=1777")
    _mount("proc", f"{root}/proc", "proc", MS_NOSUID | MS_NODEV)
    _mount("tmpfs", f"{root}/dev", "tmpfs", MS_NOSUID, "size=64k,mode=755")
    for name in ("null", "zero", "full", "random", "urandom"):
        Path(f"{root}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{root}/dev/{name}", None, MS_BIND)
    os.makedirs(f"{root}/dev/shm")
    _mount("tmpfs", f"{root}/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    # Last, because a clone may lie below one of these folders.
    for path in _outermost(settings.seen):
        _show(path, root)
    _show(settings.shared, root, writable=True)
    old = f"{root}/tmp/.old"
    os.mkdir(old)
    # glibc has no function for this one.
    if _libc().syscall(PIVOT_ROOT[os.uname().machine], root.encode(), old.encode()):
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    _call("umount2", b"/tmp/.old", MNT_DETACH)
    os.rmdir("/tmp/.old")
    with contextlib.suppress(OSError):
        socket.sethostname("exercise")
    home = "/home/learner"
    os.mkdir(home, 0o777)
    os.chmod(home, 0o777)
    os.chdir(home)
    return home


def loopback(port: int) -> socket.socket:
    """Bring the namespace's own 127.0.0.1 up and listen there; accepting works from outside."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        import fcntl

        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(control, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))
    return socket.create_server(("127.0.0.1", port), backlog=64)


def limit(processes: bool) -> None:
    """Bound what this process and its children may take.

    ``processes``: their number too, where a user of its own makes that safe.
    """
    with contextlib.suppress(OSError):
        # A machine that runs out of memory ends us first.
        Path("/proc/self/oom_score_adj").write_text("1000")
    # Before 5.14 a user's processes were counted whatever namespace they were in: the limit would
    # be the user's own.
    processes = processes and (os.geteuid() >= FIRST_USER or _kernel_version() >= (5, 14))
    bounds = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_FSIZE: FILE,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if processes:
        bounds[resource.RLIMIT_NPROC] = PROCESSES
    for what, most in bounds.items():
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS bounds no address space
            resource.setrlimit(what, (most, most))


def _kernel_version() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", os.uname().release)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def drop_rights(settings: Settings) -> None:
    """Give up every right, for good: root becomes a user of no account, anybody else loses what the
    namespace gave.
    """
    if os.geteuid() == 0:
        user = FIRST_USER + settings.place
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    for capability in range(LAST_CAPABILITY + 1):
        _libc().prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = struct.pack("Ii", 0x20080522, 0)
    _call("capset", header, bytes(24))
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def not_to_be_traced() -> None:
    """Let no process of the same user look into this one."""
    _call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def _outermost(paths: tuple[str, ...]) -> list[str]:
    """Each path that exists and lies in no other of them; links beside what they lead to."""
    found: list[str] = []
    for path in sorted({os.path.abspath(path) for path in paths if path and os.path.lexists(path)}):
        if not any(path == other or path.startswith(f"{other}/") for other in found):
            found.append(path)
    return found


def _show(path: str, root: str, writable: bool = False) -> None:
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), target)
        return
    if os.path.isdir(path):
        os.makedirs(target, exist_ok=True)
    else:
        Path(target).touch()
    _mount(path, target, None, MS_BIND | MS_REC)
    if not writable:
        _mount("none", target, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    _call(
        "mount",
        source.encode(),
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
        what=target,
    )


def _call(name: str, *arguments: object, what: str = "") -> None:
    if getattr(_libc(), name)(*arguments) != 0:
        number = ctypes.get_errno() or errno.EPERM
        raise OSError(number, f"{name}: {os.strerror(number)}", what or None)


_loaded: ctypes.CDLL | None = None


def _libc() -> ctypes.CDLL:
    global _loaded
    if _loaded is None:
        _loaded = ctypes.CDLL(None, use_errno=True)
    return _loaded


if __name__ == "__main__":
    sys.exit(0 if available() else 1)
