"""One connection of a device: bytes to requests, within limits. The sending half is ``sender.py``.

httptools parses; what it lets through and HTTP/1.1 forbids is refused here. There is no task, future or timer per
request: answers come by callback, and ``sweep`` is called once a second with the time.
"""

import asyncio
from typing import cast

import httptools

from turnout.gateway.admission import body_overdue
from turnout.gateway.core import BlobWanted, Expect, too_large
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import KEEP_ALIVE, Exchange, Site
from turnout.gateway.framing import SINGLE_HEADERS, find_length, malformed
from turnout.gateway.replies import Reply, refusal, unavailable
from turnout.gateway.sender import ADMISSION, PIPELINE, Sender

#: At most so many bytes are parsed before we look again whether to go on reading.
FEED_BYTES = 32 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOTHING = memoryview(b"")

# Where the parser is. OVER: nothing that still comes is a request.
HEAD, BODY, OVER = "head", "body", "over"


class Refused(Exception):
    """Leaves the parser from within one of its callbacks: the connection has been given its last reply."""


class Connection(Sender, asyncio.Protocol):
    """The shell around ``GatewayCore`` for one connection."""

    __slots__ = (
        "_backlog",
        "_chunks",
        "_connections",
        "_continue",
        "_current",
        "_feeding",
        "_head_bytes",
        "_head_fed",
        "_headers",
        "_in_head",
        "_keep_alive",
        "_length",
        "_lingered",
        "_paced_from",
        "_parser",
        "_received",
        "_state",
        "_url",
    )

    def __init__(self, site: Site, connections: "set[Connection]") -> None:
        super().__init__(site)
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._state = HEAD
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._in_head = False
        self._head_bytes = 0  #: Of the parsed part of a head.
        self._head_fed = 0  #: Read since a head began.
        self._keep_alive = True
        self._length: int | None = 0
        self._current: Exchange | None = None  #: Whose body is being read.
        self._chunks: list[bytes] = []
        self._received = 0
        self._paced_from = 0  #: What of the body had come when ``_since`` was set.
        self._continue = False  #: The device waits for 100 Continue.
        self._backlog = NOTHING  #: Read, but not parsed yet.
        self._feeding = False
        self._lingered = 0

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._connections.add(self)
        site = self._site
        open_now = site.counters.connections = len(self._connections)
        limits = site.limits
        if open_now > limits.connections_max + limits.connections_spare:
            site.counters.refuse("connections")
            self.abort()
        elif open_now > limits.connections_max:
            self._refuse(unavailable("connections", "too many connections; try again later", limits.retry_after_s))

    def data_received(self, data: bytes) -> None:
        if self._state is OVER:
            self._discard(len(data))
        elif self._paused or len(data) > FEED_BYTES:
            self._backlog = memoryview(b"".join((self._backlog, data)) if self._backlog else data)
            self._feed_backlog()
        else:
            self._feed(data)

    def eof_received(self) -> bool:
        """The device sends no more, but may still wait for what it asked."""
        if self._current is not None:  # half a request
            self._queue.remove(self._current)
            self._current.drop()
            self._current = None
        self._end()
        self._unread = False
        if self._queue:
            self._queue[-1].close = True
            self._flush()
        else:
            self._close_after = True
        return bool(self._queue) or self._stream is not None

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._end()
        self._connections.discard(self)
        self._site.counters.connections = len(self._connections)
        if not self._connections and self._site.draining:
            self._site.emptied.set()
        for exchange in self._queue:
            exchange.drop()
        self._queue.clear()
        self._stream = self._current = None

    # --- the clock ---

    def sweep(self, now: float) -> None:
        """Act on what has taken too long."""
        if self._sweep_sending(now):
            return
        limits, waited = self._site.limits, now - self._since
        if self._paused & ADMISSION:
            if waited > limits.admission_timeout_s:
                self._give_up_admission()
        elif self._state is BODY:
            if not self._paused and body_overdue(self._since, self._received - self._paced_from, now, limits):
                self._refuse(refusal(408, "slow_body", "the body came too slowly"))
        elif self._in_head:
            if waited > limits.head_timeout_s:
                self._refuse(refusal(408, "slow_head", "the headers came too slowly"))
        elif self._state is HEAD and not self._queue and waited > limits.idle_timeout_s:
            self._transport.close()

    def drain(self) -> None:
        """Close as soon as nothing is being asked; the next reply is the last."""
        if self._state is HEAD and not self._in_head and not self._queue and self._stream is None:
            self._end()
            self._finish()

    # --- reading ---

    def _feed_backlog(self) -> None:
        """Parse what was read, piece by piece, until there is a reason to stop."""
        if self._feeding:
            return
        self._feeding = True
        while self._backlog and not self._paused and self._state is not OVER:
            size = FEED_BYTES
            if self._state is BODY and self._length is not None:
                size = max(size, self._length - self._received)
            piece, self._backlog = self._backlog[:size], self._backlog[size:]
            self._feed(piece)
        self._feeding = False

    def _feed(self, data: bytes | memoryview) -> None:
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Refused):
                raise cause from None
            if self._state is not OVER:
                self._refuse(malformed(str(error)))
            return
        if self._in_head:
            if not was_in_head:
                self._since = self._site.now
            else:
                self._head_fed += len(data)
                if self._head_fed > self._site.limits.head_bytes_max:
                    self._refuse(self._head_too_large())

    def _pause(self, why: int) -> None:
        if not self._paused and not self._transport.is_closing():
            self._transport.pause_reading()
        self._paused |= why

    def _unpause(self, why: int) -> None:
        self._paused &= ~why
        if self._paused or self.lost:
            return
        if self._state is BODY:
            self._since = self._site.now
            self._paced_from = self._received
        self._feed_backlog()
        if not self._paused and not self._transport.is_closing():
            self._transport.resume_reading()

    def _rested(self) -> None:
        if self._paused & PIPELINE and len(self._queue) < self._site.limits.pipeline_max:
            self._unpause(PIPELINE)
        if self._continue:
            self._say_continue()
        if self._state is HEAD and not self._in_head:
            self._since = self._site.now

    def _end(self) -> None:
        self._state = OVER
        self._current = None
        self._chunks = []
        self._backlog = NOTHING
        self._continue = False
        self._in_head = False

    def _discard(self, num_bytes: int) -> None:
        """What comes after the last request is thrown away, within limits."""
        self._lingered += num_bytes
        if self._lingered > self._site.limits.linger_bytes_max and self._linger_until:
            self._transport.close()

    # --- admission of results ---

    def admitted(self, exchange: Exchange) -> None:
        """Go on reading."""
        if self._paused & ADMISSION and not any(e.held for e in self._queue if e is not exchange):
            self._unpause(ADMISSION)
        self._say_continue()

    def turned_away(self, exchange: Exchange) -> bool:
        """An exchange will be answered without its body. True when its body has not been read: say goodbye then."""
        if exchange is not self._current:
            self.admitted(exchange)
            return False
        self._end()
        self._unread = True
        return True

    def _give_up_admission(self) -> None:
        wait_s = self._site.limits.retry_after_s
        busy = unavailable("no_room", "the server holds too many results; send it again later", wait_s, close=True)
        held = next(exchange for exchange in self._queue if exchange.held)
        self.turned_away(held)
        held.reply(busy)

    def _say_continue(self) -> None:
        """Ask for the body that the device holds back, when it is its turn."""
        current = self._current
        if self._continue and current is not None and not current.held and self._queue[0] is current:
            self._continue = False
            if not self._received:
                self._transport.write(CONTINUE)

    # --- refusing ---

    def _refuse(self, reply: Reply) -> None:
        """Answer the request that is being read with this, and read no more of this connection."""
        exchange = self._current
        if exchange is None:
            exchange = Exchange(self, self._site, b"", True, False)
            self._queue.append(exchange)
        self._end()
        self._unread = True
        exchange.close = True
        exchange.set_reply(reply)
        self._flush()

    def _head_too_large(self) -> Reply:
        limits = self._site.limits
        if len(self._url) > limits.target_bytes_max:
            return refusal(414, "target_too_long", f"path and query may have {limits.target_bytes_max} bytes at most")
        return refusal(
            431,
            "head_too_large",
            f"a request may have {limits.headers_max} headers and {limits.head_bytes_max} bytes in them at most",
        )

    def _refuse_within(self, reply: Reply) -> None:
        """``_refuse``, from within the parser."""
        self._refuse(reply)
        raise Refused

    # --- callbacks of httptools ---

    def on_url(self, url: bytes) -> None:
        self._in_head = True
        self._url = self._url + url if self._url else url
        if len(self._url) > self._site.limits.target_bytes_max:
            self._refuse_within(self._head_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state is not HEAD:
            self._refuse_within(refusal(400, "trailers", "trailers after the body are not supported; leave them out"))
        headers, limits = self._headers, self._site.limits
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > limits.head_bytes_max or len(headers) >= limits.headers_max:
            self._refuse_within(self._head_too_large())
        name = name.lower()
        if headers.setdefault(name, value) is not value and name in SINGLE_HEADERS and headers[name] != value:
            self._refuse_within(
                refusal(400, "repeated_header", f"{name.decode()} comes twice with different values; send it once")
            )

    def on_headers_complete(self) -> None:
        parser, headers, site = self._parser, self._headers, self._site
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            self._refuse_within(refusal(505, "http_version", "only HTTP/1.1 and HTTP/1.0 are spoken here"))
        length, wrong = find_length(headers, version, parser.should_upgrade())
        if wrong is not None:
            self._refuse_within(wrong)
        method = parser.get_method()
        self._in_head = False
        self._head_bytes = self._head_fed = 0
        self._keep_alive = keep_alive = parser.should_keep_alive()
        route, decision = site.core.head(method, self._url, headers, length)
        site.counters.requests[OTHER if route is None else route] += 1
        tail = KEEP_ALIVE if keep_alive and version == "1.0" else b""
        exchange = Exchange(self, site, tail, not keep_alive, method == b"HEAD")
        self._queue.append(exchange)
        self._state = BODY
        self._since = site.now
        self._length = length
        if len(self._queue) >= site.limits.pipeline_max:
            self._pause(PIPELINE)
        continues = version == "1.1" and b"expect" in headers
        if type(decision) is Expect and not (length == 0 and b"content-length" not in headers):
            self._current = exchange
            self._continue = continues
            exchange.begin(decision, decision.limit_bytes if length is None else length)
            if exchange.held:
                self._since = site.now
                self._pause(ADMISSION)
            elif continues:
                self._say_continue()
        else:
            self._answer_without_body(exchange, decision, continues)

    def _answer_without_body(self, exchange: Exchange, decision: Reply | Expect | BlobWanted, continues: bool) -> None:
        """Answer at once; a body that comes all the same is thrown away if it is small, else the connection is."""
        length = self._length
        if isinstance(decision, Expect):
            decision = refusal(411, "length_required", "send the body with Content-Length, or in chunks")
        if length is None or length > self._site.limits.discard_bytes_max or (length and continues):
            if isinstance(decision, BlobWanted):
                decision = too_large(self._site.limits.discard_bytes_max)
            self._current = exchange
            self._refuse_within(decision)
        elif isinstance(decision, Reply):
            exchange.reply(decision)
        else:
            exchange.find_blob(decision)

    def on_body(self, data: bytes) -> None:
        current = self._current
        self._received += len(data)
        if current is None:
            return
        assert current.expect is not None, "only an expected body is read"
        if self._received > current.expect.limit_bytes:
            self._refuse_within(too_large(current.expect.limit_bytes))
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self._state is OVER:
            return
        current, chunks = self._current, self._chunks
        self._state = HEAD if self._keep_alive else OVER
        self._url = b""
        self._headers = {}
        self._received = self._paced_from = 0
        self._continue = False
        if current is not None:
            self._current = None
            if chunks:
                self._chunks = []
            current.run(chunks[0] if len(chunks) == 1 else b"".join(chunks))
