"""The gateway's HTTP/1.1 server: sockets, the once-a-second clock, slow decoding, and the graceful end."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from email.utils import formatdate
from time import perf_counter
from typing import Any

import msgspec

from turnout import __version__
from turnout.blobs.cache import Blobs, SourceOf
from turnout.gateway import decode
from turnout.gateway.calls import Kind, Refusal, busy
from turnout.gateway.core import GatewayCore
from turnout.gateway.cors import NO_ORIGINS, Origins
from turnout.gateway.counters import Counters
from turnout.gateway.http1.connection import Connection
from turnout.gateway.http1.reading import HttpReader
from turnout.gateway.http1.shared import Shared
from turnout.gateway.limits import GatewayLimits
from turnout.gateway.site import Dispatcher, Site
from turnout.gateway.weights import Weights, exports_of
from turnout.messages import ModelSchema
from turnout.process.pool import Failure, WorkerFailed, WorkerPool, WorkersBusy

BACKLOG = 4096  #: Connections that the system accepts before we do.

Decoded = Callable[[bytes | Refusal], None]


class GatewayServer:
    """Serves devices on sockets that are bound already, for jobs that ``dispatcher`` reaches.

    ``schema_of`` knows schemas of jobs, ``source_of`` where their models are read; ``job_count`` is for ``/healthz``.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        schema_of: Callable[[str], ModelSchema | None],
        source_of: SourceOf,
        *,
        job_count: Callable[[], int] = lambda: 0,
        limits: GatewayLimits | None = None,
        decoders: int = 1,
        origins: Origins = NO_ORIGINS,
    ) -> None:
        self._limits = limits or GatewayLimits()
        self._loop = asyncio.get_running_loop()
        self._workers = WorkerPool(decode.TARGET, decoders, self._limits.decode_queue_max)
        self._job_count = job_count
        self._connections: set[Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeping: asyncio.TimerHandle | None = None
        self.counters = Counters(self._loop.time(), perf_counter)
        self._emptied = asyncio.Event()  # the last connection is gone
        self._schema_of = schema_of
        self._blobs = blobs = Blobs(source_of, self._limits.blobs_bytes_max, self._limits.loads_max)
        self._exports = exports_of(source_of, self._limits)
        self._weights = Weights(blobs, self._exports, self._workers, self._limits)
        core = GatewayCore(schema_of, self._limits)
        #: What all calls share, by whatever protocol they come; and what those by HTTP share.
        self.site = Site(core, dispatcher, blobs, self._weights, self._decode, self.counters, self._limits)
        self.shared = Shared(self.site, HttpReader(core, self._health, origins))

    async def start(self, sockets: list[socket.socket], tls: ssl.SSLContext | None = None) -> None:
        """Accept connections on these listening sockets, from now on."""
        self._sweep()
        secure: dict[str, Any] = {}
        if tls is not None:
            secure = {
                "ssl": tls,
                "ssl_handshake_timeout": self._limits.head_timeout_s,
                "ssl_shutdown_timeout": self._limits.linger_s,
            }
        for listening in sockets:
            server = await self._loop.create_server(self.connect, sock=listening, backlog=BACKLOG, **secure)
            self._servers.append(server)

    def connect(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self.shared, self._connections, self._emptied.set)

    async def drain(self) -> None:
        """Accept no more, answer what has been asked within ``drain_timeout_s``; idle connections may ask once more.

        For a gateway that has a successor, so there is time. Call ``close`` afterwards.
        """
        self._stop_accepting()
        await asyncio.sleep(self._limits.clock_s)  # what was accepted last may not be among the connections yet
        self._emptied.clear()
        await self._wait_emptied(self._limits.drain_timeout_s)

    async def close(self) -> None:
        """Accept no more, answer what has been asked within ``close_timeout_s``, and close."""
        self._stop_accepting()
        self._emptied.clear()
        for connection in list(self._connections):
            connection.drain()
        await self._wait_emptied(self._limits.close_timeout_s)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for task in self._tasks:
            task.cancel()
        await self._workers.close()

    async def _wait_emptied(self, timeout_s: float) -> None:
        if self._connections:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._emptied.wait()
            except TimeoutError:
                pass

    def _stop_accepting(self) -> None:
        for server in self._servers:
            server.close()
        self.site.draining = True

    def _sweep(self) -> None:
        now = self._loop.time()
        self.shared.set_time(now, formatdate(usegmt=True).encode("ascii"))
        for connection in list(self._connections):
            connection.sweep(now)
        for kept in (self._blobs, self._exports, self._weights, self.counters):
            kept.forget_unless(self._runs)
        self._sweeping = self._loop.call_later(self._limits.clock_s, self._sweep)

    def _runs(self, job_id: str) -> bool:
        return self._schema_of(job_id) is not None

    def _health(self) -> bytes:
        counters = self.counters
        return msgspec.json.encode(
            {
                "status": "draining" if self.site.draining else "ok",
                "version": __version__,
                "jobs": self._job_count(),
                "connections": counters.connections,
                "requests": counters.requests,
                "refused": counters.refused,
                "uptime_s": round(self._loop.time() - counters.started, 3),
            }
        )

    def _decode(self, payload: bytes, done: Decoded) -> None:
        """Have a large JSON result decoded in a worker."""
        task = self._loop.create_task(self._decode_elsewhere(payload, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _decode_elsewhere(self, payload: bytes, done: Decoded) -> None:
        outcome: bytes | Refusal
        wait_s = self._limits.retry_after_s
        try:
            outcome = await self._workers.run(payload)
        except WorkersBusy:
            outcome = busy("decoders_busy", "too many large JSON results at once; send it again later", wait_s)
        except WorkerFailed as error:
            if error.failure is Failure.REFUSED:
                outcome = Refusal(Kind.INVALID, error.reason, str(error))
            else:
                outcome = busy("decoder_failed", "the result could not be decoded now; send it again", wait_s)
        done(outcome)
