"""Pictures of every page of a real server, light and dark, wide and narrow, for people to look at: not a test.

``python -m tests.browser.pictures FOLDER`` takes them all, in some minutes; words after it choose by name.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import chromium
from tests.browser.scene import Scene, scene

WIDTHS = {"wide": {"width": 1440, "height": 900}, "narrow": {"width": 390, "height": 844}}
THEMES = ("light", "dark")
READY_MS = 20_000


class Camera:
    """Opens an address in every look, has something done there, and takes a picture of the whole page."""

    def __init__(self, browser: Browser, url: str, link: Callable[[], str], folder: Path, wanted: list[str]) -> None:
        self._browser = browser
        self._url = url
        self._link = link
        self._folder = folder
        self._wanted = wanted
        folder.mkdir(parents=True, exist_ok=True)

    def take(self, name: str, path: str, act: Callable[[Page], object] = lambda _: None, *, whole: bool = True) -> None:
        if self._wanted and not any(word in name for word in self._wanted):
            return
        for width, viewport in WIDTHS.items():
            for theme in THEMES:
                context = self._browser.new_context(viewport=viewport, color_scheme=theme)  # type: ignore[arg-type]
                page = context.new_page()
                page.set_default_timeout(READY_MS)
                page.goto(self._link())
                expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
                page.goto(f"{self._url}/{path}")
                settle(page)
                act(page)
                wide = page.evaluate("document.documentElement.scrollWidth")
                note = "" if wide <= viewport["width"] else f"  WIDER THAN THE SCREEN: {wide}"
                file = self._folder / f"{name}-{width}-{theme}.png"
                page.screenshot(path=file, full_page=whole, animations="disabled")
                print(f"{file}{note}", flush=True)
                context.close()


def settle(page: Page) -> None:
    """Wait until nothing loads any more, and bring every chart into sight once: only then it is drawn."""
    body = page.locator("body:not(:has(dialog[open]))")  # behind a dialog that asks for a token nothing loads
    expect(body.locator("#waiting, .list > p").get_by_text("Loading…")).to_have_count(0)
    for chart in page.locator(".chart:visible").all():
        chart.scroll_into_view_if_needed()
        page.wait_for_timeout(120)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(1200)


def press(*names: str) -> Callable[[Page], None]:
    """Press these buttons in turn."""

    def act(page: Page) -> None:
        for name in names:
            page.get_by_role("button", name=name).first.click()
        page.wait_for_timeout(300)

    return act


def submit_nonsense(page: Page) -> None:
    """What the server says of a file that is no job folder."""
    page.get_by_role("button", name="Submit a job…").click()
    page.get_by_label("Zip of a job folder").set_input_files({"name": "job.zip", "mimeType": "", "buffer": b"nonsense"})
    page.get_by_role("button", name="Submit it").click()
    expect(page.locator(".wrong")).not_to_be_empty()


def go_offline(page: Page) -> None:
    """Control is away while the page is open."""
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_contain_text("Control does not answer")


def pages(camera: Camera, shown: Scene) -> None:
    """Everything that is there while the server runs as it should."""
    camera.take("list", "")
    for what, job_id in shown.jobs.items():
        camera.take(f"job-{what.replace(' ', '-')}", f"#/jobs/{job_id}")
    training = f"#/jobs/{shown.jobs['training']}"
    camera.take("job-compare", f"{training}?with={shown.jobs['compared']}")
    camera.take(
        "job-by-time", f"{training}?with={shown.jobs['compared']}", lambda page: page.get_by_text("by time").click()
    )
    camera.take("dialog-cancel", training, press("Cancel job…"), whole=False)
    camera.take("dialog-download", training, press("Download…"), whole=False)
    camera.take("dialog-delete", f"#/jobs/{shown.jobs['failed']}", press("Delete…"), whole=False)
    camera.take(
        "job-output",
        f"#/jobs/{shown.jobs['failed']}",
        lambda page: page.get_by_text("What its process printed").click(),
    )
    camera.take("dialog-submit", "", press("Submit a job…"), whole=False)
    camera.take("dialog-submit-refused", "", submit_nonsense, whole=False)
    camera.take("away", training, go_offline, whole=False)
    camera.take("not-here", "#/jobs/nope")
    camera.take("reference", "api/docs")


def main() -> None:
    folder, *wanted = sys.argv[1:]
    with tempfile.TemporaryDirectory() as place, chromium() as browser, scene(Path(place)) as shown:
        camera = Camera(browser, shown.running.api_url, shown.running.client.link, Path(folder), wanted)
        camera.take("list-empty", "")
        shown.set()
        pages(camera, shown)
        stranger = Camera(browser, shown.running.api_url, lambda: shown.running.api_url, Path(folder), wanted)
        stranger.take("sign-in", "", whole=False)


if __name__ == "__main__":
    main()
