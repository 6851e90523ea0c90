"""Models and results of 100 000, 250 000 and a million parameters, in every form in which they travel."""

import socket
import statistics
import threading
import time

import numpy as np
from scipy.linalg import blas

from bench import traffic
from bench.load import Order, Outcome, Requests
from bench.section import Bench, Line, Report, Section, figure
from bench.servers import Started, job_folder, started
from bench.table import Goal, count
from turnout.wire.tensors import to_safetensors

NOTES = """\
32 connections. `GB/s` is of float32 numbers, 4 bytes each, whatever they are written as; JSON has 4 to 5 times as many
bytes. `two copies and saxpy` is what an update must at least cost: its bytes through the loopback twice (to the
gateway, to the job), by plain sockets of two threads, and added. `of two copies and saxpy` is the rate beside that,
in the same repeat. Every result is counted in a commit, and every device has its task before; a quarter of
the devices makes a version. A model as JSON is made once a version.
"""
CONNECTIONS = 32
#: (parameters, devices): results use up their tasks.
SIZES = ((100_000, 512), (250_000, 384), (1_000_000, 128))
JSON_SHARE = 8  #: One device of so many sends its result as JSON too: that takes many times as long.
GOAL_PARAMETERS, GOAL_RATIO = 250_000, 0.5  #: An update of a megabyte.
REFERENCE, RATIO = "two copies and saxpy", "of two copies and saxpy"
FORMS: tuple[tuple[str, Requests, bool], ...] = (
    ("download, safetensors", "blob", False),
    ("download, JSON", "inline", False),
    ("result, safetensors", "result", False),
    ("result, JSON", "result", True),
)


def measure(bench: Bench) -> None:
    """Each form once a repeat."""
    with started(bench.folder / "models", bench.options.gateways) as server:
        jobs = {}
        for parameters, devices in SIZES:
            devices = devices // 4 if bench.quick else devices
            name = f"models-{parameters}"
            folder = job_folder(bench.folder / name, name, devices, devices // 4, parameters)
            numbers = np.random.default_rng(parameters).standard_normal(parameters, np.float32)
            (folder / "model.safetensors").write_bytes(to_safetensors(numbers, traffic.schema(parameters)))
            jobs[parameters] = server.control.submit(folder).job_id, devices
        for _ in bench.repeats(2):
            for parameters, (job, devices) in jobs.items():
                least = _reference(parameters, 8 if bench.quick else 40)
                name = f"{count(parameters)} parameters"
                bench.add(Line(f"{name}: {REFERENCE}", _values(1 / least, parameters), {RATIO: 1.0}))
                for form, requests, as_json in FORMS:
                    senders = devices // JSON_SHARE if as_json else devices
                    outcome = _send(bench, server, job, parameters, senders, requests, as_json)
                    rate = outcome.requests / outcome.elapsed_s
                    cpu_us = sum(outcome.cpu_s.values()) / outcome.requests * 1e6
                    values = {**_values(rate, parameters), "p99 ms": outcome.p99_ms, "CPU µs": cpu_us}
                    bench.add(Line(f"{name}: {form}", values, {RATIO: rate * least}))


def _send(
    bench: Bench, server: Started, job: str, parameters: int, devices: int, requests: Requests, as_json: bool
) -> Outcome:
    bench.client.lease(server.port, job, devices)
    sha256 = server.model_of(job)
    order = Order(
        port=server.port,
        requests=requests,
        job=job,
        devices=devices,
        parameters=parameters,
        connections=CONNECTIONS,
        seconds=30.0 if requests == "result" else bench.options.seconds,
        expect={"result": traffic.COUNTED, "inline": traffic.OK}.get(requests, ""),
        as_json=as_json,
        sha256=sha256,
        server_pid=server.pid,
    )
    return bench.client.measure(order)


def _values(rate: float, parameters: int) -> dict[str, float]:
    return {"a second": rate, "GB/s": rate * parameters * 4 / 1e9}


def _reference(parameters: int, times: int) -> float:
    """Seconds that one update must cost."""
    update = np.full(parameters, 0.5, np.float32)
    data, target = update.tobytes(), np.zeros(parameters, np.float32)
    here, there = _loopback()
    with here, there:
        reader = threading.Thread(target=_read, args=(there, 2 * times * len(data)))
        began = time.perf_counter()
        reader.start()
        for _ in range(times):
            here.sendall(data)
            here.sendall(data)
            blas.saxpy(update, target, a=1e-9)
        reader.join()
    return (time.perf_counter() - began) / times


def _loopback() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = socket.create_connection(listening.getsockname())
        there, _ = listening.accept()
    return here, there


def _read(there: socket.socket, num_bytes: int) -> None:
    buffer = bytearray(256 * 1024)
    while num_bytes > 0:
        num_bytes -= there.recv_into(buffer)


def goals(report: Report) -> list[Goal]:
    """A megabyte's way into the sum."""
    row = f"{count(GOAL_PARAMETERS)} parameters: result, safetensors"
    found = [line.ratios[RATIO] for line in report.lines if line.row == row]
    if not found:
        return []
    share = statistics.median(found)
    return [
        Goal("an update of 1 MB: rate of two copies and saxpy", f"≥ {GOAL_RATIO}", figure(share), share >= GOAL_RATIO)
    ]


SECTION = Section("models", "Large models", NOTES, measure, goals)
