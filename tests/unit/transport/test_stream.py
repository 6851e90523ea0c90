"""A stream of messages distrusts its other side."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from turnout.errors import ServerError
from turnout.messages import JobCompleted
from turnout.transport.stream import MESSAGE_BYTES_MAX, STREAM_VERSION, MessageStream

pytestmark = pytest.mark.anyio

DECODER = msgspec.msgpack.Decoder(JobCompleted)


class Wire(asyncio.Transport):
    """Collects what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


Ends = Callable[[bytes], tuple[MessageStream[JobCompleted], Wire]]


@pytest.fixture
async def stream() -> AsyncIterator[Ends]:
    """Makes streams on which the given bytes have arrived, and then the end."""
    made: list[MessageStream[JobCompleted]] = []

    def make(received: bytes) -> tuple[MessageStream[JobCompleted], Wire]:
        reader = asyncio.StreamReader()
        reader.feed_data(received)
        reader.feed_eof()
        wire = Wire()
        protocol = asyncio.StreamReaderProtocol(reader)
        writer = asyncio.StreamWriter(wire, protocol, reader, asyncio.get_running_loop())
        made.append(MessageStream(reader, writer, DECODER))
        return made[-1], wire

    yield make
    for each in made:
        each.cut()


def framed(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


async def test_what_is_sent_is_received(stream: Ends) -> None:
    sender, wire = stream(b"")
    sender.send(JobCompleted("a"))
    sender.send(JobCompleted("b"))
    receiver, _ = stream(wire.written)
    assert await receiver.receive() == JobCompleted("a")
    assert await receiver.receive() == JobCompleted("b")
    assert await receiver.receive() is None


async def test_each_side_says_its_version_first(stream: Ends) -> None:
    hello = b"turnout\n" + STREAM_VERSION.to_bytes(4, "big")
    ours, wire = stream(hello)
    await ours.greet()
    assert wire.written == hello


@pytest.mark.parametrize(
    ("hello", "complaint"),
    [
        (b"turnout\n\x00\x00\x00\x63", "stream version 99 offered"),
        (b"GET / HTTP/1.1\r\n", "not a process of turnout"),
        (b"turn", "did not say which version"),
    ],
)
async def test_a_stranger_is_refused_with_the_reason(stream: Ends, hello: bytes, complaint: str) -> None:
    ours, _ = stream(hello)
    with pytest.raises(ServerError, match=complaint):
        await ours.greet()


async def test_a_message_that_breaks_off_is_the_end(stream: Ends) -> None:
    ours, _ = stream(framed(b"abc")[:-1])
    assert await ours.receive() is None


@pytest.mark.parametrize("payload", [b"", b"\xc1", msgspec.msgpack.encode({"type": "JobCompleted", "job_id": 3})])
async def test_a_message_of_the_wrong_form_is_an_error(stream: Ends, payload: bytes) -> None:
    ours, _ = stream(framed(payload))
    with pytest.raises(ServerError, match="cannot be read"):
        await ours.receive()


async def test_a_message_that_is_too_long_is_refused_before_it_is_read(stream: Ends) -> None:
    ours, _ = stream(struct.pack(">I", MESSAGE_BYTES_MAX + 1))
    with pytest.raises(ServerError, match="exceeds"):
        await ours.receive()


async def test_a_peer_that_does_not_read_is_cut_off(stream: Ends) -> None:
    ours, wire = stream(b"")
    wire.written = bytes(MESSAGE_BYTES_MAX)
    ours.send(JobCompleted("a"))
    assert wire.closed
