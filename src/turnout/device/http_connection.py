"""One HTTP/1.1 connection of a client: a request goes out, a reply comes in, then the next."""

import asyncio
from collections.abc import Callable
from typing import Protocol

import httptools

from turnout.errors import TurnoutError
from turnout.wire.edge_replies import HttpReply

HEAD_BYTES_MAX = 65_536  #: Status line and headers of a reply.
WRITE_AT_ONCE_BYTES = 65_536  #: A smaller body leaves in one piece with its head.
KEPT_HEADERS = frozenset((b"content-length", b"content-range", b"etag", b"retry-after", b"transfer-encoding"))


class HttpFailure(TurnoutError):
    """There is no (whole) reply. ``reason`` is one word; ``partial`` what had come of one before it was interrupted."""

    def __init__(self, reason: str, text: str, partial: HttpReply | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.partial = partial


Done = Callable[[HttpReply | HttpFailure], None]


class Exchange:
    """One request and what waits for its reply."""

    __slots__ = (
        "body",
        "bytes_max",
        "carrier",
        "deadline",
        "done",
        "ends",
        "head",
        "keep",
        "resent",
        "sent_at",
        "unsent",
    )

    def __init__(self, head: bytes, body: bytes, bytes_max: int, ends: float, done: Done, keep: bool = True) -> None:
        self.head = head
        self.body = body
        self.bytes_max = bytes_max
        self.done = done
        self.keep = keep  # the connection may carry others after it
        self.carrier: Connection | None = None
        self.resent = False
        self.ends = ends  # at the latest, whatever moves
        self.deadline = ends  # if nothing moves
        self.unsent = 0
        self.sent_at = 0.0


class Owner(Protocol):
    """What a connection reports to."""

    def now(self) -> float:
        """The loop's time."""
        ...

    def moved(self, connection: "Connection") -> None:
        """Bytes of its reply came."""

    def settled(self, connection: "Connection", exchange: Exchange, outcome: "HttpReply | HttpFailure") -> None:
        """Its exchange is over."""

    def resend(self, connection: "Connection", exchange: Exchange) -> None:
        """It had been closed by the server before the request reached it."""

    def lost(self, connection: "Connection") -> None:
        """It is gone."""


class Connection(asyncio.Protocol):
    """One connection to the server, with at most one exchange on it."""

    __slots__ = (
        "_body", "_excess", "_head_bytes", "_headers", "_in_body", "_owner", "_parser", "_reusable", "_served",
        "_size", "_transport", "_whole", "exchange",
    )  # fmt: skip

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self.exchange: Exchange | None = None
        self._served = 0
        self._begin_reply()

    def _begin_reply(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._in_body = False
        self._whole = False
        self._excess = False
        self._reusable = False

    # --- what the client does ---

    def send(self, exchange: Exchange) -> None:
        assert self._transport is not None
        self.exchange = exchange
        if len(exchange.body) <= WRITE_AT_ONCE_BYTES:
            self._transport.write(exchange.head + exchange.body)
        else:
            self._transport.write(exchange.head)
            self._transport.write(exchange.body)
        exchange.unsent = self._transport.get_write_buffer_size()

    def is_sending(self) -> bool:
        """Did bytes of the request leave since this was asked last?"""
        assert self._transport is not None
        assert self.exchange is not None
        before, self.exchange.unsent = self.exchange.unsent, self._transport.get_write_buffer_size()
        return self.exchange.unsent < before

    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def hang_up(self) -> None:
        """Close it in the ordinary way; nothing is on it."""
        if self._transport is not None:
            self._transport.close()

    def fail(self, reason: str, text: str) -> None:
        """Give the exchange up, and the connection with it."""
        exchange, self.exchange = self.exchange, None
        partial = None
        if self._in_body:
            partial = HttpReply(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self.abort()
        if exchange is not None:
            self._owner.settled(self, exchange, HttpFailure(reason, text, partial))

    # --- what the transport says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # of a TCP connection, always a Transport

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.abort()  # it talks out of turn
            return
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail("malformed", f"the server's reply is not HTTP: {error}")
            return
        if self._size > self.exchange.bytes_max:
            self.fail("too_large", f"the server's reply is larger than the {self.exchange.bytes_max} bytes we take")
        elif self._excess:
            self.fail("malformed", "the server sent more than one reply to one request")
        elif not self._in_body and self._head_bytes > HEAD_BYTES_MAX:
            self.fail("too_large", f"the headers of the server's reply are larger than {HEAD_BYTES_MAX} bytes")
        elif self._whole:
            self._complete()
        else:
            self._owner.moved(self)

    def eof_received(self) -> None:
        ends_with_connection = not (b"content-length" in self._headers or b"transfer-encoding" in self._headers)
        if self.exchange is not None and self._in_body and ends_with_connection:
            self._complete()

    def connection_lost(self, exc: Exception | None) -> None:
        exchange = self.exchange
        stale = self._served > 0 and self._head_bytes == 0
        if exchange is not None and stale and not exchange.resent:
            self.exchange = None
            self._owner.resend(self, exchange)
        else:
            self.fail("broken", f"the connection broke{f': {exc}' if exc else ' off before the reply was whole'}")
        self._owner.lost(self)
        del self._parser  # it holds us as we hold it: thousands of these would wait for the collector of garbage

    # --- what the parser says ---

    def on_message_begin(self) -> None:
        self._excess = self._whole

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in KEPT_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self.exchange is not None and self._size <= self.exchange.bytes_max:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() < 200:
            self._begin_reply()  # an interim reply; the real one follows
        else:
            self._whole = True
            self._reusable = self._parser.should_keep_alive()  # known only here

    def _complete(self) -> None:
        exchange, self.exchange = self.exchange, None
        assert exchange is not None
        seconds = self._owner.now() - exchange.sent_at
        reply = HttpReply(self._parser.get_status_code(), self._headers, b"".join(self._body), seconds)
        self._served += 1
        assert self._transport is not None
        if self._transport.get_write_buffer_size():
            self._transport.abort()  # it was answered before it was all sent
        elif not (self._reusable and exchange.keep):
            self._transport.close()
        self._begin_reply()
        self._owner.settled(self, exchange, reply)
