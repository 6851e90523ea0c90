"""What the supervisor does with processes that hang, are replaced, or die while something is under way."""

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.end_to_end.device import SIZE, Device, job_folder
from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, descendants, eventually, processes, server
from turnout.client.view import JobState
from turnout.errors import TurnoutError

pytestmark = pytest.mark.slow


def job_processes(running: Server) -> dict[str, list[int]]:
    """The processes of each job."""
    found: dict[str, list[int]] = {}
    table = processes()
    for pid in descendants(running.pid):
        command = table.get(pid, (0, ""))[1]
        job_id = re.search(r"-m turnout\.job\.process .*--job-id (\S+)", command)
        if job_id is not None:
            found.setdefault(job_id[1], []).append(pid)
    return found


def work(device: Device, job_id: str) -> bool:
    """One task of one device, if there is one now; whether its result was counted."""
    task = device.task(job_id)
    return task["status"] == "OK" and bool(device.result(job_id, task["task_id"]).get("counted"))


def train(running: Server, job_id: str, device_id: str) -> None:
    """Wait until a device has got a result counted."""
    eventually("a result is counted", lambda: work(Device(running.devices_url, device_id), job_id))


def named(tmp_path: Path, name: str) -> Path:
    folder = job_folder(tmp_path / name, versions=1000)
    toml = folder / "job.toml"
    toml.write_text(toml.read_text().replace('"tiny"', f'"{name}"'))
    return folder


# --- hanging ---


@pytest.mark.parametrize("module", ["turnout.job.process", "turnout.gateway.process", "turnout.control.process"])
def test_a_process_that_hangs_without_dying_is_found_killed_and_started_again(tmp_path: Path, module: str) -> None:
    with server(tmp_path / "data", hang_s=3) as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
        pid = running.child(module)
        os.kill(pid, signal.SIGSTOP)
        line = running.wait_line("hangs: ")
        assert re.search(rf"\(pid {pid}\) hangs: no heartbeat for 3 s; killing it$", line)
        running.wait_line(rf"\(pid {pid}\) hung and was killed after .* starting it again in 0.2 s")
        train(running, job.job_id, "after")
        eventually("control answers", running.client.healthy)


def test_a_supervisor_that_was_stopped_itself_kills_nobody(tmp_path: Path) -> None:
    with server(tmp_path / "data", hang_s=3) as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
        before = descendants(running.pid)
        running.process.send_signal(signal.SIGSTOP)
        threading.Timer(5, running.process.send_signal, (signal.SIGCONT,)).start()
        eventually("it is stopped", lambda: state(running.pid) == "T")
        eventually("it goes on", lambda: state(running.pid) != "T")
        train(running, job.job_id, "after")
        assert descendants(running.pid) == before
        assert not [line for line in running.lines if "hangs: " in line]


def state(pid: int) -> str:
    """The letter that the system has for what a process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


# --- what others clean ---


def test_a_server_whose_folder_of_sockets_is_removed_goes_on_and_makes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="t-") as place:
        monkeypatch.setenv("XDG_RUNTIME_DIR", place)
        with server(tmp_path / "data") as running:
            job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
            train(running, job.job_id, "before")
            shutil.rmtree(Path(place, "turnout"))
            running.wait_line("turnout/[0-9]+ was removed, and is there again")
            running.kill("turnout.gateway.process")  # the next one finds control and the running job by their paths
            train(running, job.job_id, "by-another-gateway")
            running.kill("turnout.job.process")
            train(running, job.job_id, "by-another-process")
            other = running.client.submit(named(tmp_path, "other"))
            train(running, other.job_id, "of-a-new-job")
        assert list(Path(place, "turnout").iterdir()) == []


# --- giving up ---


def test_a_job_that_says_that_it_has_failed_is_not_started_again_with_its_reason(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
        journal = tmp_path / "data" / "jobs" / job.job_id / "journal.sqlite"
        pid = running.child("turnout.job.process")
        os.kill(pid, signal.SIGSTOP)  # or it might write once more
        journal.write_bytes(b"no database" * 1000)
        os.kill(pid, signal.SIGKILL)
        eventually("failed", lambda: running.client.job(job.job_id).state is JobState.FAILED)
        reason = running.client.job(job.job_id).reason
        line = running.wait_line(r"\) failed: ")
        assert line.endswith(f"failed: {reason}")
        assert "journal" in reason


def test_a_job_that_is_killed_five_times_as_it_appears_goes_on(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        for _ in range(5):
            running.kill("turnout.job.process")
        train(running, job.job_id, "after")
        assert running.client.job(job.job_id).state is JobState.RUNNING


# --- control dies while something is under way ---


def test_jobs_run_after_a_restart_of_the_server_though_control_is_killed_as_it_appears(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
    ports = ["--port", "0", "--control-port", "0", "--gateways", "1", "--json"]
    process = subprocess.Popen(
        [*TURNOUT, "up", "--data", str(tmp_path / "data"), *ports], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        killed = {0}
        while len(killed) < 4:
            pid = eventually("another control appears", lambda: {control_of(process.pid)} - killed).pop()
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        with process.stdout:
            url = json.loads(process.stdout.readline())["devices_url"]
        eventually("a result is counted", lambda: work(Device(url, "after"), job.job_id))
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def control_of(supervisor: int) -> int:
    """The control process of this supervisor; 0 when there is none."""
    found = [pid for pid, (parent, args) in processes().items() if parent == supervisor and "control.process" in args]
    return found[0] if found else 0


def kill_control_once(running: Server, holds: Callable[[], object]) -> None:
    """Kill control at the very moment at which ``holds()`` becomes true: no pause between two looks."""
    pid = running.child("turnout.control.process")
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at, "it never came to the moment"
    os.kill(pid, signal.SIGKILL)
    running.wait_line(rf"control \(pid {pid}\) was killed by SIGKILL")
    eventually("control is back", running.client.healthy)


def test_a_control_that_dies_while_it_starts_jobs_starts_each_once_or_not_at_all(tmp_path: Path) -> None:
    jobs = tmp_path / "data" / "jobs"
    with server(tmp_path / "data") as running:
        accepted: list[str] = []

        def submit(folder: Path) -> None:
            try:
                accepted.append(running.client.submit(folder).job_id)
            except TurnoutError:
                pass  # control died before it could say: it may have been accepted, or not

        for name, moment in (("made", ""), ("stored", "folder/job.toml"), ("started", "journal.lock")):
            submitting = threading.Thread(target=submit, args=(named(tmp_path, name),))
            submitting.start()
            kill_control_once(running, lambda at=f"{name}-*/{moment}": list(jobs.glob(at)))  # type: ignore[misc]
            submitting.join(PATIENCE_S)
        submit(named(tmp_path, "undisturbed"))
        shown = {view.job_id for view in running.client.jobs()}
        assert set(accepted) <= shown
        assert len(shown) >= 2
        eventually("all run", lambda: job_processes(running).keys() == shown)
        assert all(len(pids) == 1 for pids in job_processes(running).values())


def test_a_control_that_dies_while_a_job_ends_still_hears_how_it_ended(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1))
        final = tmp_path / "data" / "jobs" / job.job_id / "final.json"
        train(running, job.job_id, "first")
        training = threading.Thread(target=train, args=(running, job.job_id, "second"))
        training.start()
        kill_control_once(running, final.exists)
        training.join(PATIENCE_S)
        assert not training.is_alive()
        eventually("completed", lambda: running.client.job(job.job_id).state is JobState.COMPLETED)
        assert not job_processes(running)


# --- one job of many dies ---


def test_a_killed_job_is_back_at_once_and_touches_no_other(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        jobs = [running.client.submit(named(tmp_path, f"job-{number}")).job_id for number in range(4)]
        for job_id in jobs:
            train(running, job_id, "one")
        before = job_processes(running)
        (pid,) = before[jobs[0]]
        os.kill(pid, signal.SIGKILL)
        for job_id in jobs[1:]:
            train(running, job_id, "two")
        train(running, jobs[0], "three")
        after = job_processes(running)
        assert {job_id: after[job_id] for job_id in jobs[1:]} == {job_id: before[job_id] for job_id in jobs[1:]}
        assert after[jobs[0]] != before[jobs[0]]


# --- replacing gateways ---


class Hammer:
    """Asks again and again, over fresh connections or one that is kept, and counts what comes of it."""

    def __init__(self, url: str, job_id: str, keep: bool) -> None:
        self.outcomes: Counter[str] = Counter()
        self._address = urlsplit(url).netloc
        self._body = json.dumps({"job_id": job_id, "device_info": {"device_id": f"hammer-{keep}"}, "user_info": {}})
        self._keep = keep
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> Counter[str]:
        self._over.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.outcomes

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._over.is_set():
            fresh = connection is None
            connection = connection or http.client.HTTPConnection(self._address, timeout=10)
            try:
                said = self._ask(connection)
            except (OSError, http.client.HTTPException) as error:
                # A kept connection may be closed as we ask; every HTTP client asks again, on a fresh one.
                self.outcomes[f"{type(error).__name__} on a fresh connection" if fresh else "closed while kept"] += 1
                connection.close()
                connection = None
                continue
            self.outcomes[said] += 1
            if not self._keep or connection.sock is None:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _ask(self, connection: http.client.HTTPConnection) -> str:
        headers = {"Content-Type": "application/json", "X-Flare-Device-ID": f"hammer-{self._keep}"}
        connection.request("POST", "/task", self._body, headers)
        answer = connection.getresponse()
        return f"{answer.status} {json.loads(answer.read())['status']}"


def test_gateways_are_replaced_without_a_refused_connection_or_a_lost_answer(tmp_path: Path) -> None:
    with server(tmp_path / "data", gateways=2) as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
        hammers = [Hammer(running.devices_url, job.job_id, keep) for keep in (False, False, True, True)]
        running.process.send_signal(signal.SIGUSR1)
        running.wait_line(r"gateway 2 \(pid \d+\) takes the place of gateway 0 \(pid \d+\)")
        running.wait_line(r"gateway 3 \(pid \d+\) takes the place of gateway 1 \(pid \d+\)")
        running.wait_line("every gateway has been replaced")
        eventually("the old ones have ended", lambda: numbers(running) == {"2", "3"})
        outcomes: Counter[str] = sum((hammer.end() for hammer in hammers), Counter())
        print(outcomes)
        assert outcomes["200 OK"] > 100
        assert set(outcomes) <= {"200 OK", "200 RETRY", "closed while kept"}
        assert outcomes["closed while kept"] <= len(hammers)


def test_a_result_that_is_half_sent_when_its_gateway_is_replaced_is_counted(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, job.job_id, "before")
        device = Device(running.devices_url, "slow")
        task = eventually("a task", lambda: offered(device.task(job.job_id)))
        update = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * SIZE}, "count": 1}, "meta": {}}
        report = {"task_id": task["task_id"], "task_name": "train", "status": "OK", "result": update}
        body = json.dumps({"job_id": job.job_id, "device_info": {"device_id": "slow"}, "user_info": {}, **report})
        connection = http.client.HTTPConnection(urlsplit(running.devices_url).netloc, timeout=10)
        connection.putrequest("POST", "/result")
        for name, value in (("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            connection.putheader(name, value)
        connection.putheader("X-Flare-Device-ID", "slow")
        connection.endheaders(body[:20].encode())
        running.process.send_signal(signal.SIGUSR1)
        running.wait_line("every gateway has been replaced")
        eventually("the next gateway answers", lambda: device.task(job.job_id)["status"] != "RETRY")
        assert numbers(running) == {"0", "1"}  # the old one waits for the rest
        connection.send(body[20:].encode())
        answer = connection.getresponse()
        assert json.loads(answer.read())["counted"] is True
        assert answer.headers["Connection"] == "close"
        connection.close()
        eventually("the old one has ended", lambda: numbers(running) == {"1"})


def offered(task: dict[str, Any]) -> dict[str, Any]:
    return task if task["status"] == "OK" else {}


def numbers(running: Server) -> set[str]:
    """The gateways that run."""
    table = processes()
    found = (
        re.search(r"gateway\.process --number (\d+)", table.get(pid, (0, ""))[1]) for pid in descendants(running.pid)
    )
    return {number[1] for number in found if number is not None}
