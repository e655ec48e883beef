"""A kernel for one submission, driven by nbclient, without the waits that are made for kernels of
unknown kinds.
"""

# ruff: noqa: E402  # what is not to be imported is said before the imports
from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import sys
from dataclasses import dataclass
from queue import Empty
from typing import Any

# jsonschema, which nbformat brings, would build parsers for addresses that no notebook has: most of
# a second.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.provisioning import KernelProvisionerBase
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

from loopbound.grading.isolation.databases import SubmissionDatabases
from loopbound.grading.isolation.processes import KILL, Ended, LearnerProcess, Processes
from loopbound.problem import Problem

__all__ = ["Kernel", "Ran"]

HANDSHAKE = 0.02  # seconds between two greetings, until the kernel's broadcasts arrive
LARGEST_MESSAGE = 2**20  # bytes that the kernel may send in one piece

_silent = logging.getLogger("loopbound.grading")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True)
class Ran:
    """How a cell ended: ``error`` is "" or the error's name and first line, ``line`` the line of
    the cell that raised, 0 where unknown.
    """

    error: str = ""
    line: int = 0


class Provisioner(KernelProvisionerBase):
    """jupyter_client's way to start kernels elsewhere: ours come from the grader's processes, and
    their end is seen at once.
    """

    child: LearnerProcess

    @property
    def has_process(self) -> bool:
        return not self.child.ended.is_set()

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        return await super().pre_launch(cmd=[], **kwargs)

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        manager: Any = self.parent
        if os.name == "posix":
            places = {
                f"{name}_port": number
                for number, name in enumerate(("shell", "iopub", "stdin", "hb", "control"), start=1)
            }
            info: Any = {
                "transport": "ipc",
                "ip": str(self.child.shared / "k"),
                **places,
            }
            info |= {
                "key": manager.session.key.decode(),
                "signature_scheme": manager.session.signature_scheme,
            }
        else:
            manager.write_connection_file()
            info = manager.get_connection_info()
            info["key"] = info["key"].decode()
        await self.child.start("kernel", info)
        self.connection_info = info | {"key": info["key"].encode()}
        return self.connection_info

    async def poll(self) -> int | None:
        return 1 if self.child.ended.is_set() else None

    async def wait(self) -> int | None:
        await self.child.ended.wait()
        return 1

    async def send_signal(self, signum: int) -> None:
        self.child.signal(signum)

    async def kill(self, restart: bool = False) -> None:
        self.child.signal(KILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.kill()

    async def cleanup(self, restart: bool = False) -> None:
        pass


class _Manager(AsyncKernelManager):
    # No file describes this kernel, so none is searched for.
    @property
    def kernel_spec(self) -> KernelSpec:
        return KernelSpec(argv=[], display_name="exercise", language="python")

    def _connect_control_socket(self) -> None:
        pass  # what it is for, an orderly shutdown, is not asked for


class _Client(NotebookClient):
    child: LearnerProcess

    async def _async_poll_kernel_alive(self) -> None:
        # nbclient asks once a second; the process itself tells at once.
        await self.child.ended.wait()
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        # What an answer prints is no part of its grade. The base class has to see how the cell's
        # state changes, and no more.
        if msg["msg_type"] in ("status", "error"):
            return super().process_message(msg, cell, cell_index)
        return None


class Kernel:
    """A running kernel. Made by `start`, and closed in any case."""

    def __init__(self, child: LearnerProcess) -> None:
        self.child = child
        self._manager = _Manager(
            log=_silent,
            context=child.processes.context,
            # Not in the folder for temporary files, where a killed grader would leave it for ever.
            connection_file=f"{child.shared}.json",
        )
        self._client: Any = None
        self._notebook = _Client(
            nbformat.v4.new_notebook(),
            km=self._manager,
            allow_errors=True,
            log=_silent,
            interrupt_on_timeout=False,
        )
        self._notebook.child = child

    @classmethod
    async def start(cls, processes: Processes, lent: SubmissionDatabases, place: int) -> Kernel:
        """A kernel that is ready. Raises ``Problem`` where none can be started."""
        kernel = cls(LearnerProcess(processes, lent, place))
        try:
            provisioner = Provisioner(
                kernel_id="exercise",
                kernel_spec=kernel._manager.kernel_spec,
                parent=kernel._manager,
            )
            provisioner.child = kernel.child
            kernel._manager.provisioner = provisioner
            await kernel._manager.start_kernel()
            await kernel._connect()
        except BaseException:
            await kernel.close()
            raise
        return kernel

    async def _connect(self) -> None:
        client = self._client = self._notebook.kc = self._manager.client(
            context=self.child.processes.context
        )
        client.allow_stdin = False  # input() raises instead of waiting
        client.start_channels(hb=False, stdin=True)
        for channel in (client.shell_channel, client.iopub_channel):
            channel.socket.maxmsgsize = LARGEST_MESSAGE
        # Its sockets are there already. What has to be waited for is that our subscription has
        # reached it.
        until = self.child._loop.time() + 30
        while True:
            client.kernel_info()
            with contextlib.suppress(Empty):
                await client.iopub_channel.get_msg(timeout=HANDSHAKE)
                break
            if self.child.ended.is_set() or self.child._loop.time() > until:
                raise Problem("a kernel did not answer.")

    async def run(self, source: str, seconds: float) -> Ran:
        """Execute a cell.

        Raises ``Ended`` where the kernel did not survive it, or had to be ended.
        """
        cell = nbformat.v4.new_code_cell(source)
        self._notebook.nb.cells[:] = [cell]
        self._notebook.timeout = math.ceil(seconds)  # nbclient refuses a fraction
        try:
            # Five seconds more, for a reply that never comes, of a kernel that lives.
            async with asyncio.timeout(seconds + 5):
                await self._notebook.async_execute_cell(cell, 0)
        except (CellTimeoutError, TimeoutError):
            raise Ended("time") from None
        except DeadKernelError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # Ctrl-C: nbclient takes a task that is cancelled for a kernel that is dead.
                raise asyncio.CancelledError from None
            raise Ended("dead") from None
        for output in cell.outputs:
            if output.output_type == "error":
                return _error(output)
        return Ran()

    async def close(self) -> None:
        """End the kernel and what it has started.

        Its sockets go with it, without a farewell message.
        """
        if self._client is not None:
            self._client.stop_channels()
        self._manager.cleanup_connection_file()
        await self.child.close()


def _error(output: Any) -> Ran:
    first = str(output.get("evalue", "")).splitlines()
    text = (
        f"{output.get('ename', 'Error')}: {first[0]}"
        if first
        else str(output.get("ename", "Error"))
    )
    line = 0
    for row in output.get("traceback") or []:
        for part in str(row).splitlines():
            if part.lstrip().startswith("---->") or "---> " in part:
                digits = "".join(
                    character
                    for character in part.split(">", 1)[1].split()[0]
                    if character.isdigit()
                )
                line = int(digits) if digits else line
                break
        if line:
            break
    return Ran(text[:500], line)
