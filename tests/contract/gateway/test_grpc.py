"""FLARE's gRPC service on a real port: what a device asks, in the messages that FLARE's proxy sends."""

import asyncio
import gc
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # as in a gateway, which is not the first to import it here
import grpc
import numpy as np
import pytest
from grpc import aio

from tests.contract.flare.quirks import covers
from tests.unit.gateway.fakes import BIG_SCHEMA, FakeDispatcher, schema_of
from tests.unit.wire.edge_messages import Reply, Request
from turnout.blobs.place import FolderSource
from turnout.gateway.exchange import Exchange
from turnout.gateway.grpc import GrpcServer
from turnout.gateway.http1.server import GatewayServer
from turnout.gateway.limits import GatewayLimits, GrpcLimits
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
from turnout.wire import tensors

pytestmark = pytest.mark.anyio

METHOD = "/edgeapi.EdgeApi/Query"
WAIT_S = 20.0
CLIENT = [("grpc.max_receive_message_length", -1)]
#: A client that takes no more of a reply than it has asked for.
SLOW_CLIENT = [*CLIENT, ("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_535)]
#: A client with a connection of its own, whoever else asks from this process.
ALONE = [*CLIENT, ("grpc.use_local_subchannel_pool", 1)]
ABOUT = {"device_id": "d1", "app_name": None, "app_version": None, "platform": None, "platform_version": None}
NOBODY: dict[str, Any] = {"device_info": ABOUT, "user_info": None}
TASK = {**NOBODY, "job_id": "small", "cookie": None}
UPDATE = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.0] * 8}, "count": 2}, "meta": {}}
RESULT = {
    **NOBODY, "job_id": "small", "task_id": "t1", "task_name": "train", "status": "OK", "result": UPDATE, "cookie": {},
}  # fmt: skip
BIG_UPDATE = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1.5] * 20_000}, "count": 1}, "meta": {}}
BIG_RESULT = {**RESULT, "job_id": "big", "result": BIG_UPDATE}


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: grpc has a thread of its own, which wakes them."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@dataclass
class World:
    """A gateway that takes gRPC, the dispatcher behind it, and a client."""

    dispatcher: FakeDispatcher
    gateway: GatewayServer
    server: GrpcServer
    channel: aio.Channel
    port: int

    async def ask(self, kind: str, payload: object) -> tuple[str, dict[str, Any]]:
        """The reply's own status, and what its payload says."""
        text = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return await self.send(Request(type=kind, method="POST", header=b"0", payload=text).SerializeToString())

    async def send(self, message: bytes) -> tuple[str, dict[str, Any]]:
        reply = Reply.FromString(await self.channel.unary_unary(METHOD)(message, timeout=WAIT_S))
        return reply.status, json.loads(reply.payload)

    @property
    def refused(self) -> dict[str, int]:
        return self.gateway.counters.refused


@asynccontextmanager
async def serving(
    folder: Path,
    limits: GatewayLimits | None = None,
    grpc_limits: GrpcLimits | None = None,
    dispatcher: FakeDispatcher | None = None,
) -> AsyncIterator[World]:
    dispatcher = dispatcher or FakeDispatcher()
    gateway = GatewayServer(dispatcher, schema_of, lambda job_id: FolderSource(str(folder)), limits=limits)
    await gateway.start([socket.create_server(("127.0.0.1", 0))])
    server = GrpcServer(gateway.site, "127.0.0.1:0", grpc_limits or GrpcLimits())
    port = await server.start()
    try:
        async with aio.insecure_channel(f"127.0.0.1:{port}", options=CLIENT) as channel:
            yield World(dispatcher, gateway, server, channel, port)
    finally:
        await asyncio.gather(server.close(), gateway.close())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with serving(tmp_path) as world:
        yield world


async def until(holds: Callable[[], object]) -> None:
    """Let the loop go on until something has happened."""
    async with asyncio.timeout(WAIT_S):
        while not holds():  # noqa: ASYNC110  # much of it happens where there is nothing to be told by
            await asyncio.sleep(0)


def put(folder: Path, dispatcher: FakeDispatcher, numbers: int = 8) -> None:
    """Let each task have a model of so many numbers."""
    schema = tensors.ModelSchema((tensors.TensorSpec("w", (numbers,)),))
    blob = tensors.to_safetensors(np.arange(numbers, dtype=np.float32), schema)
    sha256 = hashlib.sha256(blob).hexdigest()
    (folder / f"{sha256}.safetensors").write_bytes(blob)
    model = ModelRef(sha256, len(blob), {"model_version": 1})
    dispatcher.answer_to = lambda request: TaskResponse(Status.OK, "small", "t1", "train", model, {"model_version": 1})


# --- every kind of request ---


async def test_a_job_is_offered(world: World) -> None:
    status, answer = await world.ask("JobRequest", {**NOBODY, "job_name": "m", "capabilities": {"methods": ["cnn"]}})
    assert (status, answer) == ("OK", {"status": "OK", "job_id": "small", "job_name": "m", "job_data": {"config": {}}})
    assert isinstance(world.dispatcher.requests[0], JobRequest)


async def test_a_task_comes_with_its_model_whatever_the_client_accepts(tmp_path: Path) -> None:
    async with serving(tmp_path) as world:
        put(tmp_path, world.dispatcher)
        for accept in (None, ["safetensors", "validate"]):
            status, answer = await world.ask("TaskRequest", {**TASK, "accept": accept})
            assert (status, answer["status"], answer["task_id"]) == ("OK", "OK", "t1")
            assert answer["task_data"]["data"] == {"w": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]}
            assert answer["task_data"]["meta"] == answer["cookie"] == {"model_version": 1}
    first, second = world.dispatcher.requests
    assert isinstance(first, TaskRequest)
    assert isinstance(second, TaskRequest)
    assert (first.accept, second.accept) == ((), ("validate",))


async def test_a_selection_is_answered(world: World) -> None:
    about = {"device_id": "sim?10"}
    status, answer = await world.ask("SelectionRequest", {"device_info": about, "job_id": "small"})
    assert (status, answer["selection"]) == ("OK", {"*": 1})
    assert isinstance(world.dispatcher.requests[0], SelectionRequest)


async def test_a_result_is_counted(world: World) -> None:
    status, answer = await world.ask("ResultReport", RESULT)
    assert (status, answer) == ("OK", {"status": "OK", "counted": True, "task_id": "t1", "task_name": "train"})
    report = world.dispatcher.requests[0]
    assert isinstance(report, ResultReport)
    assert (bytes(report.update), report.num_examples) == (np.ones(8, "<f4").tobytes(), 2.0)
    assert world.dispatcher.room.reserved == 0


async def test_a_large_result_is_offered_and_decoded_elsewhere(world: World) -> None:
    assert (await world.ask("ResultReport", BIG_RESULT))[1]["counted"]
    offer, report = world.dispatcher.requests
    assert isinstance(offer, ResultOffer)
    assert isinstance(report, ResultReport)
    assert np.frombuffer(report.update, "<f4").tolist() == [1.5] * tensors.num_parameters(BIG_SCHEMA)
    assert world.dispatcher.room.reserved == 0


async def test_requests_are_counted_beside_those_by_http(world: World) -> None:
    await world.ask("ResultReport", RESULT)
    await world.ask("Hello", {})
    counters = world.gateway.counters
    assert (counters.requests["result"], counters.requests["other"]) == (1, 1)
    assert (counters.answers["result"].by_status, counters.answers["other"].by_status) == (
        {"OK": 1},
        {"INVALID_REQUEST": 1},
    )
    assert counters.bytes_in > 200
    assert counters.bytes_out > 50


# --- refusals ---


@covers("grpc/reply")
async def test_what_flare_refuses_itself_has_its_status_and_words_beside_it(world: World) -> None:
    for kind, payload in (("Hello", TASK), ("TaskRequest", b"0"), ("TaskRequest", NOBODY), ("TaskRequest", {})):
        status, answer = await world.ask(kind, payload)
        assert (status, answer["status"]) == ("INVALID_REQUEST", "INVALID_REQUEST")
        assert answer["message"]
    assert world.dispatcher.requests == []


async def test_what_is_no_message_is_told_so(world: World) -> None:
    status, answer = await world.send(b"\x0a\x20cut")
    assert status == "INVALID_REQUEST"
    assert answer["message"] == "the request is cut short: a field ends beyond it"


async def test_other_refusals_reach_the_device_through_flares_proxy(world: World) -> None:
    """It drops the payload of a reply whose own status is not OK."""
    status, answer = await world.ask("TaskRequest", {**TASK, "device_info": {"device_id": "a b"}})
    assert (status, answer["status"]) == ("OK", "INVALID_REQUEST")
    status, answer = await world.ask("ResultReport", {**RESULT, "result": {"kind": "nonsense"}})
    assert (status, answer["status"], answer["counted"]) == ("OK", "INVALID_REQUEST", False)
    assert "nonsense" in answer["message"] or "result.kind" in answer["message"]
    assert world.dispatcher.room.reserved == 0


async def test_a_large_result_that_its_job_does_not_want_is_not_decoded(world: World) -> None:
    world.dispatcher.answer_to = lambda _: ResultResponse(Status.NO_TASK, False, "t1", message="too late")
    status, answer = await world.ask("ResultReport", {**BIG_RESULT, "result": {"kind": "nonsense" * 10_000}})
    assert (status, answer["status"], answer["message"]) == ("OK", "NO_TASK", "too late")


async def test_a_job_that_is_full_makes_a_result_wait_and_then_come_again(tmp_path: Path) -> None:
    async with serving(tmp_path, GatewayLimits(admission_timeout_s=0.05)) as world:
        world.dispatcher.room.bytes_max = 0
        about = {**ABOUT, "platform": "windows"}
        status, answer = await world.ask("ResultReport", {**RESULT, "device_info": about})
        assert (status, answer["status"], answer["retry_wait"]) == ("OK", "RETRY", 5)
        assert answer["counted"] is False
        world.dispatcher.room.make()
        assert world.dispatcher.room.reserved == 0


async def test_a_result_that_waits_for_room_is_counted_when_there_is_some(world: World) -> None:
    world.dispatcher.room.bytes_max = 0
    asking = asyncio.create_task(world.ask("ResultReport", RESULT))
    await until(lambda: world.dispatcher.room.waiting)
    world.dispatcher.room.make()
    assert (await asking)[1]["counted"]


async def test_the_same_large_result_is_let_in_once_at_a_time(world: World) -> None:
    world.dispatcher.room.bytes_max = 0
    first = asyncio.create_task(world.ask("ResultReport", BIG_RESULT))
    await until(lambda: world.dispatcher.room.waiting)
    assert (await world.ask("ResultReport", BIG_RESULT))[1]["status"] == "RETRY"
    world.dispatcher.room.make()
    assert (await first)[1]["counted"]


# --- bounds ---


@covers("grpc/limits")
async def test_a_message_above_the_bound_is_not_read(tmp_path: Path) -> None:
    async with serving(tmp_path, grpc_limits=GrpcLimits(message_bytes_max=10_000)) as world:
        with pytest.raises(aio.AioRpcError) as failed:
            await world.ask("TaskRequest", b" " * 10_001)
        assert failed.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)
        assert (await world.ask("ResultReport", RESULT))[1]["counted"]


async def test_a_compressed_message_is_not_read(world: World) -> None:
    with pytest.raises(aio.AioRpcError) as failed:
        await world.channel.unary_unary(METHOD)(b" " * 10_000, compression=grpc.Compression.Gzip, timeout=WAIT_S)
    assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_model_above_the_bound_is_said_in_words(tmp_path: Path) -> None:
    async with serving(tmp_path, grpc_limits=GrpcLimits(message_bytes_max=10_000)) as world:
        put(tmp_path, world.dispatcher, numbers=5_000)
        status, answer = await world.ask("TaskRequest", TASK)
        assert (status, answer["status"]) == ("OK", "ERROR")
        assert "raise --grpc-message-bytes-max" in answer["message"]


async def test_one_request_more_than_may_be_is_told_to_come_later(tmp_path: Path) -> None:
    dispatcher = FakeDispatcher(hold=True)
    async with serving(tmp_path, grpc_limits=GrpcLimits(calls_max=1), dispatcher=dispatcher) as world:
        first = asyncio.create_task(world.ask("SelectionRequest", TASK))
        await until(lambda: dispatcher.waiting)
        async with aio.insecure_channel(f"127.0.0.1:{world.port}") as other:
            with pytest.raises(aio.AioRpcError) as failed:
                await other.unary_unary(METHOD)(b"")
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        dispatcher.answer_next()
        assert (await first)[0] == "OK"
        assert world.refused == {"calls": 1}


async def test_one_connection_does_not_keep_the_others_out(tmp_path: Path) -> None:
    dispatcher = FakeDispatcher(hold=True)
    limits = GrpcLimits(calls_max=8, connection_calls_max=2)
    async with serving(tmp_path, grpc_limits=limits, dispatcher=dispatcher) as world:
        await world.ask("Hello", {})  # so that it knows how many it may
        greedy = [asyncio.create_task(world.ask("SelectionRequest", TASK)) for _ in range(8)]
        await until(lambda: len(dispatcher.waiting) >= 2)
        async with aio.insecure_channel(f"127.0.0.1:{world.port}", options=ALONE) as other:
            hello = Request(type="Hello", payload=b"{}").SerializeToString()
            reply = await other.unary_unary(METHOD)(hello, timeout=WAIT_S)
            assert Reply.FromString(reply).status == "INVALID_REQUEST"
        assert len(dispatcher.waiting) == 2
        for asking in greedy:
            asking.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)


async def test_requests_that_do_not_come_leave_their_turn_to_others(tmp_path: Path) -> None:
    async with serving(tmp_path, grpc_limits=GrpcLimits(reads_max=1, read_time_max_s=0.05)) as world:
        idle = [world.channel.stream_stream(METHOD)() for _ in range(3)]
        assert (await world.ask("ResultReport", RESULT))[1]["counted"]
        assert [await call.code() for call in idle] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3


async def test_a_request_that_never_comes_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, grpc_limits=GrpcLimits(read_time_max_s=0.05)) as world:
        call = world.channel.stream_stream(METHOD)()
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert world.refused == {"long_body": 1}


async def test_a_request_without_a_message_is_refused(world: World) -> None:
    call = world.channel.stream_stream(METHOD)()
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_reply_that_is_never_taken_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, grpc_limits=GrpcLimits(reply_time_max_s=0.05)) as world:
        put(tmp_path, world.dispatcher, numbers=200_000)
        async with aio.insecure_channel(f"127.0.0.1:{world.port}", options=SLOW_CLIENT) as slow:
            call = slow.stream_stream(METHOD)()
            await call.write(Request(type="TaskRequest", payload=json.dumps(TASK).encode()).SerializeToString())
            await until(lambda: world.refused.get("write_stalled"))
            put(tmp_path, world.dispatcher)
            assert (await world.ask("TaskRequest", TASK))[1]["status"] == "OK"


async def test_a_client_that_takes_only_smaller_replies_is_no_error_of_ours(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as world:
        put(tmp_path, world.dispatcher, numbers=200_000)
        small = [("grpc.max_receive_message_length", 1000), *SLOW_CLIENT[1:]]
        async with aio.insecure_channel(f"127.0.0.1:{world.port}", options=small) as stock:
            request = Request(type="TaskRequest", payload=json.dumps(TASK).encode()).SerializeToString()
            with pytest.raises(aio.AioRpcError) as failed:
                await stock.unary_unary(METHOD)(request, timeout=WAIT_S)
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        put(tmp_path, world.dispatcher)
        assert (await world.ask("TaskRequest", TASK))[1]["status"] == "OK"
    assert caplog.records == []


# --- the end ---


async def test_answered_requests_are_freed_without_the_collector(world: World) -> None:
    gc.collect()
    gc.disable()
    try:
        for kind, payload in (("ResultReport", RESULT), ("ResultReport", BIG_RESULT), ("TaskRequest", b"0")):
            await world.ask(kind, payload)
        await until(lambda: not any(type(found) is Exchange for found in gc.get_objects()))
    finally:
        gc.enable()


async def test_who_goes_away_while_a_result_waits_leaves_nothing_behind(world: World) -> None:
    world.dispatcher.room.bytes_max = 0
    asking = asyncio.create_task(world.ask("ResultReport", BIG_RESULT))
    await until(lambda: world.dispatcher.room.waiting)
    asking.cancel()
    await until(lambda: not world.gateway.site.uploads)
    world.dispatcher.room.make()
    assert world.dispatcher.room.reserved == 0


async def test_a_server_that_drains_answers_what_it_was_asked(tmp_path: Path) -> None:
    dispatcher = FakeDispatcher(hold=True)
    async with serving(tmp_path, dispatcher=dispatcher) as world:
        asking = asyncio.create_task(world.ask("SelectionRequest", TASK))
        await until(lambda: dispatcher.waiting)
        draining = asyncio.create_task(world.server.drain())
        await asyncio.sleep(0)
        dispatcher.answer_next()
        assert (await asking)[1]["status"] == "OK"
        await draining


async def test_two_servers_share_a_port_and_one_may_leave(tmp_path: Path) -> None:
    async with serving(tmp_path) as world:
        other = GrpcServer(world.gateway.site, f"127.0.0.1:{world.port}", GrpcLimits())
        assert await other.start() == world.port
        await world.server.close()
        async with aio.insecure_channel(f"127.0.0.1:{world.port}") as channel:
            reply = await channel.unary_unary(METHOD)(b"", timeout=WAIT_S, wait_for_ready=True)
        assert Reply.FromString(reply).status == "INVALID_REQUEST"
        await other.close()
