"""Kernels that are forked from a warm process, which has imported what they import: for a program
that starts many of them, one after the other.

`fork_kernels()` makes jupyter_client take a program's kernels from here. Such a kernel has the
modules, arguments, variables, folder and output of one that is started. Where nothing can be
forked, it is started.

Run as a script, this is the warm process. It ends with the program that started it, and then its
kernels end as well, by themselves: they look after their parent.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

KERNEL = ["-m", "ipykernel_launcher"]
# What a kernel has imported before its first cell.
IMPORTED = (
    "IPython.core.completerlib",
    "IPython.core.debugger_backport",
    "IPython.core.oinspect",
    "IPython.extensions.storemagic",
    "ipykernel.debugger",
    "ipykernel.ipkernel",
    "ipykernel.kernelapp",
    "runpy",
    "sqlite3",
    "tornado.locks",
    "tornado.platform.asyncio",
    "tornado.queues",
)


class Forked:
    """As much of `subprocess.Popen` as a provisioner needs. How it ended is not known."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, end: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._end = end  # can be read from when the process has ended

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self) -> int | None:
        return self._look(None)

    def _look(self, milliseconds: int | None) -> int | None:
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._end, select.POLLIN)
            if waiting.poll(milliseconds):
                self.returncode = 0
                os.close(self._end)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            signal.pidfd_send_signal(self._end, number)


def fork_kernels(*also: str) -> None:
    """Let this program's kernels be forked.

    Args:
        also: modules that they shall have imported besides.
    """
    from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

    if sys.platform != "linux":
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno()), *also],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the program
        )

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
            if cmd[:3] != [sys.executable, *KERNEL]:
                return await super().launch_kernel(cmd, **kwargs)
            self.cwd = str(kwargs.get("cwd") or Path.cwd())
            ours.send(json.dumps([cmd, self.cwd, dict(kwargs["env"])]).encode())
            said, (end,), _, _ = socket.recv_fds(ours, 100, 1)
            self.process: Any = Forked(int(said), end)
            self.pid = self.pgid = self.process.pid
            return self.connection_info

    globals()["Provisioner"] = Provisioner
    factory = KernelProvisionerFactory.instance()
    name = factory.default_provisioner_name = "forked"
    factory.provisioners[name] = EntryPoint(name, f"{__name__}:Provisioner", factory.GROUP_NAME)


def main() -> None:
    """Be the warm process, until the other end of its line is closed; and a kernel in each process
    that it forks.
    """
    line = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # this folder
    before = set(os.environ)
    os.environ["JPY_PARENT_PID"] = str(os.getpid())  # read at the import
    for name in (*IMPORTED, *sys.argv[2:]):
        importlib.import_module(name)
    # What the imports have set, as they do in each kernel.
    more = {name: value for name, value in os.environ.items() if name not in before}
    # No kernel's collection of garbage, which each check asks for, need go through all that.
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernels are not waited for
    while order := line.recv(1 << 20):
        pid = os.fork()
        if pid == 0:
            line.close()
            command, folder, variables = json.loads(order)
            become(command, folder, variables | more)
            return
        end = os.pidfd_open(pid)
        socket.send_fds(line, [str(pid).encode()], [end])
        os.close(end)


def become(command: list[str], folder: str, variables: dict[str, str]) -> None:
    """Be a kernel, until it is shut down."""
    import tempfile

    from ipykernel import kernelapp

    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None
    launcher: Any = find_spec(KERNEL[1])
    sys.argv[:] = [launcher.origin, *command[3:]]
    sys.orig_argv[:] = command
    kernelapp.launch_new_instance()


if __name__ == "__main__":
    main()
