"""The same jobs behind every transport: the suite knows them only as a ``World``."""

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Protocol

import pytest

from turnout.messages import ModelSchema, RunningJob, TensorSpec, Topic
from turnout.transport.base import JobHandler, Reply, Transport
from turnout.transport.connection import ConnectionLimits
from turnout.transport.inprocess import InProcessJobs, InProcessTransport
from turnout.transport.sockets import SocketJobServer, SocketTransport

WAIT_S = 10.0  #: A test that waits longer has failed.
QUEUE_BYTES_MAX = 100_000
SCHEMA = ModelSchema((TensorSpec("w", (2,)),))


class Events:
    """An inbox that writes down what it is told, in order."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []
        self._changed = asyncio.Event()

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        assert schema == SCHEMA
        self._add("connected", job_id, incarnation)

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        self._add("replied", ticket, bytes(payload))

    def failed(self, ticket: int, reason: str) -> None:
        self._add("failed", ticket, reason)

    def lost(self, job_id: str, reason: str) -> None:
        self._add("lost", job_id)

    def of(self, what: str) -> list[tuple[object, ...]]:
        """The events of one kind, without their kind."""
        return [event[1:] for event in self.seen if event[0] == what]

    async def wait(self, what: str, count: int = 1) -> list[tuple[object, ...]]:
        """The events of one kind, once there are so many."""
        async with asyncio.timeout(WAIT_S):
            while len(self.of(what)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(what)

    def _add(self, *event: object) -> None:
        self.seen.append(event)
        self._changed.set()


class Job:
    """A job that keeps what it is asked, and answers by ``react`` if there is one."""

    def __init__(self, react: Callable[[bytes, Reply], None] | None = None) -> None:
        self.asked: list[tuple[Topic, bytes, Reply]] = []
        self._react = react
        self._changed = asyncio.Event()

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        self.asked.append((topic, bytes(payload), reply))
        self._changed.set()
        if self._react is not None:
            self._react(bytes(payload), reply)

    async def wait(self, count: int = 1) -> list[tuple[Topic, bytes, Reply]]:
        """What it was asked, once that is so much."""
        async with asyncio.timeout(WAIT_S):
            while len(self.asked) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.asked


def echo(payload: bytes, reply: Reply) -> None:
    reply(b"echo " + payload)


class World(Protocol):
    """A transport, an inbox attached to it, and a way to start and crash jobs at its other end."""

    transport: Transport
    events: Events

    def job(self, job_id: str, blobs: str = "") -> RunningJob: ...
    async def start(self, job: RunningJob, handler: JobHandler, incarnation: int = 1) -> RunningJob: ...
    async def crash(self, job: RunningJob) -> None: ...
    async def close(self) -> None: ...


class InProcessWorld:
    def __init__(self) -> None:
        self.jobs = InProcessJobs()
        self.transport = InProcessTransport(self.jobs, queue_bytes_max=QUEUE_BYTES_MAX)
        self.events = Events()
        self.transport.attach(self.events)
        self._count = 0

    def job(self, job_id: str, blobs: str = "") -> RunningJob:
        self._count += 1
        return RunningJob(job_id, job_id, address=f"place {self._count}", blobs=blobs)

    async def start(self, job: RunningJob, handler: JobHandler, incarnation: int = 1) -> RunningJob:
        self.jobs.serve(job.address, job.job_id, incarnation, SCHEMA, handler)
        return job

    async def crash(self, job: RunningJob) -> None:
        self.jobs.stop(job.address)

    async def close(self) -> None:
        pass


class SocketWorld:
    def __init__(self, folder: Path, tcp: bool) -> None:
        self.transport = SocketTransport(Random(1), ConnectionLimits(queue_bytes_max=QUEUE_BYTES_MAX))
        self.events = Events()
        self.transport.attach(self.events)
        self._folder = folder
        self._tcp = tcp
        self._count = 0
        self._servers: dict[str, SocketJobServer] = {}

    def job(self, job_id: str, blobs: str = "") -> RunningJob:
        self._count += 1
        address = f"tcp://127.0.0.1:{_free_port()}" if self._tcp else str(self._folder / f"{self._count}.sock")
        return RunningJob(job_id, job_id, address=address, blobs=blobs)

    async def start(self, job: RunningJob, handler: JobHandler, incarnation: int = 1) -> RunningJob:
        server = SocketJobServer(job.address, job.job_id, incarnation, SCHEMA, handler)
        await server.start()
        self._servers[job.address] = server
        return job

    async def crash(self, job: RunningJob) -> None:
        self._servers.pop(job.address).abort()

    async def close(self) -> None:
        self.transport.close_all()
        for server in self._servers.values():
            await server.close()


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops that turnout runs on: they differ in when they write, pause and report a loss."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="turnout-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["inprocess", "unix", "tcp"])
async def world(request: pytest.FixtureRequest, short_folder: Path) -> AsyncIterator[World]:
    here: World = (
        InProcessWorld() if request.param == "inprocess" else SocketWorld(short_folder, request.param == "tcp")
    )
    yield here
    await here.close()
