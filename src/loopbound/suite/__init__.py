"""Run a pytest project in a process of its own and give back plain results.

>>> run = run_suite({"test_title.py": "def test_title(): assert 'report'.title() == 'Report'"})
>>> run.passed
['test_title.py::test_title']
"""

from loopbound.suite.alone import run_alone
from loopbound.suite.incident import BACKEND, COURIER, fixes, incident, incident_job
from loopbound.suite.listing import Listing, listing
from loopbound.suite.pool import pool_steps
from loopbound.suite.results import PoolEvent, SuiteRun, TestResult
from loopbound.suite.run import ordered, run_suite, run_suites

__all__ = [
    "BACKEND",
    "COURIER",
    "Listing",
    "PoolEvent",
    "SuiteRun",
    "TestResult",
    "fixes",
    "incident",
    "incident_job",
    "listing",
    "ordered",
    "pool_steps",
    "run_alone",
    "run_suite",
    "run_suites",
]
