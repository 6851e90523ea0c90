"""The wires of the simulated world: between device and gateway anything may happen, between gateway and job only loss
of the whole connection, as with a Unix socket."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

from turnout.messages import ModelSchema, RunningJob, Topic
from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Weather
from turnout.transport.base import Inbox, JobHandler


@dataclass(slots=True)
class Air:
    """Between devices and gateways: messages are lost, doubled and delayed each by itself, so they overtake."""

    loop: VirtualLoop
    rng: Random
    weather: Weather

    def carry(self, deliver: Callable[[], None]) -> None:
        copies = 2 if self.rng.random() < self.weather.doubled else 1
        for _ in range(copies):
            if self.rng.random() >= self.weather.lost:
                self.loop.after(self.rng.expovariate(1 / self.weather.delay_s), deliver)


class Host(Protocol):
    """A job's process, as a transport reaches it."""

    generation: int
    schema: ModelSchema

    @property
    def handler(self) -> JobHandler | None:
        """None while the process is down."""


@dataclass(slots=True)
class _Link:
    """One connection: in order, and all or nothing."""

    generation: int
    free_at: float = 0.0  # nothing on it arrives before what was sent earlier
    up: bool = True


@dataclass(slots=True)
class SimTransport:
    """A gateway's transport to the one simulated job."""

    loop: VirtualLoop
    rng: Random
    weather: Weather
    host: Host
    _inbox: Inbox | None = None
    _job_id: str = ""
    _link: _Link | None = None
    _answered: set[int] = field(default_factory=set)

    def attach(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def open(self, job: RunningJob) -> None:
        if self._job_id != job.job_id:
            self._job_id = job.job_id
            self.job_started()

    def close(self, job_id: str) -> None:
        self.job_died()
        self._job_id = ""

    def job_started(self) -> None:
        """The world says: the job's process listens."""
        if self.host.handler is None or not self._job_id or self._inbox is None:
            return
        link = self._link = _Link(self.host.generation)
        inbox = self._inbox
        self._on(link, lambda: inbox.connected(self._job_id, link.generation, self.host.schema))

    def job_died(self) -> None:
        """The connection breaks; what is on it arrives no more."""
        link, inbox = self._link, self._inbox
        self._link = None
        if link is None or inbox is None:
            return
        link.up = False
        self.loop.after(self._delay(), lambda: inbox.lost(self._job_id, "the process died"))

    def gateway_died(self) -> None:
        if self._link is not None:
            self._link.up = False
        self._inbox = None

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        link, handler = self._link, self.host.handler
        if link is None:
            return False
        if handler is not None:
            reply = SimReply(self, link, ticket)
            self._on(link, lambda: handler.received(topic, memoryview(payload), reply))
        return True

    async def blob(self, job_id: str, sha256: str) -> Path:
        raise FileNotFoundError(sha256)

    def deliver(self, link: _Link, what: Callable[[Inbox], None]) -> None:
        inbox = self._inbox
        if inbox is not None:
            self._on(link, lambda: what(inbox))

    def _on(self, link: _Link, act: Callable[[], None]) -> None:
        link.free_at = max(link.free_at, self.loop.now + self._delay())
        self.loop.at(link.free_at, lambda: act() if link.up else None)

    def _delay(self) -> float:
        return self.rng.expovariate(1 / self.weather.hop_s)


@dataclass(slots=True)
class SimReply:
    """Answers one request over the link on which it came."""

    transport: SimTransport
    link: _Link
    ticket: int

    def __call__(self, payload: bytes) -> None:
        self.transport.deliver(self.link, lambda inbox: inbox.replied(self.ticket, payload))

    def fail(self, reason: str) -> None:
        self.transport.deliver(self.link, lambda inbox: inbox.failed(self.ticket, reason))
