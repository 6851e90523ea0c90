"""The sending half of a connection: outcomes to bytes, in the order of their requests. Does no I/O. Pure."""

from collections import deque

from turnout.gateway.calls import Answer
from turnout.gateway.exchange import Exchange
from turnout.gateway.http1.replies import USUAL, Buffers, Manner, head_bytes, header_lines, render
from turnout.gateway.http1.shared import Shared

CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"  #: Only said to HTTP/1.0, where it is not the default.
WRITE_BYTES = 64 * 1024  #: Larger replies are sent in pieces, as the device takes them.
LENGTHS = 4096  #: Most replies are shorter.
LENGTH_LINES = tuple(b"%d\r\n\r\n" % length for length in range(LENGTHS))  #: The end of their heads.


class Sender:
    """The exchanges of a connection whose replies have not been sent, and the reply that is being sent."""

    __slots__ = ("_manners", "_shared", "last", "queue", "rest")

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.queue: deque[Exchange] = deque()
        self._manners: dict[Exchange, Manner] = {}  # of those that want their reply otherwise than most
        self.rest: deque[memoryview] | None = None  #: Of a large reply that is being sent.
        self.last = False  #: The last reply has begun: nothing comes after it.

    def add(self, exchange: Exchange, manner: Manner = USUAL) -> None:
        """Its reply comes after those before it."""
        self.queue.append(exchange)
        if manner is not USUAL:
            self._manners[exchange] = manner

    def close_after(self, exchange: Exchange) -> None:
        """Its reply is the last."""
        self._manners.setdefault(exchange, Manner()).close = True

    def take_next(self) -> bytes | memoryview | None:
        """The next piece of at most WRITE_BYTES to be sent; None while there is no reply whose turn it is."""
        if self.rest is not None:
            return self._next_piece(self.rest)
        if not self.queue or self.last:
            return None
        exchange = self.queue[0]
        outcome, shared = exchange.outcome, self._shared
        if outcome is None:
            return None
        self.queue.popleft()
        site = shared.site
        manner = self._manners.pop(exchange, USUAL) if self._manners else USUAL
        if type(outcome) is not Answer or outcome.model is not None or manner is not USUAL or site.draining:
            return self._unusual(exchange, manner)
        response, call = outcome.response, exchange.call
        body = site.writer.encode(response, "" if call is None else call.device.platform)
        counters, size = site.counters, len(body)
        counters.answer(exchange.kind, response.status, exchange.asked_at)
        if size < LENGTHS:
            out = shared.ok_head + LENGTH_LINES[size] + body
            counters.bytes_out += len(out)
            return out
        return self._begin(b"%b%d\r\n\r\n" % (shared.ok_head, size), (body,))

    def forget(self) -> None:
        """Nobody will take what is left."""
        for exchange in self.queue:
            exchange.abandon()
        self.queue.clear()
        self._manners.clear()
        self.rest = None

    def remove(self, exchange: Exchange) -> None:
        """This request was never whole."""
        self.queue.remove(exchange)
        self._manners.pop(exchange, None)
        exchange.abandon()

    def _unusual(self, exchange: Exchange, manner: Manner) -> bytes | memoryview:
        """The first piece of any reply."""
        site, outcome = self._shared.site, exchange.outcome
        assert outcome is not None, "only an outcome is sent"
        close = manner.close or site.draining
        reply = render(outcome, exchange.platform, site.writer, manner)
        if reply.refused:
            site.counters.refuse(reply.refused)
        site.counters.answer(exchange.kind, reply.label, exchange.asked_at)
        connection = CLOSE if close else KEEP_ALIVE if manner.keep else b""
        head = head_bytes(reply, self._shared.date, connection + header_lines(manner.cors))
        if close:
            self.last = True
            for later in self.queue:
                later.abandon()
            self.queue.clear()
        return self._begin(head, () if manner.head_only else reply.body)

    def _begin(self, head: bytes, body: Buffers) -> bytes | memoryview:
        """A reply in one piece, or the first of its pieces."""
        size = sum(map(len, body))
        self._shared.site.counters.bytes_out += len(head) + size
        if size <= WRITE_BYTES:
            return b"".join((head, *body))
        self.rest = deque(memoryview(part) for part in body)
        return head

    def _next_piece(self, rest: deque[memoryview]) -> memoryview:
        piece = rest.popleft()
        if len(piece) > WRITE_BYTES:
            rest.appendleft(piece[WRITE_BYTES:])
            piece = piece[:WRITE_BYTES]
        if not rest:
            self.rest = None
        return piece
