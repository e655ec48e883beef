"""Pages for a facilitator and for each learner, made from graded submissions."""

from loopbound.report.executed import check_notebooks, write_notebooks
from loopbound.report.naming import page_of
from loopbound.report.write import INDEX, check_folder, check_pages, pages_in, write_report

__all__ = [
    "INDEX",
    "check_folder",
    "check_notebooks",
    "check_pages",
    "page_of",
    "pages_in",
    "write_notebooks",
    "write_report",
]
