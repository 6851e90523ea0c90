"""One connection of a device: the ``asyncio.Protocol`` around its two halves, ``receiver.py`` and ``sender.py``.

There is no task, future or timer per request: answers come by callback, and ``sweep`` is called once a second.
"""

import asyncio
from typing import cast

from turnout.gateway.core import Expect
from turnout.gateway.exchange import Exchange, Site
from turnout.gateway.http1.receiver import BODY, HEAD, OVER, Receiver
from turnout.gateway.http1.replies import refusal, unavailable
from turnout.gateway.http1.sender import ADMISSION, STREAMING
from turnout.gateway.limits import body_overdue

#: A head that came whole in a read of this size needs no measuring: limits below this are not kept to the byte.
SMALL_READ_BYTES = 4 * 1024
KNOWN_READ_BYTES = 64 * 1024  #: Of a larger read the head is not looked up: it is a small part of the work.


class Connection(Receiver, asyncio.Protocol):
    """The shell around ``GatewayCore`` for one connection.

    A request that came in one read, with a head that differs from one before in who sends it alone, is not parsed: see
    ``heads.py``.
    """

    __slots__ = ("_connections", "_lingered")

    def __init__(self, site: Site, connections: "set[Connection]") -> None:
        super().__init__(site)
        self._connections = connections
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
        self._site.counters.bytes_in += len(data)
        if self._state is OVER or self._paused or len(data) > KNOWN_READ_BYTES:
            self._received_unusual(data)
        elif self._begun:
            self._received_more(data)
        else:
            heads = self._site.heads
            known = None if self._queue else heads.find(data)
            if known is not None:
                self._receive_known(*known)
                return
            self._whole = None
            self._received_more(data)
            if self._whole is not None:
                heads.remember(data, *self._whole)

    def eof_received(self) -> bool:
        """The device sends no more, but may still wait for what it asked."""
        if self._current is not None:  # half a request
            self._queue.remove(self._current)
            self._current.abandon()
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
            exchange.abandon()
        self._queue.clear()
        self._stream = self._current = None
        del self._parser  # it holds us as we hold it: thousands of these would wait for the collector of garbage

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
            if now - self._body_since > limits.body_time_max_s:
                self._refuse(refusal(408, "long_body", f"the body took longer than {limits.body_time_max_s:g} s"))
            elif not self._paused and (
                self._stalled_s(now) > limits.body_stall_s
                or body_overdue(self._since, self._received - self._paced_from, now, limits)
            ):
                self._refuse(refusal(408, "slow_body", "the body came too slowly"))
        elif self._begun and self._state is HEAD:
            if waited > limits.head_timeout_s:
                self._refuse(refusal(408, "slow_head", "the headers came too slowly"))
        elif self._state is HEAD and not self._queue and waited > self._idle_s():
            self._transport.close()

    def _idle_s(self) -> float:
        limits = self._site.limits
        return limits.drain_idle_s if self._site.draining else limits.idle_timeout_s

    def drain(self) -> None:
        """Close as soon as nothing is being asked; the next reply is the last."""
        if self._state is HEAD and not self._begun and not self._queue and not self._paused & STREAMING:
            self._end()
            self._finish()

    # --- reading ---

    def _received_more(self, data: bytes) -> None:
        if len(data) > SMALL_READ_BYTES:
            self._received_unusual(data)
        else:
            self._feed(data)

    def _received_unusual(self, data: bytes) -> None:
        if self._state is OVER:
            self._discard(len(data))
            return
        self._backlog = memoryview(b"".join((self._backlog, data)) if self._backlog else data)
        self._feed_backlog()

    def _receive_known(self, expect: Expect, body: bytes) -> None:
        """A request with a head like one before."""
        self._site.counters.requests[expect.route] += 1
        exchange = Exchange(self, self._site, expect.route)
        self._queue.append(exchange)
        exchange.take(expect, body)
        if exchange.held:
            self._since = self._site.now
            self._pause(ADMISSION)

    def _give_up_admission(self) -> None:
        wait_s = self._site.limits.retry_after_s
        busy = unavailable("no_room", "the server holds too many results; send it again later", wait_s, close=True)
        held = next((exchange for exchange in self._queue if exchange.held), None)
        if held is not None:
            self.turned_away(held)
            held.reply(busy)

    def _discard(self, num_bytes: int) -> None:
        """What comes after the last request is thrown away, within limits."""
        site = self._site
        self._lingered += num_bytes
        if not self._linger_until:
            return
        if self._lingered > self._linger_bytes or site.now - self._since > site.limits.body_time_max_s:
            self._transport.close()
        else:
            self._linger_until = site.now + site.limits.linger_s
