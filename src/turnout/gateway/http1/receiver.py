"""The receiving half of a connection: bytes to requests, within limits of size. Does no I/O. Pure.

httptools parses; what it lets through and HTTP/1.1 forbids is refused here.
"""

from dataclasses import dataclass

import httptools

from turnout.blobs.base import BlobName
from turnout.gateway.calls import Call, Refusal
from turnout.gateway.core import too_large
from turnout.gateway.exchange import Exchange
from turnout.gateway.http1.framing import find_length, malformed, repeated, wrong_host, wrong_version
from turnout.gateway.http1.reading import Decision
from turnout.gateway.http1.replies import USUAL, Manner, Misuse, header_lines, misuse
from turnout.gateway.http1.shared import Shared
from turnout.gateway.routes import Route

#: Of a body in chunks, what may be read beside the body: this many times the body, and this many bytes.
CHUNKING_FACTOR, CHUNKING_BYTES = 8, 64 * 1024

# Where the parser is. OFFER: at the end of a head that offers another protocol. OVER: nothing that still comes is a
# request.
HEAD, BODY, OFFER, OVER = "head", "body", "offer", "over"


class Left(Exception):
    """Leaves the parser from within one of its callbacks: nothing more is read of this connection."""


@dataclass(slots=True, eq=False)
class Request:
    """One request, from the end of its head on. ``length`` is that of its body; None for chunks.

    ``continues``: the device sends the body when it is told to. ``info`` is what it says of itself. ``body`` is there
    once it is whole, until it is run, and ``exchange`` once the request is answered.
    """

    route: Route | None
    decision: Decision
    length: int | None
    manner: Manner
    continues: bool
    info: bytes | None
    body: bytes | None = None
    exchange: Exchange | None = None

    @property
    def like(self) -> tuple[Call, int, bytes | None] | None:
        """What to remember of a whole request if it is an ordinary one: its meaning, bytes of its body, its device."""
        call = self.decision
        if self.length is None or self.manner is not USUAL or not isinstance(call, Call) or not call.is_ordinary:
            return None
        return call, self.length, self.info


class Receiver:
    """Feeds the parser, and has the core say which body it wants."""

    __slots__ = (
        "_begun_bytes",
        "_chunked_bytes",
        "_chunks",
        "_found",
        "_headers",
        "_measuring",
        "_parser",
        "_shared",
        "_url",
        "begun",
        "body_since",
        "moved_at",
        "received",
        "request",
        "since",
        "state",
    )

    def __init__(self, shared: Shared) -> None:
        now = shared.site.now
        self._shared = shared
        self._parser = httptools.HttpRequestParser(self)
        self.state = HEAD
        self.begun = False  #: Some of a request has come, but not all of its head.
        self.since = now  #: When what is waited for began: a request, its head, its body.
        self.moved_at = now  #: When bytes of a body came last.
        self.body_since = now  #: When the body that is being read was asked for.
        self.received = 0  #: Of the body.
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._begun_bytes = 0  # of a head that does not end in one read, apart from its first part
        self.request: Request | None = None  #: Whose body is being read.
        self._chunks: list[bytes] = []
        self._chunked_bytes = 0  # of a body in chunks, with all that is not body
        self._measuring = False  # so much is read now that a head may be too large
        self._found: list[Request | Refusal] = []

    def feed(self, data: bytes | memoryview, measuring: bool) -> list[Request | Refusal]:
        """The requests whose head or whose body has become whole, in order; after a refusal nothing comes.

        ``measuring``: so much is read that a head in it may be too large.
        """
        found: list[Request | Refusal] = []
        self._found, self._measuring = found, measuring
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if cause is not None and not isinstance(cause, Left):
                raise cause from None
            if self.state is not OVER:
                self._refuse(malformed(str(error)))
            return found
        if self.state is HEAD:
            if self.begun:
                self._read_part_of_head(len(data))
        elif self.request is not None and self.request.length is None:
            self._read_part_of_chunks(len(data))
        return found

    def end(self) -> None:
        """Nothing that still comes is a request."""
        self.state = OVER
        self.begun = False
        self.request = None
        self._chunks = []

    def close(self) -> None:
        """Let the parser go: it holds us as we hold it, and thousands of these would wait for the collector."""
        self.end()
        self._found = []
        del self._parser

    # --- reading ---

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
        self.begun = False
        self._url = b""
        self._headers = {}
        self._begun_bytes = 0
        self.state = HEAD

    def _read_part_of_head(self, num_bytes: int) -> None:
        if not self._begun_bytes:
            self.since = self._shared.site.now
            self._begun_bytes = 1
        else:
            self._begun_bytes += num_bytes
            if self._begun_bytes > self._shared.site.limits.head_bytes_max:
                self._refuse(self._head_too_large())

    def _read_part_of_chunks(self, num_bytes: int) -> None:
        """Chunk extensions and trailers reach no callback before their end; without this they could be endless."""
        self._chunked_bytes += num_bytes
        if self.state is BODY and self._chunked_bytes > CHUNKING_FACTOR * self.received + CHUNKING_BYTES:
            self._refuse(misuse(400, "chunking", "too much chunk framing for the payload; send larger chunks"))

    # --- refusing ---

    def _refuse(self, refusal: Refusal) -> None:
        self._found.append(refusal)

    def _leave(self, refusal: Refusal) -> None:
        """Refuse, from within the parser."""
        self.state = OVER
        self._found.append(refusal)
        raise Left

    def _head_too_large(self) -> Misuse:
        limits = self._shared.site.limits
        if len(self._url) > limits.target_bytes_max:
            return misuse(414, "target_too_long", f"path and query may have {limits.target_bytes_max} bytes at most")
        return misuse(
            431,
            "head_too_large",
            f"a request may have {limits.headers_max} headers and {limits.head_bytes_max} bytes in them at most",
        )

    # --- callbacks of httptools ---

    def on_message_begin(self) -> None:
        self.begun = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if self.state is not HEAD or name in self._headers:
            self._unusual_header(name, value)
        else:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        parser, headers, shared = self._parser, self._headers, self._shared
        if self.state is OVER:
            raise Left
        if self._measuring or self._begun_bytes or len(headers) > shared.site.limits.headers_max:
            self._measure_head()
        keep_alive, method = parser.should_keep_alive(), parser.get_method()
        if b"upgrade" in headers and parser.should_upgrade() and method != b"CONNECT":
            del headers[b"upgrade"]
            headers[b"connection"] = b"keep-alive" if keep_alive else b"close"
            self.state = OFFER
            return
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
            length = self._unusual_framing(version, method)
            continues = version == "1.1" and b"expect" in headers
        else:  # without a Connection header, only HTTP/1.1 is kept alive
            length = int(headers.get(b"content-length", 0))
        host = headers.get(b"host")
        if not host or host != shared.host:
            self._check_host(host)
        route, decision = shared.reader.head(method, self._url, headers, length)
        manner, is_model = USUAL, isinstance(decision, BlobName)
        if is_model or not keep_alive or version == "1.0" or b"origin" in headers or method == b"HEAD":
            manner = Manner(
                close=not keep_alive,
                keep=keep_alive and version == "1.0",
                head_only=method == b"HEAD",
                cors=shared.reader.cors(headers),
                asked=headers if is_model else {},
            )
        self.state = BODY
        self.since = self.body_since = shared.site.now
        self.request = request = Request(
            route, decision, length, manner, continues, headers.get(b"x-flare-device-info")
        )
        self._found.append(request)

    def on_body(self, data: bytes) -> None:
        request = self.request
        self.moved_at = self._shared.site.now
        self.received += len(data)
        if request is None or not isinstance(request.decision, Call):
            return
        call = request.decision
        if self.received > call.limit_bytes:
            self._leave(self._shared.site.core.refuse(call, too_large(call.limit_bytes)))
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        if self.state is OVER or self.state is OFFER:
            return
        request, chunks = self.request, self._chunks
        self._begin_head()
        if not self._parser.should_keep_alive():
            self.state = OVER
        self.received = self._chunked_bytes = 0
        self.request = None
        if request is not None:
            if chunks:
                self._chunks = []
            request.body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            if not self._found or self._found[-1] is not request:
                self._found.append(request)

    # --- the unusual head ---

    def _unusual_header(self, name: bytes, value: bytes) -> None:
        """A trailer, or a header whose name came before: it may change who reads the request how."""
        if self.state is not HEAD:
            self._leave(misuse(400, "trailers", "trailers after the body are not supported; leave them out"))
        wrong = repeated(name, self._headers[name] == value)
        if wrong is not None:
            self._leave(wrong)

    def _measure_head(self) -> None:
        headers, limits = self._headers, self._shared.site.limits
        size = sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)
        long = len(self._url) > limits.target_bytes_max
        if long or size > limits.head_bytes_max or len(headers) > limits.headers_max:
            self._leave(self._head_too_large())

    def _check_host(self, host: bytes | None) -> None:
        wrong = wrong_host(host, self._parser.get_http_version())
        if wrong is not None:
            self._leave(wrong)
        if host is not None:
            self._shared.host = host

    def _unusual_framing(self, version: str, method: bytes) -> int | None:
        """The length of the body, None for chunks, of a head that says more of it than Content-Length."""
        if version not in ("1.1", "1.0"):
            self._leave(wrong_version())
        length, wrong = find_length(self._headers, version, method)
        if wrong is not None:
            self._leave(wrong)
        return length
