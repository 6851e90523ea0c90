"""The receiving half of a connection: bytes to requests, within limits.

httptools parses; what it lets through and HTTP/1.1 forbids is refused here.
"""

import httptools

from turnout.gateway.core import BlobWanted, Expect, too_large
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import KEEP_ALIVE, Exchange, Site
from turnout.gateway.http1.framing import find_length, malformed, repeated, wrong_host, wrong_version
from turnout.gateway.http1.replies import Reply, header_lines, refusal
from turnout.gateway.http1.sender import ADMISSION, PIPELINE, Sender

#: At most so many bytes are parsed before we look again whether to go on reading.
FEED_BYTES = 32 * 1024
#: Of a body in chunks, what may be read that is no body: so many times the body, and so many bytes.
CHUNKING_FACTOR, CHUNKING_BYTES = 8, 64 * 1024
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOTHING = memoryview(b"")

# Where the parser is. OFFER: at the end of a head that offers another protocol. OVER: nothing that still comes is a
# request.
HEAD, BODY, OFFER, OVER = "head", "body", "offer", "over"


class Refused(Exception):
    """Leaves the parser from within one of its callbacks: the connection has been given its last reply."""


class Receiver(Sender):
    """Feeds the parser, hands each request to the core, and lets its body in or not."""

    __slots__ = (
        "_backlog",
        "_begun",
        "_body_since",
        "_chunked_bytes",
        "_chunks",
        "_continue",
        "_current",
        "_feeding",
        "_head_bytes",
        "_headers",
        "_length",
        "_measuring",
        "_moved_at",
        "_paced_from",
        "_parser",
        "_received",
        "_state",
        "_url",
        "_whole",
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._parser = httptools.HttpRequestParser(self)
        self._state = HEAD
        self._begun = False  #: Some of a request has come, but not all.
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0  #: Read of a head that does not end in one read, apart from its first part.
        self._length: int | None = 0
        self._current: Exchange | None = None  #: Whose body is being read.
        self._chunks: list[bytes] = []
        self._received = 0
        self._chunked_bytes = 0  #: Read of a body in chunks, with all that is not body.
        self._measuring = False  #: What is read now is so much that a head may be too large.
        self._moved_at = 0.0  #: When bytes of a body came last.
        self._body_since = 0.0  #: When the body that is being read was asked for.
        self._paced_from = 0  #: What of the body had come when ``_since`` was set.
        self._continue = False  #: The device waits for 100 Continue.
        self._backlog = NOTHING  #: Read, but not parsed yet.
        self._feeding = False
        #: The request that came last, if it was an ordinary one: its meaning, bytes of its body, who says to send it.
        self._whole: tuple[Expect, int, bytes | None] | None = None

    # --- reading ---

    def _feed_backlog(self) -> None:
        """Parse what was read, piece by piece, until there is a reason to stop."""
        if self._feeding:
            return
        self._feeding = self._measuring = True
        while self._backlog and not self._paused and self._state is not OVER:
            size = FEED_BYTES
            if self._state is BODY and self._length is not None:
                size = max(size, self._length - self._received)
            piece, self._backlog = self._backlog[:size], self._backlog[size:]
            self._feed(piece)
        self._feeding = self._measuring = False

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Refused):
                raise cause from None
            if self._state is not OVER:
                self._refuse(malformed(str(error)))
            return
        if self._state is HEAD:
            if self._begun:
                self._read_part_of_head(len(data))
        elif self._length is None:
            self._read_part_of_chunks(len(data))

    def _parse(self, data: bytes | memoryview) -> None:
        """Parse it all, past every head that offers another protocol."""
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                data = memoryview(data)[offer.args[0] :]
            else:
                return
            self._decline()

    def _decline(self) -> None:
        """Read a head again without its offer, as RFC 9110, section 7.8, lets a server.

        The parser takes what follows such a head for the other protocol, so another begins with the same request.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._url, version, header_lines(tuple(self._headers.items())))
        self._begin_head()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(head)

    def _begin_head(self) -> None:
        """The next bytes are the beginning of a request."""
        self._begun = False
        self._url = b""
        self._headers = {}
        self._head_bytes = 0
        self._state = HEAD

    def _read_part_of_head(self, num_bytes: int) -> None:
        if not self._head_bytes:
            self._since = self._site.now
            self._head_bytes = 1
        else:
            self._head_bytes += num_bytes
            if self._head_bytes > self._site.limits.head_bytes_max:
                self._refuse(self._head_too_large())

    def _read_part_of_chunks(self, num_bytes: int) -> None:
        """Chunk extensions and trailers reach no callback before their end; without this they could go on for ever."""
        self._chunked_bytes += num_bytes
        if self._state is BODY and self._chunked_bytes > CHUNKING_FACTOR * self._received + CHUNKING_BYTES:
            self._refuse(refusal(400, "chunking", "the body's chunks are mostly not body; send larger chunks"))

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
        self._answered_last()

    def _answered_last(self) -> None:
        """From here on the connection is idle, if nothing is coming."""
        if self._state is HEAD and not self._begun:
            self._since = self._site.now

    def _end(self) -> None:
        if self._state is BODY and self._length != 0:
            self._unread = True
            expect = None if self._current is None else self._current.expect
            most = self._site.limits.linger_announced_bytes_max
            most = most if expect is None else max(most, expect.limit_bytes)
            if self._length is not None and self._length <= most:  # all of it: many clients read no reply before
                self._linger_bytes = max(self._linger_bytes, self._length - self._received)
        self._state = OVER
        self._current = None
        self._chunks = []
        self._backlog = NOTHING
        self._continue = False
        self._begun = False

    # --- admission of results ---

    def admitted(self, exchange: Exchange) -> None:
        """Go on reading."""
        if exchange is self._current:
            self._body_since = self._site.now
        if self._paused & ADMISSION and not any(e.held for e in self._queue if e is not exchange):
            self._unpause(ADMISSION)
        self._say_continue()

    def turned_away(self, exchange: Exchange) -> bool:
        """An exchange will be answered without its body. True when its body has not been read: say goodbye then."""
        if exchange is not self._current:
            self.admitted(exchange)
            return False
        self._end()
        return True

    def gives_way(self, exchange: Exchange) -> bool:
        """Give up an exchange whose body has not moved for a while, though we do read."""
        if exchange is not self._current or self._paused:
            return False
        if self._stalled_s(self._site.now) < self._site.limits.upload_takeover_s:
            return False
        self._refuse(refusal(408, "taken_over", "the same result comes on another connection, and here it stalled"))
        return True

    def _stalled_s(self, now: float) -> float:
        """For how long nothing came of the body that is being read."""
        return now - max(self._since, self._moved_at)

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
            exchange = Exchange(self, self._site)
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

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self._state is not HEAD or name in self._headers:
            self._unusual_header(name, value)
        else:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        parser, headers, site = self._parser, self._headers, self._site
        if self._state is OVER:
            raise Refused
        if self._measuring or self._head_bytes or len(headers) > site.limits.headers_max:
            self._measure_head()
        keep_alive = parser.should_keep_alive()
        if b"upgrade" in headers and parser.should_upgrade() and parser.get_method() != b"CONNECT":
            del headers[b"upgrade"]
            headers[b"connection"] = b"keep-alive" if keep_alive else b"close"
            self._state = OFFER
            return
        method = parser.get_method()
        version, continues = "1.1", False
        length: int | None
        if (
            not keep_alive
            or b"connection" in headers
            or b"transfer-encoding" in headers
            or b"expect" in headers
            or method == b"CONNECT"
        ):
            version = parser.get_http_version()
            length = self._unusual_framing(version)
            continues = version == "1.1" and b"expect" in headers
        else:  # without a Connection header, only HTTP/1.1 is kept alive
            length = int(headers.get(b"content-length", 0))
        host = headers.get(b"host")
        if not host or host != site.host:
            self._check_host(host)
        route, decision = site.core.head(method, self._url, headers, length)
        kind = OTHER if route is None else route
        site.counters.requests[kind] += 1
        exchange = Exchange(self, site, kind)
        if not keep_alive:
            exchange.close = True
        elif version == "1.0":
            exchange.tail = KEEP_ALIVE
        if b"origin" in headers:
            exchange.cors = site.core.cors(headers)
        queue = self._queue
        queue.append(exchange)
        if len(queue) >= site.limits.pipeline_max:
            self._pause(PIPELINE)
        self._state = BODY
        self._since = self._body_since = site.now
        self._length = length
        if type(decision) is Expect and (length != 0 or b"content-length" in headers):
            self._current = exchange
            self._continue = continues
            exchange.begin(decision, decision.limit_bytes if length is None else length)
            if exchange.held:
                self._pause(ADMISSION)
            elif continues:
                self._say_continue()
        else:
            exchange.head_only = method == b"HEAD"
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
        self._moved_at = self._site.now
        self._received += len(data)
        if current is None:
            return
        assert current.expect is not None, "only an expected body is read"
        if self._received > current.expect.limit_bytes:
            self._refuse_within(self._site.core.told(current.expect, too_large(current.expect.limit_bytes)))
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self._state is OVER or self._state is OFFER:
            return
        current, chunks = self._current, self._chunks
        info = self._headers.get(b"x-flare-device-info")
        self._begin_head()
        if not self._parser.should_keep_alive():
            self._state = OVER
        self._received = self._paced_from = self._chunked_bytes = 0
        self._continue = False
        if current is not None:
            self._current = None
            if chunks:
                self._chunks = []
            body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            expect = current.expect
            if expect is not None and expect.is_ordinary and not (current.close or current.tail or current.cors):
                self._whole = expect, len(body), info
            current.run(body)

    # --- the unusual head ---

    def _unusual_header(self, name: bytes, value: bytes) -> None:
        """A trailer, or a header whose name came before: it may change who reads the request how."""
        if self._state is not HEAD:
            self._refuse_within(refusal(400, "trailers", "trailers after the body are not supported; leave them out"))
        wrong = repeated(name, self._headers[name] == value)
        if wrong is not None:
            self._refuse_within(wrong)

    def _measure_head(self) -> None:
        headers, limits = self._headers, self._site.limits
        size = sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)
        long = len(self._url) > limits.target_bytes_max
        if long or size > limits.head_bytes_max or len(headers) > limits.headers_max:
            self._refuse_within(self._head_too_large())

    def _check_host(self, host: bytes | None) -> None:
        wrong = wrong_host(host, self._parser.get_http_version())
        if wrong is not None:
            self._refuse_within(wrong)
        if host is not None:
            self._site.host = host

    def _unusual_framing(self, version: str) -> int | None:
        """The length of the body, None for chunks, of a head that says more of it than Content-Length."""
        if version not in ("1.1", "1.0"):
            self._refuse_within(wrong_version())
        length, wrong = find_length(self._headers, version, self._parser.get_method())
        if wrong is not None:
            self._refuse_within(wrong)
        return length
