"""A transport that only remembers: the test is the job at its other end."""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    JobLaunched,
    ModelSchema,
    ResultReport,
    RunningJob,
    TaskRequest,
    TensorSpec,
    Topic,
)
from turnout.transport.base import Inbox

DEVICE = DeviceInfo("device-1")
SCHEMA = ModelSchema((TensorSpec("w", (2,)),))


class Wires:
    """Takes everything that is sent to a connected job, unless it is ``full``."""

    def __init__(self) -> None:
        self.inbox: Inbox
        self.sent: list[tuple[str, int, Topic, bytes]] = []
        self.opened: dict[str, RunningJob] = {}
        self.up: set[str] = set()
        self.full = False

    def attach(self, inbox: Inbox) -> None:
        self.inbox = inbox

    def open(self, job: RunningJob) -> None:
        self.opened[job.job_id] = job

    def close(self, job_id: str) -> None:
        self.opened.pop(job_id, None)
        self.lose(job_id)

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        if job_id not in self.up or self.full:
            return False
        self.sent.append((job_id, ticket, topic, payload))
        return True

    def connect(self, job_id: str, incarnation: int = 1) -> None:
        """The job's process answers."""
        self.up.add(job_id)
        self.inbox.connected(job_id, incarnation, SCHEMA)

    def lose(self, job_id: str) -> None:
        """The job's process is gone."""
        if job_id in self.up:
            self.up.remove(job_id)
            self.inbox.lost(job_id, "closed the connection")

    def reply(self, response: Any, at: int = -1) -> None:
        """The job answers one of the requests that were sent, by default the last."""
        self.inbox.replied(self.sent[at][1], msgspec.msgpack.encode(response))


class Answers:
    """Every answer to every submitted request."""

    def __init__(self) -> None:
        self.all: list[list[EdgeResponse]] = []

    def expect(self) -> Callable[[EdgeResponse], None]:
        """The callback for one more request."""
        answers: list[EdgeResponse] = []
        self.all.append(answers)
        return answers.append


class World:
    """A dispatcher on wires, with a clock that the test turns."""

    def __init__(self, limits: DispatcherLimits | None = None, seed: int = 1) -> None:
        self.now = 0.0
        self.wires = Wires()
        self.dispatcher = EdgeTaskDispatcher(JobTable(), self.wires, lambda: self.now, Random(seed), limits)
        self.answers = Answers()

    def launch(self, job_id: str = "job-1", name: str = "mnist", connect: bool = True, **fields: Any) -> RunningJob:
        job = RunningJob(job_id, name, **{"meta": {"edge_method": "cnn"}, "address": f"/run/{job_id}", **fields})
        self.dispatcher.apply(JobLaunched(job))
        if connect:
            self.wires.connect(job_id)
        return job

    def submit(self, request: EdgeRequest) -> list[EdgeResponse]:
        """The list that the request's answers will be in."""
        self.dispatcher.submit(request, self.answers.expect())
        return self.answers.all[-1]

    def answer_now(self, request: EdgeRequest) -> Any:
        """The answer to a request that is answered at once."""
        (response,) = self.submit(request)
        return response

    def tick(self, now: float) -> None:
        self.now = now
        self.dispatcher.tick(now)


def task_request(job_id: str = "job-1", device: DeviceInfo = DEVICE) -> TaskRequest:
    return TaskRequest(device, job_id)


def result_report(job_id: str = "job-1", update: bytes = bytes(8)) -> ResultReport:
    return ResultReport(DEVICE, job_id, "lease-1", "train", memoryview(update))
