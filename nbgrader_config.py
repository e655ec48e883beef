"""Makes this repository a course of nbgrader: its commands, run in this folder, read this file.

Only what differs from nbgrader's defaults, each with its reason. `nbgrader generate_assignment
--force` writes `exercises/` as `python3 lab.py exercises build` does, byte for byte, so that it
leaves the clone as it was.
"""

import os

# Checks that nbgrader runs are no learner's progress.
os.environ.setdefault("LOOPBOUND_PROGRESS", "off")

c = get_config()  # noqa: F821 (nbgrader provides it)

# The exchange files everything under a course's name, and refuses to work without one.
c.CourseDirectory.course_id = "loopbound"

# The course's names for what nbgrader calls source and release.
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "exercises"

# nbgrader hands out every file beside a solution, and puts them beside each submission; those here
# are wrong answers, seeded bugs and hidden tests. The first four are its own.
c.CourseDirectory.ignore = [
    ".ipynb_checkpoints",
    "*.pyc",
    "__pycache__",
    "feedback",
    "*.toml",
    "*.py",
    "hidden",
    "bugs",
]

# Some checks run a whole pytest suite, several times over; nbgrader's 30 seconds a cell are too few
# on a busy machine.
c.Execute.timeout = 180
