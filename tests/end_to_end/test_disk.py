"""A job whose disk takes nothing: nobody is acknowledged, people see why, and it goes on when there is space."""

import resource
from pathlib import Path

from tests.end_to_end.device import Device, job_folder
from tests.end_to_end.server import Server, eventually, server
from tests.end_to_end.test_server import state_of, train, work
from turnout.control.store import JobState
from turnout.messages import JobStatus


def limit_file_size(pid: int, num_bytes: int) -> None:
    """Writes beyond this fail in that process, as they do on a full disk."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (num_bytes, hard))


def status(running: Server, job_id: str) -> JobStatus:
    found = running.client.job(job_id).status
    assert found is not None
    return found


def test_a_full_disk_acknowledges_nobody_and_all_goes_on_when_there_is_space(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=10))
        counted = train(running, 2, job.job_id)
        pid = running.child("turnout.job.process")
        device = Device(running.devices_url, "patient")
        task = device.task(job.job_id)
        assert task["status"] == "OK"

        limit_file_size(pid, 4096)
        refused = device.result(job.job_id, task["task_id"])
        assert (refused["status"], refused["counted"]) == ("RETRY", False)
        full = status(running, job.job_id)
        assert full.state == "FULL"
        assert full.waiting_for.startswith("the disk, so that no result is acknowledged: ")
        assert full.counted == counted
        assert not work(Device(running.devices_url, "other")), "no work is given that cannot be saved"

        limit_file_size(pid, resource.RLIM_INFINITY)
        eventually("it saves again", lambda: status(running, job.job_id).state == "OPEN")
        assert device.result(job.job_id, task["task_id"])["counted"]
        counted += 1 + train(running, 10, job.job_id)
        eventually("completed", lambda: state_of(running, job.job_id) is JobState.COMPLETED)
        assert status(running, job.job_id).counted == counted
