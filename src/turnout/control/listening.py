"""Control's HTTP server: uvicorn's, with bounds on what somebody without a token can hold.

uvicorn gives a silent connection all the time in the world and, by its own bound on connections, shuts everybody out
when there are many. ``crowd.py`` says who has to go; heads of more than ``HEAD_BYTES_MAX`` are refused by h11.
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from turnout.control.crowd import ACCEPTED_PER_TURN, Crowd
from turnout.control.failures import peer_of

HEAD_BYTES_MAX = 16 << 10
SWEEP_S = 1.0
BACKLOG = 4096  #: Connections that wait to be accepted; the system lowers it to its own bound.
SHUTDOWN_GRACE_S = 2  #: How long open API requests may take to end.
_ADMIT = "admit"  #: Where a request's state has what says that it has shown a good token.


class _Connection(H11Protocol):
    """One connection, whose progress is told to the crowd."""

    def __init__(self, crowd: Crowd, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._crowd = crowd
        self.app_state = {**self.app_state, _ADMIT: partial(crowd.admitted, self)}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer = peer_of(self.client[0]) if self.client else ""
        drop(self._crowd.arrived(self, peer, self.loop.time()))

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._crowd.asked(self, self.loop.time())

    def on_response_complete(self) -> None:
        self._crowd.answered(self, self.loop.time())
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.left(self)
        super().connection_lost(exc)


def drop(connections: list[Any]) -> None:
    """Close them at once, whatever they still had to read."""
    for connection in connections:
        connection.transport.abort()


def admit(request: Request) -> None:
    """This request has shown a token that may do what it asks: it may take its time."""
    admitted: Callable[[], None] = getattr(request.state, _ADMIT, lambda: None)  # other servers have no crowd
    admitted()


class _Server(uvicorn.Server):
    """Accepts few connections in one turn of the loop, and lets many wait in the system's queue meanwhile.

    asyncio has one number for both.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(BACKLOG)


def make_server(app: ASGIApp) -> tuple[uvicorn.Server, Crowd]:
    """A server for an app, and its crowd, which ``sweep`` has to keep in order."""
    crowd = Crowd()
    config = uvicorn.Config(
        app,
        http=partial(_Connection, crowd),  # type: ignore[arg-type]
        backlog=ACCEPTED_PER_TURN,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        log_level="error",  # a malformed request is its sender's business
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,  # who connects is whom failures are counted of, whatever they say
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
    )
    return _Server(config), crowd


async def sweep(crowd: Crowd) -> None:
    """Close what took too long, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SWEEP_S)
        drop(crowd.late(loop.time()))
