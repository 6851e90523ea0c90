"""A whole server as real processes: a job from its submission to its end, and every process killed on the way."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.device import SIZE, Device, job_folder
from tests.end_to_end.server import PATIENCE_S, TURNOUT, Server, descendants, eventually, processes, server
from turnout.client.view import JobState
from turnout.errors import ServerError
from turnout.job.folder.directory import JOURNAL
from turnout.wire.tensors import read_safetensors


def train(running: Server, until_version: int, job_id: str) -> int:
    """Let devices work until the job is at a version or has ended; how many results were counted."""
    counted = 0
    number = 0
    eventually("the job answers", lambda: running.client.job(job_id).fresh)

    def done() -> bool:
        nonlocal counted, number
        number += 1
        counted += work(Device(running.devices_url, f"device-{number}"))
        view = running.client.job(job_id)
        return view.state is not JobState.RUNNING or (view.status is not None and view.status.version >= until_version)

    eventually(f"version {until_version}", done)
    return counted


def work(device: Device) -> bool:
    """One task of one device, if there is one now; whether its result was counted."""
    job = device.job()
    task: dict[str, Any] = device.task(job["job_id"]) if job["status"] == "OK" else job
    if task["status"] != "OK":
        return False
    return bool(device.result(job["job_id"], task["task_id"]).get("counted"))


def state_of(running: Server, job_id: str) -> JobState:
    return running.client.job(job_id).state


def test_a_submitted_job_trains_to_its_end_and_its_model_can_be_downloaded(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=3))
        counted = train(running, 3, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
        version = running.client.model(job.job_id, tmp_path / "model.safetensors")
        model, _ = read_safetensors((tmp_path / "model.safetensors").read_bytes())
        assert counted >= 6
        assert version == 3
        assert model.tolist() == [3.0] * SIZE  # every version adds the mean of its updates, which is 1
        assert Device(running.devices_url, "late").job()["status"] == "NO_JOB"


def test_a_killed_gateway_is_replaced_and_devices_go_on(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=10))
        train(running, 2, job.job_id)
        pid = running.kill("turnout.gateway.process")
        train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
        line = running.wait_line("gateway 0 .*SIGKILL")
        assert line.startswith(f"gateway 0 (pid {pid}) was killed by SIGKILL")
        assert "starting it again in 0.2 s" in line


def test_a_killed_control_finds_its_job_again_and_devices_never_notice(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=10))
        train(running, 2, job.job_id)
        job_pid = running.child("turnout.job.process")
        os.kill(running.child("turnout.control.process"), signal.SIGKILL)
        eventually("a result is counted without control", lambda: work(Device(running.devices_url, "brave")))
        running.wait_line(r"control \(pid \d+\) was killed by SIGKILL")
        eventually("control is back", running.client.healthy)
        assert running.child("turnout.job.process") == job_pid
        train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)


def test_a_killed_job_goes_on_where_it_was(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=10))
        counted = train(running, 2, job.job_id)
        running.kill("turnout.job.process")
        running.wait_line(f"job {job.job_id} .* was killed by SIGKILL")
        running.wait_line(r"goes on at version \d+, commit \d+, with \d results in the buffer; its last process")
        counted += train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
        status = running.client.job(job.job_id).status
        assert status is not None
        assert status.counted == counted == 20, "two a version: none was lost, none counted twice"


def test_a_damaged_journal_ends_the_job_with_the_reason_and_a_backup_lets_it_go_on(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=10))
        train(running, 3, job.job_id)
        assert running.client.backup(job.job_id, tmp_path / "saved") == 3
        train(running, 5, job.job_id)
        with pytest.raises(ServerError, match="turnout cancel"):
            running.client.restore(job.job_id, tmp_path / "saved")

        journal = tmp_path / "data" / "jobs" / job.job_id / JOURNAL
        os.kill(running.child("turnout.job.process"), signal.SIGKILL)
        journal.write_bytes(b"rubbish" * 1000)
        eventually("failed", lambda: state_of(running, job.job_id) is JobState.FAILED)
        reason = running.client.job(job.job_id).reason
        assert f"{journal} is damaged" in reason
        assert "Nothing was trained on top of it. The last good version is 5" in reason
        assert f"turnout restore {job.job_id} FILE" in reason

        assert running.client.restore(job.job_id, tmp_path / "saved").state is JobState.RUNNING
        running.wait_line("goes on at version 3")
        train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)


def test_a_job_whose_disk_is_lost_goes_on_from_its_backup_on_an_empty_one(tmp_path: Path) -> None:
    folder = job_folder(tmp_path / "job", versions=10)
    with server(tmp_path / "lost") as running:
        lost = running.client.submit(folder)
        train(running, 3, lost.job_id)
        assert running.client.backup(lost.job_id, tmp_path / "saved") == 3
        status = running.client.job(lost.job_id).status
        assert status is not None
        saved = status.counted
    shutil.rmtree(tmp_path / "lost")
    with server(tmp_path / "empty") as running:
        job = running.client.submit(folder)
        running.client.cancel(job.job_id)
        eventually("cancelled", lambda: state_of(running, job.job_id) is JobState.CANCELLED)
        assert running.client.restore(job.job_id, tmp_path / "saved").state is JobState.RUNNING
        running.wait_line("goes on at version 3")
        counted = train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
        status = running.client.job(job.job_id).status
        assert status is not None
        assert status.counted == saved + counted == 20, "two a version"
        assert running.client.model(job.job_id, tmp_path / "model") == 10
        assert read_safetensors((tmp_path / "model").read_bytes())[0].tolist() == [10.0] * SIZE


def test_a_job_that_cannot_run_is_given_up_with_the_reason(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=3))
        eventually("it runs", lambda: running.client.job(job.job_id).status)
        (tmp_path / "data" / "jobs" / job.job_id / "folder" / "job.toml").write_text("name = 3")
        running.kill("turnout.job.process")
        starts = 5 * PATIENCE_S
        eventually("failed", lambda: state_of(running, job.job_id) is JobState.FAILED, starts)
        reason = running.client.job(job.job_id).reason
        assert "failed 5 times in a row" in reason
        assert "name" in reason


def test_a_cancelled_job_ends_and_is_no_longer_offered(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, 1, job.job_id)
        running.client.cancel(job.job_id)
        eventually("cancelled", lambda: state_of(running, job.job_id) is JobState.CANCELLED)
        eventually("forgotten", lambda: Device(running.devices_url, "late").job()["status"] == "NO_JOB")
        assert running.client.model(job.job_id, tmp_path / "model.safetensors") >= 1


def count_one(running: Server, job_id: str) -> None:
    """Have one result counted that is half of a version, and nothing else under way."""
    eventually("the job answers", lambda: running.client.job(job_id).fresh)
    eventually("a result is counted", lambda: work(Device(running.devices_url, "half")))


def has_counted_one(running: Server, job_id: str, target: Path) -> None:
    """Assert that what ``count_one`` has counted is in no version, is told, and is used at the next start."""
    eventually("cancelled", lambda: state_of(running, job_id) is JobState.CANCELLED)
    view = running.client.job(job_id)
    assert view.reason == "cancelled by a person; 1 counted result is in no version"
    assert view.status is not None
    assert (view.status.version, view.status.counted, view.status.buffered) == (0, 1, 1)
    running.client.start(job_id)
    eventually("another result is counted", lambda: work(Device(running.devices_url, "other-half")))
    eventually("version 1 is there", lambda: version_of(running, job_id) == 1)
    assert running.client.model(job_id, target) == 1
    assert read_safetensors(target.read_bytes())[0].tolist() == [1.0] * SIZE


def version_of(running: Server, job_id: str) -> int | None:
    status = running.client.job(job_id).status
    return status.version if status else None


def test_what_was_counted_is_kept_for_a_start_of_a_job_killed_just_before_it_is_cancelled(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        count_one(running, job.job_id)
        os.kill(running.child("turnout.job.process"), signal.SIGKILL)
        time.sleep(0.1)
        running.client.cancel(job.job_id)
        has_counted_one(running, job.job_id, tmp_path / "model")


@pytest.mark.parametrize("killed", ["control", "server"])
def test_what_was_counted_is_kept_when_a_cancelled_job_starts_again_whatever_is_killed(
    tmp_path: Path, killed: str
) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        count_one(running, job.job_id)
        os.kill(running.child("turnout.job.process"), signal.SIGSTOP)  # so that it hears of nothing
        running.client.cancel(job.job_id)
        if killed == "control":
            running.kill("turnout.control.process")
            os.kill(running.child("turnout.job.process"), signal.SIGCONT)
            has_counted_one(running, job.job_id, tmp_path / "model")
        else:
            os.kill(running.child("turnout.job.process"), signal.SIGKILL)
            running.process.kill()
            running.process.wait(PATIENCE_S)
    if killed == "server":
        with server(tmp_path / "data") as running:
            has_counted_one(running, job.job_id, tmp_path / "model")


def test_running_jobs_are_started_again_with_the_next_server(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=2))
        eventually("it runs", lambda: running.client.job(job.job_id).status)
    with server(tmp_path / "data") as running:
        train(running, 2, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)


@pytest.mark.parametrize("option", ["--port", "--control-port", "--data"])
def test_a_second_server_is_told_at_once_what_is_in_use(tmp_path: Path, option: str) -> None:
    with server(tmp_path / "data") as running:
        options = {"--port": "0", "--control-port": "0", "--data": str(tmp_path / "other")}
        api_port = running.api_url.rpartition(":")[2]
        taken = {"--port": str(running.port), "--control-port": api_port, "--data": str(tmp_path / "data")}
        options[option] = taken[option]
        second = subprocess.run(
            [*TURNOUT, "up", *(part for pair in options.items() for part in pair)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        assert "in use" in line
        assert option in line
        if option != "--control-port":
            assert f"pid {running.pid}" in line


def test_nothing_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        train(running, 1, job.job_id)
        left = descendants(running.pid)
        assert len(left) >= 3
        running.process.kill()
        running.process.wait(PATIENCE_S)
        eventually("all have ended", lambda: not left & processes().keys())


def test_a_server_can_be_started_again_right_after_it_was_killed(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        port = running.port
        running.process.kill()
        running.process.wait(PATIENCE_S)
    with server(tmp_path / "data", port) as again:
        assert again.port == port
