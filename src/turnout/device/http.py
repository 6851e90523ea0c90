"""A small HTTP/1.1 client on asyncio and httptools: keep-alive, bounded in connections, sizes and time.

One ``HttpClient`` talks to one server. ``submit`` takes a callback and costs no task, which is what a fleet of
thousands needs; ``request`` is the same for those who await. Replies may be sized, chunked, or end with the connection.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from turnout.device.http_connection import Connection, Done, Exchange, HttpFailure
from turnout.errors import TurnoutError, UsageError
from turnout.text.given import check_word
from turnout.wire.edge_replies import HttpReply
from turnout.wire.edge_requests import HttpRequest

TICK_S = 0.1  #: How exactly deadlines are kept.


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """How long and how much a client takes."""

    connections_max: int = 1
    connect_timeout_s: float = 10.0
    idle_timeout_s: float = 20.0  #: Longest time in which not a byte moves. A result may be held 8 s by the server.
    overall_timeout_s: float = 600.0  #: Longest time of one request and its reply, however well it moves.
    reply_bytes_max: int = 8 * 2**20  #: Largest body of a reply, unless a request says otherwise.


DEFAULT_LIMITS = HttpLimits()


@dataclass(frozen=True, slots=True)
class Server:
    """Where to send requests, taken from a URL."""

    host: str
    port: int
    tls: bool
    prefix: str  #: What comes before every path, without a slash at its end.
    authority: str  #: The value of the Host header.

    @classmethod
    def of(cls, url: str) -> "Server":
        """Raises UsageError when ``url`` is not of the form http://host:port/prefix."""
        check_word("the address", url)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not host or parts.query or not url.isascii():
            raise UsageError(f'"{url}" is not a server URL; expected is one like http://127.0.0.1:8710')
        tls = parts.scheme == "https"
        authority = parts.netloc.rpartition("@")[2]
        return cls(host, port or (443 if tls else 80), tls, parts.path.rstrip("/"), authority)


def trust(ca: Path) -> ssl.SSLContext:
    """What checks servers by the authorities in this PEM file, and by no others. Raises TurnoutError."""
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        what = error.strerror if not isinstance(error, ssl.SSLError) else "it holds no certificate in PEM form"
        raise TurnoutError(f"--ca {ca} cannot be read: {what}") from None


class Deadlines:
    """Gives up what does not move: connections that carry a request, and attempts to make one.

    One timer does for any number of clients of one server with the same limits.
    """

    def __init__(self, server: Server, limits: HttpLimits) -> None:
        self._server = server
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._busy: dict[Connection, None] = {}  # in the order of their deadlines
        self._connecting: dict[asyncio.Task[Connection | HttpFailure], float] = {}  # and these
        self._tick: asyncio.TimerHandle | None = None

    def connects(self, task: "asyncio.Task[Connection | HttpFailure]") -> None:
        """This attempt is cancelled, unless it is over in time."""
        self._connecting[task] = self._loop.time() + self._limits.connect_timeout_s
        if self._tick is None:
            self._watch()

    def connected(self, task: "asyncio.Task[Connection | HttpFailure]") -> bool:
        """This attempt is over, well or not; whether that was in time."""
        return self._connecting.pop(task, None) is not None

    def begins(self, connection: Connection, exchange: Exchange) -> None:
        """This connection begins to carry a request."""
        exchange.sent_at = now = self._loop.time()
        exchange.deadline = min(exchange.ends, now + self._limits.idle_timeout_s)
        self._busy[connection] = None
        if self._tick is None:
            self._watch()

    def moved(self, connection: Connection) -> None:
        """Bytes came or went: its deadline moves to the end of the queue."""
        assert connection.exchange is not None
        self._busy.pop(connection)
        self._busy[connection] = None
        connection.exchange.deadline = min(connection.exchange.ends, self._loop.time() + self._limits.idle_timeout_s)

    def ends(self, connection: Connection) -> None:
        """It carries nothing any more."""
        self._busy.pop(connection, None)

    def _watch(self) -> None:
        self._tick = self._loop.call_later(TICK_S, self._expire)

    def _expire(self) -> None:
        now = self._loop.time()
        self._expire_attempts(now)
        while self._busy:
            connection = next(iter(self._busy))
            exchange = connection.exchange
            assert exchange is not None
            if exchange.deadline > now:
                break
            if now < exchange.ends and connection.is_sending():
                self.moved(connection)
                continue
            waited_s = self._limits.idle_timeout_s if now < exchange.ends else self._limits.overall_timeout_s
            connection.fail("timeout", f"{self._server.authority} did not answer within {waited_s:g} s")
        self._tick = None
        if self._busy or self._connecting:
            self._watch()

    def _expire_attempts(self, now: float) -> None:
        while self._connecting:
            task, deadline = next(iter(self._connecting.items()))
            if deadline > now:
                break
            del self._connecting[task]
            task.cancel()


class HttpClient:
    """Requests to one server over a bounded number of connections; what finds none free waits its turn.

    A request on a kept-alive connection that the server closed meanwhile is sent once more. Every request of the edge
    protocol may come twice, so that is always safe. Belongs to one event loop.
    """

    def __init__(
        self,
        server: str | Server,
        limits: HttpLimits = DEFAULT_LIMITS,
        tls: ssl.SSLContext | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """``server`` may be its URL. Clients of one server may share ``deadlines``."""
        self.server = Server.of(server) if isinstance(server, str) else server
        self.limits = limits
        self.tls = (tls or ssl.create_default_context()) if self.server.tls else None
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._deadlines = deadlines or Deadlines(self.server, limits)
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self._waiting: deque[Exchange] = deque()
        self._connecting: set[asyncio.Task[Connection | HttpFailure]] = set()
        self._closed = False
        self._all_lost: asyncio.Event | None = None  # made by ``close``

    @property
    def connections(self) -> int:
        """Open connections, used or not."""
        return len(self._open)

    def submit(
        self, request: HttpRequest, done: Done, reply_bytes_max: int | None = None, keep: bool = True
    ) -> Exchange:
        """Send a request; ``done`` is called once, later, on the loop.

        Without ``keep``, the connection that carries it is closed after the reply.
        """
        assert not self._closed, "a client that was closed sends nothing"
        bytes_max = self.limits.reply_bytes_max if reply_bytes_max is None else reply_bytes_max
        ends = self._loop.time() + self.limits.overall_timeout_s
        exchange = Exchange(self._head(request), request.body, bytes_max, ends, done, keep)
        self._give(exchange)
        return exchange

    def abandon(self, exchange: Exchange) -> None:
        """Give up a request and close its connection, wherever it has got to; nothing, if it is over already."""
        if exchange.carrier is not None and exchange.carrier.exchange is exchange:
            exchange.carrier.fail("abandoned", "the request was given up")
        elif exchange in self._waiting:
            self._waiting.remove(exchange)
            exchange.done(HttpFailure("abandoned", "the request was given up"))

    async def request(self, request: HttpRequest, reply_bytes_max: int | None = None) -> HttpReply:
        """Send a request and wait for its reply. Raises HttpFailure."""
        future: asyncio.Future[HttpReply | HttpFailure] = self._loop.create_future()
        self.submit(request, lambda outcome: None if future.done() else future.set_result(outcome), reply_bytes_max)
        outcome = await future
        if isinstance(outcome, HttpFailure):
            raise outcome
        return outcome

    def hang_up(self) -> None:
        """Close the connections that carry nothing, at once."""
        while self._idle:
            self._idle.pop().hang_up()

    async def close(self) -> None:
        """Close all connections; what waits for a reply fails."""
        self._closed = True
        if self._all_lost is None:
            self._all_lost = asyncio.Event()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._open):
            connection.fail("closed", "the client was closed")
        while self._waiting:
            self._waiting.popleft().done(HttpFailure("closed", "the client was closed"))
        if self._open:
            await self._all_lost.wait()

    def _head(self, request: HttpRequest) -> bytes:
        server = self.server
        head = f"{request.method} {server.prefix}{request.target} HTTP/1.1\r\nHost: {server.authority}\r\n"
        for name, value in request.headers:
            head += f"{name}: {value}\r\n"
        if request.body or request.method == "POST":
            head += f"Content-Length: {len(request.body)}\r\n"
        return f"{head}\r\n".encode("ascii")

    def _give(self, exchange: Exchange) -> None:
        """Have a connection carry this exchange, now or when one is free."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open():
                self._carry(connection, exchange)
                return
        self._waiting.append(exchange)
        self._connect_if_needed()

    def _carry(self, connection: Connection, exchange: Exchange) -> None:
        exchange.carrier = connection
        self._deadlines.begins(connection, exchange)
        connection.send(exchange)

    def _connect_if_needed(self) -> None:
        while (
            len(self._connecting) < len(self._waiting)
            and len(self._connecting) + len(self._open) < self.limits.connections_max
            and not self._closed
        ):
            task = self._loop.create_task(self._connect())
            self._connecting.add(task)
            self._deadlines.connects(task)
            task.add_done_callback(self._connected)

    async def _connect(self) -> Connection | HttpFailure:
        server = self.server
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self), server.host, server.port, ssl=self.tls
            )
        except ssl.SSLCertVerificationError as error:
            return HttpFailure(
                "certificate",
                f"the certificate of {server.authority} is not trusted: {error.verify_message}; "
                "if its authority is your own, name the authority's file (--ca)",
            )
        except OSError as error:
            return self._no_connection(str(error))
        self._open.add(connection)
        return connection

    def _connected(self, task: "asyncio.Task[Connection | HttpFailure]") -> None:
        """One of those that wait pays for each attempt that failed; the others have theirs."""
        self._connecting.discard(task)
        in_time = self._deadlines.connected(task)
        if task.cancelled() and (in_time or self._closed):  # not by us: the loop ends
            return
        outcome = self._no_connection("no answer") if task.cancelled() else task.result()
        if isinstance(outcome, Connection):
            self._free(outcome)
        elif self._waiting:
            self._waiting.popleft().done(outcome)
        if self._waiting:
            self._connect_if_needed()

    def _no_connection(self, why: str) -> HttpFailure:
        return HttpFailure("connect", f"cannot connect to {self.server.authority}: {why or 'no answer'}")

    def _free(self, connection: Connection) -> None:
        if not connection.is_open():
            return
        if self._waiting:
            self._carry(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    # --- what connections say ---

    def moved(self, connection: Connection) -> None:
        """Bytes of a reply came."""
        self._deadlines.moved(connection)

    def settled(self, connection: Connection, exchange: Exchange, outcome: HttpReply | HttpFailure) -> None:
        """An exchange is over."""
        self._deadlines.ends(connection)
        self._free(connection)
        exchange.done(outcome)

    def resend(self, connection: Connection, exchange: Exchange) -> None:
        """The connection had been closed before the request reached it."""
        self._deadlines.ends(connection)
        exchange.resent = True
        self._waiting.appendleft(exchange)

    def lost(self, connection: Connection) -> None:
        """The connection is gone."""
        self._open.discard(connection)
        if self._all_lost is not None and not self._open:
            self._all_lost.set()
        if self._waiting:
            self._connect_if_needed()
