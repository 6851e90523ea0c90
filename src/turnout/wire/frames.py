"""Requests and replies of one event-loop tick <-> one frame of bytes.

A stream between a gateway and a job is a row of frames, each a big-endian u32 length and a msgpack body. The first
frame in each direction is a hello; after it a gateway sends requests and a job sends replies::

    hello     [0, protocol, job_id, incarnation, schema]
    requests  [1, [[ticket, topic code, payload], ...]]
    replies   [2, [[ticket, outcome code, payload], ...]]

The hello keeps its tag and the place of ``protocol`` in all versions to come, so that versions can name each other.
"""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import msgspec
import numpy as np

from turnout.errors import ServerError
from turnout.messages import ModelSchema, Topic

PROTOCOL_VERSION: Final = 2

#: A longer frame is refused before it is read. Room for one update of 128 million float32 parameters.
FRAME_BYTES_MAX: Final = 512 * 1024 * 1024
#: The first frame holds a schema and nothing else; garbage in its place is noticed by its length.
HELLO_BYTES_MAX: Final = 4 * 1024 * 1024
#: A tick's batch is cut into frames of at most about this size. A larger payload travels alone and is never copied.
FRAME_SPLIT_BYTES: Final = 64 * 1024
#: How much of a stream is read at a time, but for a body that is known to be larger.
READ_BYTES: Final = 128 * 1024
#: What one item costs beside its payload, at most: array header, ticket, code, length of the payload.
ITEM_OVERHEAD_BYTES: Final = 16
#: The largest payload that fits a frame.
PAYLOAD_BYTES_MAX: Final = FRAME_BYTES_MAX - 64

Payload: TypeAlias = bytes | bytearray | memoryview
Item: TypeAlias = tuple[int, int, Payload]  #: (ticket, topic code or outcome code, payload)
Received: TypeAlias = tuple[int, int, memoryview]  #: an Item whose payload is a view into its frame

TOPIC_CODES: Final = {
    Topic.TASK: 0,
    Topic.SELECTION: 1,
    Topic.RESULT: 2,
    Topic.OFFER: 3,
    Topic.STATUS: 4,
    Topic.CANCEL: 5,
    Topic.RESUME: 6,
    Topic.PAUSE: 7,
    Topic.REFUSED: 8,
}
TOPICS: Final = {code: topic for topic, code in TOPIC_CODES.items()}

ANSWERED: Final = 0  #: outcome code: the payload is the job's reply
FAILED: Final = 1  #: outcome code: the payload is the reason, UTF-8

_LENGTH = struct.Struct(">I")
_BIN32 = struct.Struct(">BI")  # how msgpack begins bytes of any length


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Who speaks. A gateway names the job it means and leaves the rest empty; a job names itself."""

    protocol: int
    job_id: str
    incarnation: int = 0
    schema: ModelSchema | None = None


class _Greeting(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The part of a hello that no version may change."""

    protocol: int


_REQUESTS: Final = 1
_REPLIES: Final = 2


class _ReceivedRequests(msgspec.Struct, frozen=True, array_like=True, tag=_REQUESTS):
    items: list[Received]


class _ReceivedReplies(msgspec.Struct, frozen=True, array_like=True, tag=_REPLIES):
    items: list[Received]


_encoder = msgspec.msgpack.Encoder()
_greeting = msgspec.msgpack.Decoder(_Greeting)
_hello = msgspec.msgpack.Decoder(Hello)
_requests = msgspec.msgpack.Decoder(_ReceivedRequests)
_replies = msgspec.msgpack.Decoder(_ReceivedReplies)


def encode_hello(hello: Hello) -> bytearray:
    """The first frame of a stream."""
    return _frame(hello)


def encode_requests(items: Sequence[Item]) -> list[Payload]:
    """One frame of requests, for a job, as the pieces to write."""
    return _pieces(_REQUESTS, items)


def encode_replies(items: Sequence[Item]) -> list[Payload]:
    """One frame of replies, for a gateway, as the pieces to write."""
    return _pieces(_REPLIES, items)


def decode_hello(body: memoryview, peer: str) -> Hello:
    """The hello in ``body``. Raises ServerError, naming ``peer`` and both versions, when they differ."""
    try:
        protocol = _greeting.decode(body).protocol
        if protocol != PROTOCOL_VERSION:
            raise ServerError(
                f"{peer} speaks frame protocol {protocol}, this process speaks {PROTOCOL_VERSION}: "
                "run the same version of turnout on both sides"
            )
        return _hello.decode(body)
    except msgspec.DecodeError as error:
        raise ServerError(f"{peer} did not begin with a hello: {error}") from error


def decode_requests(body: memoryview) -> list[Received]:
    """The requests in ``body``, their payloads views into it. Raises ServerError when it is anything else."""
    try:
        items = _requests.decode(body).items
    except msgspec.DecodeError as error:
        raise ServerError(f"malformed frame of requests: {error}") from error
    for _, code, _ in items:
        if code not in TOPICS:
            raise ServerError(f"malformed frame of requests: unknown topic code {code}")
    return items


def decode_replies(body: memoryview) -> list[Received]:
    """The replies in ``body``, their payloads views into it. Raises ServerError when it is anything else."""
    try:
        items = _replies.decode(body).items
    except msgspec.DecodeError as error:
        raise ServerError(f"malformed frame of replies: {error}") from error
    for _, code, _ in items:
        if code not in (ANSWERED, FAILED):
            raise ServerError(f"malformed frame of replies: unknown outcome code {code}")
    return items


class FrameReader:
    """Cuts a stream of bytes into the bodies of its frames.

    Put what arrives into ``buffer()`` and say how much it was. What comes whole is copied out of that buffer; a body
    that comes in pieces gets a buffer of its own, where the pieces land without a copy. No body's buffer is used again:
    views into it stay valid for as long as somebody holds them.
    """

    def __init__(self, first_bytes_max: int = HELLO_BYTES_MAX, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._allowed = first_bytes_max  # for the next frame
        self._bytes_max = bytes_max
        self._arriving = memoryview(bytearray(READ_BYTES))
        self._head = b""  # fewer bytes than a length has
        self._body: memoryview | None = None
        self._filled = 0  # bytes of the body that are there

    def buffer(self) -> memoryview:
        """Where the next bytes belong; never empty."""
        return self._arriving if self._body is None else self._body[self._filled :]

    def received(self, size: int) -> Iterator[memoryview]:
        """The bodies that the first ``size`` bytes of the buffer complete; use them up before the next.

        Raises ServerError at a length out of bounds, after the bodies before it; the stream is over then.
        """
        if self._body is None:
            yield from self._cut(self._head + self._arriving[:size])
            return
        self._filled += size
        if self._filled == len(self._body):
            body, self._body = self._body, None
            yield body

    def _cut(self, data: bytes) -> Iterator[memoryview]:
        view = memoryview(data)
        end = len(data)
        position = 0
        while end - position >= _LENGTH.size:
            start = position + _LENGTH.size
            (length,) = _LENGTH.unpack_from(data, position)
            if not 0 < length <= self._allowed:
                raise ServerError(f"a frame of {length} bytes: allowed are 1 to {self._allowed}")
            self._allowed = self._bytes_max
            position = start + length
            if position > end:
                self._head = b""
                self._filled = end - start
                # not a bytearray: that would be filled with zeros first, whatever a wrong length promises
                self._body = np.empty(length, np.uint8).data
                self._body[: self._filled] = view[start:]
                return
            yield view[start:position]
        self._head = data[position:]


class Outbox:
    """What waits to be sent on one stream, collected in batches that each become one frame."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._full: deque[tuple[list[Item], int]] = deque()  # batches that are cut off, with their bytes
        self._batch: list[Item] = []
        self._batch_bytes = 0

    def __bool__(self) -> bool:
        return self._bytes > 0

    def add(self, ticket: int, code: int, payload: Payload) -> bool:
        """Add a message. False, and nothing added, when the bound is reached; one larger than it goes alone."""
        size = len(payload) + ITEM_OVERHEAD_BYTES
        if self._bytes and self._bytes + size > self._bytes_max:
            return False
        if self._batch_bytes + size > FRAME_SPLIT_BYTES and self._batch:
            self._full.append((self._batch, self._batch_bytes))
            self._batch, self._batch_bytes = [], 0
        self._batch.append((ticket, code, payload))
        self._batch_bytes += size
        self._bytes += size
        return True

    def take(self) -> list[Item]:
        """Take out the next batch; empty when there is none."""
        if self._full:
            batch, size = self._full.popleft()
        else:
            batch, size = self._batch, self._batch_bytes
            self._batch, self._batch_bytes = [], 0
        self._bytes -= size
        return batch

    def clear(self) -> None:
        """Forget everything."""
        self._full.clear()
        self._batch, self._batch_bytes, self._bytes = [], 0, 0


def _pieces(tag: int, items: Sequence[Item]) -> list[Payload]:
    ticket, code, payload = items[0]
    if len(items) > 1 or len(payload) <= FRAME_SPLIT_BYTES:
        return [_frame((tag, items))]
    head = _frame((tag, ((ticket, code, b""),)))
    del head[-2:]  # the empty payload: its type and its length, a byte each
    head += _BIN32.pack(0xC6, len(payload))
    _LENGTH.pack_into(head, 0, len(head) - _LENGTH.size + len(payload))
    return [head, payload]


def _frame(message: object) -> bytearray:
    frame = bytearray(_LENGTH.size)
    _encoder.encode_into(message, frame, _LENGTH.size)
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame
