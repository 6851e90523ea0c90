"""A web page of another origin as a device: it takes a task, reads the model and reports, if the server allows it."""

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Error

from tests.browser.conftest import Watched
from tests.end_to_end.device import job_folder
from tests.end_to_end.server import server

pytestmark = pytest.mark.slow


#: One round. What it reports is the file of the model that it read: finite numbers of the right shapes.
ROUND = """async (gateway) => {
    const who = {"X-Flare-Device-ID": "page-1", "X-Flare-Device-Info": "app_name=page&platform=browser"};
    const ask = async (path, type, body) => {
        const reply = await fetch(gateway + path, {method: "POST", headers: {...who, "Content-Type": type}, body});
        return await reply.json();
    };
    const json = (path, body) => ask(path, "application/json", JSON.stringify(body));
    let job = {};
    while (job.status !== "OK") job = await json("/job", {job_name: "tiny", capabilities: {methods: []}});
    let task = {};
    while (task.status !== "OK") task = await json(`/task?job_id=${job.job_id}`, {accept: ["safetensors"]});
    const model = await fetch(gateway + task.task_data.href);
    const query = new URLSearchParams({job_id: job.job_id, task_id: task.task_id, task_name: task.task_name});
    const said = await ask(`/result?${query}`, "application/vnd.safetensors", await model.arrayBuffer());
    return {counted: said.counted, etag: model.headers.get("ETag"), sha256: task.task_data.sha256};
}"""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """Where a page comes from that is not the server's."""
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html><title>A device</title>")
    serve = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as pages:
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{pages.server_port}"
        pages.shutdown()


def test_a_page_whose_origin_was_named_trains_as_any_device(watched: Watched, origin: str, tmp_path: Path) -> None:
    with server(tmp_path / "data", options=["--cors-origin", origin]) as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1_000_000))
        watched.page.goto(origin)
        said = watched.page.evaluate(ROUND, running.devices_url)
        status = running.client.job(job.job_id).status
    assert said["counted"] is True
    assert said["etag"] == f'"{said["sha256"]}"'
    assert status is not None
    assert status.counted == 1


def test_a_page_whose_origin_was_not_named_learns_nothing(watched: Watched, origin: str, tmp_path: Path) -> None:
    with server(tmp_path / "data", options=["--cors-origin", "https://example.org"]) as running:
        watched.page.goto(origin)
        with pytest.raises(Error, match="Failed to fetch"):
            watched.page.evaluate(ROUND, running.devices_url)
    assert any("CORS policy" in error for error in watched.errors)
