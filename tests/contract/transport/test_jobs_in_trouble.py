"""Jobs that die, hang and answer late, as real processes on real sockets, seen through the dispatcher.

What must hold each time: every request is answered, nothing is left behind, and another job notices nothing.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.contract.flare.quirks import covers
from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.messages import (
    DeviceInfo,
    EdgeRequest,
    EdgeResponse,
    JobCompleted,
    JobLaunched,
    ModelSchema,
    ResultReport,
    ResultResponse,
    RunningJob,
    Status,
    TaskRequest,
    TaskResponse,
)
from turnout.transport.base import Reply
from turnout.transport.sockets import SocketJobServer, SocketTransport

from .conftest import SCHEMA, WAIT_S, Job

pytestmark = pytest.mark.anyio

LIMITS = DispatcherLimits(inflight_max=50, request_timeout_s=0.4, result_timeout_s=0.5, results_bytes_max=5_000_000)
TICK_S = 0.01
DEVICE = DeviceInfo("device-1")

#: A job in a process of its own: every request is DONE.
JOB_PROGRAM = """
import asyncio, sys
import msgspec
from turnout.messages import ModelSchema, Status, TaskResponse, TensorSpec
from turnout.transport.sockets import SocketJobServer

DONE = msgspec.msgpack.encode(TaskResponse(Status.DONE))

class Job:
    def received(self, topic, payload, reply):
        reply(DONE)

async def main():
    schema = ModelSchema((TensorSpec("w", (2,)),))
    await SocketJobServer(sys.argv[1], sys.argv[2], int(sys.argv[3]), schema, Job()).start()
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def done(payload: bytes, reply: Reply) -> None:
    reply(msgspec.msgpack.encode(TaskResponse(Status.DONE)))


def counted(payload: bytes, reply: Reply) -> None:
    reply(msgspec.msgpack.encode(ResultResponse(Status.OK, True)))


class Gateway:
    """A dispatcher over sockets, ticking."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.transport = SocketTransport(Random(1))
        self.changed = asyncio.Event()
        self.dispatcher = Dispatcher(self)
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def launch(self, job_id: str) -> str:
        """Tell the dispatcher of a job; where its process shall listen."""
        address = str(self._folder / job_id)
        self.dispatcher.apply(JobLaunched(RunningJob(job_id, job_id, {"edge_method": "cnn"}, address=address)))
        return address

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a connection or a loss brings about."""
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def up(self, job_id: str) -> None:
        await self.until(lambda: job_id in self.dispatcher._connected)

    async def down(self, job_id: str) -> None:
        await self.until(lambda: job_id not in self.dispatcher._connected)

    async def task(self, job_id: str) -> Status:
        """What a device that asks this job for a task is told."""
        return (await self.answer(TaskRequest(DEVICE, job_id))).status

    async def answer(self, request: EdgeRequest) -> EdgeResponse:
        """What the device that sends this is told."""
        answered: asyncio.Future[EdgeResponse] = asyncio.get_running_loop().create_future()
        self.dispatcher.submit(request, answered.set_result)
        async with asyncio.timeout(WAIT_S):
            return await answered

    def holds_nothing(self) -> bool:
        return len(self.dispatcher._pending) == 0 and self.dispatcher.room.used == 0

    def close(self) -> None:
        self._ticking.cancel()
        self.transport.close_all()

    def _tick(self) -> None:
        self.dispatcher.tick(time.monotonic())
        self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)


class Dispatcher(EdgeTaskDispatcher):
    """Tells its gateway of connections and losses."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(JobTable(), gateway.transport, time.monotonic, Random(1), LIMITS)
        self._gateway = gateway

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        super().connected(job_id, incarnation, schema)
        self._gateway.changed.set()

    def lost(self, job_id: str, reason: str) -> None:
        super().lost(job_id, reason)
        self._gateway.changed.set()


@pytest.fixture
async def gateway(short_folder: Path) -> AsyncIterator[Gateway]:
    gateway = Gateway(short_folder)
    yield gateway
    gateway.close()


@pytest.fixture
async def lively(gateway: Gateway) -> AsyncIterator[str]:
    """A job beside the one in trouble."""
    server = SocketJobServer(gateway.launch("lively"), "lively", 1, SCHEMA, Job(done))
    await server.start()
    await gateway.up("lively")
    yield "lively"
    assert await gateway.task("lively") == Status.DONE
    await server.close()


class Processes:
    """Job processes that end with the test."""

    def __init__(self) -> None:
        self.running: list[asyncio.subprocess.Process] = []

    async def start(self, address: str, job_id: str, incarnation: int = 1) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", JOB_PROGRAM, address, job_id, str(incarnation), stdout=asyncio.subprocess.PIPE
        )
        self.running.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        return process


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    processes = Processes()
    yield processes
    for process in processes.running:
        try:
            process.kill()
        except ProcessLookupError:
            pass
        await process.communicate()


async def test_a_killed_job_is_noticed_and_found_again_when_restarted(
    gateway: Gateway, lively: str, processes: Processes
) -> None:
    address = gateway.launch("mortal")
    process = await processes.start(address, "mortal")
    await gateway.up("mortal")
    assert await gateway.task("mortal") == Status.DONE

    process.kill()
    await gateway.down("mortal")
    assert await gateway.task("mortal") == Status.RETRY
    assert await gateway.task(lively) == Status.DONE
    await processes.start(address, "mortal", incarnation=2)
    await gateway.up("mortal")

    assert await gateway.task("mortal") == Status.DONE
    assert gateway.holds_nothing()


async def test_a_job_killed_with_requests_in_flight_answers_them_all_with_retry(
    gateway: Gateway, lively: str, processes: Processes
) -> None:
    process = await processes.start(gateway.launch("mortal"), "mortal")
    await gateway.up("mortal")
    os.kill(process.pid, signal.SIGSTOP)
    answers: list[EdgeResponse] = []
    for _ in range(20):
        gateway.dispatcher.submit(TaskRequest(DEVICE, "mortal"), answers.append)
        gateway.dispatcher.submit(result("mortal"), answers.append)
    await gateway.task(lively)

    process.kill()
    await gateway.down("mortal")

    assert [answer.status for answer in answers] == [Status.RETRY] * 40
    assert gateway.holds_nothing()


@covers("hole-01")
async def test_a_job_that_hangs_costs_its_devices_a_timeout_and_others_nothing(
    gateway: Gateway, lively: str, processes: Processes
) -> None:
    process = await processes.start(gateway.launch("hung"), "hung")
    await gateway.up("hung")

    os.kill(process.pid, signal.SIGSTOP)
    answers: list[EdgeResponse] = []
    for _ in range(80):
        gateway.dispatcher.submit(TaskRequest(DEVICE, "hung"), answers.append)
    assert len(answers) == 80 - LIMITS.inflight_max, "beyond the bound it is RETRY at once"
    assert await gateway.task(lively) == Status.DONE
    assert len(answers) == 80 - LIMITS.inflight_max, "the lively job did not wait for the hung one's timeouts"
    assert await gateway.task("hung") == Status.RETRY
    assert (await gateway.answer(result("hung"))).status == Status.RETRY
    assert [answer.status for answer in answers] == [Status.RETRY] * 80
    assert gateway.holds_nothing()

    os.kill(process.pid, signal.SIGCONT)  # it now answers what nobody waits for any more, and then what is new
    async with asyncio.timeout(WAIT_S):
        while await gateway.task("hung") != Status.DONE:
            pass
    assert gateway.holds_nothing()


async def test_results_for_a_job_that_hangs_leave_room_for_those_of_another(
    gateway: Gateway, processes: Processes
) -> None:
    process = await processes.start(gateway.launch("hung"), "hung")
    counting = SocketJobServer(gateway.launch("counting"), "counting", 1, SCHEMA, Job(counted))
    await counting.start()
    await gateway.up("hung")
    await gateway.up("counting")

    os.kill(process.pid, signal.SIGSTOP)
    hung: list[EdgeResponse] = []
    while not hung:
        gateway.dispatcher.submit(result("hung"), hung.append)
    room = gateway.dispatcher.room
    assert not room.reserve("hung", 100_000, lambda: room.release("hung", 100_000))
    refused = len(hung)

    assert room.reserve("counting", 100_000, pytest.fail)
    room.release("counting", 100_000)
    assert (await gateway.answer(result("counting"))).status == Status.OK
    assert len(hung) == refused, "it did not wait for the hung job's timeouts"

    process.kill()
    await gateway.down("hung")
    assert gateway.holds_nothing()
    await counting.close()


async def test_an_answer_that_comes_too_late_is_dropped_and_the_next_is_not(gateway: Gateway, lively: str) -> None:
    handler = Job()
    server = SocketJobServer(gateway.launch("slow"), "slow", 1, SCHEMA, handler)
    await server.start()
    await gateway.up("slow")

    assert await gateway.task("slow") == Status.RETRY
    ((_, payload, late),) = await handler.wait()
    done(payload, late)
    second = asyncio.ensure_future(gateway.task("slow"))
    _, (_, payload, reply) = await handler.wait(2)
    done(payload, reply)

    assert await second == Status.DONE
    assert gateway.holds_nothing()
    await server.close()


async def test_a_job_that_hangs_and_ends_is_let_go(gateway: Gateway, lively: str) -> None:
    server = SocketJobServer(gateway.launch("hung"), "hung", 1, SCHEMA, Job())
    await server.start()
    await gateway.up("hung")
    waiting = asyncio.ensure_future(gateway.task("hung"))
    await gateway.task(lively)

    gateway.dispatcher.apply(JobCompleted("hung"))
    assert await waiting == Status.RETRY
    await gateway.down("hung")

    assert await gateway.task("hung") == Status.NO_JOB
    assert set(gateway.transport._links) == {"lively"}
    await server.close()


def result(job_id: str) -> ResultReport:
    return ResultReport(DEVICE, job_id, "lease-1", "train", memoryview(bytes(100_000)))
