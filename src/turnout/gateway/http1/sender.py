"""The sending half of a connection: replies in the order of their requests, no faster than the device takes them."""

import asyncio
from collections import deque

from turnout.gateway.exchange import WRITE_BYTES, Buffers, Exchange, Site

# Why nothing is read; bits of ``_paused``.
PIPELINE = 1  #: Enough requests are being answered.
ADMISSION = 2  #: A result waits to be let in.
WRITING = 4  #: The device does not take its replies.
STREAMING = 8  #: A large reply is being sent.


class Sender:
    """Owns the queue of exchanges and what is written; ``Connection`` adds the reading half."""

    __slots__ = (
        "_close_after",
        "_linger_bytes",
        "_linger_until",
        "_paused",
        "_queue",
        "_since",
        "_site",
        "_stall_bytes",
        "_stalled_since",
        "_stream",
        "_transport",
        "_unread",
        "lost",
    )

    def __init__(self, site: Site) -> None:
        self._site = site
        self._transport: asyncio.Transport
        self._queue: deque[Exchange] = deque()
        self._stream: deque[bytes | memoryview] | None = None  #: The rest of a large reply.
        self._close_after = False  #: ``_stream`` is the last reply.
        self._unread = False  #: The device may be sending what nobody will read.
        self._paused = 0
        self._since = site.now  #: When what we wait for began: a request, its head, its body, its admission.
        self._stalled_since = 0.0
        self._stall_bytes = 0
        self._linger_until = 0.0
        self._linger_bytes = site.limits.linger_bytes_max  #: Of what is unread, how much is thrown away at most.
        self.lost = False

    def answered(self, exchange: Exchange) -> None:
        """A reply is ready: send it now if it is its turn."""
        queue = self._queue
        out = exchange.out
        if (
            len(queue) == 1
            and queue[0] is exchange
            and not self._paused
            and not exchange.close
            and type(out) is bytes
            and not self._transport.is_closing()
        ):
            queue.clear()
            self._site.counters.bytes_out += len(out)
            self._transport.write(out)
            self._answered_last()
        else:
            self._flush()

    def abort(self) -> None:
        """Close now, without sending what is left."""
        self.lost = True
        self._transport.abort()

    # --- asyncio.Protocol ---

    def pause_writing(self) -> None:
        self._stalled_since = self._site.now
        self._stall_bytes = self._transport.get_write_buffer_size()
        self._pause(WRITING)

    def resume_writing(self) -> None:
        self._paused &= ~WRITING
        if self._stream is not None:
            self._pump()
        self._flush()
        self._unpause(0)

    # --- what the reading half does ---

    def _pause(self, why: int) -> None:
        raise NotImplementedError

    def _unpause(self, why: int) -> None:
        raise NotImplementedError

    def _rested(self) -> None:
        """Replies were sent: perhaps reading can go on."""
        raise NotImplementedError

    def _answered_last(self) -> None:
        """Nothing is being answered any more."""
        raise NotImplementedError

    def _end(self) -> None:
        """Nothing that still comes is a request."""
        raise NotImplementedError

    # --- within ---

    def _flush(self) -> None:
        """Send what can be sent."""
        queue = self._queue
        if self._transport.is_closing():
            return
        while queue and not self._paused & (WRITING | STREAMING):
            exchange = queue[0]
            if exchange.out is None:
                break
            queue.popleft()
            self._send(exchange.out, exchange.close)
        self._rested()

    def _send(self, out: bytes | Buffers, close: bool) -> None:
        if close:
            self._end()
            for later in self._queue:
                later.abandon()
            self._queue.clear()
        if isinstance(out, bytes):
            self._site.counters.bytes_out += len(out)
            self._transport.write(out)
            if close:
                self._finish()
        else:
            self._stream = deque(memoryview(part) for part in out)
            self._site.counters.bytes_out += sum(map(len, self._stream))
            self._close_after = close
            self._pause(STREAMING)
            self._pump()

    def _pump(self) -> None:
        """Write the large reply until the transport has enough."""
        stream = self._stream
        assert stream is not None, "only a large reply is pumped"
        while stream and not self._paused & WRITING:
            rest = stream[0]
            if len(rest) <= WRITE_BYTES:
                self._transport.write(stream.popleft())
            else:
                stream[0] = rest[WRITE_BYTES:]
                self._transport.write(rest[:WRITE_BYTES])
        if not stream and self._stream is stream:
            self._stream = None
            if self._close_after:
                self._finish()
            else:
                self._unpause(STREAMING)

    def _finish(self) -> None:
        """The last reply is written: close, or linger while the device is still sending."""
        transport = self._transport
        self._since = self._site.now
        if transport.is_closing():
            return
        if not self._unread or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._linger_until = self._site.now + self._site.limits.linger_s
        if self._paused:
            self._paused = 0
            transport.resume_reading()

    def _sweep_sending(self, now: float) -> bool:
        """Whether the time-outs of sending are all there is to look at; acts on them."""
        transport, limits = self._transport, self._site.limits
        if transport.is_closing():
            if now - self._since > limits.write_stall_timeout_s:
                self.abort()
            return True
        if self._paused & WRITING:
            size = transport.get_write_buffer_size()
            if size != self._stall_bytes:
                self._stall_bytes, self._stalled_since = size, now
            elif now - self._stalled_since > limits.write_stall_timeout_s:
                self._site.counters.refuse("write_stalled")
                self.abort()
            return True
        if self._linger_until:
            if now >= self._linger_until:
                transport.close()
            return True
        return False
