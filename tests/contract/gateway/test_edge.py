"""What every shell of the gateway does for devices: the edge protocol over a real connection."""

import asyncio

import msgspec
import pytest

from tests.contract.gateway.conftest import World
from tests.unit.gateway.fakes import BIG_SCHEMA, JOB, MODEL, SCHEMA, TASK, get, http, result, update_of
from turnout.messages import (
    JobRequest,
    ModelRef,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    Status,
    TaskRequest,
    TaskResponse,
)

pytestmark = pytest.mark.anyio

BIG = update_of(BIG_SCHEMA)


async def test_the_four_requests_of_a_device_are_answered_on_one_connection(world: World) -> None:
    device = await world.connect()
    selection = http("/selection?job_id=small")
    replies = [await device.ask(data) for data in (JOB, TASK, selection, result(update_of(SCHEMA)), TASK)]
    assert [reply.status for reply in replies] == [200] * 5
    assert [reply.json["status"] for reply in replies] == ["OK"] * 5
    assert [type(request) for request in world.dispatcher.requests] == [
        JobRequest,
        TaskRequest,
        SelectionRequest,
        ResultReport,
        TaskRequest,
    ]


OFFER = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAAP__"}


async def test_an_offer_of_another_protocol_is_ignored(world: World) -> None:
    device = await world.connect()
    assert [(await device.ask(data)).status for data in (get("/healthz", **OFFER), TASK)] == [200, 200]


@pytest.mark.parametrize("shell", ["http", "granian"])  # uvicorn drops the body of a request with an offer
async def test_an_offer_of_another_protocol_spoils_no_body(world: World) -> None:
    body = b'{"job_name": "mnist", "capabilities": {"methods": []}}'
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    device = await world.connect()
    requests = (
        http("/job", body, **OFFER),
        http("/job", chunked, drop=("Content-Length",), Transfer_Encoding="chunked", **OFFER),
        TASK,
    )
    assert [(await device.ask(data)).status for data in requests] == [200] * 3


@pytest.mark.parametrize("hosts", ["Host: x\r\nHost: x\r\n", "Host:\r\n", "Host: a b\r\n"])
async def test_a_host_is_one_name_or_address(world: World, hosts: str) -> None:
    assert (await world.ask(f"GET /healthz HTTP/1.1\r\n{hosts}\r\n".encode())).status == 400


async def test_an_outcome_of_any_status_is_http_200(world: World) -> None:
    world.dispatcher.answer_to = lambda request: TaskResponse(Status.RETRY, retry_wait=2.5, message="no place")
    reply = await world.ask(TASK)
    assert reply.status == 200
    assert reply.json == {"status": "RETRY", "retry_wait": 3, "message": "no place"}


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (http("/jobs"), 404, "/jobs"),
        (http("/job", method="PUT"), 405, "POST"),
        (http("/job", Content_Type="text/plain"), 415, "application/json"),
        (http("/job", b"{}", drop=("X-Flare-Device-ID",)), 400, "X-Flare-Device-ID"),
        (http("/job", b"not json"), 400, "/job"),
        (http("/job", b'{"job_name": 1, "capabilities": {}}'), 400, "job_name"),
        (http("/task"), 400, "job_id"),
        (http("/task?job_id=a&job_id=b"), 400, "job_id"),
        (http("/result?job_id=small&task_id=t&task_name=n"), 400, "result"),
        (http("/task?job_id=small", b"{" + b" " * 70_000 + b"}"), 413, "65536"),
    ],
)
async def test_a_bad_request_is_refused_in_words(world: World, request_: bytes, status: int, words: str) -> None:
    reply = await world.ask(request_)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/json"
    assert reply.json["status"] == "INVALID_REQUEST"
    assert words in reply.json["message"]
    assert world.dispatcher.requests == []


async def test_the_wrong_method_is_told_the_right_ones(world: World) -> None:
    assert (await world.ask(get("/task?job_id=small"))).headers["allow"] == "POST"
    assert (await world.ask(http("/healthz"))).headers["allow"] == "GET, HEAD"


async def test_health_says_what_the_gateway_has_done(world: World) -> None:
    device = await world.connect()
    await device.ask(TASK)
    await device.ask(http("/nowhere"))
    health = (await device.ask(get("/healthz"))).json
    assert health["status"] == "ok"
    assert health["jobs"] == 2
    assert health["connections"] == 1
    assert health["requests"]["task"] == 1
    assert health["refused"] == {"path": 1}


async def test_a_large_result_arrives_whole(world: World) -> None:
    reply = await world.ask(result(BIG, "big"))
    assert reply.json["counted"] is True
    offer, report = world.dispatcher.requests
    assert isinstance(offer, ResultOffer)
    assert isinstance(report, ResultReport)
    assert report.update.nbytes == 4 * 20_000
    assert world.dispatcher.room.reserved == 0


async def test_a_chunked_result_arrives_whole(world: World) -> None:
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(BIG[i : i + 7000]), BIG[i : i + 7000]) for i in range(0, len(BIG), 7000))
    target = "/result?job_id=big&task_id=t1&task_name=train"
    head = http(
        target, b"", drop=("Content-Length",), Transfer_Encoding="chunked", Content_Type="application/vnd.safetensors"
    )
    reply = await world.ask(head + pieces + b"0\r\n\r\n")
    assert reply.json["counted"] is True


async def test_a_large_json_result_is_decoded(world: World) -> None:
    body = msgspec.json.encode(
        {"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [0.25] * 20_000}, "count": 5}, "meta": {}}}
    )
    assert len(body) > 64 * 1024
    reply = await world.ask(http("/result?job_id=big&task_id=t1&task_name=train", body))
    assert reply.json["counted"] is True
    report = world.dispatcher.requests[-1]
    assert isinstance(report, ResultReport)
    assert report.num_examples == 5.0
    assert bytes(report.update[:8]) == b"\x00\x00\x80>" * 2


async def test_a_large_json_result_that_is_wrong_is_refused_in_words(world: World) -> None:
    body = b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1]}}}}' + b" " * 70_000
    reply = await world.ask(http("/result?job_id=big&task_id=t1&task_name=train", body))
    assert reply.status == 400
    assert 'tensor "w"' in reply.json["message"]


async def test_a_result_nobody_wants_is_refused_while_the_device_is_still_sending(world: World) -> None:
    world.dispatcher.answer_to = lambda request: ResultResponse(Status.NO_TASK, False, "t1", "train", "too late")
    device = await world.connect()
    data = result(BIG, "big")
    device.writer.write(data[:30_000])
    reply = await device.reply()
    assert reply.json["counted"] is False
    assert reply.headers["connection"] == "close"
    device.writer.write(data[30_000:60_000])  # it has not seen the reply yet: no reset may take it away
    assert await device.wait_closed() == b""


async def test_a_model_in_the_reply_for_who_does_not_take_safetensors(world: World) -> None:
    sha256 = world.put(MODEL)
    model = ModelRef(sha256, len(MODEL), {"model_version": 3})
    world.dispatcher.answer_to = lambda request: TaskResponse(Status.OK, "small", "t1", "train", model)
    replies = await asyncio.gather(*(world.ask(http("/task?job_id=small", b"{}")) for _ in range(3)))
    for reply in replies:
        assert reply.json["task_data"] == {
            "kind": "WEIGHTS",
            "meta": {"model_version": 3},
            "data": {"w": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]},
        }


async def test_a_closing_gateway_answers_what_was_asked(world: World) -> None:
    world.dispatcher.hold = True
    busy, idle = await world.connect(), await world.connect()
    await idle.ask(get("/healthz"))
    busy.writer.write(TASK)
    await world.wait_asked()
    closing = asyncio.create_task(world.shell.close())
    assert await idle.wait_closed() == b""
    world.dispatcher.answer_next()
    reply = await busy.reply()
    assert reply.json["status"] == "OK"
    assert reply.headers["connection"] == "close"
    assert await busy.wait_closed() == b""
    await closing
    with pytest.raises(OSError):
        await world.connect()
