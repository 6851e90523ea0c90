"""Slow, silent, half-open and vanishing clients on real sockets: each is let go, and harms nobody."""

import asyncio
import socket
import struct

import pytest

from tests.contract.gateway.conftest import WAIT_S, Device, World
from tests.unit.gateway.fakes import BIG_SCHEMA, JOB, TASK, get, http, result, update_of
from turnout.gateway.limits import GatewayLimits

pytestmark = pytest.mark.anyio
ONLY = ("http",)  #: In another shell this is the ASGI server's business.


BIG = result(update_of(BIG_SCHEMA), "big")
SLOW_HEAD = JOB.partition(b"\r\n")[0] + b"\r\nX-Slow: 1"
SLOW_BODY = http("/job", b"", Content_Length="60000")
MODEL_BYTES = 32 * 2**20  #: More than the buffers of two sockets hold.

impatient = pytest.mark.parametrize(
    "limits",
    [
        GatewayLimits(
            clock_s=0.02,
            head_timeout_s=0.2,
            body_grace_s=0.2,
            body_bytes_per_s_min=1e9,
            body_stall_s=0.2,
            write_stall_timeout_s=0.2,
            linger_s=0.2,
        )
    ],
    ids=["impatient"],
)


async def until(device: Device, what: str, value: object, trickling: Device | None = None) -> None:
    """A good device asks for work, and for the gateway's health, until that says so; each time, a byte trickles."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if trickling is not None:
                trickling.writer.write(b" ")
            assert (await device.ask(TASK)).json["status"] == "OK"
            found = (await device.ask(get("/healthz"))).json
            if {**found, **found["refused"]}.get(what) == value:
                return


def reset(device: Device) -> None:
    """Vanish without a word to the other side but a reset."""
    opened = device.writer.get_extra_info("socket")
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    device.writer.transport.abort()


@impatient
@pytest.mark.parametrize(
    ("first", "trickles", "reason"),
    [
        (SLOW_HEAD, False, "slow_head"),
        (SLOW_HEAD, True, "slow_head"),
        (SLOW_BODY, False, "slow_body"),
        (SLOW_BODY, True, "slow_body"),
        (BIG[:3000], False, "slow_body"),
    ],
    ids=["a head that stops", "a head that trickles", "no body", "a body that trickles", "a result that stops"],
)
async def test_a_slow_request_is_408_and_others_are_served(
    world: World, first: bytes, trickles: bool, reason: str
) -> None:
    slow, good = await world.connect(), await world.connect()
    slow.writer.write(first)
    await until(good, reason, 1, trickling=slow if trickles else None)
    assert (await slow.reply()).status == 408
    await slow.wait_closed()
    await until(good, "connections", 1)
    assert world.dispatcher.room.reserved == 0


@impatient
async def test_a_device_that_never_reads_its_answer_is_cut_off(world: World) -> None:
    sha256 = world.put(bytes(MODEL_BYTES))
    deaf, good = await world.connect(), await world.connect()
    deaf.writer.write(get(f"/blob/small/{sha256}"))
    await until(good, "write_stalled", 1)
    await until(good, "connections", 1)


async def test_a_device_that_says_it_is_done_still_gets_its_answer(world: World) -> None:
    world.dispatcher.hold = True
    device = await world.connect()
    device.writer.write(TASK)
    device.writer.write_eof()
    await world.wait_asked()
    world.dispatcher.answer_next()
    assert (await device.reply()).json["status"] == "OK"
    assert await device.wait_closed() == b""


@pytest.mark.parametrize("how", ["reset", "closed", "half-closed"])
async def test_a_device_that_vanishes_in_the_middle_of_a_result_leaves_nothing_behind(world: World, how: str) -> None:
    vanishing, good = await world.connect(), await world.connect()
    vanishing.writer.write(BIG[:3000])
    await world.wait_asked()
    assert world.dispatcher.room.reserved > 0
    if how == "reset":
        reset(vanishing)
    elif how == "closed":
        vanishing.writer.close()
    else:
        vanishing.writer.write_eof()
    await until(good, "connections", 1)
    assert world.dispatcher.room.reserved == 0
    assert (await good.ask(BIG)).json["counted"] is True


@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_a_device_that_vanishes_before_its_answer_harms_nobody(world: World, how: str) -> None:
    world.dispatcher.hold = True
    vanishing = await world.connect()
    vanishing.writer.write(TASK)
    await world.wait_asked()
    if how == "reset":
        reset(vanishing)
    else:
        vanishing.writer.close()
    good = await world.connect()
    world.dispatcher.hold = False
    assert (await good.ask(TASK)).json["status"] == "OK"
    world.dispatcher.answer_next()
    await until(good, "connections", 1)


@pytest.mark.parametrize("limits", [GatewayLimits(clock_s=0.02, idle_timeout_s=1.0)], ids=["impatient"])
async def test_a_hundred_silent_connections_are_closed_and_others_are_served(world: World) -> None:
    silent = [await world.connect() for _ in range(100)]
    good = await world.connect()
    await until(good, "connections", 1)
    assert [await device.wait_closed() for device in silent] == [b""] * 100
