"""Frames: a tick's requests or replies as one piece of bytes, cut back out of any stream of chunks."""

import itertools
import struct
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnout.errors import ServerError
from turnout.messages import ModelSchema, TensorSpec, Topic
from turnout.wire import frames
from turnout.wire.frames import FrameReader, Hello, Outbox, Payload

SCHEMA = ModelSchema((TensorSpec("w", (2, 3)), TensorSpec("b", (3,))))


def feed(reader: FrameReader, data: bytes) -> Iterator[memoryview]:
    """The bodies that ``data`` completes, read as an event loop does."""
    while data:
        buffer = reader.space
        size = min(len(buffer), len(data))
        buffer[:size] = data[:size]
        data = data[size:]
        yield from reader.received(size)
        if reader.error:
            raise ServerError(reader.error)


def joined(pieces: list[Payload]) -> bytes:
    return b"".join(pieces)


def body_of(pieces: list[Payload]) -> memoryview:
    (body,) = feed(FrameReader(), joined(pieces))
    return body


def test_a_frame_is_a_big_endian_length_and_a_msgpack_body() -> None:
    (frame,) = frames.encode(frames.REQUESTS, [(7, frames.TOPIC_CODES[Topic.RESULT], b"abc")])

    assert struct.unpack(">I", frame[:4]) == (len(frame) - 4,)
    assert msgspec.msgpack.decode(frame[4:]) == [1, [[7, 2, b"abc"]]]


def test_requests_come_out_as_they_went_in() -> None:
    items = [(1, 0, b"a"), (2**40, 5, b""), (3, 2, b"x" * 70_000), (4, 2, b"y" * 200_000)]

    assert frames.decode_requests(body_of(frames.encode(frames.REQUESTS, items))) == items


@pytest.mark.parametrize("ticket", [0, 127, 2**16, 2**63])
@pytest.mark.parametrize("size", [frames.FRAME_SPLIT_BYTES, frames.FRAME_SPLIT_BYTES + 1, 10**6])
def test_a_large_payload_comes_out_as_it_went_in(ticket: int, size: int) -> None:
    items = [(ticket, 2, bytes(range(256)) * (size // 256) + b"end")]

    assert frames.decode_requests(body_of(frames.encode(frames.REQUESTS, items))) == items
    assert (
        frames.decode_replies(body_of(frames.encode(frames.REPLIES, [(ticket, 0, items[0][2])])))[0][2] == items[0][2]
    )


def test_a_large_payload_is_written_as_it_is() -> None:
    update = bytes(frames.FRAME_SPLIT_BYTES + 1)

    assert frames.encode(frames.REQUESTS, [(1, 2, update)])[1] is update


def test_replies_come_out_as_they_went_in() -> None:
    items = [(1, frames.ANSWERED, b"yes"), (2, frames.FAILED, b"no")]

    assert frames.decode_replies(body_of(frames.encode(frames.REPLIES, items))) == items


def test_a_payload_is_a_view_into_its_frame() -> None:
    body = body_of(frames.encode(frames.REQUESTS, [(1, 2, b"update")]))

    ((_, _, payload),) = frames.decode_requests(body)

    assert isinstance(payload, memoryview)
    assert payload.obj is body.obj


def test_a_sign_of_life_is_a_frame_without_messages() -> None:
    assert frames.decode_requests(body_of(frames.encode(frames.REQUESTS, ()))) == []
    assert frames.decode_replies(body_of(frames.encode(frames.REPLIES, ()))) == []


def test_any_buffer_is_a_payload() -> None:
    items = [(1, 2, b"one"), (2, 2, bytearray(b"two")), (3, 2, memoryview(b"three"))]

    assert frames.decode_requests(body_of(frames.encode(frames.REQUESTS, items))) == items


def test_every_topic_has_a_code_of_its_own() -> None:
    assert set(frames.TOPIC_CODES) == set(Topic)
    assert {code: topic for topic, code in frames.TOPIC_CODES.items()} == frames.TOPICS


def test_a_hello_carries_the_version_the_job_its_incarnation_and_its_schema() -> None:
    hello = Hello(frames.PROTOCOL_VERSION, "job-1", 3, SCHEMA)

    assert frames.decode_hello(body_of([frames.encode_hello(hello)]), 'job "job-1"') == hello


def test_a_hello_of_another_version_is_refused_by_name() -> None:
    hello = frames.encode_hello(Hello(99, "job-1", 3, SCHEMA))

    with pytest.raises(ServerError, match=r'job "job-1" speaks frame protocol 99, this process speaks 2'):
        frames.decode_hello(body_of([hello]), 'job "job-1"')


def test_a_hello_of_another_version_is_refused_by_name_whatever_else_it_holds() -> None:
    future = memoryview(msgspec.msgpack.encode([0, 3, {"everything": "changed"}, [1, 2, 3], None, "more"]))

    with pytest.raises(ServerError, match="frame protocol 3, this process speaks 2"):
        frames.decode_hello(future, "the peer")


@pytest.mark.parametrize("body", [b"\xc1", b"GET / HTTP/1.1", msgspec.msgpack.encode([1, [[1, 0, b""]]]), b"\x80"])
def test_what_is_no_hello_is_refused(body: bytes) -> None:
    with pytest.raises(ServerError, match="the peer did not begin with a hello"):
        frames.decode_hello(memoryview(body), "the peer")


@pytest.mark.parametrize(
    "body",
    [
        b"\xc1",
        msgspec.msgpack.encode([2, [[1, 0, b""]]]),  # replies where requests belong
        msgspec.msgpack.encode([1, [[1, 0]]]),
        msgspec.msgpack.encode([1, [["one", 0, b""]]]),
        msgspec.msgpack.encode([1, [[1, 0, "text"]]]),
        msgspec.msgpack.encode([1, [[1, 99, b""]]]),  # no such topic
        joined(frames.encode(frames.REQUESTS, [(1, 0, b"abc")]))[4:-1],  # cut short
    ],
)
def test_a_malformed_frame_of_requests_is_refused(body: bytes) -> None:
    with pytest.raises(ServerError, match="malformed frame of requests"):
        frames.decode_requests(memoryview(body))


@pytest.mark.parametrize("body", [b"", msgspec.msgpack.encode([1, []]), msgspec.msgpack.encode([2, [[1, 2, b""]]])])
def test_a_malformed_frame_of_replies_is_refused(body: bytes) -> None:
    with pytest.raises(ServerError, match="malformed frame of replies"):
        frames.decode_replies(memoryview(body))


@given(
    batches=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), max_size=5),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=30),
)
def test_frames_are_cut_out_of_any_stream_of_chunks(batches: list[list[bytes]], cuts: list[int]) -> None:
    sent = [[(ticket, 0, payload) for ticket, payload in enumerate(batch)] for batch in batches]
    stream = b"".join(joined(frames.encode(frames.REQUESTS, items)) for items in sent)
    reader = FrameReader()
    bodies: list[memoryview] = []
    for size in itertools.cycle(cuts):
        bodies += feed(reader, stream[:size])
        stream = stream[size:]
        if not stream:
            break

    assert [frames.decode_requests(body) for body in bodies] == sent


def test_a_body_that_came_in_pieces_stays_valid_while_the_next_is_read() -> None:
    first, second = (joined(frames.encode(frames.REQUESTS, [(ticket, 2, bytes([ticket]) * 1000)])) for ticket in (1, 2))
    reader = FrameReader()
    assert list(feed(reader, first[:500])) == []
    (body,) = feed(reader, first[500:] + second[:500])
    ((_, _, payload),) = frames.decode_requests(body)

    assert len(list(feed(reader, second[500:]))) == 1
    assert payload == b"\x01" * 1000


def test_a_length_out_of_bounds_is_refused_before_its_body_is_read() -> None:
    first = struct.pack(">I", 1) + b"x"

    with pytest.raises(ServerError, match="a frame of 1001 bytes: allowed are 1 to 1000"):
        list(feed(FrameReader(bytes_max=1000), first + struct.pack(">I", 1001)))


def test_the_first_frame_has_a_bound_of_its_own() -> None:
    large = struct.pack(">I", 1000) + bytes(1000)
    small = struct.pack(">I", 10) + bytes(10)

    assert [len(body) for body in feed(FrameReader(first_bytes_max=10), small + large)] == [10, 1000]
    with pytest.raises(ServerError, match="allowed are 1 to 10"):
        list(feed(FrameReader(first_bytes_max=10), large))


def test_the_bodies_before_a_length_out_of_bounds_are_given() -> None:
    good = joined(frames.encode(frames.REQUESTS, [(1, 0, b"good")]))
    bodies = feed(FrameReader(), good + bytes(4))

    assert frames.decode_requests(next(bodies)) == [(1, 0, b"good")]
    with pytest.raises(ServerError, match="a frame of 0 bytes"):
        next(bodies)


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(ServerError, match="a frame of 0 bytes"):
        list(feed(FrameReader(), bytes(4)))


def test_what_a_tick_collects_is_one_batch() -> None:
    outbox = Outbox(bytes_max=1000)
    assert outbox.add(1, 0, b"a")
    assert outbox.add(2, 0, b"b")

    assert outbox.take() == [(1, 0, b"a"), (2, 0, b"b")]
    assert outbox.bytes == 0
    assert outbox.take() == []


def test_a_tick_with_many_large_results_is_several_batches_in_order() -> None:
    large = bytes(frames.FRAME_SPLIT_BYTES * 2 // 5)
    outbox = Outbox(bytes_max=2**30)
    for ticket in range(5):
        outbox.add(ticket, 2, large)

    batches = [outbox.take() for _ in range(4)]

    assert [[ticket for ticket, _, _ in batch] for batch in batches] == [[0, 1], [2, 3], [4], []]


def test_a_payload_over_the_split_size_has_a_batch_of_its_own() -> None:
    outbox = Outbox(bytes_max=2**30)
    outbox.add(1, 2, bytes(frames.FRAME_SPLIT_BYTES + 1))
    outbox.add(2, 0, b"small")

    assert [len(outbox.take()) for _ in range(2)] == [1, 1]


def test_an_outbox_takes_nothing_beyond_its_bound() -> None:
    outbox = Outbox(bytes_max=2 * (frames.ITEM_OVERHEAD_BYTES + 10))

    assert [outbox.add(ticket, 0, bytes(10)) for ticket in range(3)] == [True, True, False]
    outbox.take()
    assert outbox.add(3, 0, bytes(10))


def test_a_message_larger_than_the_bound_goes_when_it_goes_alone() -> None:
    outbox = Outbox(bytes_max=10)

    assert outbox.add(1, 2, bytes(1000))
    assert not outbox.add(2, 0, b"")


def test_a_cleared_outbox_is_empty() -> None:
    outbox = Outbox(bytes_max=10)
    outbox.add(1, 2, bytes(1000))

    outbox.clear()

    assert outbox.bytes == 0
    assert outbox.add(2, 0, b"")
