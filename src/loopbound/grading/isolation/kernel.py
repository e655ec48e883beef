"""A kernel for one submission, driven by nbclient, without the waits that are made for kernels of
unknown kinds.
"""

# ruff: noqa: E402  # what is not to be imported is said before the imports
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from dataclasses import dataclass, replace
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
from nbclient.exceptions import DeadKernelError

from loopbound.grading.cleaned import cleaned
from loopbound.grading.isolation.databases import SubmissionDatabases
from loopbound.grading.isolation.processes import KILL, Ended, LearnerProcess, Processes
from loopbound.problem import Problem

__all__ = ["Kernel", "Ran"]

HANDSHAKE = 0.02  # seconds between two greetings, until the kernel's broadcasts arrive
MOST_SHOWN = 20_000  # characters that are kept of a traceback
GRACE = 2.0  # seconds that a cell has to end in when it is interrupted

_silent = logging.getLogger("loopbound.grading")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass(frozen=True)
class Ran:
    """How a cell ended: ``error`` is "" or the error's name and first line, ``line`` the line of
    the cell that raised, 0 where unknown; ``stopped`` says that its time was up, and ``shown``
    is the error as an output of a notebook. What a cell prints does not leave the kernel.
    """

    error: str = ""
    line: int = 0
    stopped: bool = False
    shown: tuple[dict[str, Any], ...] = ()


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
    error: Ran | None = None

    async def _async_poll_kernel_alive(self) -> None:
        # nbclient asks once a second; the process itself tells at once.
        await self.child.ended.wait()
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        # What an answer prints is no part of its grade. The base class has to see how the cell's
        # state changes, and no more: it would keep each error that a thread sends.
        if msg["msg_type"] == "status":
            return super().process_message(msg, cell, cell_index)
        if msg["msg_type"] == "error" and self.error is None:
            self.error = replace(_error(msg["content"]), shown=(_output(msg["content"]),))
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

    async def run(self, source: str, seconds: float, interrupt: bool = True) -> Ran:
        """Execute a cell.

        One whose time is up is interrupted, as a reader would do it, so that what it has made
        so far stays.

        Raises ``Ended`` where the kernel did not survive it, or could not be interrupted.
        """
        cell = nbformat.v4.new_code_cell(source)
        self._notebook.nb.cells[:] = [cell]
        self._notebook.error = None
        executing = asyncio.ensure_future(self._execute(cell))
        stopped = False
        try:
            await asyncio.wait([executing], timeout=seconds)
            if not executing.done() and interrupt and os.name == "posix":
                stopped = True
                self.child.signal(signal.SIGINT)
                await asyncio.wait([executing], timeout=GRACE)
            if not executing.done():
                raise Ended("time")
        finally:
            executing.cancel()
        if error := executing.result():
            raise error
        return replace(self._notebook.error or Ran(), stopped=stopped)

    async def _execute(self, cell: Any) -> Exception | None:
        """Execute a cell; gives the error of doing so, for it may come when the caller waits no
        more: nbclient takes a task that is cancelled for a kernel that is dead.
        """
        try:
            await self._notebook.async_execute_cell(cell, 0)
        except DeadKernelError:
            return Ended("dead")
        except Exception as error:
            return error
        return None

    async def close(self) -> None:
        """End the kernel and what it has started.

        Its sockets go with it, without a farewell message.
        """
        if self._client is not None:
            self._client.stop_channels()
        self._manager.cleanup_connection_file()
        await self.child.close()


def _output(content: Any) -> dict[str, Any]:
    """An error as an output of a notebook, bounded. It comes from a process that ran the learner's
    code, so it need not have any form.
    """
    rows = content.get("traceback")
    text = "\n".join(str(row)[:MOST_SHOWN] for row in rows[:60]) if isinstance(rows, list) else ""
    return {
        "output_type": "error",
        "ename": cleaned(content.get("ename"), 100, lines=False),
        "evalue": cleaned(content.get("evalue"), _LONGEST, lines=False),
        "traceback": cleaned(text, MOST_SHOWN).split("\n"),
    }


# As ipykernel names a cell's file.
_FILE = re.compile(r"\((?:\S*[/\\])?\d{5,}\.py, line (\d+)\)")
_LONGEST = 300


def _error(content: Any) -> Ran:
    name = str(content.get("ename", "Error"))[:100]
    first = str(content.get("evalue", ""))[: 4 * _LONGEST].splitlines()
    text = f"{name}: {first[0]}" if first else name
    line = 0
    rows = content.get("traceback")
    for row in rows[:200] if isinstance(rows, list) else ():
        found = re.search(r"^\s*-+> (\d+)", str(row)[: 20 * _LONGEST], re.MULTILINE)
        # The first frame is the cell's; behind it may come functions of other cells.
        line = line or int(found[1]) if found else line
    if place := _FILE.search(text):
        line, text = int(place[1]), text[: place.start()].rstrip() + text[place.end() :]
    return Ran(text[:_LONGEST], min(line, 10**6))
