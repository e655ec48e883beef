"""Run a pytest project in a process of its own and give back plain results.

>>> run = run_suite({"test_report.py": "def test_title(): assert 'a'.upper() == 'A'"})
>>> run.passed
['test_report.py::test_title']
"""

from .incident import BACKEND, fixes, incident
from .results import PoolEvent, SuiteRun, TestResult
from .run import run_suite, run_suites

__all__ = ["BACKEND", "PoolEvent", "SuiteRun", "TestResult", "fixes", "incident", "run_suite", "run_suites"]
