"""Every lesson runs in a fresh kernel and gives what is committed, where there is no browser to run
it in: `test_browser.py` asks the same of its one execution.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import chromium

from loopbound.authoring.compare import compare
from loopbound.authoring.execute import read_notebook, run_notebook
from loopbound.course.manifest import Notebook, notebooks


@pytest.mark.skipif(chromium() is not None, reason="test_browser.py executes the lessons")
@pytest.mark.parametrize("lesson", notebooks(), ids=lambda lesson: lesson.name)
def test_a_lesson_gives_what_is_committed(lesson: Notebook, repository: Path) -> None:
    path = repository / "notebooks" / lesson.file
    committed = read_notebook(path)
    result = run_notebook(path)
    # After a problem the rest did not run: that its outputs are missing is no news.
    problems = result.problems or compare(lesson.file, committed, result.notebook)
    if problems:
        pytest.fail("\n".join(map(str, problems)), pytrace=False)
