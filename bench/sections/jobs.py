"""One job, four and sixteen at once; and one of them hangs."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from bench import machine, traffic
from bench.load import Order, Outcome
from bench.section import Bench, Line, Section
from bench.servers import Started, job_folder, started

NOTES = """\
Task requests on 64 connections in all, which the jobs share evenly; every device has a task, and is given it again.
`least of a fair share` is what the job that got least got, of the whole divided by the jobs. In the last row one job
more is there whose process is stopped: it has 4 connections of its own, whose requests wait until the gateway gives
them up, and the others are as many as in the row before. `of one job` is the whole rate beside that of one job alone
in the same repeat.
"""
COUNTS = (1, 4, 16)
CONNECTIONS = 64
DEVICES = 256
HUNG_CONNECTIONS = 4
RATIO = "of one job"


def measure(bench: Bench) -> None:
    """All numbers of jobs in each repeat."""
    with started(bench.folder / "jobs", bench.options.gateways) as server:
        jobs = [
            server.control.submit(job_folder(bench.folder / f"jobs-{n}", f"jobs-{n}", DEVICES, DEVICES)).job_id
            for n in range(max(COUNTS) + 1)
        ]
        for job in jobs:
            bench.client.lease(server.port, job, DEVICES)
        for _ in bench.repeats(3):
            alone = 0.0
            for count in COUNTS:
                outcome = _ask(bench, server, jobs[:count])
                alone = alone or _rate(outcome)
                bench.add(_line(f"{count} job{'s' * (count > 1)}", outcome, alone))
            with _stopped(_process(server, jobs[-1])), _waiting(server.port, jobs[-1]):
                bench.add(_line(f"{max(COUNTS)} jobs, and one that hangs", _ask(bench, server, jobs[:-1]), alone))


def _ask(bench: Bench, server: Started, jobs: list[str]) -> Outcome:
    order = Order(
        port=server.port,
        requests="task",
        job=jobs[0],
        others=tuple(jobs[1:]),
        devices=DEVICES,
        connections=CONNECTIONS // len(jobs),
        seconds=bench.options.seconds,
        server_pid=server.pid,
    )
    return bench.client.measure(order)


def _rate(outcome: Outcome) -> float:
    return outcome.requests / outcome.elapsed_s


def _line(row: str, outcome: Outcome, alone: float) -> Line:
    shares = outcome.shares or (outcome.requests,)
    values = {
        "requests/s": _rate(outcome),
        "worst p99 ms": outcome.p99_ms,
        "CPU µs": sum(outcome.cpu_s.values()) / max(outcome.requests, 1) * 1e6,
        "least of a fair share": min(shares) * len(shares) / max(outcome.requests, 1),
    }
    return Line(row, values, {RATIO: _rate(outcome) / alone})


def _process(server: Started, job: str) -> int:
    return next(p.pid for p in machine.tree(server.pid) if f"--job-id {job} " in machine.command_line(p.pid))


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Shorter than the supervisor's patience with it."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextmanager
def _waiting(port: int, job: str) -> Iterator[None]:
    """Devices that wait for this job meanwhile."""
    connections = []
    for request in traffic.task_requests(job, HUNG_CONNECTIONS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        connections.append(connection)
    try:
        yield
    finally:
        for connection in connections:
            connection.close()


SECTION = Section("jobs", "Several jobs at once", NOTES, measure)
