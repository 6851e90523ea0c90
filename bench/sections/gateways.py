"""One gateway and two, of one server."""

from bench.load import Order, Outcome, Requests
from bench.section import Bench, Line, Section
from bench.servers import Started, job_folder, started
from bench.traffic import COUNTED, OK

NOTES = """\
The same server with one gateway process and with two, which share the port (`SO_REUSEPORT`); one job. Rates and CPU
are of all processes of the server. The client has a core of these as well: where all cores are busy with one gateway, a
second cannot make it faster, only show what it costs. `of one gateway` is the rate beside that of one gateway in the
same repeat.
"""
COUNTS = (1, 2)
DEVICES = 4096
GOAL = 512
CONNECTIONS = (64, 512)
KINDS: tuple[tuple[Requests, str], ...] = (("job", OK), ("task", OK), ("result", COUNTED))
RESULT_S = 30.0  #: All devices' results take less.
RATIO = "of one gateway"


def measure(bench: Bench) -> None:
    """Every kind of request at every number of connections, with one gateway and with two."""
    for _ in bench.repeats(3):
        alone: dict[str, float] = {}
        for count in COUNTS:
            with started(bench.folder / f"gateways-{len(bench.report.lines)}", count) as server:
                folder = job_folder(bench.folder / f"job-{len(bench.report.lines)}", "bench", DEVICES, GOAL)
                job = server.control.submit(folder).job_id
                for connections in CONNECTIONS:
                    for requests, expect in KINDS:
                        what = f"{requests}, {connections} connections"
                        outcome = _send(bench, server, job, requests, expect, connections)
                        rate = outcome.requests / outcome.elapsed_s
                        beside = rate / alone.setdefault(what, rate)
                        bench.add(_line(f"{what}, {count} gateway{'s' * (count > 1)}", outcome, rate, beside))


def _line(row: str, outcome: Outcome, rate: float, beside: float) -> Line:
    cpu_us = sum(outcome.cpu_s.values()) / outcome.requests * 1e6
    values = {"requests/s": rate, "p50 ms": outcome.p50_ms, "p99 ms": outcome.p99_ms, "CPU µs": cpu_us}
    return Line(row, values, {RATIO: beside})


def _send(bench: Bench, server: Started, job: str, requests: Requests, expect: str, connections: int) -> Outcome:
    bench.client.lease(server.port, job, DEVICES)
    order = Order(
        port=server.port,
        requests=requests,
        job="bench" if requests == "job" else job,
        devices=DEVICES,
        connections=connections,
        seconds=RESULT_S if requests == "result" else bench.options.seconds,
        expect=expect,
        server_pid=server.pid,
    )
    return bench.client.measure(order)


SECTION = Section("gateways", "More gateways", NOTES, measure)
