"""What the tests against FLARE's clients share: a gateway whose jobs answer as told."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from tests.contract.gateway.conftest import Device
from tests.unit.gateway.fakes import Answered, FakeDispatcher, schema_of
from turnout.gateway.http1.server import GatewayServer


@dataclass(slots=True)
class World:
    """A gateway behind a real socket, and the dispatcher behind it."""

    dispatcher: FakeDispatcher
    port: int
    _devices: list[Device] = field(default_factory=list)

    async def connect(self) -> Device:
        device = Device(*await asyncio.open_connection("127.0.0.1", self.port))
        self._devices.append(device)
        return device

    async def ask(self, request: bytes) -> Answered:
        """One request on a connection of its own."""
        return await (await self.connect()).ask(request)

    def hang_up(self) -> None:
        for device in self._devices:
            device.writer.close()


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough here: the gateway's own suite runs on both."""
    return "asyncio"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A running gateway."""

    listening = socket.create_server(("127.0.0.1", 0))
    world = World(FakeDispatcher(), listening.getsockname()[1])
    server = GatewayServer(world.dispatcher, schema_of, lambda job_id: None, job_count=lambda: 2)
    await server.start([listening])
    try:
        yield world
    finally:
        world.hang_up()
        await server.close()
