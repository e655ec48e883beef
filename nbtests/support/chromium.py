"""The Chromium on this machine: where it is, and how the tests start it."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pytest

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


def chromium() -> str | None:
    """The path of a Chromium on the path or in the usual places, or of the one that
    LOOPBOUND_CHROMIUM names; None where there is none.
    """
    found = [os.environ.get("LOOPBOUND_CHROMIUM"), *map(shutil.which, NAMES), *PLACES]
    return next((place for place in found if place and Path(place).is_file()), None)


def chromium_or_skip(unseen: str) -> str:
    """The path of a Chromium; where there is none, a warning that names what was not seen, and a
    skipped test.
    """
    place = chromium()
    if place is None:
        said = (
            f"NO CHROMIUM on this machine: {unseen} was seen in a browser. Looked for"
            f" {', '.join(NAMES)}; set LOOPBOUND_CHROMIUM."
        )
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn(said, stacklevel=1)
        pytest.skip(said)
    return place
