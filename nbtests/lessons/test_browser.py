"""The lessons in a real browser: `loopbound lab` serves a copy, headless Chromium opens each lesson
and runs all of it.

This one execution of a lesson answers all that is asked of it: what the page shows, and also what
`loopbound run` looks at (the committed outputs, stderr, what is left behind). Where there is no
Chromium, `test_lessons_run.py` executes the lessons.

Screenshots, light and dark, go to the folder that LOOPBOUND_SCREENSHOTS names, where it does.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from chromium import FLAGS, chromium_or_skip
from lesson_rules import EXPLANATION
from small_notebooks import code, printed, raised, saved

from loopbound.authoring.compare import compare
from loopbound.authoring.execute import (
    LATE,
    LEFTOVERS,
    LOAD_PROBE,
    children_of,
    late_stderr,
    left_behind,
    read_notebook,
)
from loopbound.authoring.normal_form import normal_form
from loopbound.course.manifest import Lesson, Notebook, lessons, notebooks

# Everything here waits for what it needs. The limit is for a page that will never be ready.
SECONDS = 900
pytestmark = [pytest.mark.timeout(2 * SECONDS)]

HIGHEST = 16_000  # pixels of one screenshot; Chromium draws nothing beyond 16,384


@dataclass(frozen=True)
class Lab:
    """A served copy of the course: the address that `loopbound lab` printed, in parts.

    ``stderr`` is the folder where each kernel's real stderr goes, by its process id.
    """

    root: str
    token: str
    clone: Path
    stderr: Path


@dataclass(frozen=True)
class Executed:
    """A notebook after Run All: as the page has it, what its kernel then had open, and where that
    kernel's stderr goes.
    """

    notebook: dict[str, Any]
    stderr: Path
    left: list[str]


@dataclass
class Desk:
    """JupyterLab in the browser, with one notebook open at a time, as most readers have it."""

    lab: Lab
    browser: Any
    page: Any = None
    errors: list[str] = field(default_factory=list)  # of the page's own JavaScript

    def load(self, address: str) -> None:
        """Loads JupyterLab."""
        self.close()
        self.page = self.browser.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.page.on("pageerror", self._complain)
        self.page.goto(f"{self.lab.root}/{address}token={self.lab.token}")
        self.page.wait_for_function("window.jupyterapp !== undefined")

    def _complain(self, error: Exception) -> None:
        # JupyterLab's own, now and then, when it takes the outputs of a closed notebook away.
        if "'removeChild' on 'Node'" not in str(error):
            self.errors.append(str(error))

    def open(self, file: str) -> None:
        """Opens a notebook and waits for its kernel."""
        if self.page is None:
            self.load(f"lab/tree/notebooks/{file}?reset&")
        else:
            self.page.evaluate(OPEN, f"notebooks/{file}")
        self.wait_for(file)

    def wait_for(self, file: str) -> None:
        """Waits until a notebook is there and its kernel is ready."""
        until = time.monotonic() + SECONDS
        while not self.page.evaluate(READY, file):
            said = self.page.evaluate(INTERRUPTIONS)
            assert time.monotonic() < until, f"{file} is not ready; the page says: {said}"
            self.page.wait_for_timeout(100)

    def run_all(self) -> Executed:
        """Run All, with the probe of `loopbound run` before the first cell and after the last."""
        kernel = int(self.ask(LOAD_PROBE, "__import__('os').getpid()"))
        # What a kernel says about itself while it starts is not the lesson's.
        stderr = self.lab.stderr / str(kernel)
        stderr.write_bytes(b"")
        self.page.evaluate(RUN_ALL)
        # Run All says that it is done when a wanted error comes. The kernel answers this only after
        # the cells that are then still to come.
        self.ask("", "None")
        notebook = self.page.evaluate(NOTEBOOK)
        for cell in notebook["cells"]:
            if cell.get("attachments", "") is None:  # a file has none of it then
                del cell["attachments"]
        children = children_of(kernel)
        left = left_behind(children, ast.literal_eval(self.ask("", LEFTOVERS)))
        return Executed(notebook, stderr, left)

    def ask(self, code: str, expression: str) -> str:
        return self.page.evaluate(QUIETLY, [code, expression])

    def nobody_interrupts(self) -> None:
        assert self.page.evaluate(INTERRUPTIONS) == [], "something stands in the reader's way"
        assert self.errors == []

    def end(self) -> None:
        """Closes the notebook and ends its kernel, as a reader does before the next lesson."""
        self.page.evaluate(END)
        self.nobody_interrupts()

    def close(self) -> None:
        if self.page is not None:
            self.page.close()
            self.page = None
        self.errors.clear()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a fresh profile."""
    place = chromium_or_skip("no lesson")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        profile = tmp_path_factory.mktemp("chromium")
        context = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=place,
            headless=True,
            args=FLAGS,
            viewport={"width": 1280, "height": 900},
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Lab]:
    """`loopbound lab --no-browser` on a copy of the course, with Jupyter settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    clone = folder / "course"
    clone.mkdir()
    for part in ("notebooks", "src"):
        shutil.copytree(
            repository / part,
            clone / part,
            ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"),
        )
    for file in ("lab.py", "pyproject.toml", "README.md"):
        shutil.copy(repository / file, clone / file)
    # The test reaches into the page, and needs all cells in it: Lab draws only those that can be
    # seen. A kernel that ends slowly is waited for.
    (folder / "config").mkdir()
    (folder / "config" / "jupyter_server_config.py").write_text(
        "c.LabApp.expose_app_in_browser = True\nc.KernelManager.shutdown_wait_time = 120.0\n"
    )
    # The kernels' real stderr, one file each, with a copy of all that they send as stderr.
    (folder / "stderr").mkdir()
    profile = folder / "ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_kernel_config.py").write_text(
        "import os\n"
        "c.IPKernelApp.quiet = False\n"
        f"file = os.path.join({str(folder / 'stderr')!r}, str(os.getpid()))\n"
        "os.dup2(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT), 2)\n",
        encoding="utf-8",
    )
    settings = folder / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "PYTEST_"))
    } | {
        "PYTHONPATH": str(clone / "src"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "run"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    said = folder / "said"
    with said.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "loopbound", "lab", "--no-browser"],
            env=environment, cwd=clone, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            **({"start_new_session": True} if os.name != "nt" else {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}),
        )  # fmt: skip
    try:
        address = None
        while address is None and process.poll() is None:
            address = re.search(
                r"(http://\S+?)/lab/tree/\S*?token=(\w+)",
                said.read_text(encoding="utf-8", errors="replace"),
            )
            time.sleep(0.1)
        assert address, (
            f"the lab did not start:\n{said.read_text(encoding='utf-8', errors='replace')}"
        )
        yield Lab(address[1], address[2], clone, folder / "stderr")
    finally:
        process.send_signal(signal.SIGINT if os.name != "nt" else signal.CTRL_BREAK_EVENT)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def one_desk(lab: Lab, browser: Any) -> Desk:
    """The desk that the tests share, because loading JupyterLab takes longer than many a lesson."""
    return Desk(lab, browser)


@pytest.fixture
def desk(one_desk: Desk) -> Iterator[Desk]:
    """The desk, with a fresh page after a test that did not end well."""
    yield one_desk
    if one_desk.page is not None and one_desk.page.evaluate(OPEN_NOTEBOOKS):
        one_desk.page.evaluate(END)
        one_desk.close()


@pytest.fixture(scope="module")
def pictures() -> Path | None:
    """Where screenshots go."""
    folder = os.environ.get("LOOPBOUND_SCREENSHOTS")
    if not folder:
        return None
    Path(folder).mkdir(parents=True, exist_ok=True)
    return Path(folder)


# Waits until the notebook is there and its kernel is ready, not until some time has passed.
READY = """async (file) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = app.shell.currentWidget;
  if (!panel || !panel.context || !panel.context.path.endsWith(file)) return false;
  await panel.context.ready; await panel.sessionContext.ready; await panel.revealed;
  return panel.sessionContext.session?.kernel?.status === 'idle';
}"""
OPEN = """async (path) => {
  const commands = window.jupyterapp.commands;
  const panel = await commands.execute('docmanager:open', {path, factory: 'Notebook'});
  await panel.context.ready;
}"""
OPEN_NOTEBOOKS = (
    "() => [...window.jupyterapp.shell.widgets('main')].filter(item => item.sessionContext).length"
)
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
NOTEBOOK = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON()"
# The value of an expression in the notebook's kernel, asked for as the page's own requests are.
QUIETLY = """async ([code, expression]) => {
  const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
  const future = kernel.requestExecute({
    code, silent: true, store_history: false, user_expressions: {expression}});
  const content = (await future.done).content;
  const data = content.user_expressions?.expression?.data;
  return data ? data['text/plain'] : `no answer: ${JSON.stringify(content)}`;
}"""
END = """async () => {
  const panel = window.jupyterapp.shell.currentWidget;
  await panel.sessionContext.shutdown();
  panel.dispose();
}"""
# Pictures are decoded when they are drawn: decode() waits for that, and rejects what is no picture.
FIGURES = """async () => {
  const images = [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output img')];
  const figure = async (image) => {
    let drawn = true;
    try { await image.decode(); } catch (error) { drawn = false; }
    const box = image.getBoundingClientRect();
    return {alt: image.alt, drawn, natural: image.naturalWidth, width: box.width, height: box.height};
  };
  return Promise.all(images.map(figure));
}"""
HEIGHT = """() => {
  const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
  const scroller = panel.querySelector('.jp-WindowedPanel-outer') || panel.querySelector('.jp-Notebook');
  return Math.ceil(scroller.scrollHeight + scroller.getBoundingClientRect().top + 60);
}"""
# Run All leaves the last cell in view. Two frames later the taller page has been laid out.
TO_THE_TOP = """async () => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame(); await frame();
  document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) *').forEach((item) => { if (item.scrollTop) item.scrollTop = 0; });
  await frame(); await frame();
}"""
# What the page shows of folded outputs.
FIRST_LINES = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputPlaceholder')].map(
  (item) => item.innerText.trim())"""
# The places of cells whose outputs are closed, and how many comparisons show the right option.
PREDICTIONS = """() => {
  const panel = document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)');
  const closed = (cell) => [...cell.querySelectorAll('.jp-Cell-outputArea, .jp-Cell-inputArea')].some(
    (area) => getComputedStyle(area, '::before').content.startsWith('"Closed'));
  return {
    closed: [...panel.querySelectorAll('.jp-Cell')].map((cell, place) => closed(cell) ? place : -1).filter((place) => place >= 0),
    told: [...panel.querySelectorAll('.compare .right > p')].filter((text) => text.checkVisibility()).length,
    explained: panel.querySelectorAll('details.explanation[open]').length,
  };
}"""
# The comparisons of this run, with their script, are on the page.
ALL_COMPARED = """(count) => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .compare')].filter(
  (item) => item.parentElement.querySelector('script')).length === count"""
ANSWER = """() => document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .predict').forEach(
  (question) => question.querySelector('.option > summary').click())"""
# The places of cells in which something is wider than the page of 1,280 pixels.
SIDEWAYS = """() => [...document.querySelectorAll('.jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell')].map(
  (cell, place) => [...cell.querySelectorAll('*')].some((item) => item.clientWidth > 0
    && item.scrollWidth > item.clientWidth + 1
    && getComputedStyle(item).overflowX !== 'visible') ? place : -1).filter((place) => place >= 0)"""
# What stands in a reader's way: a question, or a message in the corner.
INTERRUPTIONS = (
    "() => [...document.querySelectorAll('.jp-Dialog, .Toastify__toast')].map(item =>"
    " item.innerText)"
)


def test_the_lab_opens_on_the_start_page(desk: Desk) -> None:
    desk.load("?")
    desk.wait_for(lessons()[0].file)
    assert (
        desk.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) h1")
        .first.inner_text()
        .startswith(lessons()[0].heading.removeprefix("# "))
    )
    desk.nobody_interrupts()
    desk.end()


@pytest.mark.parametrize("lesson", notebooks(), ids=lambda lesson: lesson.name)
def test_a_lesson_runs_in_the_browser(lesson: Notebook, desk: Desk, pictures: Path | None) -> None:
    committed = read_notebook(desk.lab.clone / "notebooks" / lesson.file)
    wanted = _figures(committed)
    if isinstance(lesson, Lesson) and not lesson.deeper:
        assert wanted > 0, "the committed lesson has no figure"
    desk.open(lesson.file)
    # What would give the answer to a prediction away is closed until its cell runs.
    _check_figures(desk.page, _figures(committed, hidden=False))
    assert set(desk.page.evaluate(FIRST_LINES)) <= {"Open this after your answer."}
    desk.nobody_interrupts()

    executed = desk.run_all()
    _nothing_wrong(_wrong(lesson.file, executed, committed))
    desk.nobody_interrupts()
    _check_predictions(desk.page, committed, pictures and pictures / f"{lesson.name}-asked.png")
    wide = [committed["cells"][place]["id"] for place in desk.page.evaluate(SIDEWAYS)]
    assert wide == [], "these cells scroll sideways"
    # The one that is on comes first: to change it draws the whole page again.
    on = desk.page.evaluate("() => document.body.dataset.jpThemeName")
    for theme in sorted(("Light", "Dark"), key=lambda theme: not on.endswith(theme)):
        desk.page.evaluate(
            "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {theme}",
        )
        desk.page.wait_for_function(
            "(theme) => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {theme}"
        )
        _check_figures(desk.page, wanted)
        if pictures:
            _picture(desk.page, pictures / f"{lesson.name}-{theme.lower()}.png")
    desk.end()
    _nothing_wrong(_late(executed))


def _check_predictions(page: Any, committed: Any, picture: Path | None) -> None:
    """Run All goes on unanswered, and closes what a question asks for; a click opens it."""
    told = sum(".compare(" in cell["source"] for cell in _code(committed))
    page.wait_for_function(ALL_COMPARED, arg=told)
    state = page.evaluate(PREDICTIONS)
    cells = committed["cells"]
    hidden = [
        place
        for place, cell in enumerate(cells)
        if cell["metadata"].get("jupyter", {}).get("outputs_hidden")
        and "= predict(" not in cell["source"]
    ]
    closed = {place for place in state["closed"] if cells[place]["cell_type"] == "code"}
    assert [cells[place]["id"] for place in sorted(closed)] == [
        cells[place]["id"] for place in hidden
    ]
    told_below = {
        place + 1
        for place in hidden
        if cells[place + 1]["cell_type"] == "markdown"
        and not cells[place + 1]["source"].startswith(EXPLANATION)
    }
    assert told_below <= set(state["closed"]), "a text tells what a closed output shows"
    assert state["told"] == 0, "a comparison tells the answer before there is one"
    assert state["explained"] == 0, "an explanation is open before there is an answer"
    if picture:
        _picture(page, picture)
    page.evaluate(ANSWER)
    # An answer opens what it asked for, and each comparison tells the right one.
    page.wait_for_function(
        f"([told, explained]) => {{ const now = ({PREDICTIONS})();"
        " return now.closed.length === 0 && now.told === told && now.explained === explained; }",
        arg=[told, sum(cell["source"].startswith(EXPLANATION) for cell in cells)],
    )


def _code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _picture(page: Any, file: Path) -> None:
    page.set_viewport_size({"width": 1280, "height": min(page.evaluate(HEIGHT), HIGHEST)})
    page.evaluate(TO_THE_TOP)
    page.screenshot(path=file)
    page.set_viewport_size({"width": 1280, "height": 900})


# What is in a notebook's cells, and all that has to be said of it. The last cell prints nothing.
BROKEN = {
    "error": (["1 / 0"], ["ends with ZeroDivisionError", "cell 'last' did not run"]),
    "not run": (
        ["raise KeyboardInterrupt"],
        ["ends with KeyboardInterrupt", "cell 'last' did not run"],
    ),
    "late": (
        ["import atexit, sys\n_ = atexit.register(sys.stderr.write, 'late')"],
        [f"{LATE}: late"],
    ),
    "faults": (
        [
            "import os, subprocess, sys",
            "_ = sys.stderr.write('careful')",
            "ring = [open(os.devnull)]\nring.append(ring)\ndel ring",
            "from loopbound import NamedLoop\nA = NamedLoop('A')",
            "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)",
            "print('other words than before')",
        ],
        [
            "wrote to stderr: careful",
            "ResourceWarning: unclosed file",
            "the named loop 'A' was not closed",
            "left a process running",
            "cell 'cell-5': the output differs from the committed one",
        ],
    ),
    "picture": (
        [
            'from IPython.display import HTML\nHTML(\'<img alt="" src="data:image/svg+xml,none">\')',
            "HTML('<table><tr>' + '<td>cell' * 200 + '</table>')",
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_is_seen(name: str, desk: Desk) -> None:
    sources, said = BROKEN[name]
    file = f"broken-{name.replace(' ', '-')}.ipynb"
    cells = [code(f"cell-{number}", source) for number, source in enumerate(sources)]
    path = saved(desk.lab.clone / "notebooks" / file, *cells, code("last", "last = 1"))
    committed = read_notebook(path)
    desk.open(file)
    executed = desk.run_all()
    if name == "picture":
        with pytest.raises(AssertionError, match="picture"):
            _check_figures(desk.page, 1)
        assert desk.page.evaluate(SIDEWAYS) == [1]
    desk.end()
    wrong = _wrong(file, executed, committed) + _late(executed)
    for each in said:
        assert any(each in line for line in wrong), (each, wrong)


def test_a_good_notebook_has_nothing_wrong(desk: Desk) -> None:
    wanted = raised("RuntimeError", "wanted")
    cells = (
        code(
            "wanted", "raise RuntimeError('wanted')", tags=("raises-exception",), outputs=[wanted]
        ),
        # Still to come when Run All says that it is done.
        code("slow", "import time\ntime.sleep(1)\nprint('done')", outputs=[printed("done\n")]),
    )
    committed = read_notebook(saved(desk.lab.clone / "notebooks" / "good.ipynb", *cells))
    desk.open("good.ipynb")
    executed = desk.run_all()
    desk.end()
    assert _wrong("good.ipynb", executed, committed) + _late(executed) == []


def test_a_click_is_kept_when_the_page_is_loaded_again(desk: Desk) -> None:
    cells = (
        code("asked", "from loopbound import predict\nsum_ = predict('1 + 1?', a=1, b=2)\nsum_"),
        code("seen", "print(1 + 1)", outputs=[printed("2\n")]),
        code("compared", "sum_.compare(2, a='No.', b='Yes.')"),
    )
    saved(desk.lab.clone / "notebooks" / "kept.ipynb", *cells)
    desk.open("kept.ipynb")
    desk.run_all()
    page = desk.page
    page.wait_for_function(ALL_COMPARED, arg=1)
    assert page.evaluate(PREDICTIONS) == {"closed": [1], "told": 0, "explained": 0}
    page.locator(".predict .option-a > summary").click()
    answered = f"() => {{ const now = ({PREDICTIONS})(); return !now.closed.length && now.told; }}"
    page.wait_for_function(answered)
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_function("window.jupyterapp !== undefined")
    desk.wait_for("kept.ipynb")
    page.wait_for_function(answered)
    assert page.locator(".predict [open]").get_attribute("class") == "option option-a"
    desk.end()


def _check_figures(page: Any, wanted: int) -> None:
    figures = page.evaluate(FIGURES)
    assert len(figures) == wanted, (
        f"the page shows {len(figures)} pictures, the outputs hold {wanted}"
    )
    for figure in figures:
        assert figure["alt"].strip(), f"a picture has no alternative text: {figure}"
        assert figure["drawn"] and figure["natural"] > 0, f"a picture is not drawn: {figure}"
        assert figure["width"] > 100 and figure["height"] > 20, (
            f"a picture is too small to see: {figure}"
        )


def _figures(notebook: Any, hidden: bool = True) -> int:
    """How many pictures a notebook's outputs hold, or those of them that are not hidden."""
    html = (
        "".join(output.get("data", {}).get("text/html", ""))
        for cell in notebook["cells"]
        if hidden or not cell["metadata"].get("jupyter", {}).get("outputs_hidden")
        for output in cell.get("outputs", [])
    )
    return sum(text.count("<img ") for text in html)


def _nothing_wrong(wrong: list[str]) -> None:
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def _wrong(file: str, executed: Executed, committed: Any) -> list[str]:
    """What went wrong up to the last cell, and what is then open, a line each."""
    wrong = []
    for cell in _code_cells(executed):
        name = f"cell '{cell['id']}'"
        if cell["execution_count"] is None:
            wrong.append(f"{name} did not run")
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in cell["metadata"].get(
                "tags", []
            ):
                wrong.append(f"{name} ends with {output['ename']}: {output['evalue']}")
    wrong += [f"wrote to stderr: {text}" for text in _stderr(executed)] + executed.left
    # Where cells did not run, that their outputs are missing is no news.
    if not any(line.endswith("did not run") for line in wrong):
        text = normal_form(json.dumps(executed.notebook), file)
        wrong += map(str, compare(file, committed, nbformat.reads(text, as_version=4)))
    return wrong


# JupyterLab asks each kernel for its widgets, and one without ipywidgets says so.
COMMS = re.compile(r"No such comm\b")


def _late(executed: Executed) -> list[str]:
    """What the kernel wrote to stderr and no cell shows, to be asked for after its end."""
    text = late_stderr(executed.stderr, _stderr(executed))
    lines = [line for line in text.splitlines() if line and not COMMS.match(line)]
    return [f"{LATE}: {line}" for line in lines]


def _stderr(executed: Executed) -> list[str]:
    outputs = [output for cell in _code_cells(executed) for output in cell["outputs"]]
    return ["".join(output["text"]) for output in outputs if output.get("name") == "stderr"]


def _code_cells(executed: Executed) -> list[dict[str, Any]]:
    cells = executed.notebook["cells"]
    return [
        cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()
    ]
