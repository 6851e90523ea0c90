"""One connection's HTTP/1.1 without its socket: bytes in, calls out; outcomes in, bytes out. Does no I/O. Pure.

Its owner hands in what was read (``receive_data``), writes what ``data_to_send`` gives until that is None, reads
only while nothing is ``paused``, and does what ``end`` says. When an answer comes later, ``wake`` is called.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import TypeAlias

from turnout.blobs.base import BlobName
from turnout.gateway.calls import Call, Notice, Refusal, no_room
from turnout.gateway.core import too_large
from turnout.gateway.counters import OTHER
from turnout.gateway.exchange import Exchange
from turnout.gateway.http1.receiver import BODY, HEAD, OVER, Receiver, Request
from turnout.gateway.http1.replies import misuse
from turnout.gateway.http1.sender import Sender
from turnout.gateway.http1.shared import Shared
from turnout.gateway.limits import body_overdue

#: A head that came whole in a read of this size needs no measuring: limits below this are not kept to the byte.
SMALL_READ_BYTES = 4 * 1024
KNOWN_READ_BYTES = 64 * 1024  #: Of a larger read the head is not looked up: it is a small part of the work.
FEED_BYTES = 32 * 1024  #: At most this many bytes are parsed before we look again whether to read on.
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
NOTHING = memoryview(b"")
Like: TypeAlias = tuple[Call, int, bytes | None]

# Why nothing is read; bits of ``paused``.
PIPELINE = 1  #: Enough requests are being answered.
ADMISSION = 2  #: A result waits to be admitted.
WRITING = 4  #: The device does not take its replies.
STREAMING = 8  #: A large reply is being sent.


def nobody() -> None:
    """Is called when a connection that is gone has something to send."""


class End(StrEnum):
    """What is to become of the connection once there is nothing to send."""

    LINGER = "linger"  #: Send its end, and read on for a while what nobody will use, so that the reply arrives.
    CLOSE = "close"
    ABORT = "abort"


class Http1:
    """One connection: the order of its requests, what of them may be read, and how long anything may take.

    A request that came in one read, with a head that differs from one before in who sends it alone, is not parsed: see
    ``heads.py``. There is no task, future or timer per request: ``sweep`` is called once a second.
    """

    __slots__ = (
        "_busy",
        "_current",
        "_like",
        "_linger_bytes",
        "_linger_until",
        "_lingered",
        "_over",
        "_paced_from",
        "_shared",
        "_site",
        "_stall_bytes",
        "_stalled_since",
        "_unread",
        "_wake",
        "backlog",
        "end",
        "lost",
        "moved",
        "paused",
        "receiver",
        "sender",
    )

    def __init__(self, shared: Shared, wake: Callable[[], None]) -> None:
        self._shared = shared
        self._site = site = shared.site
        self._wake = wake
        self.receiver = Receiver(shared)
        self.sender = Sender(shared)
        self.paused = 0
        self.end: End | None = None
        self.moved = False  #: Perhaps there is something to send, or ``paused`` or ``end`` has changed.
        self.lost = False
        self._busy = False  # the caller looks at ``moved`` afterwards
        self._over = False  # nothing that still comes is a request
        self._current: Request | None = None  # whose body is being read
        self._like: Like | None = None  # what to remember of the request that was read last
        self.backlog = NOTHING  #: Read, but not parsed yet.
        self._paced_from = 0  # what of the body had come when we last began to wait for it
        self._stalled_since = 0.0
        self._stall_bytes = 0
        self._unread = False  # the device may be sending what nobody will read
        self._linger_until = 0.0
        self._linger_bytes = site.limits.linger_bytes_max  # of what is unread, how much is thrown away at most
        self._lingered = 0

    # --- what the connection says ---

    def receive_data(self, data: bytes) -> None:
        """This was read."""
        site, receiver = self._site, self.receiver
        site.counters.bytes_in += len(data)
        if self._over or self.paused or len(data) > KNOWN_READ_BYTES:
            self._receive_unusual(data)
        elif receiver.begun:
            self._receive_more(data)
        else:
            known = None if self.sender.queue else self._shared.heads.find(data)
            if known is None:
                self._like = None
                self._receive_more(data)
                if self._like is not None:
                    self._shared.heads.remember(data, *self._like)
                return
            call, body = known
            site.counters.requests[call.route] += 1
            receiver.since = site.now
            exchange = Exchange(self, site, call.route)
            self.sender.queue.append(exchange)
            self._busy = True
            exchange.take(call, body)
            self._busy = False
            if exchange.waiting:
                self._pause(ADMISSION)

    def receive_eof(self) -> bool:
        """The device sends no more; whether it may still wait for what it asked."""
        if self._current is not None and self._current.exchange is not None:  # half a request
            self.sender.remove(self._current.exchange)
        self._stop()
        self._unread = False
        self._end_after_queue()
        return bool(self.sender.queue) or self.sender.rest is not None

    def data_to_send(self) -> bytes | memoryview | None:
        """The next piece to be written; None when there is none now."""
        sender = self.sender
        while True:
            if not self.paused & WRITING:
                piece = sender.take_next()
                if piece is not None:
                    if sender.rest is not None:
                        self.paused |= STREAMING
                    elif not sender.queue:
                        self._idle()
                    if sender.last and not self._over:
                        self._stop()
                    return piece
                if self._continues():
                    return CONTINUE
                self._rest()
            if self.paused or not self.backlog:
                return None
            self._feed_backlog()

    def pause_writing(self, unsent_bytes: int) -> None:
        """The device takes no more for now."""
        self._stalled_since, self._stall_bytes = self._site.now, unsent_bytes
        self._pause(WRITING)

    def resume_writing(self) -> None:
        """It does again."""
        self._unpause(WRITING)

    def drain(self) -> None:
        """End as soon as nothing is being asked; the next reply is the last."""
        sender, receiver = self.sender, self.receiver
        if receiver.state is HEAD and not receiver.begun and not sender.queue and sender.rest is None:
            self._stop()
            sender.last = self.moved = True

    def lose(self) -> None:
        """The connection is gone. Nothing of it is left in a cycle: those wait long for the collector."""
        self.lost = True
        self._wake = nobody
        self._stop()
        self.receiver.close()
        self.sender.forget()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request that is being read with this, and read no more of this connection."""
        exchange = None if self._current is None else self._current.exchange
        if exchange is None and self.receiver.request is not None:  # its answer did not wait for its body
            self._site.counters.refuse(refusal.reason)
            self._stop()
            self._end_after_queue()
            return
        if exchange is None:
            exchange = Exchange(self, self._site)
            self.sender.add(exchange)
        self._stop()
        self._unread = True
        self.sender.close_after(exchange)
        exchange.refuse(refusal)

    # --- the clock ---

    def sweep(self, now: float, unsent_bytes: int) -> None:
        """Act on what has taken too long."""
        limits, receiver = self._site.limits, self.receiver
        if self.end is End.CLOSE:
            if now - receiver.since > limits.write_stall_timeout_s:
                self._abort()
        elif self.paused & WRITING:
            if unsent_bytes != self._stall_bytes:
                self._stall_bytes, self._stalled_since = unsent_bytes, now
            elif now - self._stalled_since > limits.write_stall_timeout_s:
                self._site.counters.refuse("write_stalled")
                self._abort()
        elif self.end is End.LINGER:
            if now >= self._linger_until:
                self._close()
        elif self.paused & ADMISSION:
            if now - receiver.since > limits.admission_timeout_s:
                self._give_up_admission()
        elif receiver.state is BODY:
            self._sweep_body(now)
        elif receiver.state is HEAD:
            self._sweep_head(now)

    def _sweep_body(self, now: float) -> None:
        limits, receiver = self._site.limits, self.receiver
        if now - receiver.body_since > limits.body_time_max_s:
            self.refuse(misuse(408, "long_body", f"the body took longer than {limits.body_time_max_s:g} s"))
        elif not self.paused and (
            self._stalled_s(now) > limits.body_stall_s
            or body_overdue(receiver.since, receiver.received - self._paced_from, now, limits)
        ):
            self.refuse(misuse(408, "slow_body", "the body came too slowly"))

    def _sweep_head(self, now: float) -> None:
        limits, receiver = self._site.limits, self.receiver
        waited = now - receiver.since
        if receiver.begun:
            if waited > limits.head_timeout_s:
                self.refuse(misuse(408, "slow_head", "the headers came too slowly"))
        elif self.sender.queue or self.sender.rest is not None:
            receiver.since = now  # it is idle from its last reply on
        elif waited > (limits.drain_idle_s if self._site.draining else limits.idle_timeout_s):
            self._close()

    def _give_up_admission(self) -> None:
        waiting = next((exchange for exchange in self.sender.queue if exchange.waiting), None)
        if waiting is not None:
            self.sender.close_after(waiting)
            self.skips_body(waiting)
            waiting.refuse(no_room(self._site.limits.retry_after_s))

    def _stalled_s(self, now: float) -> float:
        """For how long nothing came of the body that is being read."""
        return now - max(self.receiver.since, self.receiver.moved_at)

    # --- what an exchange says ---

    def answered(self, exchange: Exchange) -> None:
        """Its reply may go out."""
        self.moved = True
        if not self._busy:
            self._wake()

    def admitted(self, exchange: Exchange) -> None:
        """Resume reading."""
        if self._current is not None and self._current.exchange is exchange:
            self.receiver.body_since = self._site.now
        if self.paused & ADMISSION and not any(e.waiting for e in self.sender.queue if e is not exchange):
            self._unpause(ADMISSION)
        self.answered(exchange)

    def skips_body(self, exchange: Exchange) -> None:
        """Say goodbye if its body has not been read."""
        if self._current is not None and self._current.exchange is exchange:
            self._stop()
            self.sender.close_after(exchange)
        else:
            self.admitted(exchange)

    def gives_way(self, exchange: Exchange) -> bool:
        """Give up an exchange whose body has not moved for a while, though we do read."""
        if self._current is None or self._current.exchange is not exchange or self.paused:
            return False
        if self._stalled_s(self._site.now) < self._site.limits.upload_takeover_s:
            return False
        self.refuse(misuse(408, "taken_over", "the same result comes on another connection, and here it stalled"))
        return True

    # --- reading ---

    def _receive_more(self, data: bytes) -> None:
        if len(data) > SMALL_READ_BYTES:
            self._receive_unusual(data)
        else:
            self._busy = True
            self._take_in(self.receiver.feed(data, measuring=False))
            self._busy = False

    def _receive_unusual(self, data: bytes) -> None:
        if self._over or self.receiver.state is OVER:
            self._discard(len(data))
            return
        self.backlog = memoryview(b"".join((self.backlog, data)) if self.backlog else data)
        self._feed_backlog()

    def _feed_backlog(self) -> None:
        """Parse what was read, piece by piece, until there is a reason to stop."""
        if self._busy:
            return
        self._busy = True
        receiver = self.receiver
        while self.backlog and not self.paused and receiver.state is not OVER:
            size, request = FEED_BYTES, receiver.request
            if request is not None and request.length is not None:
                size = max(size, request.length - receiver.received)
            piece, self.backlog = self.backlog[:size], self.backlog[size:]
            self._take_in(receiver.feed(piece, measuring=True))
        if receiver.state is OVER or not self.backlog:
            self.backlog = NOTHING  # an empty rest would hold all that was read
        self._busy = False

    def _take_in(self, found: list[Request | Refusal]) -> None:
        """Begin or continue what was found in one piece."""
        for request in found:
            if self._over:
                return
            if isinstance(request, Refusal):
                self.refuse(request)
                return
            if request.exchange is None:
                self._begin(request)
            elif request.body is not None and request is self._current:
                self._current, self._like = None, request.like
                body, request.body = request.body, None
                request.exchange.run(body)
        found.clear()  # the receiver keeps the list, and with it what became of these

    def _begin(self, request: Request) -> None:
        site, decision = self._site, request.decision
        kind = OTHER if request.route is None else request.route
        site.counters.requests[kind] += 1
        request.exchange = exchange = Exchange(self, site, kind)
        self.sender.add(exchange, request.manner)
        self._paced_from = 0
        if len(self.sender.queue) >= site.limits.pipeline_max:
            self._pause(PIPELINE)
        if not isinstance(decision, Call):
            self._answer_without_body(exchange, request, decision)
            return
        if request.body is not None:
            self._like = request.like
            body, request.body = request.body, None  # from here on it is where there is room for it
            exchange.take(decision, body)
        else:
            self._current = request
            exchange.begin(decision, decision.limit_bytes if request.length is None else request.length)
        if exchange.waiting:
            self._pause(ADMISSION)
        elif request.continues:
            self.moved = True

    def _answer_without_body(self, exchange: Exchange, request: Request, outcome: BlobName | Refusal | Notice) -> None:
        """Answer at once; a body that comes all the same is thrown away if it is small, else the connection is."""
        length = request.length
        if length is None or length > self._site.limits.discard_bytes_max or (length and request.continues):
            if isinstance(outcome, BlobName):
                outcome = too_large(self._site.limits.discard_bytes_max)
            self._stop()
            self._unread = True
            self.sender.close_after(exchange)
        if isinstance(outcome, BlobName):
            exchange.find_model(outcome)
        elif isinstance(outcome, Refusal):
            exchange.refuse(outcome)
        else:
            exchange.settle(outcome)

    def _discard(self, num_bytes: int) -> None:
        """What comes after the last request is thrown away, within limits."""
        site = self._site
        self._lingered += num_bytes
        if self.end is not End.LINGER:
            return
        if self._lingered > self._linger_bytes or site.now - self.receiver.since > site.limits.body_time_max_s:
            self._close()
        else:
            self._linger_until = site.now + site.limits.linger_s

    # --- within ---

    def _pause(self, why: int) -> None:
        self.paused |= why
        self.moved = True

    def _unpause(self, why: int) -> None:
        self.paused &= ~why
        self.moved = True
        if self.paused:
            return
        if self.receiver.state is BODY:
            self.receiver.since = self._site.now
            self._paced_from = self.receiver.received
        elif self.receiver.state is HEAD:
            self._idle()

    def _idle(self) -> None:
        """From now on a request is waited for, unless one has begun."""
        if not self.receiver.begun:
            self.receiver.since = self._site.now

    def _continues(self) -> bool:
        """Whether it is time to ask for the body that the device holds back."""
        current = self._current
        if current is None or not current.continues or self.sender.queue[0] is not current.exchange:
            return False
        if current.exchange.waiting:
            return False
        current.continues = False
        return not self.receiver.received

    def _rest(self) -> None:
        """All replies were sent that are there: read on, or end."""
        if self.paused & STREAMING:
            self._unpause(STREAMING)
        if self.paused & PIPELINE and len(self.sender.queue) < self._site.limits.pipeline_max:
            self._unpause(PIPELINE)
        if self.sender.last and self.end is None:
            self.receiver.since = self._site.now
            if self._unread:
                self.end = End.LINGER
                self._linger_until = self._site.now + self._site.limits.linger_s
                self.paused = 0
            else:
                self._close()

    def _stop(self) -> None:
        """Nothing that still comes is a request."""
        request, limits = self.receiver.request, self._site.limits
        if request is not None and request.length != 0:
            self._unread = True
            most = limits.linger_announced_bytes_max
            if isinstance(request.decision, Call):
                most = max(most, request.decision.limit_bytes)
            if request.length is not None and request.length <= most:  # all: many clients read no reply before
                self._linger_bytes = max(self._linger_bytes, request.length - self.receiver.received)
        self._over = True
        self.receiver.end()
        self._current = None
        self.backlog = NOTHING

    def _end_after_queue(self) -> None:
        """Answer what was asked, and nothing else."""
        if self.sender.queue:
            self.sender.close_after(self.sender.queue[-1])
        else:
            self.sender.last = True
        self.moved = True

    def _close(self) -> None:
        self.end = End.CLOSE
        self.receiver.since = self._site.now
        self.moved = True

    def _abort(self) -> None:
        self.end = End.ABORT
        self.lost = self.moved = True
