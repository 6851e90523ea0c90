"""Requests and replies of one event-loop tick <-> one frame of bytes.

A stream between a gateway and a job is a row of frames, each a big-endian u32 length and a msgpack body. The first
frame in each direction is a hello; after it a gateway sends requests and a job sends replies::

    hello     [0, protocol, job_id, generation, schema]
    requests  [1, [[ticket, topic code, payload], ...]]
    replies   [2, [[ticket, outcome code, payload], ...]]

The hello keeps its tag and the place of ``protocol`` in all versions to come, so that versions can name each other.
"""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from turnout.errors import ServerError
from turnout.messages import ModelSchema, Topic

PROTOCOL_VERSION: Final = 1

#: A longer frame is refused before it is read. Room for one update of 128 million float32 parameters.
FRAME_BYTES_MAX: Final = 512 * 1024 * 1024
#: The first frame holds a schema and nothing else; garbage in its place is noticed by its length.
HELLO_BYTES_MAX: Final = 4 * 1024 * 1024
#: A tick's batch is cut into frames of about this size, so that a large one is sent while the next is encoded.
FRAME_SPLIT_BYTES: Final = 256 * 1024
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
    Topic.STOP: 5,
    Topic.RESUME: 6,
}
TOPICS: Final = {code: topic for topic, code in TOPIC_CODES.items()}

ANSWERED: Final = 0  #: outcome code: the payload is the job's reply
FAILED: Final = 1  #: outcome code: the payload is the reason, UTF-8

_LENGTH = struct.Struct(">I")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Who speaks. A gateway names the job it means and leaves the rest empty; a job names itself."""

    protocol: int
    job_id: str
    generation: int = 0
    schema: ModelSchema | None = None


class _Greeting(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The part of a hello that no version may change."""

    protocol: int


class _Requests(msgspec.Struct, frozen=True, array_like=True, tag=1):
    items: Sequence[Item]


class _Replies(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: Sequence[Item]


class _ReceivedRequests(msgspec.Struct, frozen=True, array_like=True, tag=1):
    items: list[Received]


class _ReceivedReplies(msgspec.Struct, frozen=True, array_like=True, tag=2):
    items: list[Received]


_encoder = msgspec.msgpack.Encoder()
_greeting = msgspec.msgpack.Decoder(_Greeting)
_hello = msgspec.msgpack.Decoder(Hello)
_requests = msgspec.msgpack.Decoder(_ReceivedRequests)
_replies = msgspec.msgpack.Decoder(_ReceivedReplies)


def encode_hello(hello: Hello) -> bytearray:
    """The first frame of a stream."""
    return _frame(hello)


def encode_requests(items: Sequence[Item]) -> bytearray:
    """One frame of requests, for a job."""
    return _frame(_Requests(items))


def encode_replies(items: Sequence[Item]) -> bytearray:
    """One frame of replies, for a gateway."""
    return _frame(_Replies(items))


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

    A body that came whole is a view into the bytes fed in; the pieces of another are kept as they came and joined once,
    so a length that promises much takes no memory before the bytes are there. No buffer is used again: views into a
    body stay valid for as long as somebody holds them.
    """

    def __init__(self, first_bytes_max: int = HELLO_BYTES_MAX, bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._allowed = first_bytes_max  # for the next frame
        self._bytes_max = bytes_max
        self._head = b""  # fewer bytes than a length has
        self._pieces: list[bytes | memoryview] = []
        self._missing = 0  # bytes of the body in pieces that are still to come

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The bodies that ``data`` completes; use them up before feeding more.

        Raises ServerError at a length out of bounds, after the bodies before it; the stream is over then.
        """
        position = 0
        if self._missing:
            position = min(self._missing, len(data))
            self._pieces.append(memoryview(data)[:position])
            self._missing -= position
            if self._missing:
                return
            body = b"".join(self._pieces)
            self._pieces = []
            yield memoryview(body)
        elif self._head:
            data = self._head + data
            self._head = b""
        view = memoryview(data)
        end = len(data)
        while end - position >= _LENGTH.size:
            start = position + _LENGTH.size
            (length,) = _LENGTH.unpack_from(data, position)
            if not 0 < length <= self._allowed:
                raise ServerError(f"a frame of {length} bytes: allowed are 1 to {self._allowed}")
            self._allowed = self._bytes_max
            position = start + length
            if position > end:
                self._pieces = [view[start:]]
                self._missing = position - end
                return
            yield view[start:position]
        self._head = bytes(view[position:])


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


def _frame(message: msgspec.Struct) -> bytearray:
    frame = bytearray(_LENGTH.size)
    _encoder.encode_into(message, frame, _LENGTH.size)
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame
