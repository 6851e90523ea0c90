"""The socket around ``Http1``, on a transport that remembers: what is written, read and closed."""

import asyncio
import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.contract.flare.quirks import covers
from tests.unit.gateway.fakes import (
    BIG_SCHEMA,
    JOB,
    TASK,
    Answered,
    FakeDispatcher,
    Gateway,
    get,
    http,
    result,
    split_replies,
    update_of,
)
from turnout.gateway.http1.connection import Connection
from turnout.gateway.limits import GatewayLimits
from turnout.messages import JobResponse, Status


class FakeTransport(asyncio.Transport):
    """Remembers what a connection writes, and whether it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.reading = True
        self.eof = self.closed = self.aborted = False
        self.writes_eof = True
        self.buffered = 0
        self.full: Connection | None = None  #: To be told so after each write.

    def write(self, data: Any) -> None:
        assert not self.eof, "nothing is written after the end"
        self.written += data
        if self.full is not None:
            self.full.pause_writing()

    def write_eof(self) -> None:
        self.eof = True

    def can_write_eof(self) -> bool:
        return self.writes_eof

    def pause_reading(self) -> None:
        assert self.reading, "asyncio forgives a second pause, uvloop does not"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "asyncio forgives a second resume, uvloop does not"
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return self.buffered


class Server:
    """The open connections of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.open: set[Connection] = set()
        self.emptied = 0

    def connect(self, transport: FakeTransport | None = None) -> tuple[Connection, FakeTransport]:
        connection, transport = Connection(self.gateway.shared, self.open, self._emptied), transport or FakeTransport()
        connection.connection_made(transport)
        return connection, transport

    def _emptied(self) -> None:
        self.emptied += 1


def only_reply(transport: FakeTransport) -> Answered:
    (reply,) = split_replies(bytes(transport.written))
    return reply


@covers("hole-02")
def test_one_connection_too_many_is_told_503_and_many_too_many_are_not() -> None:
    server = Server(Gateway(limits=GatewayLimits(connections_max=1, connections_spare=1)))
    (first, told), (_, second), (_, third) = server.connect(), server.connect(), server.connect()
    first.data_received(TASK)
    assert only_reply(told).status == 200
    assert only_reply(second).status == 503
    assert only_reply(second).headers["retry-after"] == "5"
    reply = only_reply(second).json
    assert (reply["status"], reply["retry_wait"]) == ("RETRY", 5)
    assert third.aborted
    assert server.gateway.counters.refused == {"connections": 2}


def test_an_answer_that_comes_later_is_written_when_it_comes() -> None:
    server = Server(Gateway(FakeDispatcher(hold=True)))
    connection, transport = server.connect()
    connection.data_received(TASK)
    assert transport.written == b""
    server.gateway.dispatcher.answer_next()
    assert only_reply(transport).json["task_id"] == "t1"


def test_a_connection_that_is_lost_is_forgotten_and_gets_no_answer() -> None:
    server = Server(Gateway(FakeDispatcher(hold=True)))
    connection, transport = server.connect()
    connection.data_received(TASK)
    connection.connection_lost(None)
    server.gateway.dispatcher.answer_next()
    assert transport.written == b""
    assert (server.open, server.emptied, server.gateway.counters.connections) == (set(), 1, 0)


def test_nothing_is_read_while_the_device_takes_nothing() -> None:
    server = Server(Gateway())
    config = {"text": "x" * 300_000}
    server.gateway.dispatcher.answer_to = lambda request: JobResponse(Status.OK, job_data={"config": config})
    connection, transport = server.connect()
    transport.full = connection
    connection.data_received(http("/job", b'{"job_name": "mnist", "capabilities": {"methods": []}}'))
    assert not transport.reading
    while len(transport.written) < 300_000:
        assert not transport.reading
        connection.resume_writing()
    transport.full = None
    connection.resume_writing()
    assert transport.reading
    assert only_reply(transport).json["job_data"]["config"] == config


def test_a_device_that_takes_nothing_for_long_is_cut_off() -> None:
    server = Server(Gateway())
    connection, transport = server.connect()
    transport.buffered = 1000
    connection.pause_writing()
    connection.sweep(1030.0)
    assert not transport.aborted
    connection.sweep(1031.0)
    assert transport.aborted


def test_a_device_that_has_said_all_keeps_its_connection_until_its_reply() -> None:
    server = Server(Gateway(FakeDispatcher(hold=True)))
    connection, transport = server.connect()
    connection.data_received(TASK)
    assert connection.eof_received()
    server.gateway.dispatcher.answer_next()
    assert transport.closed
    connection, _ = server.connect()
    assert not connection.eof_received()


def test_a_refused_body_is_read_on_where_the_reply_can_say_that_it_is_the_last() -> None:
    large = http("/nowhere", b"", Content_Length="1000000")
    for writes_eof in (True, False):
        transport = FakeTransport()
        transport.writes_eof = writes_eof
        connection, _ = Server(Gateway()).connect(transport)
        connection.data_received(large)
        assert only_reply(transport).headers["connection"] == "close"
        assert (transport.eof, transport.closed) == (writes_eof, not writes_eof)
        connection.data_received(b"x" * 1000)


def test_a_connection_closes_when_it_is_drained_or_at_once_when_it_is_aborted() -> None:
    server = Server(Gateway())
    connection, transport = server.connect()
    connection.drain()
    assert (transport.closed, transport.aborted) == (True, False)
    connection, transport = server.connect()
    connection.data_received(get("/healthz"))
    connection.abort()
    assert transport.aborted


class Watched(Connection):
    """One that can be referred to weakly."""


@contextmanager
def without_collector() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


BIG = result(update_of(BIG_SCHEMA), "big")


@pytest.mark.parametrize(
    "reads",
    [(), (TASK,), (TASK, TASK), (TASK + JOB,), (TASK[:20],), (BIG,), (BIG[:60_000], BIG[60_000:]), (BIG[:60_000],)],
    ids=["nothing", "request", "known", "pipeline", "half a head", "result", "result in parts", "half a result"],
)
def test_a_closed_connection_is_freed_at_once(reads: tuple[bytes, ...]) -> None:
    gateway, connections = Gateway(), set[Connection]()
    with without_collector():
        connection = Watched(gateway.shared, connections, lambda: None)
        connection.connection_made(FakeTransport())
        for read in reads:
            connection.data_received(read)
        connection.connection_lost(None)
        freed = weakref.ref(connection)
        del connection
        assert freed() is None


def test_a_closed_connection_that_waited_is_freed_once_its_answer_came() -> None:
    gateway, connections = Gateway(FakeDispatcher(hold=True)), set[Connection]()
    with without_collector():
        connection = Watched(gateway.shared, connections, lambda: None)
        connection.connection_made(FakeTransport())
        connection.data_received(BIG[:60_000])
        connection.connection_lost(None)
        gateway.dispatcher.answer_next()
        freed = weakref.ref(connection)
        del connection
        assert freed() is None
