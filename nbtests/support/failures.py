"""A failure stays readable, and the other tests run, where pytest itself fails to draw it."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Draw a failure as Python itself does where pytest's own drawing raises an error.

    pytest parses the source around each line. In CPython 3.11 that can raise "SystemError: AST
    constructor recursion depth mismatch" while another thread parses as well (gh-106905), and the
    whole run would end with INTERNALERROR.
    """
    if call.excinfo is not None:
        draw = call.excinfo.getrepr

        def drawn(*arguments: Any, **options: Any) -> Any:
            try:
                return draw(*arguments, **options)
            except Exception as error:
                raised = "".join(traceback.format_exception(call.excinfo.value))
                return f"{raised}\n(pytest could not draw it: {type(error).__name__}: {error})"

        call.excinfo.getrepr = drawn
    return (yield)
