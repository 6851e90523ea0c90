"""What only sockets can do wrong: strangers, versions, garbage, full pipes, files left behind."""

import asyncio
import logging
import os
import re
import socket
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest

from turnout.errors import ServerError
from turnout.messages import RunningJob, Topic
from turnout.transport.address import TcpAddress, UnixAddress, parse_address
from turnout.transport.connection import ConnectionLimits
from turnout.transport.sockets import SocketJobServer, SocketTransport
from turnout.wire import frames
from turnout.wire.frames import Hello

from .conftest import SCHEMA, WAIT_S, Events, Job, echo

pytestmark = pytest.mark.anyio

HELLO_JOB = Hello(frames.PROTOCOL_VERSION, "a", 1, SCHEMA)
HELLO_GATEWAY = Hello(frames.PROTOCOL_VERSION, "a")


class Gateway:
    """A transport with its inbox."""

    def __init__(self) -> None:
        self.events = Events()
        self.transport = SocketTransport(Random(1))
        self.transport.attach(self.events)


class RawJob:
    """A job's end of the socket, byte by byte. Gateways wait in the backlog until ``visit`` takes them."""

    def __init__(self, path: str, listening: socket.socket) -> None:
        self.path = path
        self._listening = listening
        self._listening.setblocking(False)
        self._writers: list[asyncio.StreamWriter] = []

    async def visit(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(WAIT_S):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        reader, writer = await asyncio.open_connection(sock=sock)
        self._writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        self._listening.close()
        for writer in self._writers:
            writer.transport.abort()
            await hang_up(writer)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.transport.close_all()


@pytest.fixture
async def raw_job(short_folder: Path) -> AsyncIterator[RawJob]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(short_folder / "raw"))
    listening.listen()
    job = RawJob(str(short_folder / "raw"), listening)
    yield job
    await job.close()


@pytest.fixture
async def server(short_folder: Path) -> AsyncIterator[SocketJobServer]:
    server = SocketJobServer(str(short_folder / "job"), "a", 1, SCHEMA, Job(echo))
    await server.start()
    yield server
    await server.close(timeout_s=0.05)


def running(path: str, job_id: str = "a") -> RunningJob:
    return RunningJob(job_id, job_id, address=path)


def requests(*items: frames.Item) -> bytes:
    return b"".join(frames.encode(frames.REQUESTS, items))


def replies(*items: frames.Item) -> bytes:
    return b"".join(frames.encode(frames.REPLIES, items))


async def read_frame(reader: asyncio.StreamReader) -> memoryview:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    return memoryview(await reader.readexactly(length))


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(WAIT_S):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await writer.wait_closed()
    except ConnectionError:
        pass


async def call(server: SocketJobServer, *sent: bytes | bytearray) -> bytes:
    """What a gateway that sends this hears until the job hangs up."""
    reader, writer = await asyncio.open_unix_connection(server.address)
    for piece in sent:
        writer.write(piece)
    heard = await read_to_end(reader)
    await hang_up(writer)
    return heard


# --- hello ----------------------------------------------------------------------------------------------------------


async def test_both_ends_say_hello_first(gateway: Gateway, raw_job: RawJob) -> None:
    gateway.transport.open(running(raw_job.path))

    reader, writer = await raw_job.visit()
    assert frames.decode_hello(await read_frame(reader), "the gateway") == HELLO_GATEWAY
    assert gateway.events.seen == []
    writer.write(frames.encode_hello(HELLO_JOB))

    assert await gateway.events.wait("connected") == [("a", 1)]


async def test_a_job_of_another_version_is_refused_by_name_once_and_tried_again(
    gateway: Gateway, raw_job: RawJob, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.transport.open(running(raw_job.path))
    for _ in range(3):
        reader, writer = await raw_job.visit()
        writer.write(frames.encode_hello(Hello(frames.PROTOCOL_VERSION + 1, "a", 1, SCHEMA)))
        await read_to_end(reader)

    (_, writer) = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))

    assert await gateway.events.wait("connected") == [("a", 1)]
    (warning,) = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert 'job "a" speaks frame protocol 3, this process speaks 2' in warning
    assert gateway.events.of("lost") == []


@pytest.mark.parametrize(
    ("hello", "reason"),
    [
        (Hello(frames.PROTOCOL_VERSION, "b", 1, SCHEMA), 'but job "b" answers there'),
        (Hello(frames.PROTOCOL_VERSION, "a", 1, None), "said hello without the schema"),
    ],
)
async def test_a_job_that_is_not_the_one_we_mean_is_refused(
    gateway: Gateway, raw_job: RawJob, caplog: pytest.LogCaptureFixture, hello: Hello, reason: str
) -> None:
    gateway.transport.open(running(raw_job.path))

    reader, writer = await raw_job.visit()
    writer.write(frames.encode_hello(hello))
    await read_to_end(reader)

    assert reason in caplog.text
    assert gateway.events.seen == []


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (frames.encode_hello(Hello(3, "a")), "a gateway speaks frame protocol 3, this process speaks 2"),
        (
            frames.encode_hello(Hello(frames.PROTOCOL_VERSION, "b")),
            'a gateway asked for job "b" at the socket of job "a"',
        ),
        (requests((1, 0, b"")), "a gateway did not begin with a hello"),
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of 1195725856 bytes"),
    ],
)
async def test_a_job_refuses_strangers_and_says_why_and_serves_on(
    server: SocketJobServer, gateway: Gateway, caplog: pytest.LogCaptureFixture, first: bytes, reason: str
) -> None:
    heard = await call(server, first)

    assert heard == bytes(frames.encode_hello(HELLO_JOB))
    assert reason in caplog.text
    gateway.transport.open(running(server.address))
    await gateway.events.wait("connected")


# --- garbage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        struct.pack(">I", 3) + b"\xc1\xc1\xc1",
        requests((1, 0, b"")),
        struct.pack(">I", frames.FRAME_BYTES_MAX + 1),
        bytes(4),
    ],
)
async def test_a_job_that_sends_garbage_is_lost_and_tried_again(
    gateway: Gateway, raw_job: RawJob, caplog: pytest.LogCaptureFixture, garbage: bytes
) -> None:
    caplog.set_level(logging.INFO)
    gateway.transport.open(running(raw_job.path))
    _, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB) + replies((7, frames.ANSWERED, b"good")) + garbage)

    await gateway.events.wait("lost")
    _, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await gateway.events.wait("connected", 2)

    assert gateway.events.of("replied") == [(7, b"good")]
    assert re.search(r'job "a": .*(malformed frame of replies|a frame of)', caplog.text)


async def test_a_gateway_that_sends_garbage_is_cut_off_and_others_are_not(
    server: SocketJobServer, gateway: Gateway
) -> None:
    gateway.transport.open(running(server.address))
    await gateway.events.wait("connected")

    await call(server, frames.encode_hello(HELLO_GATEWAY), struct.pack(">I", 2) + b"\x92\x01")
    gateway.transport.send("a", 1, Topic.TASK, b"still here")

    assert await gateway.events.wait("replied") == [(1, b"echo still here")]
    assert gateway.events.of("lost") == []


# --- several gateways, batches, back-pressure ------------------------------------------------------------------------


async def test_a_job_serves_several_gateways_and_each_gets_its_own_replies(server: SocketJobServer) -> None:
    gateways = [Gateway() for _ in range(3)]
    for gateway in gateways:
        gateway.transport.open(running(server.address))
        await gateway.events.wait("connected")

    for number, gateway in enumerate(gateways):
        gateway.transport.send("a", 1, Topic.TASK, str(number).encode())

    for number, gateway in enumerate(gateways):
        assert await gateway.events.wait("replied") == [(1, f"echo {number}".encode())]
        gateway.transport.close_all()


async def test_what_a_tick_sends_is_one_frame(gateway: Gateway, raw_job: RawJob) -> None:
    gateway.transport.open(running(raw_job.path))
    reader, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await read_frame(reader)
    await gateway.events.wait("connected")

    for ticket in range(100):
        gateway.transport.send("a", ticket, Topic.TASK, b"x")

    assert len(frames.decode_requests(await read_frame(reader))) == 100


async def test_what_a_job_answers_in_a_tick_is_one_frame(server: SocketJobServer) -> None:
    reader, writer = await asyncio.open_unix_connection(server.address)
    writer.write(frames.encode_hello(HELLO_GATEWAY))
    writer.write(requests(*((ticket, 0, b"x") for ticket in range(100))))
    await read_frame(reader)

    assert len(frames.decode_replies(await read_frame(reader))) == 100
    await hang_up(writer)


async def test_a_job_that_does_not_read_fills_its_own_queue_only(short_folder: Path, raw_job: RawJob) -> None:
    gateway = Gateway()
    gateway.transport = SocketTransport(Random(1), ConnectionLimits(queue_bytes_max=10_000_000))
    gateway.transport.attach(gateway.events)
    lively = SocketJobServer(str(short_folder / "lively"), "lively", 1, SCHEMA, Job(echo))
    await lively.start()
    gateway.transport.open(running(lively.address, "lively"))
    gateway.transport.open(running(raw_job.path))
    reader, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await gateway.events.wait("connected", 2)

    taken = 0
    for ticket in range(1000):
        taken += gateway.transport.send("a", ticket, Topic.RESULT, bytes(100_000))
        gateway.transport.send("lively", ticket, Topic.TASK, b"")
        await gateway.events.wait("replied", ticket + 1)

    assert 100 <= taken < 200
    del reader
    gateway.transport.close_all()
    await lively.close()


async def test_a_job_that_does_not_read_for_long_is_lost_and_what_waits_for_it_is_freed(raw_job: RawJob) -> None:
    events = Events()
    transport = SocketTransport(Random(1), ConnectionLimits(stall_timeout_s=0.05))
    transport.attach(events)
    transport.open(running(raw_job.path))
    _, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await events.wait("connected")

    for ticket in range(200):
        assert transport.send("a", ticket, Topic.RESULT, bytes(100_000))

    assert await events.wait("lost") == [("a",)]
    assert not transport.send("a", 1000, Topic.RESULT, b"")
    transport.close_all()


async def test_a_job_that_says_no_hello_is_tried_again(raw_job: RawJob, caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    transport = SocketTransport(Random(1), ConnectionLimits(hello_timeout_s=0.05))
    transport.attach(events)
    transport.open(running(raw_job.path))

    for _ in range(2):
        reader, _ = await raw_job.visit()
        await read_to_end(reader)

    assert 'job "a" has not said hello for 0.05 s' in caplog.text
    assert events.seen == []
    transport.close_all()


async def test_a_gateway_that_says_no_hello_is_left(short_folder: Path) -> None:
    limits = ConnectionLimits(hello_timeout_s=0.05)
    server = SocketJobServer(str(short_folder / "job"), "a", 1, SCHEMA, Job(echo), limits=limits)
    await server.start()

    await call(server)

    await server.close()


async def test_a_job_that_reads_again_gets_everything_that_was_taken(gateway: Gateway, raw_job: RawJob) -> None:
    gateway.transport.open(running(raw_job.path))
    reader, writer = await raw_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await read_frame(reader)
    await gateway.events.wait("connected")
    for ticket in range(200):
        assert gateway.transport.send("a", ticket, Topic.RESULT, bytes([ticket]) * 50_000)

    received: list[frames.Received] = []
    async with asyncio.timeout(WAIT_S):
        while len(received) < 200:
            received += frames.decode_requests(await read_frame(reader))

    assert [(ticket, bytes(payload)) for ticket, _, payload in received] == [
        (ticket, bytes([ticket]) * 50_000) for ticket in range(200)
    ]


async def test_a_gateway_that_does_not_read_its_replies_is_left(
    short_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Job(lambda payload, reply: reply(bytes(100_000)))
    server = SocketJobServer(
        str(short_folder / "job"), "a", 1, SCHEMA, handler, limits=ConnectionLimits(queue_bytes_max=1_000_000)
    )
    await server.start()
    reader, writer = await asyncio.open_unix_connection(server.address)
    writer.write(frames.encode_hello(HELLO_GATEWAY))
    for ticket in range(200):
        writer.write(requests((ticket, 0, b"")))

    heard = await read_to_end(reader)

    assert len(heard) < 200 * 100_000
    await hang_up(writer)
    await server.close()


# --- links that leave the machine -----------------------------------------------------------------------------------


@pytest.fixture
async def far_job() -> AsyncIterator[RawJob]:
    listening = socket.create_server(("127.0.0.1", 0))
    job = RawJob(f"tcp://127.0.0.1:{listening.getsockname()[1]}", listening)
    yield job
    await job.close()


async def test_a_job_elsewhere_that_falls_silent_is_lost(far_job: RawJob, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    events = Events()
    transport = SocketTransport(Random(1), ConnectionLimits(heartbeat_s=0.01, silence_s=0.02))
    transport.attach(events)
    transport.open(running(far_job.path))
    _, writer = await far_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))

    assert await events.wait("lost") == [("a",)]
    assert 'job "a" was silent for 0.02 s' in caplog.text
    transport.close_all()


async def test_a_gateway_shows_that_it_lives_and_a_job_that_does_so_too_is_kept(far_job: RawJob) -> None:
    events = Events()
    transport = SocketTransport(Random(1), ConnectionLimits(heartbeat_s=0.01, silence_s=5))
    transport.attach(events)
    transport.open(running(far_job.path))
    reader, writer = await far_job.visit()
    writer.write(frames.encode_hello(HELLO_JOB))
    await read_frame(reader)

    for _ in range(5):
        assert frames.decode_requests(await read_frame(reader)) == []
        writer.write(replies())
    writer.write(replies((1, frames.ANSWERED, b"late")))

    assert await events.wait("replied") == [(1, b"late")]
    assert events.of("lost") == []
    transport.close_all()


async def test_a_job_shows_a_gateway_elsewhere_that_it_lives() -> None:
    limits = ConnectionLimits(heartbeat_s=0.01)
    server = SocketJobServer("tcp://127.0.0.1:0", "a", 1, SCHEMA, Job(echo), limits=limits)
    await server.start()
    host, _, port = server.address.removeprefix("tcp://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(frames.encode_hello(HELLO_GATEWAY))
    await read_frame(reader)

    assert frames.decode_replies(await read_frame(reader)) == []

    await hang_up(writer)
    await server.close()


# --- the end --------------------------------------------------------------------------------------------------------


async def test_a_job_that_closes_sends_its_last_replies_first(short_folder: Path, gateway: Gateway) -> None:
    handler = Job()
    server = SocketJobServer(str(short_folder / "job"), "a", 1, SCHEMA, handler)
    await server.start()
    gateway.transport.open(running(server.address))
    await gateway.events.wait("connected")
    for ticket in range(20):
        gateway.transport.send("a", ticket, Topic.RESULT, bytes(10))
    for _, _, reply in await handler.wait(20):
        reply(bytes(300_000))

    await server.close()

    await gateway.events.wait("lost")
    assert [ticket for ticket, _ in gateway.events.of("replied")] == list(range(20))
    with pytest.raises(FileNotFoundError):
        await asyncio.open_unix_connection(server.address)


async def test_closing_a_job_does_not_wait_long_for_a_gateway_that_hangs(short_folder: Path) -> None:
    server = SocketJobServer(str(short_folder / "job"), "a", 1, SCHEMA, Job(lambda payload, reply: reply(bytes(10**7))))
    await server.start()
    reader, writer = await asyncio.open_unix_connection(server.address, limit=1000)
    writer.write(frames.encode_hello(HELLO_GATEWAY) + requests((1, 0, b"")))
    await read_frame(reader)

    async with asyncio.timeout(WAIT_S):
        await server.close(timeout_s=0.05)

    await hang_up(writer)


# --- socket files ---------------------------------------------------------------------------------------------------


async def test_a_socket_is_for_its_owner_only(server: SocketJobServer, short_folder: Path) -> None:
    (short_folder / "other").touch()

    assert stat.S_IMODE(os.stat(server.address).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(short_folder / "other").st_mode) != 0o600, "other files are made as before"


async def test_the_socket_that_a_killed_process_left_is_replaced(short_folder: Path) -> None:
    path = str(short_folder / "job")
    left = socket.socket(socket.AF_UNIX)
    left.bind(path)
    left.close()

    server = SocketJobServer(path, "a", 1, SCHEMA, Job())
    await server.start()

    await server.close()


async def test_the_socket_of_a_living_process_is_not_replaced(server: SocketJobServer) -> None:
    second = SocketJobServer(server.address, "a", 2, SCHEMA, Job())

    with pytest.raises(ServerError, match="another process listens there"):
        await second.start()


async def test_a_file_that_is_no_socket_is_left_alone(short_folder: Path) -> None:
    path = short_folder / "precious"
    path.write_text("data")

    with pytest.raises(ServerError, match="is not a socket"):
        await SocketJobServer(str(path), "a", 1, SCHEMA, Job()).start()

    assert path.read_text() == "data"


# --- addresses ------------------------------------------------------------------------------------------------------


async def test_a_path_too_long_for_a_socket_is_refused_with_what_is_allowed(gateway: Gateway) -> None:
    path = "/tmp/" + "x" * 99

    with pytest.raises(ServerError, match="has 104 bytes: 1 to 103 are allowed, use a shorter folder"):
        SocketJobServer(path, "a", 1, SCHEMA, Job())
    with pytest.raises(ServerError, match="has 104 bytes"):
        gateway.transport.open(running(path))


@pytest.mark.parametrize(
    "text", ["tcp://0.0.0.0:80", "tcp://example.org:80", "tcp://127.0.0.1", "tcp://127.0.0.1:x", ""]
)
def test_an_address_beyond_this_machine_or_without_port_is_refused(text: str) -> None:
    with pytest.raises(ServerError):
        parse_address(text)


def test_an_address_is_written_as_it_is_read() -> None:
    assert parse_address("tcp://127.0.0.1:8000") == TcpAddress("127.0.0.1", 8000)
    assert parse_address("/run/a") == UnixAddress("/run/a")
    for text in ("tcp://localhost:1", "/run/a"):
        assert str(parse_address(text)) == text


async def test_a_port_chosen_by_the_system_is_known_after_the_start(gateway: Gateway) -> None:
    server = SocketJobServer("tcp://127.0.0.1:0", "a", 1, SCHEMA, Job(echo))
    await server.start()

    gateway.transport.open(running(server.address))

    assert await gateway.events.wait("connected") == [("a", 1)]
    gateway.transport.close_all()
    await server.close()
