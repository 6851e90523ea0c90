"""What was called otherwise in 0.1 still answers, and warns."""

import json
from typing import cast

import msgspec
import pytest

from turnout.api.running import Run
from turnout.api.server import RemoteJob
from turnout.api.watch import Watch
from turnout.client.client import ControlClient
from turnout.client.view import JobState, JobView

VIEW = JobView("digits-1", "digits", JobState.RUNNING, 1.0)


class Cancelled:
    """Counts how often it is cancelled, as a watch or as a client."""

    url = "http://127.0.0.1:8711"

    def __init__(self) -> None:
        self.times = 0

    def start(self) -> None:
        pass

    def cancel(self, job_id: str = "") -> None:
        self.times += 1


def test_a_run_that_is_stopped_is_cancelled() -> None:
    watch = Cancelled()
    run = Run(cast(Watch, watch))
    with pytest.warns(DeprecationWarning, match=r"Run\.stop is now Run\.cancel"):
        run.stop()
    assert watch.times == 1


def test_a_remote_job_that_is_aborted_is_cancelled() -> None:
    client = Cancelled()
    with pytest.warns(DeprecationWarning, match=r"RemoteJob\.abort is now RemoteJob\.cancel"):
        RemoteJob(cast(ControlClient, client), VIEW).abort()
    assert client.times == 1


def test_an_aborted_job_of_an_older_server_has_failed() -> None:
    answer = json.dumps({**json.loads(msgspec.json.encode(VIEW)), "state": "aborted"})
    assert msgspec.json.decode(answer, type=JobView).state is JobState.FAILED
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(answer.replace("aborted", "lost"), type=JobView)
