"""Requests and replies of one event-loop tick <-> one frame of bytes.

A stream between a gateway and a job is a row of frames, each a big-endian u32 length and a msgpack body. The first
frame in each direction is a hello; after it a gateway sends requests and a job sends replies::

    hello     [0, protocol, job_id, incarnation, schema]
    requests  [1, [[ticket, topic code, payload], ...]]
    replies   [2, [[ticket, outcome code, payload], ...]]

An empty row of either says that its end lives: links that leave the machine are never silent for long.

The hello keeps its tag and the place of ``protocol`` in all versions to come, so that versions can name each other.
"""

import struct
from collections import deque
from collections.abc import Sequence
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


REQUESTS: Final = 1
REPLIES: Final = 2


class _ReceivedRequests(msgspec.Struct, frozen=True, array_like=True, tag=REQUESTS):
    items: list[Received]


class _ReceivedReplies(msgspec.Struct, frozen=True, array_like=True, tag=REPLIES):
    items: list[Received]


_encoder = msgspec.msgpack.Encoder()
_greeting = msgspec.msgpack.Decoder(_Greeting)
_hello = msgspec.msgpack.Decoder(Hello)
_requests = msgspec.msgpack.Decoder(_ReceivedRequests)
_replies = msgspec.msgpack.Decoder(_ReceivedReplies)


def encode_hello(hello: Hello) -> bytearray:
    """The first frame of a stream."""
    frame = bytearray(_LENGTH.size)
    _encoder.encode_into(hello, frame, _LENGTH.size)
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame


def encode(kind: int, items: Sequence[Item]) -> list[Payload]:
    """One frame of REQUESTS or REPLIES, as the pieces to write. Without items it is a sign of life."""
    large = len(items) == 1 and len(items[0][2]) > FRAME_SPLIT_BYTES
    frame = bytearray(_LENGTH.size)
    if not large:
        _encoder.encode_into((kind, items), frame, _LENGTH.size)
        _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
        return [frame]
    ticket, code, payload = items[0]
    _encoder.encode_into((kind, ((ticket, code, b""),)), frame, _LENGTH.size)
    del frame[-2:]  # the empty payload: its type and its length, a byte each
    frame += _BIN32.pack(0xC6, len(payload))
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size + len(payload))
    return [frame, payload]


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

    Put what arrives into ``space`` and say how much it was. What comes whole is copied out of that buffer; a body that
    comes in pieces gets a buffer of its own, where the pieces land without a copy. No body's buffer is used again:
    views into it stay valid for as long as somebody holds them.
    """

    def __init__(self, first_bytes_max: int = HELLO_BYTES_MAX, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._allowed = first_bytes_max  # for the next frame
        self._bytes_max = bytes_max
        self._arriving = memoryview(bytearray(READ_BYTES))
        self._head = b""  # fewer bytes than a length has
        self._body: memoryview | None = None  # that is coming in pieces
        self.space = self._arriving  #: Where the next bytes belong; never empty.
        self.error = ""  #: Why the stream is over: a length out of bounds came after the bodies that were given.

    def received(self, size: int) -> list[memoryview]:
        """The bodies that the first ``size`` bytes of the space complete."""
        if self._body is not None:
            self.space = self.space[size:]
            if self.space:
                return []
            body, self._body, self.space = self._body, None, self._arriving
            return [body]
        data = self._head + self._arriving[:size]
        view, end, position = memoryview(data), len(data), 0
        bodies: list[memoryview] = []
        while end - position >= _LENGTH.size:
            start = position + _LENGTH.size
            (length,) = _LENGTH.unpack_from(data, position)
            if not 0 < length <= self._allowed:
                self.error = f"a frame of {length} bytes: allowed are 1 to {self._allowed}"
                return bodies
            self._allowed = self._bytes_max
            position = start + length
            if position > end:
                self._begin(length, view[start:])
                return bodies
            bodies.append(view[start:position])
        self._head = data[position:]
        return bodies

    def _begin(self, length: int, first: memoryview) -> None:
        """A body of which only this has come so far."""
        self._head = b""
        # not a bytearray: that would be filled with zeros first, whatever a wrong length promises
        self._body = np.empty(length, np.uint8).data
        self._body[: len(first)] = first
        self.space = self._body[len(first) :]


class Outbox:
    """What waits to be sent on one stream, collected in batches that each become one frame."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.bytes = 0  #: Of all that waits, and a little for each message.
        self._full: deque[tuple[list[Item], int]] = deque()  # batches that are cut off, with their bytes
        self._batch: list[Item] = []
        self._batch_bytes = 0

    def add(self, ticket: int, code: int, payload: Payload) -> bool:
        """Add a message. False, and nothing added, when the bound is reached; one larger than it goes alone."""
        size = len(payload) + ITEM_OVERHEAD_BYTES
        if self.bytes and self.bytes + size > self._bytes_max:
            return False
        if self._batch_bytes + size > FRAME_SPLIT_BYTES and self._batch:
            self._full.append((self._batch, self._batch_bytes))
            self._batch, self._batch_bytes = [], 0
        self._batch.append((ticket, code, payload))
        self._batch_bytes += size
        self.bytes += size
        return True

    def take(self) -> list[Item]:
        """Take out the next batch; empty when there is none."""
        if self._full:
            batch, size = self._full.popleft()
        else:
            batch, size = self._batch, self._batch_bytes
            self._batch, self._batch_bytes = [], 0
        self.bytes -= size
        return batch

    def clear(self) -> None:
        """Forget everything."""
        self._full.clear()
        self._batch, self._batch_bytes, self.bytes = [], 0, 0
