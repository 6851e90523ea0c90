"""Our own client: a closed loop over keep-alive connections that reads every reply and measures each request.

    python -m bench.load

One process, which reads orders as lines of JSON from its standard input and writes an outcome for each. It sends whole
requests that were made before, so that little of the machine goes to it; it knows no more HTTP than the replies of the
servers measured here need: a status line, Content-Length, a body.
"""

import asyncio
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
import uvloop

from bench import traffic
from bench.machine import cpu_by_process, cpu_since

PATIENCE_S = 15.0  #: For replies to the last requests; what has not come by then is an error.
LEASE_CONNECTIONS = 64
LEASE_WAIT_S = 0.2  #: Between two rounds of asking, while a job starts.
LEASE_SHARE = 0.8  #: Not every device can have a task: those of this version's buffer have done theirs.
#: task: of devices that have a task; refused: of those that have none; result: of each task once; blob: its model;
#: inline: task, with the model as JSON in the reply.
Requests = Literal["lease", "job", "task", "refused", "result", "blob", "inline", "selection"]
KEPT_BYTES = 2048  #: Of a reply, to look for the words that it must have.
STATUS_LINE = b"HTTP/1.1 200 "
LENGTH = b"Content-Length: "
PLAIN_LENGTH = LENGTH.lower()  #: As uvicorn writes it.
HEAD_END = b"\r\n\r\n"


class Order(msgspec.Struct, kw_only=True):
    """What to send. ``lease`` is not measured: it gets tasks for the devices unless they have some."""

    port: int
    requests: Requests
    job: str  #: Its id; its name in job requests.
    devices: int
    parameters: int = traffic.NUM_PARAMETERS  #: Of the job's model.
    connections: int = LEASE_CONNECTIONS
    seconds: float = 0.0
    expect: str = traffic.OK
    keeps_device: bool = False  #: A connection sends for one device only; else the devices take turns on all of them.
    server_pid: int = 0  #: The root of the processes whose CPU is measured.
    as_json: bool = False  #: Results in FLARE's JSON.
    sha256: str = ""  #: Of the model that is asked for.
    others: tuple[str, ...] = ()  #: More jobs, which are asked the same on as many connections each.
    file: str = ""  #: Write the requests there, for another client, and send nothing.


class Outcome(msgspec.Struct):
    """What came of an order. An error is a reply without the expected words, or none."""

    requests: int
    elapsed_s: float
    p50_ms: float
    p99_ms: float
    errors: int
    first_error: str
    cpu_s: dict[int, float] = {}
    p999_ms: float = 0.0
    shares: tuple[int, ...] = ()  #: Of the requests, by job.


NOTHING = Outcome(0, 0.0, 0.0, 0.0, 0, "")


class Loop:
    """Sends one request after the other on each connection until the time is over or there is none left.

    With ``keeps_device`` each connection repeats its first request. ``body`` ends every request.
    """

    def __init__(
        self,
        requests: Iterator[tuple[int, bytes]],
        expect: str,
        *,
        body: bytes = b"",
        keeps_device: bool = False,
        keeps_replies: bool = False,
    ) -> None:
        self.replies: dict[int, bytes] | None = {} if keeps_replies else None
        self.latencies: list[float] = []
        self.errors = 0
        self.first_error = ""
        self.last_reply_at = 0.0
        self._requests = requests
        self._body = body
        self._keeps_device = keeps_device
        self._expect = expect.encode()
        self._until = 0.0
        self._active = 0
        self._done = asyncio.get_running_loop().create_future()

    async def run(self, connections: Sequence["Connection"], seconds: float) -> float:
        """Send on all connections for so long; how long it took until the last reply was there."""
        self._active = len(connections)
        began = self.last_reply_at = time.perf_counter()
        self._until = began + seconds
        for connection in connections:
            self.next(connection, began)
        try:
            async with asyncio.timeout(seconds + PATIENCE_S):
                await self._done
        except TimeoutError:
            self.error(f"no reply for {PATIENCE_S:g} s", self._active)
        return self.last_reply_at - began

    def next(self, connection: "Connection", now: float) -> None:
        """Send the next request, if there is to be one."""
        if now < self._until:
            request = connection.request if self._keeps_device else None
            request = request or next(self._requests, None)
            if request is not None:
                connection.send(request, self._body, now)
                return
        self.rest()

    def rest(self) -> None:
        """One connection sends no more."""
        self._active -= 1
        if not self._active and not self._done.done():
            self._done.set_result(None)

    def replied(self, connection: "Connection", data: bytes) -> None:
        """A whole reply is there."""
        now = time.perf_counter()
        self.latencies.append(now - connection.sent_at)
        self.last_reply_at = now
        if self.replies is not None:
            assert connection.request is not None
            self.replies[connection.request[0]] = data
        elif not data.startswith(STATUS_LINE) or self._expect not in data:
            self.error(data[:1000].decode(errors="replace"))
        self.next(connection, now)

    def error(self, text: str, count: int = 1) -> None:
        self.errors += count
        self.first_error = self.first_error or text

    def outcome(self, elapsed_s: float, cpu_s: dict[int, float]) -> Outcome:
        ordered = sorted(self.latencies) or [0.0]
        p50, p99, p999 = (ordered[len(ordered) * share // 1000] * 1e3 for share in (500, 990, 999))
        return Outcome(len(self.latencies), elapsed_s, p50, p99, self.errors, self.first_error, cpu_s, p999)


class Connection(asyncio.Protocol):
    """One keep-alive connection, with at most one request on its way."""

    def __init__(self, loop: list[Loop]) -> None:
        self._loop = loop  # one element, which comes after the connections
        self._data = b""
        self._waiting = False
        self._left = 0  # of a large reply, whose beginning is in _data
        self.request: tuple[int, bytes] | None = None  #: The last one: its number and its bytes.
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        assert hasattr(transport, "write")
        self._write = transport.write

    def send(self, request: tuple[int, bytes], body: bytes, now: float) -> None:
        self.request = request
        self.sent_at = now
        self._waiting = True
        self._write(request[1])
        if body:
            self._write(body)  # uvloop sends both together

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._left -= len(data)
            if self._left <= 0:
                self._whole(self._data)
            return
        if self._data:
            data = self._data + data
        head_end = data.find(HEAD_END)
        at = data.find(LENGTH, 0, head_end) if head_end >= 0 else -1
        if at < 0 <= head_end:
            at = data.find(PLAIN_LENGTH, 0, head_end)
        if at >= 0:
            length = int(data[at + len(LENGTH) : data.index(b"\r", at)])
            left = head_end + len(HEAD_END) + length - len(data)
            if left <= 0:
                self._whole(data)
                return
            if len(data) > KEPT_BYTES:
                self._left, data = left, data[:KEPT_BYTES]
        self._data = data

    def _whole(self, reply: bytes) -> None:
        self._data, self._left, self._waiting = b"", 0, False
        self._loop[0].replied(self, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._loop[0].error(f"the connection was lost: {exc or 'closed by the server'} {self._data[:500]!r}")
            self._loop[0].rest()


class Client:
    """Carries out orders; remembers which device has which task."""

    def __init__(self) -> None:
        self._tasks: dict[str, dict[int, str]] = {}
        self._prepared: dict[tuple[str, str, int], list[bytes]] = {}

    async def carry_out(self, order: Order) -> Outcome:
        if order.requests == "lease":
            return NOTHING if order.job in self._tasks else await self._lease(order)
        if order.requests == "result":
            heads, body = self._results(order)
            return await _measure(order, iter(list(enumerate(heads))), body)
        if order.requests == "blob":
            return await _measure(order, _forever([(0, traffic.blob_request(order.job, order.sha256))]))
        if order.others:
            return await self._side_by_side(order)
        requests = self._requests(order)
        if order.file:
            _write(order.file, requests)
            return NOTHING
        return await _measure(order, _forever(list(enumerate(requests))))

    async def _side_by_side(self, order: Order) -> Outcome:
        """Several jobs at once, each with its own connections: all their requests, and the worst of their tails."""
        loops, connections = [], []
        for job in (order.job, *order.others):
            requests = self._requests(msgspec.structs.replace(order, job=job))
            loop = Loop(_forever(list(enumerate(requests))), order.expect)
            loops.append(loop)
            connections.append(await _connect(order.port, order.connections, [loop]))
        before = cpu_by_process(order.server_pid)
        elapsed_s = await asyncio.gather(
            *(loop.run(mine, order.seconds) for loop, mine in zip(loops, connections, strict=True))
        )
        cpu_s = cpu_since(before, order.server_pid)
        for mine in connections:
            _close(mine)
        outcomes = [loop.outcome(max(elapsed_s), cpu_s) for loop in loops]
        worst = max(outcomes, key=lambda outcome: outcome.p99_ms)
        shares = tuple(outcome.requests for outcome in outcomes)
        errors = sum(outcome.errors for outcome in outcomes)
        return msgspec.structs.replace(worst, requests=sum(shares), shares=shares, errors=errors)

    def _results(self, order: Order) -> tuple[list[bytes], bytes]:
        """Results use up their tasks; where there are none any will do."""
        tasks = self._tasks.pop(order.job, None) or dict.fromkeys(range(order.devices), "t" * traffic.TASK_ID_CHARS)
        return traffic.result_requests(order.job, tasks, order.parameters, order.as_json)

    def _requests(self, order: Order) -> list[bytes]:
        """All different requests of an order."""
        makers = {
            "job": traffic.job_requests,
            "inline": traffic.inline_requests,
            "selection": traffic.selection_requests,
        }
        make = makers.get(order.requests, traffic.task_requests)
        key = (make.__name__, order.job, order.devices)
        if key not in self._prepared:
            self._prepared[key] = make(order.job, order.devices)
        requests = self._prepared[key]
        if order.requests == "refused":
            return [request for number, request in enumerate(requests) if number not in self._tasks[order.job]]
        if order.requests in ("task", "inline") and order.job in self._tasks:
            return [requests[number] for number in self._tasks[order.job]]
        return requests

    async def _lease(self, order: Order) -> Outcome:
        """Ask for tasks until most devices have one, which one round does once the job is up."""
        requests = list(enumerate(traffic.task_requests(order.job, order.devices)))
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            loop_of: list[Loop] = []
            connections = await _connect(order.port, min(order.connections, order.devices), loop_of)
            loop = Loop(iter(requests), order.expect, keeps_replies=True)
            loop_of.append(loop)
            await loop.run(connections, PATIENCE_S)
            _close(connections)
            assert loop.replies is not None
            tasks = {number: task for number, reply in loop.replies.items() if (task := _task_id(reply))}
            if len(tasks) >= LEASE_SHARE * order.devices:
                self._tasks[order.job] = dict(sorted(tasks.items()))
                return NOTHING
            if time.monotonic() > give_up_at:
                loop.error(f"only {len(tasks)} of {order.devices} devices got a task")
                return loop.outcome(0.0, {})
            await asyncio.sleep(LEASE_WAIT_S)


class _Task(msgspec.Struct):
    task_id: str = ""


_task = msgspec.json.Decoder(_Task)


def _task_id(reply: bytes) -> str:
    """Empty when the reply gives no task."""
    return _task.decode(reply[reply.index(HEAD_END) + len(HEAD_END) :]).task_id


async def _measure(order: Order, requests: Iterator[tuple[int, bytes]], body: bytes = b"") -> Outcome:
    """The measured part: connections stand before it begins, and the collector of garbage has nothing to do in it."""
    loop_of: list[Loop] = []
    connections = await _connect(order.port, order.connections, loop_of)
    loop = Loop(requests, order.expect, body=body, keeps_device=order.keeps_device)
    loop_of.append(loop)
    gc.collect()
    gc.disable()
    before = cpu_by_process(order.server_pid)
    elapsed_s = await loop.run(connections, order.seconds)
    cpu_s = cpu_since(before, order.server_pid)
    gc.enable()
    _close(connections)
    return loop.outcome(elapsed_s, cpu_s)


async def _connect(port: int, count: int, loop_of: list[Loop]) -> list[Connection]:
    running = asyncio.get_running_loop()
    made = [await running.create_connection(lambda: Connection(loop_of), "127.0.0.1", port) for _ in range(count)]
    return [connection for _, connection in made]


def _close(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.transport.close()


def _write(file: str, requests: Sequence[bytes]) -> None:
    Path(file).write_bytes(b"\0".join(requests))


def _forever(requests: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    while True:
        yield from requests


async def main() -> None:
    client = Client()
    orders = msgspec.json.Decoder(Order)
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        outcome = await client.carry_out(orders.decode(line))
        sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main())
