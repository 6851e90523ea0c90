"""A gateway behind a real socket, whatever its shell: the suite knows it only by its address.

Shells beside our own are ASGI servers: what is malformed, and who is too slow, is theirs to judge, so that the tests of
these are of our own shell alone.
"""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import granian.server.embed as granian
import pytest
import uvicorn
from granian.constants import Interfaces

from tests.unit.gateway.fakes import Answered, FakeDispatcher, schema_of
from turnout.blobs.cache import SourceOf
from turnout.blobs.place import FolderSource
from turnout.gateway.asgi import AsgiGateway
from turnout.gateway.cors import Origins
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits

WAIT_S = 20.0  #: A test that waits longer has failed.


class Shell(Protocol):
    """What a shell around the core must let the suite do."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Parts:
    """What a gateway is made of."""

    dispatcher: FakeDispatcher
    source_of: SourceOf
    limits: GatewayLimits
    listening: socket.socket

    def server(self) -> GatewayServer:
        origins = Origins([PAGE])
        return GatewayServer(
            self.dispatcher, schema_of, self.source_of, job_count=lambda: 2, limits=self.limits, origins=origins
        )


async def _start_http(parts: Parts) -> Shell:
    server = parts.server()
    await server.start([parts.listening])
    return server


class _Asgi:
    """A gateway in an ASGI server that runs on our loop."""

    def __init__(self, gateway: GatewayServer, serving: Awaitable[object], stop: Callable[[], object]) -> None:
        self._gateway = gateway
        self._serving = asyncio.ensure_future(serving)
        self._stop = stop

    async def close(self) -> None:
        self._stop()
        await self._serving
        await self._gateway.close()


async def _start_uvicorn(parts: Parts) -> Shell:
    gateway = parts.server()
    await gateway.start([])
    app: Any = AsgiGateway(gateway.shared)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", ws="none"))
    return _Asgi(gateway, server.serve([parts.listening]), lambda: setattr(server, "should_exit", True))


async def _start_granian(parts: Parts) -> Shell:
    gateway = parts.server()
    await gateway.start([])
    port = parts.listening.getsockname()[1]
    parts.listening.close()  # it takes no socket that is open already
    server = granian.Server(
        AsgiGateway(gateway.shared),
        port=port,
        interface=Interfaces.ASGINL,
        log_enabled=False,
        websockets=False,
        backpressure=1024,  # requests at once; the others wait
    )
    return _Asgi(gateway, server.serve(), server.stop)


SHELLS = {"http": _start_http, "uvicorn": _start_uvicorn, "granian": _start_granian}
PAGE = "https://page.example"  #: It may use the gateway.


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
        (self.folder / f"{sha256}.safetensors").write_bytes(data)
        return sha256


@asynccontextmanager
async def _serving(shell: str, folder: Path, limits: GatewayLimits) -> AsyncIterator[World]:
    def source_of(job_id: str) -> FolderSource | None:
        return FolderSource(str(folder)) if job_id == "small" else None

    dispatcher = FakeDispatcher()
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    running = await SHELLS[shell](Parts(dispatcher, source_of, limits, listening))
    await _wait_listening(port)
    asked = asyncio.Event()
    dispatcher.when_asked = asked.set
    world = World(dispatcher, folder, port, running, [], asked)
    try:
        yield world
    finally:
        for device in world.devices:
            device.writer.close()
        await running.close()


async def _wait_listening(port: int) -> None:
    """Until it accepts connections: who opens its socket itself does so later."""
    async with asyncio.timeout(WAIT_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0)
            else:
                writer.close()
                return


@pytest.fixture
def limits() -> GatewayLimits:
    """The defaults."""
    return GatewayLimits()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test runs on every shell; a module that concerns some of them names these in ``ONLY``, a test by itself."""
    named = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "shell" in metafunc.fixturenames and "shell" not in named:
        metafunc.parametrize("shell", getattr(metafunc.module, "ONLY", tuple(SHELLS)))


@pytest.fixture
async def world(shell: str, tmp_path: Path, limits: GatewayLimits) -> AsyncIterator[World]:
    """A running gateway; a test gives it other limits by its parameter ``limits``."""
    async with _serving(shell, tmp_path, limits) as world:
        yield world
