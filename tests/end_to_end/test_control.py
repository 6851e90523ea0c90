"""What people see of a real server: a job watched from its start to its end, its log, metrics and tokens."""

import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from itertools import count
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.device import Device, job_folder
from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, eventually, server
from turnout.client.client import ControlClient, StreamedEvent
from turnout.client.view import JobView
from turnout.errors import NotAllowedError, TurnoutError
from turnout.messages import JobEvent

pytestmark = pytest.mark.slow


def get(running: Server, path: str) -> str:
    headers = {"Authorization": f"Bearer {running.token}"}
    with urllib.request.urlopen(
        urllib.request.Request(running.api_url + path, headers=headers), timeout=10
    ) as response:
        return str(response.read().decode())


def results_answered_ok(metrics: str) -> float:
    """By all gateways."""
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    wanted = {"kind": "result", "status": "OK"}
    return sum(s.value for s in families["turnout_requests"].samples if wanted.items() <= s.labels.items())


def train(running: Server, job_id: str, number: int) -> bool:
    """One task of a new device, if there is one; whether the job is over."""
    device = Device(running.devices_url, f"camera-{number}")
    job = device.job()
    if job["status"] == "OK":
        task = device.task(job["job_id"])
        if task["status"] == "OK":
            device.result(job["job_id"], task["task_id"])
    return running.client.job(job_id).state != "running"


def test_a_watched_job_tells_each_version_once_and_that_it_has_ended(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=3))
        told: list[StreamedEvent] = []
        numbers = count()

        def watch() -> None:
            for event in running.client.events(job.job_id):
                told.append(event)

        watching = threading.Thread(target=watch)
        watching.start()
        eventually("a sample is told", lambda: any(event.kind == "sample" for event in told))
        running.kill("turnout.job.process")
        eventually("the job is over", lambda: train(running, job.job_id, next(numbers)))
        watching.join(20)
        events = [msgspec.json.decode(event.data, type=JobEvent) for event in told if event.kind == "event"]
        published = {event.version for event in events if event.kind == "published"}
        assert {1, 2, 3} <= published
        assert [event.text for event in events if event.kind == "finished"] == ["version 3 is the last"]
        assert told[-1].kind == "end"
        ended = msgspec.json.decode(told[-1].data, type=JobView)
        assert (ended.state, ended.status and ended.status.version) == ("completed", 3)

        story = re.compile(r"was killed by SIGKILL.*goes on at version.*completed", re.DOTALL)
        eventually("the log has all", lambda: story.search("\n".join(running.client.logs(job.job_id, 20))))
        eventually("metrics have all answers", lambda: results_answered_ok(get(running, "/metrics")) >= 6)

        running.client.delete(job.job_id)
        assert running.client.jobs() == []
        assert not (tmp_path / "data" / "jobs" / job.job_id).exists()


def test_nobody_gets_in_without_a_token_and_tokens_stay_over_a_restart(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        made = running.client.create_token("me", "view")
        with pytest.raises(NotAllowedError, match="needs a token"):
            ControlClient(running.api_url).jobs()
    with server(tmp_path / "data") as again:
        assert again.token == running.token
        with pytest.raises(NotAllowedError, match="unknown here"):
            ControlClient(again.api_url, made.token[:-1]).jobs()
        assert ControlClient(again.api_url, made.token).jobs() == []


@pytest.mark.parametrize("left", [None, b"", bytes(512)], ids=["gone", "empty", "nul"])
def test_a_power_cut_after_the_end_of_a_job_hides_neither_its_model_nor_its_account(
    tmp_path: Path, left: bytes | None
) -> None:
    numbers = count()
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=2))
        eventually("the job is over", lambda: train(running, job.job_id, next(numbers)))
        running.client.model(job.job_id, tmp_path / "before")
        before = running.client.job(job.job_id).status
    final = tmp_path / "data" / "jobs" / job.job_id / "final.json"
    final.unlink()
    if left is not None:
        final.write_bytes(left)
    with server(tmp_path / "data") as running:
        assert running.client.model(job.job_id, tmp_path / "after") == 2
        assert (tmp_path / "after").read_bytes() == (tmp_path / "before").read_bytes()
        shown = running.client.job(job.job_id)
        assert before is not None
        assert shown.status is not None
        assert (shown.state, shown.status.version, shown.status.counted, shown.status.finished) == (
            "completed", 2, before.counted, before.finished
        )  # fmt: skip
        assert final.read_bytes().startswith(b"{")
        with pytest.raises(TurnoutError, match="is completed"):
            running.client.start(job.job_id)


def test_only_a_terminal_is_shown_a_link_to_the_dashboard_which_works_once(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    ports = ("--port", "0", "--control-port", "0")
    process = subprocess.Popen([*TURNOUT, "up", *ports, "--data", str(tmp_path / "data")], stderr=theirs)
    os.close(theirs)
    try:
        shown = ""
        while not (link := re.search(r"dashboard: (http\S+)/#/login/(\S+) \(works once", shown)):
            shown += os.read(ours, 4096).decode()
        eventually("control answers", ControlClient(link[1]).alive)
        assert begin_session(*link.groups()) == 201
        assert begin_session(*link.groups()) == 401
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        os.close(ours)
    with server(tmp_path / "data") as running:
        running.wait_line("jobs and models are kept")
        assert not [line for line in running.lines if "login" in line]


def begin_session(url: str, code: str) -> int:
    body = msgspec.json.encode({"code": code})
    request = urllib.request.Request(f"{url}/api/session", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
