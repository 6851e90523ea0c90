"""Between processes: frames over Unix sockets or TCP, whichever the address of a job says.

``SocketTransport`` is the gateway's end, ``SocketJobServer`` the job's.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from turnout.errors import ServerError
from turnout.messages import ModelSchema, RunningJob, Topic
from turnout.transport.address import Address, TcpAddress, UnixAddress, parse_address
from turnout.transport.base import Inbox, JobHandler
from turnout.transport.connection import Connection, ConnectionLimits, Decode, hand_over
from turnout.transport.listening import Listening
from turnout.wire import frames
from turnout.wire.frames import Hello, Received

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 5.0
#: The wait before a lost connection is tried again doubles from MIN to MAX, each time a random half to all of it. A
#: try on a machine's own sockets costs microseconds, and a restarted job should be found at once.
RECONNECT_MIN_S: Final = 0.02
RECONNECT_MAX_S: Final = 0.1
#: How long a job that ends waits for its gateways to read their last replies.
CLOSE_TIMEOUT_S: Final = 2.0


async def _connect(address: Address, protocol: Connection) -> None:
    """Raises OSError."""
    loop = asyncio.get_running_loop()
    match address:
        case UnixAddress(path):
            await loop.create_unix_connection(lambda: protocol, path)
        case TcpAddress(host, port):
            await loop.create_connection(lambda: protocol, host, port)


async def _listen(address: Address, protocol: Callable[[], Connection]) -> tuple[Address, Callable[[], None]]:
    """Where we listen now, and what ends that. Raises ServerError when another process listens there."""
    loop = asyncio.get_running_loop()
    match address:
        case UnixAddress(path):
            listening = Listening(path, lambda sock: loop.create_unix_server(protocol, sock=sock))
            await listening.start()
            keeping = loop.create_task(listening.keep(), name=f"keeps {path}")

            def close() -> None:
                keeping.cancel()
                listening.close()

            return address, close
        case TcpAddress(host, port):
            sock = socket.create_server((host, port))
            server = await loop.create_server(protocol, sock=sock)
            return TcpAddress(host, sock.getsockname()[1]), server.close


class _Link:
    """A gateway's connection to one job, made again and again until it is closed."""

    def __init__(self, job: RunningJob, inbox: Inbox, limits: ConnectionLimits, rng: Random) -> None:
        self.job = job
        self.hello = Hello(frames.PROTOCOL_VERSION, job.job_id)
        self.peer = f'job "{job.job_id}"'
        self.sends = frames.REQUESTS
        self.decode: Decode = frames.decode_replies
        self.connection: Connection | None = None
        self._address = parse_address(job.address)
        self.remote = isinstance(self._address, TcpAddress)
        self._inbox = inbox
        self._limits = limits
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._began = False  # in the present attempt
        self._logged = ""
        self._task = self._loop.create_task(self._keep_connected(), name=f"link to {self.peer}")

    def close(self) -> None:
        """Forget the job; what was unanswered is reported as lost before this returns."""
        self._task.cancel()
        self._logged = "closed"  # by us: nothing to tell
        if self.connection is not None:
            self.connection.end("closed")

    async def _keep_connected(self) -> None:
        wait_s = RECONNECT_MIN_S
        while True:
            self._began = False
            await self._connect_once()
            if self._began:
                wait_s = RECONNECT_MIN_S
            await asyncio.sleep(wait_s * self._rng.uniform(0.5, 1.0))
            wait_s = min(2 * wait_s, RECONNECT_MAX_S)

    async def _connect_once(self) -> None:
        """Connect, and return when that connection is over."""
        self._over = self._loop.create_future()
        self.connection = Connection(self, self._limits)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await _connect(self._address, self.connection)
        except (OSError, TimeoutError) as error:  # not listening yet, or no more
            logger.debug("%s at %s: %s", self.peer, self._address, error)
            return
        await self._over

    # --- Side ---------------------------------------------------------------------------------------------------

    def check(self, hello: Hello) -> None:
        if hello.job_id != self.job.job_id:
            raise ServerError(f'{self.peer} was expected at {self._address}, but job "{hello.job_id}" answers there')
        if hello.schema is None:
            raise ServerError(f"{self.peer} said hello without the schema of its model")

    def began(self, hello: Hello) -> None:
        assert hello.schema is not None
        self._began = True
        self._logged = ""
        self._inbox.connected(self.job.job_id, hello.incarnation, hello.schema)

    def received(self, items: list[Received]) -> None:
        for ticket, outcome, payload in items:
            if outcome == frames.ANSWERED:
                self._inbox.replied(ticket, payload)
            else:
                self._inbox.failed(ticket, str(payload, "utf-8", "replace"))

    def ended(self, reason: str, began: bool) -> None:
        if reason != self._logged:
            self._logged = reason
            logger.log(logging.INFO if began else logging.WARNING, "%s: %s", self.peer, reason)
        if not self._over.done():
            self._over.set_result(None)
        if began:
            self._inbox.lost(self.job.job_id, reason)


class SocketTransport:
    """The gateway's end: one connection to each job's process."""

    def __init__(self, rng: Random | None = None, limits: ConnectionLimits | None = None) -> None:
        self._rng = rng or Random()
        self._limits = limits or ConnectionLimits()
        self._inbox: Inbox | None = None
        self._links: dict[str, _Link] = {}

    def attach(self, inbox: Inbox) -> None:
        """Deliver to ``inbox``."""
        self._inbox = inbox

    def open(self, job: RunningJob) -> None:
        """Keep a connection to the job's process. Raises ServerError when its address is none."""
        assert self._inbox is not None, "attach before open"
        link = self._links.get(job.job_id)
        if link is not None and link.job.address == job.address:
            link.job = job
            return
        self.close(job.job_id)
        self._links[job.job_id] = _Link(job, self._inbox, self._limits, self._rng)

    def close(self, job_id: str) -> None:
        """Forget a job."""
        link = self._links.pop(job_id, None)
        if link is not None:
            link.close()

    def close_all(self) -> None:
        """Forget every job; for the end of the process."""
        for job_id in list(self._links):
            self.close(job_id)

    def send(self, job_id: str, ticket: int, topic: Topic, payload: bytes) -> bool:
        """Put one request into this tick's frame. False when the job is not connected or its queue is full."""
        link = self._links.get(job_id)
        if link is None or link.connection is None:
            return False
        return link.connection.send(ticket, frames.TOPIC_CODES[topic], payload)


@dataclass(slots=True, eq=False)
class _Reply:
    """Answers one request of one gateway; does nothing once that gateway is gone."""

    connection: Connection
    ticket: int

    def __call__(self, payload: bytes, outcome: int = frames.ANSWERED) -> None:
        if len(payload) > frames.PAYLOAD_BYTES_MAX:
            self.fail(f"the reply has {len(payload)} bytes, a frame carries {frames.PAYLOAD_BYTES_MAX}")
        elif not self.connection.send(self.ticket, outcome, payload):
            self.connection.end("a gateway does not read its replies")

    def fail(self, reason: str) -> None:
        self(reason.encode(), frames.FAILED)


class _Visit:
    """A job's connection with one gateway."""

    def __init__(self, server: "SocketJobServer", limits: ConnectionLimits) -> None:
        self.hello = server.hello
        self.peer = "a gateway"
        self.sends = frames.REPLIES
        self.decode: Decode = frames.decode_requests
        self.remote = server.remote
        self.connection = Connection(self, limits)
        self._server = server

    # --- Side ---------------------------------------------------------------------------------------------------

    def check(self, hello: Hello) -> None:
        if hello.job_id != self.hello.job_id:
            raise ServerError(f'a gateway asked for job "{hello.job_id}" at the socket of job "{self.hello.job_id}"')

    def began(self, hello: Hello) -> None:
        pass

    def received(self, items: list[Received]) -> None:
        for ticket, code, payload in items:
            hand_over(self._server.handler, frames.TOPICS[code], payload, _Reply(self.connection, ticket))

    def ended(self, reason: str, began: bool) -> None:
        self._server.visit_ended(self, reason, began)


class SocketJobServer:
    """The job's end: listens at ``address`` and hands every gateway's requests to ``handler``."""

    def __init__(
        self,
        address: str,
        job_id: str,
        incarnation: int,
        schema: ModelSchema,
        handler: JobHandler,
        *,
        limits: ConnectionLimits | None = None,
    ) -> None:
        self.hello = Hello(frames.PROTOCOL_VERSION, job_id, incarnation, schema)
        self.handler = handler
        self._address = parse_address(address)
        self._limits = limits or ConnectionLimits()
        self.remote = isinstance(self._address, TcpAddress)
        self._stop_listening: Callable[[], None] = lambda: None
        self._visits: set[_Visit] = set()
        self._empty: asyncio.Event | None = None
        self._logged = ""

    @property
    def address(self) -> str:
        """Where gateways reach this job; with TCP port 0, known after ``start``."""
        return str(self._address)

    async def start(self) -> None:
        """Listen. Raises ServerError when another process already does."""
        self._address, self._stop_listening = await _listen(self._address, self._visit)

    async def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """Listen no more, send what was answered, end. A gateway that does not read is left after ``timeout_s``."""
        self._stop_listening()
        self._empty = asyncio.Event()
        for visit in list(self._visits):
            visit.connection.close()
        if self._visits:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._empty.wait()
            except TimeoutError:
                self.abort()

    def abort(self) -> None:
        """End every connection at once, as a crash would."""
        self._stop_listening()
        for visit in list(self._visits):
            visit.connection.end("aborted")

    def visit_ended(self, visit: _Visit, reason: str, began: bool) -> None:
        """One gateway's connection is over."""
        self._visits.discard(visit)
        if not began and reason != self._logged:
            self._logged = reason
            logger.warning("refused: %s", reason)
        if self._empty is not None and not self._visits:
            self._empty.set()

    def _visit(self) -> Connection:
        visit = _Visit(self, self._limits)
        self._visits.add(visit)
        return visit.connection
