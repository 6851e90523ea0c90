"""A headless Chromium of this machine, and pages of it that keep what their console said."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.browser.fake import FakeControl

REQUIRED = "TURNOUT_BROWSER_REQUIRED"  #: Set: a machine without Chromium fails these tests, rather than skip them.
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 30_000  #: Ends a test that would hang; no test needs it.
expect.set_options(timeout=PATIENCE_MS)
DESK = {"width": 1400, "height": 900}


class Watched:
    """A page and the errors of its console."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)


def _no_browser(reason: str) -> NoReturn:
    if os.environ.get(REQUIRED):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine, until the block ends."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        _no_browser("no Chromium here; on Debian or Ubuntu: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module: while it lives, no other event loop may run in this thread."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext) -> Watched:
    return Watched(context.new_page())


@pytest.fixture
def control() -> Iterator[FakeControl]:
    """Serving, without jobs and without plotly."""
    control = FakeControl()
    with control.serving():
        yield control


@pytest.fixture
def drawing() -> Iterator[FakeControl]:
    """The same, with plotly."""
    control = FakeControl(charts=True)
    with control.serving():
        yield control
