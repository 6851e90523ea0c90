"""One end of a stream of frames, whichever end: the hello, a tick's messages in one write, bounds, a clear end."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from turnout.errors import ServerError
from turnout.messages import Topic
from turnout.transport.base import JobHandler, Reply
from turnout.wire import frames
from turnout.wire.frames import Hello, Payload, Received

logger = logging.getLogger(__name__)

#: The bound of what waits to be sent on one connection. As much as all the results that a gateway holds by default, so
#: that no result is turned away here that was let in there.
QUEUE_BYTES_MAX: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How much one end of a connection puts up with."""

    #: Bytes that wait to be sent, beyond which nothing more is taken.
    queue_bytes_max: int = QUEUE_BYTES_MAX
    #: Bytes handed to the event loop before the peer has to read; what comes meanwhile waits in the queue.
    write_buffer_bytes: int = 1024 * 1024
    #: A peer that has not said hello by then is none.
    hello_timeout_s: float = 5.0
    #: A peer that has not read for this long hangs, and what waits for it is freed. Above the time that a result may
    #: take: everything that waits has timed out by then.
    stall_timeout_s: float = 10.0
    #: How often the ends of a link between machines show that they live, if nothing else is to be sent. Where one of
    #: them loses its power, nothing else tells the other.
    heartbeat_s: float = 5.0
    #: A peer on another machine that was silent for this long is gone: several heartbeats.
    silence_s: float = 20.0


Decode = Callable[[memoryview], list[Received]]


class Side(Protocol):
    """What differs between the two ends of a connection. All calls come from the event loop."""

    hello: Hello  #: what this end says first
    peer: str  #: how messages name the other end, as in 'job "mnist"'
    sends: int  #: frames.REQUESTS or frames.REPLIES
    decode: Decode  #: what the other end sent in one frame; raises ServerError
    remote: bool  #: whether the other end may be on another machine

    def check(self, hello: Hello) -> None:
        """Raise ServerError unless the peer is the one we mean."""

    def began(self, hello: Hello) -> None:
        """The peer has said hello and may be sent to."""

    def received(self, items: list[Received]) -> None:
        """One frame's messages."""

    def ended(self, reason: str, began: bool) -> None:
        """The connection is over. Called exactly once, and nothing else after it."""


class Connection(asyncio.BufferedProtocol):
    """Sends what a tick collects as one frame, and hands what arrives to its side."""

    def __init__(self, side: Side, limits: ConnectionLimits) -> None:
        self._side = side
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._reader = frames.FrameReader()
        self._outbox = frames.Outbox(limits.queue_bytes_max)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None  # until the peer's hello, and while it does not read
        self._heartbeat: asyncio.TimerHandle | None = None
        self._silent_s = 0.0
        self._began = False
        self._closing = False
        self._ended = False
        self._paused = False  # the peer reads slower than we write
        self._flush_due = False

    # --- sending ------------------------------------------------------------------------------------------------

    def send(self, ticket: int, code: int, payload: Payload) -> bool:
        """Put one message into this tick's frame. False before the hello, after the end, or when the outbox is full."""
        if not self._began or self._ended or not self._outbox.add(ticket, code, payload):
            return False
        if not self._flush_due and not self._paused:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        return True

    def close(self) -> None:
        """Send what was taken, then end. A peer that does not read is the caller's to ``end`` after a while."""
        self._closing = True
        if not self._ended:
            self._flush()

    def end(self, reason: str) -> None:
        """End now; what was not sent is dropped."""
        if self._ended:
            return
        self._ended = True
        self._stop_timer()
        if self._heartbeat is not None:
            self._heartbeat.cancel()
        self._outbox.clear()
        if self._transport is not None:
            self._transport.abort()
        self._side.ended(reason, self._began)

    def _flush(self) -> None:
        """Write until the outbox is empty or the peer has to read first."""
        self._flush_due = False
        if self._ended or self._transport is None:
            return
        while self._outbox.bytes and not self._paused:
            for piece in frames.encode(self._side.sends, self._outbox.take()):
                self._transport.write(piece)
        if self._closing and not self._outbox.bytes:
            self._transport.close()

    def pause_writing(self) -> None:
        """The peer has much to read already; keep what comes, for a while."""
        self._paused = True
        self._end_after(self._limits.stall_timeout_s, "has not read")

    def resume_writing(self) -> None:
        """The peer has read."""
        self._paused = False
        self._stop_timer()
        self._flush()

    # --- receiving ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello; everything else waits for the peer's."""
        self._transport = transport  # type: ignore[assignment]  # a stream protocol is given nothing else
        assert self._transport is not None
        if self._ended:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        self._transport.write(frames.encode_hello(self._side.hello))
        self._end_after(self._limits.hello_timeout_s, "has not said hello")

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes belong."""
        return self._reader.space

    def buffer_updated(self, nbytes: int) -> None:
        """Cut into frames and hand them on; a peer that breaks the protocol is cut off, with the reason."""
        self._silent_s = 0.0
        try:
            for body in self._reader.received(nbytes):
                if self._ended:
                    return
                if self._began:
                    self._side.received(self._side.decode(body))
                else:
                    self._greet(body)
        except ServerError as error:
            self.end(str(error))
            return
        if self._reader.error:
            self.end(self._reader.error)

    def connection_lost(self, error: Exception | None) -> None:
        """The peer is gone, or we ended."""
        self._transport = None  # aborting a transport from in here makes asyncio close it twice
        self.end(f"{self._side.peer} closed the connection" + (f": {error}" if error else ""))

    def _greet(self, body: memoryview) -> None:
        hello = frames.decode_hello(body, self._side.peer)
        self._side.check(hello)
        self._stop_timer()
        self._began = True
        if self._side.remote:
            self._heartbeat = self._loop.call_later(self._limits.heartbeat_s, self._beat)
        self._side.began(hello)

    def _beat(self) -> None:
        self._silent_s += self._limits.heartbeat_s
        if self._silent_s > self._limits.silence_s:
            self.end(f"{self._side.peer} was silent for {self._limits.silence_s:g} s")
            return
        if self._transport is not None and not self._paused:
            self._transport.write(frames.encode(self._side.sends, ())[0])
        self._heartbeat = self._loop.call_later(self._limits.heartbeat_s, self._beat)

    def _end_after(self, timeout_s: float, what: str) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(timeout_s, self.end, f"{self._side.peer} {what} for {timeout_s:g} s")

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def hand_over(handler: JobHandler, topic: Topic, payload: memoryview, reply: Reply) -> None:
    """Give a job one request. One that makes the handler raise is failed alone: the others are served.

    But for a broken invariant: after that nothing the job says can be relied on, and its process must end.
    """
    try:
        handler.received(topic, payload, reply)
    except AssertionError:
        raise
    except Exception as error:
        logger.exception("a %s could not be handled", topic)
        reply.fail(f"{type(error).__name__}: {error}")
