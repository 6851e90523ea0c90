"""What one request costs between a gateway and a job: dispatcher, frames and a Unix socket, over two processes.

    python bench/hop.py [--seconds 2] [--rounds 3]

Rows: a bare echo of 200 bytes over the transport with tickets and callbacks; the same with a future per request and an
await (what docs/decisions/0001 decided against); and a task request through the dispatcher, encoded and decoded on both
sides. CPU is that of both processes, the generator of requests included. Rows of one run are comparable.
"""

import argparse
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from random import Random

import msgspec
import uvloop

from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.messages import (
    DeviceInfo,
    EdgeResponse,
    JobLaunched,
    ModelRef,
    ModelSchema,
    RunningJob,
    Status,
    TaskRequest,
    TaskResponse,
    TensorSpec,
    Topic,
)
from turnout.transport.base import Reply
from turnout.transport.sockets import SocketJobServer, SocketTransport

SCHEMA = ModelSchema((TensorSpec("w", (10,)),))
PAYLOAD = bytes(200)
REQUEST = TaskRequest(DeviceInfo("device-000001", platform="python"), "bench")
MODEL = ModelRef("ab" * 32, 4000, {"model_version": 3})
TASK = TaskResponse(Status.OK, "bench", "t" * 120, "train", MODEL, lease_s=60.0)


class Worker:
    """The job: echoes STATUS, answers TASK with a task."""

    def __init__(self) -> None:
        self._decode = msgspec.msgpack.Decoder(TaskRequest).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        if topic is Topic.STATUS:
            reply(bytes(payload))
        else:
            assert self._decode(payload).job_id == "bench"
            reply(self._encode(TASK))


async def serve(path: str) -> None:
    server = SocketJobServer(path, "bench", 1, SCHEMA, Worker())
    await server.start()
    sys.stdin.readline()  # nothing else runs in this process until the loop does
    await asyncio.Event().wait()


class Load:
    """Keeps ``outstanding`` requests in flight for a while and times each."""

    def __init__(self, outstanding: int, seconds: float) -> None:
        self._outstanding = outstanding
        self._seconds = seconds
        self.latencies: list[float] = []

    async def callbacks(self, send: Callable[[Callable[[], None]], None]) -> None:
        """``send`` begins one request and calls its argument at the end."""
        done = asyncio.get_running_loop().create_future()
        clock = time.perf_counter
        until = clock() + self._seconds
        active = self._outstanding

        def begin() -> None:
            started = clock()

            def end() -> None:
                nonlocal active
                now = clock()
                self.latencies.append(now - started)
                if now < until:
                    begin()
                else:
                    active -= 1
                    if not active:
                        done.set_result(None)

            send(end)

        for _ in range(active):
            begin()
        await done

    async def awaits(self, send: Callable[[], Awaitable[None]]) -> None:
        """``send`` is one request from begin to end."""
        clock = time.perf_counter
        until = clock() + self._seconds

        async def one() -> None:
            while (started := clock()) < until:
                await send()
                self.latencies.append(clock() - started)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._outstanding):
                group.create_task(one())


class Tickets:
    """An inbox that calls back by ticket."""

    def __init__(self, transport: SocketTransport) -> None:
        self.up = asyncio.Event()
        self._transport = transport
        self._ends: dict[int, Callable[[], None]] = {}
        self._ticket = 0
        transport.attach(self)

    def send(self, end: Callable[[], None]) -> None:
        self._ticket += 1
        self._ends[self._ticket] = end
        assert self._transport.send("bench", self._ticket, Topic.STATUS, PAYLOAD)

    async def request(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self.send(lambda: future.set_result(None))
        await future

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        self.up.set()

    def replied(self, ticket: int, payload: bytes | memoryview) -> None:
        self._ends.pop(ticket)()

    def failed(self, ticket: int, reason: str) -> None:
        raise AssertionError(reason)

    def lost(self, job_id: str, reason: str) -> None:
        self.up.clear()


class Dispatcher(EdgeTaskDispatcher):
    """Says when its job answers."""

    def __init__(self, transport: SocketTransport) -> None:
        super().__init__(JobTable(), transport, time.monotonic, Random(1))
        self.up = asyncio.Event()

    def connected(self, job_id: str, incarnation: int, schema: ModelSchema) -> None:
        super().connected(job_id, incarnation, schema)
        self.up.set()


async def measure(row: str, path: str, outstanding: int, seconds: float) -> list[float]:
    transport = SocketTransport(Random(1))
    job = RunningJob("bench", "bench", {"edge_method": "bench"}, address=path)
    load = Load(outstanding, seconds)
    if row == "dispatcher":
        dispatcher = Dispatcher(transport)
        dispatcher.apply(JobLaunched(job))
        await dispatcher.up.wait()

        def send(end: Callable[[], None]) -> None:
            def answer(response: EdgeResponse) -> None:
                assert response.status == "OK", response
                end()

            dispatcher.submit(REQUEST, answer)

        await load.callbacks(send)
    else:
        tickets = Tickets(transport)
        transport.open(job)
        await tickets.up.wait()
        await (load.awaits(tickets.request) if row == "future + await" else load.callbacks(tickets.send))
    transport.close_all()
    return load.latencies


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far, user and system."""
    if pid == os.getpid():
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.serve:
        uvloop.run(serve(args.serve))
        return
    rows: dict[tuple[str, int], list[tuple[float, float, float, float, float]]] = {}
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        path = f"{folder}/s"
        job = subprocess.Popen([sys.executable, __file__, "--serve", path], stdin=subprocess.PIPE)
        job.stdin.write(b"\n")
        job.stdin.flush()
        for _ in range(args.rounds):
            for outstanding in (1, 64, 512):
                for row in ("callback + ticket", "future + await", "dispatcher"):
                    before, job_before = cpu_s(os.getpid()), cpu_s(job.pid)
                    latencies = sorted(uvloop.run(measure(row, path, outstanding, args.seconds)))
                    count = len(latencies)
                    rows.setdefault((row, outstanding), []).append(
                        (
                            count / args.seconds,
                            (cpu_s(os.getpid()) - before) / count * 1e6,
                            (cpu_s(job.pid) - job_before) / count * 1e6,
                            latencies[count // 2] * 1e6,
                            latencies[count * 99 // 100] * 1e6,
                        )
                    )
        job.kill()
        job.wait()
    print(f"{'row':20}{'in flight':>10}{'req/s':>10}{'gateway us':>12}{'job us':>10}{'p50 us':>9}{'p99 us':>9}")
    for (row, outstanding), runs in sorted(rows.items(), key=lambda item: item[0][1]):
        rate, gateway, worker, p50, p99 = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"{row:20}{outstanding:>10}{rate:>10.0f}{gateway:>12.2f}{worker:>10.2f}{p50:>9.0f}{p99:>9.0f}")


if __name__ == "__main__":
    main()
