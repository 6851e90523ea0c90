"""The dashboard of a real server, while a real job trains on a simulated fleet."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Watched
from tests.end_to_end.device import job_folder
from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, server
from tests.end_to_end.test_run import DEVICE_PY, SERVER_PY
from turnout.job.folder import package

pytestmark = pytest.mark.slow

GROWN = """([name, before]) => [...document.querySelectorAll('.tile')].some((tile) =>
    tile.querySelector('dt').textContent === name
    && Number(tile.querySelector('.big').textContent.replaceAll(',', '')) > before)"""


@contextmanager
def fleet(running: Server, folder: Path) -> Iterator[None]:
    """Ten devices that train until the block ends."""
    options = ["--job", "tiny", "--trainer", str(folder), "--devices", "10", "--training-s", "0.1"]
    process = subprocess.Popen([*TURNOUT, "fleet", running.devices_url, *options], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def zipped(folder: Path) -> Path:
    target = folder.with_suffix(".zip")
    with target.open("w+b") as file:
        package.pack(folder, file)
    return target


def test_numbers_move_while_a_job_trains_and_a_person_ends_it(watched: Watched, tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", versions=1_000_000)
    (folder / "device.py").write_text(DEVICE_PY)
    (folder / "server.py").write_text(SERVER_PY)
    page = watched.page
    with server(tmp_path / "data") as running:
        page.goto(running.client.link())
        page.get_by_role("button", name="Submit a job…").click()
        page.get_by_label("Zip of a job folder").set_input_files(zipped(folder))
        page.get_by_role("button", name="Submit it").click()
        expect(page.get_by_text("No device has come yet")).to_be_visible()
        (job,) = running.client.jobs()
        with fleet(running, folder):
            page.wait_for_function(GROWN, arg=["Updates counted", 0])
            version = int(page.locator(".tile .big").first.inner_text().replace(",", ""))
            page.wait_for_function(GROWN, arg=["Version", version])
            expect(page.locator(".title .badge")).to_have_text("training")
            expect(page.locator(".chart", has_text="accuracy").locator(".trace").first).to_be_attached()
            page.get_by_role("button", name="Pause").click()
            expect(page.locator(".title .badge")).to_have_text("paused by a person")
            page.get_by_role("button", name="Resume").click()
            expect(page.locator(".title .badge")).to_have_text("training")
            page.get_by_role("button", name="Cancel job…").click()
            page.get_by_role("button", name="Cancel the job").click()
            expect(page.locator(".title .badge")).to_have_text("cancelled", timeout=30_000)
        page.get_by_text("What its process printed").click()
        expect(page.locator(".output pre")).not_to_have_text("Loading…")
        assert running.client.job(job.job_id).state == "cancelled"
        page.goto("about:blank")
    assert [error for error in watched.errors if "503" not in error] == []  # /readyz, while the job starts
