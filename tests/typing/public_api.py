"""The public API as a type checker sees it; ``make lint`` reads this file, nothing runs it.

A line that stops to type-check, or whose type becomes Any, is a change that users' own checkers would report.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, assert_type

import numpy as np

import turnout
from turnout.api.models import Model
from turnout.client.view import JobView
from turnout.device import Arrays, Finished
from turnout.messages import JobStatus


class Half:
    """A trainer as a user writes one: no base class, only the method."""

    def train(self, model: Arrays, config: Mapping[str, Any]) -> turnout.Update:
        return turnout.Update({name: value * np.float32(0.5) for name, value in model.items()}, num_examples=1)


def trainer(index: int, devices: int, seed: int) -> turnout.Trainer:
    return Half()


def a_run() -> None:
    job = turnout.Job("digits", {"w": np.zeros(3)}, trainer=trainer, training={"buffer_goal": 2}, stop={"versions": 3})
    assert_type(job.name, str)
    assert_type(job.write("folder"), Path)
    with turnout.run(job, devices=10, seed=1) as run:
        assert_type(run, turnout.Run)
        for event in run:
            assert_type(event, turnout.JobEvent)
        assert_type(run.status, JobStatus | None)
        assert_type(run.metrics, dict[str, float])
        assert_type(run.events, list[turnout.JobEvent])
        assert_type(run.model(), Model)
        assert_type(run.wait(timeout_s=1.0), JobView)


async def a_watched_run(run: turnout.Run) -> None:
    assert_type(aiter(run), AsyncIterator[turnout.JobEvent])


def a_server() -> None:
    server = turnout.connect("http://127.0.0.1:8711", token="turnout_x")
    assert_type(server, turnout.Server)
    job = server.submit("folder")
    assert_type(job, turnout.RemoteJob)
    assert_type(server.jobs(), list[turnout.RemoteJob])
    assert_type(job.wait(), JobView)
    assert_type(job.model("newest"), Model)


async def a_device() -> None:
    assert_type(await turnout.run_device("http://127.0.0.1:8710", "digits", Half(), device_id="camera-17"), Finished)
