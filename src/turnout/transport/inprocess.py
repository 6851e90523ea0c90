"""Between parts of one process: for tests, and for embedding a job where its gateway runs."""

import asyncio
from dataclasses import dataclass

from turnout.messages import ModelSchema, RunningJob, Topic
from turnout.transport.base import Inbox, JobHandler
from turnout.transport.connection import QUEUE_BYTES_MAX, hand_over
from turnout.wire import frames


@dataclass(frozen=True, slots=True, eq=False)
class _Serving:
    """A job as one of its starts."""

    job_id: str
    incarnation: int
    schema: ModelSchema
    handler: JobHandler


class InProcessJobs:
    """The jobs that run in this process, by address; any text is one."""

    def __init__(self) -> None:
        self._serving: dict[str, _Serving] = {}
        self._transports: list[InProcessTransport] = []

    def serve(self, address: str, job_id: str, incarnation: int, schema: ModelSchema, handler: JobHandler) -> None:
        """A job begins to answer at ``address``, in place of whatever did before."""
        self.stop(address)
        self._serving[address] = _Serving(job_id, incarnation, schema, handler)
        for transport in self._transports:
            transport.look(address)

    def stop(self, address: str, reason: str = "stopped") -> None:
        """The job there answers no more; replies that were not delivered are gone, as after a crash."""
        if self._serving.pop(address, None) is not None:
            for transport in self._transports:
                transport.unlink(address, reason)

    def at(self, address: str) -> _Serving | None:
        """What answers at ``address`` now."""
        return self._serving.get(address)

    def join(self, transport: "InProcessTransport") -> None:
        """Tell ``transport`` of every start and stop from now on."""
        self._transports.append(transport)


class _Link:
    """A gateway's connection to one start of a job."""

    def __init__(self, serving: _Serving, inbox: Inbox, queue_bytes_max: int) -> None:
        self.serving = serving
        self._inbox = inbox
        self._loop = asyncio.get_running_loop()
        self._requests = frames.Outbox(queue_bytes_max)
        self._began = False
        self._ended = False
        self._loop.call_soon(self._begin)

    def send(self, ticket: int, topic: Topic, payload: bytes) -> bool:
        idle = not self._requests.bytes
        if not self._began or self._ended or not self._requests.add(ticket, frames.TOPIC_CODES[topic], payload):
            return False
        if idle:
            self._loop.call_soon(self._deliver)
        return True

    def end(self, reason: str) -> None:
        self._ended = True
        self._requests.clear()
        if self._began:
            self._inbox.lost(self.serving.job_id, reason)

    def answer(self, ticket: int, outcome: int, payload: bytes) -> None:
        self._loop.call_soon(self._answered, ticket, outcome, payload)

    def _begin(self) -> None:
        if not self._ended:
            self._began = True
            self._inbox.connected(self.serving.job_id, self.serving.incarnation, self.serving.schema)

    def _deliver(self) -> None:
        while self._requests.bytes:
            for ticket, code, payload in self._requests.take():
                hand_over(self.serving.handler, frames.TOPICS[code], memoryview(payload), _Reply(self, ticket))

    def _answered(self, ticket: int, outcome: int, payload: bytes) -> None:
        if self._ended:
            return
        if outcome == frames.ANSWERED:
            self._inbox.replied(ticket, payload)
        else:
            self._inbox.failed(ticket, payload.decode())


class _Reply:
    """Answers one request; does nothing once the connection is gone."""

    __slots__ = ("_link", "_ticket")

    def __init__(self, link: _Link, ticket: int) -> None:
        self._link = link
        self._ticket = ticket

    def __call__(self, payload: bytes) -> None:
        self._link.answer(self._ticket, frames.ANSWERED, payload)

    def fail(self, reason: str) -> None:
        self._link.answer(self._ticket, frames.FAILED, reason.encode())


class InProcessTransport:
    """A transport to ``jobs`` of the same process, with the same promises as one between processes."""

    def __init__(self, jobs: InProcessJobs, queue_bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._jobs = jobs
        self._queue_bytes_max = queue_bytes_max
        self._inbox: Inbox | None = None
        self._opened: dict[str, RunningJob] = {}
        self._links: dict[str, _Link] = {}
        jobs.join(self)

    def attach(self, inbox: Inbox) -> None:
        """Deliver to ``inbox``."""
        self._inbox = inbox

    def open(self, job: RunningJob) -> None:
        """Connect to a job now or as soon as it is served."""
        known = self._opened.get(job.job_id)
        if known is not None and known.address != job.address:
            self.close(job.job_id)
        self._opened[job.job_id] = job
        self._connect(job)

    def close(self, job_id: str) -> None:
        """Forget a job."""
        self._opened.pop(job_id, None)
        link = self._links.pop(job_id, None)
        if link is not None:
            link.end("closed")

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        """Hand over one request in the next tick. False when the job is not connected or its queue is full."""
        link = self._links.get(job_id)
        return link is not None and link.send(ticket, topic, payload)

    def look(self, address: str) -> None:
        """Something new answers at ``address``."""
        for job in list(self._opened.values()):
            if job.address == address:
                self._connect(job)

    def unlink(self, address: str, reason: str) -> None:
        """Nothing answers at ``address`` any more."""
        for job in list(self._opened.values()):
            if job.address == address and (link := self._links.pop(job.job_id, None)) is not None:
                link.end(reason)

    def _connect(self, job: RunningJob) -> None:
        assert self._inbox is not None, "attach before open"
        serving = self._jobs.at(job.address)
        if serving is not None and serving.job_id == job.job_id and job.job_id not in self._links:
            self._links[job.job_id] = _Link(serving, self._inbox, self._queue_bytes_max)
