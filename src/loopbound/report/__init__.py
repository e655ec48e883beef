"""Pages for a facilitator and for each learner, made from graded submissions."""

from loopbound.report.executed import check_notebooks, write_notebooks
from loopbound.report.write import INDEX, check_folder, write_report

__all__ = ["INDEX", "check_folder", "check_notebooks", "write_notebooks", "write_report"]
