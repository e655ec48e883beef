"""The tests find the application whatever folder pytest is started in, and run it without a pool."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

# Before the application is first imported: it reads its settings once. Each checkout opens a connection on the
# running loop, each return closes it, so none can wait in a pool for the next loop.
os.environ["SIGNAL_SCANNER_POOL"] = "null"
