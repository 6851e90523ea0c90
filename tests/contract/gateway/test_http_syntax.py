"""The gateway's own HTTP server, over real sockets: what is not HTTP/1.1, order, resets and time."""

import asyncio
import socket
import struct

import pytest

from tests.contract.gateway.conftest import World
from tests.unit.gateway.fakes import BIG_SCHEMA, JOB, TASK, get, http, result, update_of
from tests.unit.gateway.http1.test_protocol import MALFORMED
from turnout.gateway.limits import GatewayLimits

pytestmark = pytest.mark.anyio
ONLY = ("http",)  #: In another shell this is the ASGI server's business.


async def test_malformed_requests_are_refused_in_json_and_the_sender_sees_it(world: World) -> None:
    for name, (data, status) in MALFORMED.items():
        device = await world.connect()
        reply = await device.ask(data)
        assert reply.status == status, name
        assert reply.json["status"] == "INVALID_REQUEST"
        if status != 411:
            assert await device.wait_closed() == b"", name
    assert world.dispatcher.requests == []


async def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    device = await world.connect()
    device.writer.write((JOB + TASK + get("/nowhere")) * 100)
    replies = [await device.reply() for _ in range(300)]
    assert [reply.status for reply in replies] == [200, 200, 404] * 100


async def test_a_request_in_single_bytes_is_understood(world: World) -> None:
    device = await world.connect()
    device.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in TASK:
        device.writer.write(bytes([byte]))
        await device.writer.drain()
        await asyncio.sleep(0)
    assert (await device.reply()).status == 200


async def test_expect_100_continue_gets_it_and_then_the_reply(world: World) -> None:
    body = update_of(BIG_SCHEMA)
    request = result(body, "big", Expect="100-continue")
    device = await world.connect()
    device.writer.write(request[: -len(body)])
    assert (await device.reply()).status == 100
    device.writer.write(body)
    assert (await device.reply()).json["counted"] is True


async def test_a_device_that_shuts_its_side_down_still_gets_the_reply(world: World) -> None:
    world.dispatcher.hold = True
    device = await world.connect()
    device.writer.write(TASK)
    device.writer.write_eof()
    await world.wait_asked()
    world.dispatcher.answer_next()
    assert (await device.reply()).status == 200
    assert await device.wait_closed() == b""


async def test_a_device_that_resets_its_connection_harms_nobody(world: World) -> None:
    world.dispatcher.hold = True
    device = await world.connect()
    device.writer.write(TASK)
    await world.wait_asked()
    sock = device.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    device.writer.transport.abort()
    await asyncio.sleep(0)
    world.dispatcher.answer_next()
    world.dispatcher.hold = False
    assert (await world.ask(TASK)).status == 200


async def test_an_endless_body_after_a_refusal_is_cut_off(world: World) -> None:
    device = await world.connect()
    device.writer.write(http("/task?job_id=small", b"", Content_Length="1000000000"))
    assert (await device.reply()).status == 413
    with pytest.raises(ConnectionError):
        await device.send_for_ever()


@pytest.mark.parametrize("limits", [GatewayLimits(connections_max=2)])
async def test_a_connection_too_many_is_told_so(world: World) -> None:
    kept = [await world.connect() for _ in range(2)]
    assert [(await device.ask(get("/healthz"))).status for device in kept] == [200, 200]
    device = await world.connect()
    reply = await device.ask(TASK)
    assert reply.status == 503
    assert reply.headers["retry-after"] == "5"


@pytest.mark.parametrize("limits", [GatewayLimits(head_timeout_s=0.5, idle_timeout_s=0.5, linger_s=0.1)])
async def test_the_clock_runs(world: World) -> None:
    slow, idle = await world.connect(), await world.connect()
    slow.writer.write(TASK[:50])
    assert (await slow.reply()).status == 408
    assert await idle.wait_closed() == b""
