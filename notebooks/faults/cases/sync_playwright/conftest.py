import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import sync_playwright

CURE = os.environ.get("CURE")


@pytest.fixture(scope="module" if CURE == "narrow-fixture" else "session")
def name():
    if CURE == "own-thread":
        with ThreadPoolExecutor(1) as thread:
            started = thread.submit(sync_playwright().start).result()
            yield started.chromium.name
            thread.submit(started.stop).result()
    else:
        with sync_playwright() as started:  # its loop runs in this thread until the end
            yield started.chromium.name
