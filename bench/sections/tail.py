"""The slowest answers: under load, while a large model changes hands, and beside readers that are slow."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine, traffic
from bench.load import Order, Outcome
from bench.section import Bench, Line, Section
from bench.servers import Started, job_folder, started

NOTES = """\
Task requests of devices that have a task, on 64 connections, while something else goes on in the same gateway:
nothing; 64 more connections that download a model of 4 MB as fast as they can; 200 connections that read it at 16 kB
a second each; and 1000 connections that all ask at once for one of 0.4 MB, once a second, as after a new version. `MB
more` is what the gateway's memory grew by meanwhile. `p99 alone over it` compares p99 with that of the first row, in
the same repeat.
"""
CONNECTIONS, DEVICES = 64, 1000
PARAMETERS = 1_000_000
SLOW_READERS, SLOW_BYTES_PER_S = 200, 16_000
CROWD, CROWD_PARAMETERS = 1000, 100_000
SETTLE_S = 1.0  #: Until the buffers of the readers' connections are full.
RATIO = "p99 alone over it"


def measure(bench: Bench) -> None:
    """All rows once a repeat."""
    crowd = CROWD // 10 if bench.quick else CROWD
    with started(bench.folder / "tail", bench.options.gateways) as server:
        small = server.control.submit(job_folder(bench.folder / "small", "small", DEVICES, DEVICES)).job_id
        large = server.control.submit(job_folder(bench.folder / "large", "large", 1, 1, PARAMETERS)).job_id
        bench.client.lease(server.port, small, DEVICES)
        middle = server.control.submit(job_folder(bench.folder / "middle", "middle", 1, 1, CROWD_PARAMETERS)).job_id
        wanted = traffic.blob_request(large, server.model_of(large))
        new = traffic.blob_request(middle, server.model_of(middle))
        rows = {
            "alone": _readers(server.port, wanted, 0, 0.0),
            "beside 64 quick readers of 4 MB": _readers(server.port, wanted, 64, float("inf")),
            f"beside {SLOW_READERS} slow ones": _readers(server.port, wanted, SLOW_READERS, SLOW_BYTES_PER_S),
            f"beside {crowd} that come at once": _readers(server.port, new, crowd, float("inf"), pause_s=1.0),
        }
        for _ in bench.repeats(3):
            alone = 0.0
            for row, readers in rows.items():
                gateway = next(pid for pid, role in server.roles().items() if role == "gateway")
                before = machine.memory_bytes(gateway)
                with readers:
                    time.sleep(SETTLE_S)
                    outcome = _ask(bench, server, small)
                    more = machine.memory_bytes(gateway) - before
                alone = alone or outcome.p99_ms
                values = {
                    "tasks/s": outcome.requests / outcome.elapsed_s,
                    "p50 ms": outcome.p50_ms,
                    "p99 ms": outcome.p99_ms,
                    "p99.9 ms": outcome.p999_ms,
                    "MB more": more / 2**20,
                }
                bench.add(Line(row, values, {RATIO: alone / outcome.p99_ms}))


def _ask(bench: Bench, server: Started, job: str) -> Outcome:
    order = Order(
        port=server.port,
        requests="task",
        job=job,
        devices=DEVICES,
        connections=CONNECTIONS,
        seconds=bench.options.seconds,
        server_pid=server.pid,
    )
    return bench.client.measure(order)


class _Readers:
    """Connections that ask for a model again and again, in a thread of their own, for as long as the block."""

    def __init__(self, port: int, request: bytes, count: int, bytes_per_s: float, pause_s: float) -> None:
        self._port, self._request, self._count = port, request, count
        self._bytes_per_s, self._pause_s = bytes_per_s, pause_s
        self._ending = threading.Event()

    def __enter__(self) -> None:
        self._ending.clear()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, _connected(self._port, self._count) as connections:
            for connection in connections:
                selector.register(connection, selectors.EVENT_READ)
            while not self._ending.is_set():
                for connection in connections:
                    connection.sendall(self._request)
                self._read(selector)

    def _read(self, selector: selectors.BaseSelector) -> None:
        """What comes, at our pace, until it is time to ask again."""
        quick = self._bytes_per_s == float("inf")
        ask_again_at = time.monotonic() + (self._pause_s or 3600.0)
        while not self._ending.is_set() and time.monotonic() < ask_again_at:
            for key, _ in selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.recv(2**20 if quick else int(self._bytes_per_s))
            if not quick:
                self._ending.wait(1.0)


def _readers(port: int, request: bytes, count: int, bytes_per_s: float, pause_s: float = 0.0) -> _Readers:
    return _Readers(port, request, count, bytes_per_s, pause_s)


@contextmanager
def _connected(port: int, count: int) -> Iterator[list[socket.socket]]:
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


SECTION = Section("tail", "The slowest answers", NOTES, measure)
