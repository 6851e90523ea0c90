"""The wires of the simulated world: between device and gateway anything may happen, between gateway and job only loss
of the whole connection, as with a Unix socket."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from turnout.messages import ModelSchema, RunningJob, Topic
from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Weather
from turnout.transport.base import Inbox, Reply


@dataclass(slots=True)
class Air:
    """Between devices and gateways: messages are lost, doubled and delayed each by itself, so they overtake."""

    loop: VirtualLoop
    rng: Random
    weather: Weather

    def carry(self, deliver: Callable[[], None], echoes: bool = False) -> None:
        copies = 2 if self.rng.random() < self.weather.doubled else 1
        for _ in range(copies):
            if self.rng.random() >= self.weather.lost:
                self.loop.after(self.rng.expovariate(1 / self.weather.delay_s), deliver)
        if echoes and self.weather.echoed and self.rng.random() < self.weather.echoed:
            self.loop.after(self.rng.expovariate(1 / self.weather.echo_s), deliver)


class Host(Protocol):
    """One process of a job, as a transport reaches it."""

    incarnation: int
    schema: ModelSchema

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None: ...


class Machine(Protocol):
    """Where a job's process is looked for."""

    @property
    def process(self) -> Host | None:
        """None while it is down."""


@dataclass(slots=True)
class Link:
    """One connection: in order, and all or nothing."""

    host: Host
    free_at: float = 0.0  # nothing on it arrives before what was sent earlier
    up: bool = True


@dataclass(slots=True)
class SimTransport:
    """A gateway's transport to the one simulated job."""

    loop: VirtualLoop
    rng: Random
    weather: Weather
    machine: Machine
    _inbox: Inbox | None = None
    _job_id: str = ""
    link: Link | None = None

    def attach(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def open(self, job: RunningJob) -> None:
        if self._job_id != job.job_id:
            self._job_id = job.job_id
            self.job_started()

    def close(self, job_id: str) -> None:
        if self.link is not None:
            self._lose(self.link, "closed")
        self._job_id = ""

    def job_started(self) -> None:
        """A process of the job listens. Who is connected to an earlier one that still lives may not notice for long."""
        link = self.link
        if link is None:
            self._connect()
        elif link.up and self.rng.random() < 0.5:
            self._lose(link, "another process listens")

    def job_died(self, host: Host) -> None:
        """The connection breaks: what is on it arrives no more, and after a while the gateway notices."""
        link = self.link
        if link is not None and link.host is host:
            link.up = False
            self.loop.after(self._delay(), lambda: self._lose(link, "the process died"))

    def _lose(self, link: Link, reason: str) -> None:
        """Tell the gateway and look for another process."""
        link.up = False
        if link is self.link and self._inbox is not None:
            self.link = None
            self._inbox.lost(self._job_id, reason)
            self._connect()

    def _connect(self) -> None:
        host, inbox = self.machine.process, self._inbox
        if host is not None and self._job_id and inbox is not None:
            link = self.link = Link(host)
            self._on(link, lambda: inbox.connected(self._job_id, host.incarnation, host.schema))

    def gateway_died(self) -> None:
        if self.link is not None:
            self.link.up = False
        self.link = self._inbox = None

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        link = self.link
        if link is None:
            return False
        reply = SimReply(self, link, ticket)
        self._on(link, lambda: link.host.received(topic, memoryview(payload), reply))
        return True

    def deliver(self, link: Link, what: Callable[[Inbox], None]) -> None:
        inbox = self._inbox
        if inbox is not None:
            self._on(link, lambda: what(inbox))

    def _on(self, link: Link, act: Callable[[], None]) -> None:
        link.free_at = max(link.free_at, self.loop.now + self._delay())
        self.loop.at(link.free_at, lambda: act() if link.up else None)

    def _delay(self) -> float:
        return self.rng.expovariate(1 / self.weather.hop_s)


@dataclass(slots=True)
class SimReply:
    """Answers one request over the link on which it came."""

    transport: SimTransport
    link: Link
    ticket: int

    def __call__(self, payload: bytes) -> None:
        self.transport.deliver(self.link, lambda inbox: inbox.replied(self.ticket, payload))

    def fail(self, reason: str) -> None:
        self.transport.deliver(self.link, lambda inbox: inbox.failed(self.ticket, reason))
