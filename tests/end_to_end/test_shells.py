"""What may stand before devices beside our own gateways: web pages of other origins, and ASGI servers."""

import http.client
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.device import job_folder
from tests.end_to_end.server import PATIENCE_S, eventually, server
from tests.end_to_end.test_server import state_of, train
from turnout.client.view import JobState

pytestmark = pytest.mark.slow

PAGE = "https://page.example"
APP = "turnout.gateway.asgi_app:app"


def allowed(port: int) -> str | None:
    """The page that is told, before it asks, that it may."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-flare-device-id",
    }
    connection.request("OPTIONS", "/task", headers=asks)
    found = connection.getresponse().headers["Access-Control-Allow-Origin"]
    connection.close()
    return found


def _accepts(port: int) -> bool:
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def asgi_server(program: tuple[str, ...], server_port: int) -> Iterator[int]:
    """A program that serves the application, on a port of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    environment = {**os.environ, "TURNOUT_PORT": str(server_port), "TURNOUT_CORS_ORIGINS": PAGE}
    command = [sys.executable, "-P", "-m", *program, "--port", str(port), APP]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually("it accepts connections", lambda: _accepts(port))
        yield port
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) is not None


def test_pages_may_use_the_gateways_if_turnout_up_was_told_so(tmp_path: Path) -> None:
    with server(
        tmp_path / "told", options=["--cors-origin", PAGE, "--cors-origin", "http://localhost:3000"]
    ) as running:
        assert allowed(running.port) == PAGE
    with server(tmp_path / "untold") as running:
        assert allowed(running.port) is None


@pytest.mark.parametrize("program", [("uvicorn",), ("granian", "--interface", "asgi")], ids=["uvicorn", "granian"])
def test_a_job_is_trained_to_its_end_through_an_asgi_server(tmp_path: Path, program: tuple[str, ...]) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=2))
        with asgi_server(program, running.port) as port:
            running.devices_url = f"http://127.0.0.1:{port}"
            assert train(running, 2, job.job_id) >= 4
            eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
            assert allowed(port) == PAGE
            assert len(running.client.gateways()) == 2
