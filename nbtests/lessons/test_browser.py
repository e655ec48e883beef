"""The lessons in a real browser: `loopbound lab` serves a copy, headless Chromium opens each lesson
and runs all of it.

Screenshots, light and dark, go to the folder that LOOPBOUND_SCREENSHOTS names. Chromium is looked
for on the path and in the usual places; LOOPBOUND_CHROMIUM names another.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopbound.course.manifest import Lesson, lessons

# One server and one browser for all lessons, so one worker.
pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(600)]

NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
# No sandbox: Chromium refuses to run as root with one. The rest keeps it from calling home.
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SECONDS_TO_RUN = 180
HIGHEST = 16_000  # pixels of one screenshot; Chromium draws nothing beyond 16,384


@dataclass(frozen=True)
class Lab:
    """A served copy of the course: the address that `loopbound lab` printed, in parts."""

    root: str
    token: str
    clone: Path

    def address(self, lesson: Lesson) -> str:
        return f"{self.root}/lab/tree/notebooks/{lesson.file}?reset&token={self.token}"


def chromium() -> str | None:
    """The path of a Chromium that is on this machine, or None."""
    found = [os.environ.get("LOOPBOUND_CHROMIUM"), *map(shutil.which, NAMES), *PLACES]
    return next((place for place in found if place and Path(place).is_file()), None)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a fresh profile."""
    place = chromium()
    if place is None:
        said = (
            "NO CHROMIUM on this machine: no lesson was seen in a browser. Looked for"
            f" {', '.join(NAMES)}; set LOOPBOUND_CHROMIUM."
        )
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(said, stacklevel=1)
        pytest.skip(said)
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
    # seen.
    (folder / "config").mkdir()
    (folder / "config" / "jupyter_server_config.py").write_text(
        "c.LabApp.expose_app_in_browser = True\n"
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
        until = time.monotonic() + 90
        while address is None and process.poll() is None and time.monotonic() < until:
            address = re.search(
                r"(http://\S+?)/lab/tree/\S*?token=(\w+)",
                said.read_text(encoding="utf-8", errors="replace"),
            )
            time.sleep(0.1)
        assert address, (
            f"the lab did not start:\n{said.read_text(encoding='utf-8', errors='replace')}"
        )
        yield Lab(address[1], address[2], clone)
    finally:
        process.send_signal(signal.SIGINT if os.name != "nt" else signal.CTRL_BREAK_EVENT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go."""
    folder = os.environ.get("LOOPBOUND_SCREENSHOTS")
    place = Path(folder) if folder else tmp_path_factory.mktemp("screenshots")
    place.mkdir(parents=True, exist_ok=True)
    return place


# Waits until the notebook is there and its kernel is ready, not until some time has passed.
READY = """async (file) => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = app.shell.currentWidget;
  if (!panel || !panel.context || !panel.context.path.endsWith(file)) return false;
  await panel.context.ready; await panel.sessionContext.ready; await panel.revealed;
  return panel.sessionContext.session?.kernel?.status === 'idle';
}"""
RUN_ALL = "() => window.jupyterapp.commands.execute('notebook:run-all-cells')"
NOTEBOOK = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON()"
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
# What stands in a reader's way: a question, or a message in the corner.
INTERRUPTIONS = (
    "() => [...document.querySelectorAll('.jp-Dialog, .Toastify__toast')].map(item =>"
    " item.innerText)"
)


@pytest.mark.parametrize("lesson", lessons(), ids=lambda lesson: lesson.name)
def test_a_lesson_runs_in_the_browser(
    lesson: Lesson, lab: Lab, browser: Any, pictures: Path
) -> None:
    committed = json.loads((lab.clone / "notebooks" / lesson.file).read_text(encoding="utf-8"))
    page = browser.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    try:
        page.goto(lab.address(lesson))
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        _until(page, READY, lesson.file)
        wanted = _figures(committed)
        assert wanted > 0, "the committed lesson has no figure"
        _check_figures(page, wanted)
        _nobody_interrupts(page)

        page.set_default_timeout(SECONDS_TO_RUN * 1000)
        page.evaluate(RUN_ALL)
        # After a wanted error "run all" says that it is done while the cells behind it are still to
        # come.
        until = time.monotonic() + 20
        while (
            any(line.endswith("did not run") for line in _wrong(page.evaluate(NOTEBOOK)))
            and time.monotonic() < until
        ):
            page.wait_for_timeout(200)
        _until(page, READY, lesson.file)
        notebook = page.evaluate(NOTEBOOK)
        assert _wrong(notebook) == []
        assert _figures(notebook) == wanted
        _nobody_interrupts(page)
        for theme in ("Light", "Dark"):
            page.evaluate(
                "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
                f"JupyterLab {theme}",
            )
            page.wait_for_function(
                "(theme) => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {theme}"
            )
            page.set_viewport_size({"width": 1280, "height": min(page.evaluate(HEIGHT), HIGHEST)})
            page.evaluate(TO_THE_TOP)
            _check_figures(page, wanted)
            page.screenshot(path=pictures / f"{lesson.name}-{theme.lower()}.png")
            page.set_viewport_size({"width": 1280, "height": 900})
        _nobody_interrupts(page)
        assert said == []
        # Ends the kernel, as a reader does before the next lesson; two cores should not carry five
        # of them.
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    finally:
        page.close()


def test_the_lab_opens_on_the_start_page(lab: Lab, browser: Any) -> None:
    page = browser.new_page()
    try:
        page.goto(f"{lab.root}/?token={lab.token}")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        _until(page, READY, lessons()[0].file)
        assert (
            page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) h1")
            .first.inner_text()
            .startswith(lessons()[0].heading.removeprefix("# "))
        )
        _nobody_interrupts(page)
    finally:
        page.close()


BROKEN = {
    "error": ("1 / 0", [], "ends with ZeroDivisionError"),
    "stderr": ("import sys\n_ = sys.stderr.write('careful')", [], "wrote to stderr: careful"),
    "not run": ("import asyncio\nraise KeyboardInterrupt", [], "ends with KeyboardInterrupt"),
    "picture": (
        'from IPython.display import HTML\nHTML(\'<img alt="" src="data:image/svg+xml,none">\')',
        [],
        "picture",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_notebook_is_seen(name: str, lab: Lab, browser: Any) -> None:
    from small_notebooks import code, saved

    source, tags, said = BROKEN[name]
    file = f"broken-{name.replace(' ', '-')}.ipynb"
    saved(
        lab.clone / "notebooks" / file,
        code("broken", source, tags=tuple(tags)),
        code("after", "after = 1"),
    )
    page = browser.new_page()
    try:
        page.goto(f"{lab.root}/lab/tree/notebooks/{file}?reset&token={lab.token}")
        page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
        _until(page, READY, file)
        page.evaluate(RUN_ALL)
        _until(page, READY, file)
        if name == "picture":
            with pytest.raises(AssertionError, match="picture"):
                _check_figures(page, 1)
        else:
            wrong = _wrong(page.evaluate(NOTEBOOK))
            assert any(said in line for line in wrong), wrong
            if name != "stderr":
                assert "cell 'after' did not run" in wrong
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    finally:
        page.close()


def _until(page: Any, script: str, *words: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not page.evaluate(script, *words):
        assert time.monotonic() < until, (
            f"not ready after {seconds} seconds; the page says: {page.evaluate(INTERRUPTIONS)}"
        )
        page.wait_for_timeout(100)


def _nobody_interrupts(page: Any) -> None:
    assert page.evaluate(INTERRUPTIONS) == [], "something stands in the reader's way"


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


def _figures(notebook: dict[str, Any]) -> int:
    """How many pictures a notebook's outputs hold."""
    html = (
        "".join(output.get("data", {}).get("text/html", ""))
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
    )
    return sum(text.count("<img ") for text in html)


def _wrong(notebook: dict[str, Any]) -> list[str]:
    """What a reader would see go wrong after Run All, a line each."""
    wrong = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        name = f"cell '{cell['id']}'"
        if cell["execution_count"] is None:
            wrong.append(f"{name} did not run")
        for output in cell["outputs"]:
            if output["output_type"] == "error" and "raises-exception" not in cell["metadata"].get(
                "tags", []
            ):
                wrong.append(f"{name} ends with {output['ename']}: {output['evalue']}")
            if output.get("name") == "stderr":
                wrong.append(f"{name} wrote to stderr: {''.join(output['text'])}")
    return wrong
