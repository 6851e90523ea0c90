"""One connection without its socket: order, limits, pace and pressure."""

import pytest

from tests.unit.gateway.fakes import (
    BIG_SCHEMA,
    JOB,
    SCHEMA,
    TASK,
    FakeDispatcher,
    FakeWeights,
    Gateway,
    get,
    http,
    result,
    split_replies,
    update_of,
)
from turnout.blobs.base import BUSY
from turnout.gateway.limits import GatewayLimits
from turnout.messages import (
    JobRequest,
    JobResponse,
    ResultOffer,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
)

BIG = update_of(BIG_SCHEMA)
JOB_BODY = b'{"job_name": "mnist", "capabilities": {"methods": []}}'


# --- requests and replies ---


def test_a_request_is_answered_and_the_connection_stays() -> None:
    wire = Gateway().connect().send(TASK)
    reply = wire.only_reply()
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["date"] == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert reply.json["task_id"] == "t1"
    assert not wire.closed


def test_a_request_may_come_byte_by_byte() -> None:
    wire = Gateway().connect()
    for byte in TASK:
        wire.send(bytes([byte]))
    assert wire.only_reply().status == 200


def test_the_same_request_again_is_answered_again() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(TASK, TASK, JOB, TASK, JOB)
    assert [reply.json["status"] for reply in wire.replies()] == ["OK"] * 5
    assert [type(request) for request in gateway.dispatcher.requests] == [
        TaskRequest,
        TaskRequest,
        JobRequest,
        TaskRequest,
        JobRequest,
    ]
    assert gateway.counters.requests["task"] == 3


def test_the_same_head_with_another_body_of_the_same_length_is_read_anew() -> None:
    gateway = Gateway()
    first, second = (
        http("/task?job_id=small", b'{"accept": ["safetensors"], "cookie": {"v": %d}}' % i) for i in (1, 2)
    )
    gateway.connect().send(first, second)
    assert [request.cookie for request in gateway.dispatcher.requests if isinstance(request, TaskRequest)] == [
        {"v": 1},
        {"v": 2},
    ]


def test_the_same_head_in_the_middle_of_another_request_is_not_a_request() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(TASK, http("/task?job_id=small", TASK)[: -len(TASK)], TASK)
    assert [reply.status for reply in wire.replies()] == [200, 400]
    assert len(gateway.dispatcher.requests) == 1


def test_the_same_head_after_the_start_of_a_method_is_malformed() -> None:
    wire = Gateway().connect().send(TASK, b"PO", TASK)
    assert [reply.status for reply in wire.replies()] == [200, 400]


def test_pipelined_requests_are_answered_in_their_order_whoever_is_first() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(TASK + JOB + get("/nowhere"))
    gateway.dispatcher.answer_next(1)
    assert wire.replies() == []
    gateway.dispatcher.answer_next(0)
    first, second, third = wire.replies()
    assert first.json["task_id"] == "t1"
    assert second.json["job_name"] == "mnist"
    assert third.status == 404


def test_beyond_the_pipelines_depth_nothing_more_is_read_until_a_reply_is_sent() -> None:
    gateway = Gateway(FakeDispatcher(hold=True), GatewayLimits(pipeline_max=2))
    wire = gateway.connect().send(TASK, TASK)
    assert not wire.reading
    wire.send(TASK)
    assert len(gateway.dispatcher.requests) == 2
    gateway.dispatcher.answer_next()
    assert len(gateway.dispatcher.requests) == 3
    gateway.dispatcher.answer_next()
    gateway.dispatcher.answer_next()
    assert len(wire.replies()) == 3
    assert wire.reading


def test_connection_close_is_honoured() -> None:
    wire = Gateway().connect().send(http("/job", JOB_BODY, Connection="close"))
    assert wire.only_reply().headers["connection"] == "close"
    assert wire.closed


def test_http_1_0_closes_unless_it_asks_to_be_kept() -> None:
    wire = Gateway().connect().send(http("/job", JOB_BODY, version="HTTP/1.0"))
    assert wire.only_reply().headers["connection"] == "close"
    assert wire.closed
    wire = Gateway().connect().send(http("/job", JOB_BODY, version="HTTP/1.0", Connection="keep-alive"))
    assert wire.only_reply().headers["connection"] == "keep-alive"
    assert not wire.closed


def test_a_chunked_body_is_read() -> None:
    head = http("/selection?job_id=small", b"", drop=("Content-Length",), Transfer_Encoding="chunked")
    wire = Gateway().connect().send(head, b"1\r\n{\r\n", b"1;ext=1\r\n}\r\n", b"0\r\n\r\n", TASK)
    assert [reply.status for reply in wire.replies()] == [200, 200]


def test_a_refused_request_with_a_small_body_keeps_the_connection() -> None:
    wire = Gateway().connect().send(http("/nowhere", b"x" * 100)[:-50], b"x" * 50, TASK)
    assert [reply.status for reply in wire.replies()] == [404, 200]


def test_head_gets_the_headers_alone() -> None:
    wire = Gateway().connect().send(get("/healthz", method="HEAD"))
    head, _, body = bytes(wire.written).partition(b"\r\n\r\n")
    assert b"Content-Length: 15" in head
    assert body == b""


def test_health_is_told() -> None:
    assert Gateway().connect().send(get("/healthz")).only_reply().json == {"status": "ok"}


def test_an_answer_after_the_connection_is_lost_is_dropped() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(TASK)
    wire.lose()
    gateway.dispatcher.answer_next()
    assert wire.written == b""


def test_a_device_that_has_said_all_still_gets_its_replies() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(TASK, TASK[:30])
    assert wire.send_eof()
    gateway.dispatcher.answer_next()
    assert wire.only_reply().status == 200
    assert wire.closed


def test_a_device_that_leaves_without_a_request_is_let_go() -> None:
    wire = Gateway().connect().send(TASK)
    assert not wire.send_eof()


# --- what is not HTTP/1.1 ---

MALFORMED = {
    "no version": (b"POST /task\r\n\r\n", 505),
    "no version and a body": (b"POST /task\nHost: x\n\n{}", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/2.0": (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505),
    "HTTP/0.9": (b"GET /healthz HTTP/0.9\r\nHost: x\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", 505),
    "length and chunks": (http("/job", b"0\r\n\r\n", Transfer_Encoding="chunked"), 400),
    "length twice": (http("/job", b"{}", content_length="2"), 400),
    "length list": (http("/job", b"{}", Content_Length="2, 2"), 400),
    "length with sign": (http("/job", b"{}", Content_Length="+2"), 400),
    "negative length": (http("/job", b"{}", Content_Length="-2"), 400),
    "empty length": (http("/job", b"{}", Content_Length=""), 400),
    "enormous length": (http("/job", b"{}", Content_Length="9" * 30), 400),
    "other coding": (http("/job", b"", drop=("Content-Length",), Transfer_Encoding="gzip"), 400),
    "two codings": (http("/job", b"", drop=("Content-Length",), Transfer_Encoding="gzip, chunked"), 400),
    "chunks in HTTP/1.0": (
        http("/job", b"0\r\n\r\n", version="HTTP/1.0", drop=("Content-Length",), Transfer_Encoding="chunked"),
        400,
    ),
    "trailers": (
        http("/job", b"0\r\nX-A: b\r\n\r\n", drop=("Content-Length",), Transfer_Encoding="chunked"),
        400,
    ),
    "bare LF": (b"GET /healthz HTTP/1.1\nHost: x\n\n", 400),
    "bare CR": (b"GET /healthz HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", 400),
    "NUL": (b"GET /healthz HTTP/1.1\r\nHost: x\x00y\r\n\r\n", 400),
    "folded header": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400),
    "space before colon": (b"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
    "two equal hosts": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    "two equal hosts in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n", 400),
    "empty host": (get("/healthz", Host=""), 400),
    "host of two words": (get("/healthz", Host="a b"), 400),
    "host with a path": (get("/healthz", Host="a/b"), 400),
    "host of another shape after an offer": (get("/healthz", Host="a@b", Connection="upgrade", Upgrade="h2c"), 400),
    "two ids": (http("/job", b"{}", x_flare_device_id="d2"), 400),
    "unknown method": (b"FROB /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "odd expectation": (http("/job", b"{}", Expect="a-present"), 417),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "no length": (http("/job", b"", drop=("Content-Length",)), 411),
}


@pytest.mark.parametrize(("data", "status"), MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused_in_json(data: bytes, status: int) -> None:
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        gateway = Gateway()
        wire = gateway.connect().send(*pieces)
        reply = wire.only_reply()
        assert reply.status == status, reply
        assert reply.json["status"] == "INVALID_REQUEST"
        assert reply.json["message"]
        assert gateway.dispatcher.requests == []


@pytest.mark.parametrize("host", ["gateway", "10.0.0.1:8710", "[::1]:8710", "a.example:", "x_y-z.example"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    wire = Gateway().connect().send(get("/healthz", Host=host))
    assert wire.only_reply().status == 200


OFFER = {"Connection": "Upgrade, HTTP2-Settings", "HTTP2_Settings": "AAMAAABkAAQAAP__"}


@pytest.mark.parametrize("step", [1, 100, 10**6])
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "foo/2, bar"])
def test_an_offer_of_another_protocol_is_ignored(protocol: str, step: int) -> None:
    offer = {**OFFER, "Upgrade": protocol}
    chunked = b"6\r\n" + b'{"job_' + b"\r\n" + b"%x\r\n" % 41 + b'name": "mnist", "capabilities":{"methods"' + b"\r\n"
    chunked += b"5\r\n:[]}}\r\n0\r\n\r\n"
    requests = (
        get("/healthz", **offer),
        http("/job", b'{"job_name": "mnist", "capabilities": {"methods": []}}', **offer),
        http("/job", chunked, drop=("Content-Length",), Transfer_Encoding="chunked", **offer),
        result(update_of(SCHEMA), **offer),
        TASK,
    )
    data = b"".join(requests) * 2
    gateway = Gateway()
    wire = gateway.connect().send(*(data[i : i + step] for i in range(0, len(data), step)))
    assert [reply.status for reply in wire.replies()] == [200] * 10
    kinds = [type(request) for request in gateway.dispatcher.requests]
    assert kinds == [JobRequest, JobRequest, ResultReport, TaskRequest] * 2


def test_many_offers_in_one_read_are_answered_one_after_the_other() -> None:
    data = get("/healthz", Connection="Upgrade", Upgrade="h2c") * 1500
    wire = Gateway().connect().send(data)
    assert [reply.status for reply in wire.replies()] == [200] * 1500


def test_an_offer_keeps_what_the_request_says_of_its_connection() -> None:
    wire = Gateway().connect().send(get("/healthz", Connection="close, Upgrade", Upgrade="h2c"), TASK)
    assert wire.only_reply().headers["connection"] == "close"


def test_what_follows_a_malformed_request_is_not_a_request() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(b"GET / HTTP/1.1\r\nBad Header: x\r\n\r\n" + TASK, TASK)
    assert [reply.status for reply in wire.replies()] == [400]
    assert gateway.dispatcher.requests == []
    assert wire.eof


# --- sizes ---


@pytest.mark.parametrize("step", [1000, 10**6])
def test_a_long_target_is_414(step: int) -> None:
    data = get("/task?job_id=" + "x" * 9000)
    wire = Gateway().connect().send(*(data[i : i + step] for i in range(0, len(data), step)))
    assert wire.only_reply().status == 414


@pytest.mark.parametrize("step", [1000, 10**6])
@pytest.mark.parametrize("end", [b"\r\n\r\n", b""])
def test_large_headers_are_431(step: int, end: bytes) -> None:
    data = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 40_000 + end
    wire = Gateway().connect().send(*(data[i : i + step] for i in range(0, len(data), step)))
    if end or step == 1000:
        assert wire.only_reply().status == 431
        assert "16384 bytes" in wire.only_reply().json["message"]


def test_an_endless_header_is_431() -> None:
    wire = Gateway().connect().send(b"GET /healthz HTTP/1.1\r\nX: ")
    for _ in range(60):
        wire.send(b"y" * 1000)
    assert wire.only_reply().status == 431


def test_many_headers_are_431() -> None:
    data = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X%d: 1\r\n" % i for i in range(65)) + b"\r\n"
    assert Gateway().connect().send(data).only_reply().status == 431


def test_a_body_larger_than_announced_types_allow_is_413_and_is_not_read() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(http("/task?job_id=small", b"", Content_Length="1000000"))
    assert wire.only_reply().status == 413
    assert wire.only_reply().headers["connection"] == "close"
    assert wire.eof


def test_a_chunked_body_that_grows_too_large_is_413() -> None:
    head = http("/task?job_id=small", b"", drop=("Content-Length",), Transfer_Encoding="chunked")
    wire = Gateway().connect().send(head)
    for _ in range(70):
        wire.send(b"400\r\n" + b" " * 1024 + b"\r\n")
    assert wire.only_reply().status == 413


def test_endless_chunk_extensions_are_refused() -> None:
    head = http("/task?job_id=small", b"", drop=("Content-Length",), Transfer_Encoding="chunked")
    wire = Gateway().connect().send(head, b"1;")
    for _ in range(100):
        wire.send(b"x" * 1024)
    assert wire.only_reply().status == 400
    assert "chunks" in wire.only_reply().json["message"]


def test_an_endless_trailer_is_refused() -> None:
    head = http("/task?job_id=small", b"", drop=("Content-Length",), Transfer_Encoding="chunked")
    wire = Gateway().connect().send(head, b"0\r\nX: ")
    for _ in range(100):
        wire.send(b"x" * 1024)
    assert wire.only_reply().status == 400


def test_what_comes_after_a_refusal_is_thrown_away_within_limits() -> None:
    wire = Gateway(limits=GatewayLimits(linger_bytes_max=10_000)).connect().send(b"\x00", b"x" * 9_000)
    assert not wire.closed
    wire.send(b"x" * 2_000)
    assert wire.closed


# --- pace ---


def test_an_idle_connection_is_closed() -> None:
    gateway = Gateway()
    wire = gateway.connect()
    gateway.pass_time(70)
    wire.send(TASK)
    gateway.pass_time(75)
    assert not wire.closed
    gateway.pass_time(1)
    assert wire.closed
    assert len(wire.replies()) == 1


def test_the_time_that_an_upload_or_a_download_takes_is_not_idle() -> None:
    gateway = Gateway(limits=GatewayLimits(body_bytes_per_s_min=1.0))
    upload, data = gateway.connect().send(result(BIG, "big")[:-80]), result(BIG, "big")
    config = {"text": "x" * 300_000}
    gateway.dispatcher.answer_to = lambda request: JobResponse(Status.OK, job_data={"config": config})
    download = gateway.connect()
    download.takes_nothing = True
    download.send(JOB)
    for second in range(80):
        gateway.pass_time(1)
        upload.send(data[len(data) - 80 + second :][:1])
        download.unsent += 1
    while len(download.written) < 300_000:
        download.take()
    download.takes_nothing = False
    download.take()
    assert [len(wire.replies()) for wire in (upload, download)] == [1, 1]
    gateway.pass_time(75)
    assert not upload.closed
    assert not download.closed
    gateway.pass_time(1)
    assert upload.closed
    assert download.closed


def test_slow_headers_are_408_however_they_trickle() -> None:
    gateway = Gateway()
    wire = gateway.connect()
    for byte in TASK[:10]:
        wire.send(bytes([byte]))
        gateway.pass_time(1)
    assert wire.replies() == []
    wire.send(TASK[10:11])
    gateway.pass_time(1)
    assert wire.only_reply().status == 408
    gateway.pass_time(3)
    assert wire.closed


def test_empty_lines_do_not_keep_a_connection_alive() -> None:
    gateway = Gateway()
    wire = gateway.connect()
    for _ in range(76):
        gateway.pass_time(1)
        wire.send(b"\r\n")
    assert wire.closed


def test_a_slow_body_is_408_and_a_steady_one_is_not() -> None:
    gateway = Gateway(limits=GatewayLimits(body_grace_s=5, body_bytes_per_s_min=1000))
    slow, steady = gateway.connect(), gateway.connect()
    for wire in (slow, steady):
        wire.send(http("/task?job_id=small", b"", Content_Length="60000"))
    for _ in range(20):
        gateway.pass_time(1)
        slow.send(b" " * 10)
        steady.send(b" " * 1100)
    assert slow.only_reply().status == 408
    assert slow.only_reply().headers["connection"] == "close"
    assert steady.replies() == []
    assert not steady.closed


def test_a_body_is_408_when_its_time_is_over_however_steadily_it_comes() -> None:
    gateway = Gateway(limits=GatewayLimits(body_time_max_s=30))
    wire = gateway.connect().send(result(BIG, "big")[: -len(BIG)])
    for _ in range(30):
        gateway.pass_time(1)
        wire.send(b" " * 2500)
    assert wire.replies() == []
    gateway.pass_time(1)
    assert wire.only_reply().status == 408
    assert "longer than 30 s" in wire.only_reply().json["message"]
    assert gateway.dispatcher.room.reserved == 0


def test_the_time_of_a_body_begins_when_it_is_let_in() -> None:
    gateway = Gateway(limits=GatewayLimits(body_time_max_s=30))
    gateway.dispatcher.room.bytes_max = 0
    wire = gateway.connect().send(result(BIG, "big")[: -len(BIG)])
    gateway.pass_time(14)
    gateway.dispatcher.room.make()
    for _ in range(29):
        gateway.pass_time(1)
        wire.send(b" " * 2500)
    assert wire.replies() == []


def test_waiting_for_an_answer_has_no_time_out_here() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(TASK)
    gateway.pass_time(500)
    gateway.dispatcher.answer_next()
    assert wire.only_reply().status == 200


def test_a_device_that_takes_nothing_is_cut_off() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(TASK)
    wire.stop_taking(1000)
    assert not wire.reading
    gateway.pass_time(20)
    wire.unsent = 900
    gateway.pass_time(30)
    assert not wire.aborted
    gateway.pass_time(2)
    assert wire.aborted


def test_replies_wait_while_the_device_does_not_take_them() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(TASK + TASK)
    wire.stop_taking(0)
    gateway.dispatcher.answer_next()
    gateway.dispatcher.answer_next()
    assert wire.replies() == []
    wire.take()
    assert len(wire.replies()) == 2
    assert wire.reading


def test_a_large_reply_is_written_in_pieces_as_it_is_taken() -> None:
    gateway = Gateway()
    config = {"text": "x" * 300_000}
    gateway.dispatcher.answer_to = lambda request: JobResponse(Status.OK, job_data={"config": config})
    wire = gateway.connect()
    wire.takes_nothing = True
    wire.send(JOB)
    while len(wire.written) < 300_000:
        before = len(wire.writes)
        wire.take()
        assert len(wire.writes) == before + 1
    assert max(wire.writes) <= 64 * 1024
    assert wire.only_reply().json["job_data"]["config"] == config
    wire.take()
    assert wire.reading


# --- draining ---


def test_a_draining_gateway_answers_what_was_asked_and_closes() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    idle, busy, half = gateway.connect(), gateway.connect().send(TASK), gateway.connect().send(TASK[:40])
    gateway.site.draining = True
    for wire in gateway.wires:
        wire.drain()
    assert idle.closed
    gateway.dispatcher.answer_next()
    assert busy.only_reply().headers["connection"] == "close"
    assert busy.closed
    half.send(TASK[40:])
    gateway.dispatcher.answer_next()
    assert half.only_reply().headers["connection"] == "close"
    assert half.closed


def test_a_draining_gateway_lets_a_connection_ask_once_more_before_it_closes_it() -> None:
    """Its next request may be under way; a fresh connection that gets no answer at all would look broken."""
    gateway = Gateway(limits=GatewayLimits(drain_idle_s=2))
    fresh, silent = gateway.connect(), gateway.connect()
    gateway.site.draining = True
    gateway.pass_time(2)
    assert not fresh.closed
    fresh.send(TASK)
    assert fresh.only_reply().status == 200
    assert fresh.only_reply().headers["connection"] == "close"
    gateway.pass_time(1)
    assert silent.closed


# --- results ---


def test_a_small_result_is_counted() -> None:
    gateway = Gateway()
    wire = gateway.connect().send(result(update_of(SCHEMA)))
    assert wire.only_reply().json == {"status": "OK", "counted": True, "task_id": "t1", "task_name": "train"}
    (report,) = gateway.dispatcher.requests
    assert isinstance(report, ResultReport)
    assert gateway.dispatcher.room.reserved == 0


def test_a_large_result_is_offered_then_read() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    data = result(BIG, "big")
    wire = gateway.connect().send(data[:1000])
    assert not wire.reading
    (offer,) = gateway.dispatcher.requests
    assert isinstance(offer, ResultOffer)
    gateway.dispatcher.answer_next()
    assert wire.reading
    assert gateway.dispatcher.room.reserved == len(BIG)
    wire.send(data[1000:60_000], data[60_000:])
    gateway.dispatcher.answer_next()
    assert wire.only_reply().json["counted"] is True
    assert gateway.dispatcher.room.reserved == 0


def test_a_large_result_that_nobody_wants_is_refused_with_little_read() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    gateway.dispatcher.answer_to = lambda request: ResultResponse(Status.NO_TASK, False, "t1", message="too late")
    wire = gateway.connect().send(result(BIG, "big")[:2000])
    assert not wire.reading
    gateway.dispatcher.answer_next()
    reply = wire.only_reply()
    assert reply.status == 200
    assert reply.json == {"status": "NO_TASK", "counted": False, "task_id": "t1", "message": "too late"}
    assert reply.headers["connection"] == "close"
    assert wire.eof
    assert wire.reading  # to throw away what is coming
    gateway.pass_time(3)
    assert wire.closed
    assert gateway.dispatcher.room.reserved == 0


def test_a_large_result_that_nobody_wants_may_be_sent_to_its_end_by_clients_that_read_no_reply_before() -> None:
    gateway = Gateway(FakeDispatcher(hold=True), limits=GatewayLimits(linger_bytes_max=1000))
    gateway.dispatcher.answer_to = lambda request: ResultResponse(Status.NO_TASK, False, "t1")
    data = result(BIG, "big")
    wire = gateway.connect().send(data[:2000])
    gateway.dispatcher.answer_next()
    gateway.pass_time(1.5)
    wire.send(data[2000:60_000])
    gateway.pass_time(1.5)
    wire.send(data[60_000:])
    assert not wire.closed
    wire.send(b"x" * 3000)
    assert wire.closed


def test_a_body_that_is_too_large_may_be_sent_to_its_end_within_a_bound() -> None:
    limits = GatewayLimits(linger_bytes_max=1000, linger_announced_bytes_max=100_000)
    gateway = Gateway(limits=limits)
    data = http("/job", b"x" * 100_000)
    wire = gateway.connect().send(data[:2000])
    assert wire.only_reply().status == 413
    for start in range(2000, len(data), 40_000):
        gateway.pass_time(1.5)
        wire.send(data[start : start + 40_000])
        assert not wire.closed
    gateway.pass_time(3)
    assert wire.closed
    wire = gateway.connect().send(http("/job", b"x" * 100_001)[:2000])
    wire.send(b"x" * 1001)
    assert wire.closed


def test_a_refused_result_that_has_all_come_keeps_the_connection() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    wire = gateway.connect().send(result(b"x" * 17_000))
    gateway.dispatcher.answer_to = lambda request: ResultResponse(Status.NO_TASK, False, "t1")
    gateway.dispatcher.answer_next()
    assert "connection" not in wire.only_reply().headers
    gateway.dispatcher.hold = False
    gateway.dispatcher.answer_to = lambda request: TaskResponse(Status.DONE)
    wire.send(TASK)
    assert wire.replies()[1].json == {"status": "DONE"}


def test_a_result_takes_the_room_of_its_job_and_one_of_no_job_that_of_nobody() -> None:
    gateway = Gateway()
    for job_id in ("big", "small", "unheard-of", "made-up"):
        gateway.connect().send(result(bytes(100), job_id)[:-1])
    assert gateway.dispatcher.room.reserved_by == {"big": 100, "small": 100, "": 200}


def test_a_result_waits_for_room_before_it_is_read() -> None:
    gateway = Gateway()
    gateway.dispatcher.room.bytes_max = 0
    wire = gateway.connect().send(result(BIG, "big")[:2000])
    assert not wire.reading
    assert wire.replies() == []
    gateway.dispatcher.room.make()
    assert wire.reading
    wire.send(result(BIG, "big")[2000:])
    assert wire.only_reply().json["counted"] is True
    assert gateway.dispatcher.room.reserved == 0


def test_a_result_that_waits_too_long_for_room_is_told_503() -> None:
    gateway = Gateway(limits=GatewayLimits(admission_timeout_s=5))
    gateway.dispatcher.room.bytes_max = 0
    whole, part = gateway.connect().send(result(update_of(SCHEMA))), gateway.connect().send(result(BIG, "big")[:2000])
    gateway.pass_time(7)
    assert [wire.only_reply().status for wire in (whole, part)] == [503, 503]
    gateway.dispatcher.room.make()
    gateway.dispatcher.room.make()
    assert gateway.dispatcher.room.reserved == 0


def test_room_that_comes_after_the_device_is_gone_is_given_back() -> None:
    gateway = Gateway()
    gateway.dispatcher.room.bytes_max = 0
    gateway.connect().send(result(BIG, "big")[:2000]).lose()
    gateway.dispatcher.room.make()
    assert gateway.dispatcher.room.reserved == 0


def test_room_is_given_back_when_the_device_leaves_in_the_middle() -> None:
    for end in ("lost", "eof", "slow"):
        gateway = Gateway()
        wire = gateway.connect().send(result(BIG, "big")[:2000])
        assert gateway.dispatcher.room.reserved == len(BIG)
        if end == "lost":
            wire.lose()
        elif end == "eof":
            wire.send_eof()
        else:
            gateway.pass_time(60)
        assert gateway.dispatcher.room.reserved == 0


def test_of_a_task_only_one_large_result_is_let_in_at_a_time() -> None:
    gateway = Gateway()
    data = result(BIG, "big")
    first, second = gateway.connect().send(data[:2000]), gateway.connect().send(data[:2000])
    other = gateway.connect().send(data.replace(b"task_id=t1", b"task_id=t2")[:2000])
    assert gateway.dispatcher.room.reserved == 2 * len(BIG)
    reply = second.only_reply()
    assert reply.status == 200
    assert reply.json["status"] == "RETRY"
    assert reply.json["counted"] is False
    assert reply.json["retry_wait"] == 5
    assert "already" in reply.json["message"]
    assert reply.headers["connection"] == "close"
    assert other.replies() == []

    first.send(data[2000:])
    assert first.only_reply().json["counted"] is True
    assert gateway.connect().send(data).only_reply().json["counted"] is True


@pytest.mark.parametrize("room", [0, 10**9])
@pytest.mark.parametrize("end", ["lost", "eof", "slow"])
def test_a_task_can_be_sent_again_once_its_first_sending_has_ended(end: str, room: int) -> None:
    gateway = Gateway()
    gateway.dispatcher.room.bytes_max = room
    data = result(BIG, "big")
    wire = gateway.connect().send(data[:2000])
    if end == "lost":
        wire.lose()
    elif end == "eof":
        wire.send_eof()
    else:
        gateway.pass_time(60)
    gateway.dispatcher.room.bytes_max = 10**9
    assert gateway.connect().send(data).only_reply().json["counted"] is True
    assert not gateway.site.uploads


def test_expect_100_continue_is_said_when_the_body_is_wanted() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    data = result(BIG, "big", Expect="100-continue")
    head, body = data[: -len(BIG)], BIG
    wire = gateway.connect().send(head)
    assert wire.written == b""
    gateway.dispatcher.answer_next()
    assert wire.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.written.clear()
    wire.send(body)
    gateway.dispatcher.answer_next()
    assert wire.only_reply().json["counted"] is True


def test_100_continue_is_not_said_before_an_earlier_reply() -> None:
    gateway = Gateway(FakeDispatcher(hold=True))
    head = http("/task?job_id=small", b"", Content_Length="2", Expect="100-continue")
    wire = gateway.connect().send(JOB + head)
    assert wire.written == b""
    gateway.dispatcher.answer_next()
    assert bytes(wire.written).endswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_an_expected_body_that_is_refused_gets_the_final_status_at_once() -> None:
    wire = Gateway().connect().send(http("/nowhere", b"", Content_Length="10", Expect="100-continue"))
    assert wire.only_reply().status == 404
    assert wire.only_reply().headers["connection"] == "close"


def test_a_result_of_a_job_that_has_just_started_is_asked_for_again() -> None:
    wire = Gateway().connect().send(result(b"abc", job_id="new"))
    reply = wire.only_reply().json
    assert reply["status"] == "RETRY"
    assert reply["counted"] is False
    assert reply["retry_wait"] == 5


def test_a_large_json_result_is_decoded_elsewhere() -> None:
    gateway = Gateway(limits=GatewayLimits(inline_decode_bytes=1000))
    lists = b"[" + b",".join([b"0.5"] * 20_000) + b"]"
    body = b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": %b}}}}' % lists
    wire = gateway.connect().send(http("/result?job_id=big&task_id=t1&task_name=train", body))
    assert wire.only_reply().json["counted"] is True
    assert gateway.dispatcher.room.reserved == 0


def test_a_large_json_result_that_is_wrong_is_400() -> None:
    gateway = Gateway(limits=GatewayLimits(inline_decode_bytes=1000))
    body = b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1]}}}}' + b" " * 20_000
    wire = gateway.connect().send(http("/result?job_id=big&task_id=t1&task_name=train", body))
    assert wire.only_reply().status == 400
    assert 'tensor "w"' in wire.only_reply().json["message"]
    assert gateway.dispatcher.room.reserved == 0


def test_a_device_that_does_not_take_safetensors_is_told_when_the_model_is_not_there() -> None:
    wire = Gateway(weights=FakeWeights(None)).connect().send(http("/task?job_id=small", b"{}"))
    assert wire.only_reply().json["status"] == "RETRY"


def test_a_device_that_does_not_take_safetensors_gets_the_model_inside() -> None:
    wire = Gateway(weights=FakeWeights(b'{"w":[1.0]}')).connect().send(http("/task?job_id=small", b"{}"))
    assert wire.only_reply().json["task_data"] == {
        "kind": "WEIGHTS",
        "meta": {"model_version": 1},
        "data": {"w": [1.0]},
    }


def test_a_device_of_executorch_is_told_when_the_gateway_is_busy() -> None:
    wire = Gateway(weights=FakeWeights(BUSY)).connect().send(http("/task?job_id=executorch", b"{}"))
    reply = wire.only_reply().json
    assert (reply["status"], reply["message"]) == ("RETRY", "too many models are being read; ask again later")


def test_a_device_of_executorch_is_told_which_version_is_being_exported() -> None:
    wire = Gateway(weights=FakeWeights(None)).connect().send(http("/task?job_id=executorch", b"{}"))
    reply = wire.only_reply().json
    assert (reply["status"], reply["message"]) == ("RETRY", "version 1 of the model is being exported")


def test_a_device_that_speaks_numbers_gets_one() -> None:
    wire = Gateway(weights=FakeWeights(b'{"value":1.5}')).connect().send(http("/task?job_id=number", b"{}"))
    assert wire.only_reply().json["task_data"] == {
        "kind": "number",
        "meta": {"model_version": 1},
        "data": {"value": 1.5},
    }


def test_a_model_too_large_for_json_is_an_error_that_says_what_to_do() -> None:
    gateway = Gateway(limits=GatewayLimits(weights_model_bytes_max=10), weights=FakeWeights(b"{}"))
    reply = gateway.connect().send(http("/task?job_id=small", b"{}")).only_reply().json
    assert reply["status"] == "ERROR"
    assert '"accept": ["safetensors"]' in reply["message"]
    assert "at most 10 are sent as JSON" in reply["message"]
    assert "--weights-model-bytes-max" in reply["message"]


def test_an_executorch_model_is_sent_however_large_the_model_it_was_made_of() -> None:
    """What is sent is the hook's file, whose size is bounded where it is made."""
    gateway = Gateway(limits=GatewayLimits(weights_model_bytes_max=10), weights=FakeWeights(b'"RVQxMg=="'))
    reply = gateway.connect().send(http("/task?job_id=executorch", b"{}")).only_reply().json
    assert (reply["status"], reply["task_data"]["data"]) == ("OK", "RVQxMg==")


def test_a_refused_last_request_lingers_while_its_small_body_is_coming() -> None:
    wire = Gateway().connect().send(http("/nowhere", b"", Content_Length="100", Connection="close"))
    assert wire.only_reply().status == 404
    assert wire.eof
    assert not wire.closed
    wire = Gateway().connect().send(get("/nowhere", Connection="close"))
    assert wire.closed


def test_refusals_are_counted_by_their_reason() -> None:
    gateway = Gateway()
    gateway.connect().send(get("/a"), get("/b"), http("/job", b"[]"))
    assert gateway.counters.refused == {"path": 2, "bad_body": 1}
    assert gateway.counters.requests["other"] == 2
    assert gateway.counters.snapshot(3, 10.0).requests == {"other": 2, "job": 1}


def test_answers_their_time_and_the_bytes_are_counted_by_kind_of_request() -> None:
    gateway = Gateway()
    asked = (TASK, TASK, get("/a"), http("/job", b"[]"))
    wire = gateway.connect().send(*asked)
    told = gateway.counters.snapshot(3, 10.0)
    assert told.answers == {"task": {"OK": 2}, "job": {"400": 1}, "other": {"404": 1}}
    assert {kind: sum(counts) for kind, counts in told.latency.items()} == {"task": 2, "job": 1, "other": 1}
    assert all(spent_s > 0 for spent_s in told.latency_s.values())
    assert told.bytes_in == sum(map(len, asked))
    assert told.bytes_out == len(wire.written)


def test_split_replies_sees_every_reply() -> None:
    assert split_replies(b"") == []
