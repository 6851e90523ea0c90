"""One connection of a device: the socket around ``Http1``, as asyncio has it."""

import asyncio
from collections.abc import Callable
from typing import cast

from turnout.gateway.calls import busy
from turnout.gateway.http1.protocol import WRITING, End, Http1
from turnout.gateway.http1.shared import Shared


class Connection(asyncio.Protocol):
    """Moves bytes between a transport and ``Http1``, and reads as fast as that says."""

    __slots__ = ("_connections", "_emptied", "_ended", "_http", "_reading", "_shared", "_transport")

    def __init__(self, shared: Shared, connections: "set[Connection]", emptied: Callable[[], None]) -> None:
        """``connections`` has all that are open; ``emptied`` is called when none is left."""
        self._shared = shared
        self._connections = connections
        self._emptied = emptied
        self._http = Http1(shared, self.flush)
        self._transport: asyncio.Transport
        self._reading = True
        self._ended: End | None = None  # what has been done about the end

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._connections.add(self)
        site = self._shared.site
        open_now = site.counters.connections = len(self._connections)
        limits = site.limits
        if open_now > limits.connections_max + limits.connections_spare:
            site.counters.refuse("connections")
            self.abort()
        elif open_now > limits.connections_max:
            wait_s = limits.retry_after_s
            self._http.refuse(busy("connections", "too many connections; try again later", wait_s))

    def data_received(self, data: bytes) -> None:
        http = self._http
        http.receive_data(data)
        if http.moved:
            self.flush()

    def eof_received(self) -> bool:
        stays = self._http.receive_eof()
        self.flush()
        return stays

    def pause_writing(self) -> None:
        self._http.pause_writing(self._transport.get_write_buffer_size())
        self._steer()

    def resume_writing(self) -> None:
        self._http.resume_writing()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._http.lose()
        self._connections.discard(self)
        self._shared.site.counters.connections = len(self._connections)
        if not self._connections:
            self._emptied()

    # --- what the server does ---

    def sweep(self, now: float) -> None:
        """Act on what has taken too long."""
        http = self._http
        http.sweep(now, self._transport.get_write_buffer_size() if http.paused & WRITING else 0)
        if http.moved:
            self.flush()

    def drain(self) -> None:
        """Close as soon as nothing is being asked; the next reply is the last."""
        self._http.drain()
        self.flush()

    def abort(self) -> None:
        """Close now, without sending what is left."""
        self._http.lost = True
        self._transport.abort()

    def flush(self) -> None:
        """Write what is there, and read, or end, as ``Http1`` says."""
        http, transport = self._http, self._transport
        http.moved = False
        if not transport.is_closing():
            sender = http.sender
            while (piece := http.data_to_send()) is not None:
                transport.write(piece)
                if self._reading and not (sender.queue or sender.last or http.paused or http.backlog):
                    return  # most often: the only reply of a connection that stays
        if http.end is not self._ended:
            self._end(http.end)
        self._steer()

    # --- within ---

    def _steer(self) -> None:
        reading = not self._http.paused
        if reading is not self._reading and not self._transport.is_closing():
            self._reading = reading
            if reading:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _end(self, end: End | None) -> None:
        self._ended = end
        if end is End.ABORT:
            self._transport.abort()
        elif self._transport.is_closing():
            return
        elif end is End.LINGER and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()
