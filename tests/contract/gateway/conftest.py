"""A gateway behind a real socket, whatever its shell: the suite knows it only by its address."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.unit.gateway.fakes import Answered, FakeDispatcher, schema_of
from turnout.gateway.admission import GatewayLimits
from turnout.gateway.blobs import FindFile
from turnout.gateway.http import GatewayServer

WAIT_S = 20.0  #: A test that waits longer has failed.


class Shell(Protocol):
    """What a shell around the core must let the suite do."""

    async def close(self) -> None: ...


async def _start_http(
    dispatcher: FakeDispatcher,
    find: FindFile,
    limits: GatewayLimits,
    listening: socket.socket,
) -> Shell:
    server = GatewayServer(dispatcher, schema_of, find, job_count=lambda: 2, limits=limits)
    await server.start([listening])
    return server


SHELLS = {"http": _start_http}


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: their transports differ in what they forgive."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Device:
    """One connection from a device's side, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes, *, head: bool = False) -> Answered:
        self.writer.write(request)
        return await self.reply(head=head)

    async def reply(self, *, head: bool = False) -> Answered:
        """The next reply; ``head`` when it has no body whatever its headers say."""
        async with asyncio.timeout(WAIT_S):
            text = (await self.reader.readuntil(b"\r\n\r\n")).decode("ascii")
            first, *lines = text.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            length = 0 if head else int(headers.get("content-length", 0))
            return Answered(int(first.split(" ")[1]), headers, await self.reader.readexactly(length))

    async def send_for_ever(self) -> None:
        """Until somebody stops it."""
        async with asyncio.timeout(WAIT_S):
            while True:
                self.writer.write(b" " * 65536)
                await self.writer.drain()
                await asyncio.sleep(0)

    async def wait_closed(self) -> bytes:
        """What still comes before the gateway closes."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.read()


@dataclass
class World:
    """A running gateway, the dispatcher behind it, and a folder of models."""

    dispatcher: FakeDispatcher
    folder: Path
    port: int
    shell: Shell
    devices: list[Device]
    asked: asyncio.Event

    async def connect(self) -> Device:
        device = Device(*await asyncio.open_connection("127.0.0.1", self.port))
        self.devices.append(device)
        return device

    async def ask(self, request: bytes) -> Answered:
        """One request on a connection of its own."""
        return await (await self.connect()).ask(request)

    async def wait_asked(self) -> None:
        """Until the dispatcher has been asked something."""
        async with asyncio.timeout(WAIT_S):
            await self.asked.wait()

    def put(self, data: bytes) -> str:
        """A model of a job, by its sha256."""
        sha256 = hashlib.sha256(data).hexdigest()
        (self.folder / sha256).write_bytes(data)
        return sha256


@asynccontextmanager
async def _serving(shell: str, folder: Path, limits: GatewayLimits) -> AsyncIterator[World]:
    async def find(job_id: str, sha256: str) -> Path:
        path = folder / sha256
        if job_id != "small" or not path.exists():
            raise FileNotFoundError(sha256)
        return path

    dispatcher = FakeDispatcher()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    running = await SHELLS[shell](dispatcher, find, limits, listening)
    asked = asyncio.Event()
    dispatcher.when_asked = asked.set
    world = World(dispatcher, folder, port, running, [], asked)
    try:
        yield world
    finally:
        for device in world.devices:
            device.writer.close()
        await running.close()


@pytest.fixture
def limits() -> GatewayLimits:
    """The defaults."""
    return GatewayLimits()


@pytest.fixture(params=SHELLS)
async def world(request: pytest.FixtureRequest, tmp_path: Path, limits: GatewayLimits) -> AsyncIterator[World]:
    """A running gateway; a test gives it other limits by its parameter ``limits``."""
    async with _serving(request.param, tmp_path, limits) as world:
        yield world
