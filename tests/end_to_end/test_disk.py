"""A job whose disk takes nothing: nobody is acknowledged, people see why, and it goes on when there is space."""

import os
import resource
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.end_to_end.device import Device, job_folder
from tests.end_to_end.server import Server, eventually, server
from tests.end_to_end.test_server import state_of, train, work
from turnout.client.view import JobState
from turnout.messages import JobStatus

pytestmark = pytest.mark.slow


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


def test_a_job_that_finds_the_disk_full_at_each_start_is_never_given_up(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        counted = train(running, 2, job.job_id)
        device = Device(running.devices_url, "patient")
        task = device.task(job.job_id)
        limit_file_size(running.pid, 4096)  # whoever it starts from now on inherits this
        os.kill(running.child("turnout.job.process"), signal.SIGKILL)
        eventually("it cannot run", lambda: cannot_run(running) >= 2)
        eventually("with the kill, as many failures as end a job", lambda: cannot_run(running) >= 4)
        view = running.client.job(job.job_id)
        assert view.state is JobState.RUNNING
        assert "cannot start: " in view.reason
        assert (view.fresh, device.result(job.job_id, task["task_id"])["status"]) == (False, "RETRY")

        limit_file_size(running.pid, resource.RLIM_INFINITY)
        eventually("it runs again", lambda: running.client.job(job.job_id).fresh)
        eventually("its result counts", lambda: device.result(job.job_id, task["task_id"])["counted"])
        assert running.client.job(job.job_id).reason == ""
        assert status(running, job.job_id).counted == counted + 1


def cannot_run(running: Server) -> int:
    """How many times the supervisor has said so."""
    return sum("cannot run for now" in line for line in running.lines)


def test_a_job_that_failed_continues_once_its_journal_can_be_read_again(tmp_path: Path) -> None:
    with server(tmp_path / "data") as running:
        job = running.client.submit(job_folder(tmp_path / "job", versions=1000))
        counted = train(running, 2, job.job_id)
        pid = running.child("turnout.job.process")
        os.kill(pid, signal.SIGSTOP)
        schema = set_schema(tmp_path / "data" / "jobs" / job.job_id / "journal.sqlite", 99)
        os.kill(pid, signal.SIGKILL)
        eventually("failed", lambda: state_of(running, job.job_id) is JobState.FAILED)
        reason = running.client.job(job.job_id).reason
        assert reason.endswith(f"update turnout, then start the job again with: turnout start {job.job_id}")

        set_schema(tmp_path / "data" / "jobs" / job.job_id / "journal.sqlite", schema)
        assert running.client.start(job.job_id).state is JobState.RUNNING
        eventually("it runs again", lambda: running.client.job(job.job_id).fresh)
        assert status(running, job.job_id).counted == counted
        device = Device(running.devices_url, "late")
        eventually("a result counts", lambda: work(device))
        assert status(running, job.job_id).counted == counted + 1


def set_schema(journal: Path, number: int) -> int:
    """What a newer turnout would do to it; the number before."""
    with closing(sqlite3.connect(journal, isolation_level=None)) as db:
        (before,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {number}")
    return int(before)
