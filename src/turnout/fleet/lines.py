"""Over which connections a fleet's devices talk: over shared ones, or each over one of its own."""

import ssl
from typing import Protocol

from turnout.device.http import DEFAULT_LIMITS, Deadlines, HttpClient, Server
from turnout.fleet.core import SimDevice


class Lines(Protocol):
    """What the fleet needs of either."""

    server: Server

    def of(self, device: SimDevice) -> HttpClient:
        """The client that carries this device's requests."""
        ...

    def ended(self, device: SimDevice) -> None:
        """The device asks nothing any more."""

    @property
    def connections(self) -> int:
        """How many are open."""
        ...


class SharedLines:
    """All devices take turns on the connections of one client."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self.server = http.server

    def of(self, device: SimDevice) -> HttpClient:
        return self._http

    def ended(self, device: SimDevice) -> None:
        pass

    @property
    def connections(self) -> int:
        return self._http.connections


class OwnLines:
    """Each device has a connection of its own from its first request on, which is closed when the device ends."""

    def __init__(self, server: Server, tls: ssl.SSLContext | None) -> None:
        self.server = server
        self._tls = tls
        self._deadlines = Deadlines(server, DEFAULT_LIMITS)
        self._clients: dict[int, HttpClient] = {}

    def of(self, device: SimDevice) -> HttpClient:
        client = self._clients.get(device.index)
        if client is None:
            client = HttpClient(self.server, DEFAULT_LIMITS, self._tls, self._deadlines)
            self._clients[device.index] = client
        return client

    def ended(self, device: SimDevice) -> None:
        client = self._clients.pop(device.index, None)
        if client is not None:
            client.hang_up()

    @property
    def connections(self) -> int:
        return sum(client.connections for client in self._clients.values())

    async def close(self) -> None:
        """Close those of devices that have not ended."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.close()
