"""A pytest plugin: writes the tests that carry ``claim`` marks to the file that LOOPBOUND_CLAIMS
names, as JSON rows.
"""

import json
import os
from pathlib import Path


def pytest_collection_finish(session):
    rows = []
    for item in session.items:
        for mark in item.iter_markers("claim"):
            row = [item.nodeid.split("[")[0], mark.args[0], mark.kwargs]
            if row not in rows:  # one line for a test with parameters
                rows.append(row)
    Path(os.environ["LOOPBOUND_CLAIMS"]).write_text(json.dumps(rows), encoding="utf-8")
