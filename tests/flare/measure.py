"""FLARE's edge and turnout side by side on this machine, by wrk: the table of docs/FLARE.md.

    .venv-flare/bin/python -m tests.flare.measure

FLARE's way from a device to a job is routing proxy, leaf client, job process; turnout's is gateway, job process. Both
are given the same requests by turns. The task requests go to a job that has no task, so that neither sends a model.
"""

import http.client
import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench import traffic
from bench.clients import run_wrk
from bench.load import Order, Outcome
from bench.machine import cpu_by_process, describe
from bench.servers import find, turnout

from tests.end_to_end.server import eventually
from tests.flare.deployment import PATIENCE_S, Deployment, job_of_numbers, routing_proxy

DEVICES = 1000
CONNECTIONS = 64
SECONDS = 5
REPEATS = 3
NEVER = 1_000_000  #: So many devices are never known, so FLARE's job makes no first model, and gives out no task.


@dataclass(frozen=True)
class Way:
    """One way from a device to a job: where it begins, its jobs and processes, and what it says without a task."""

    name: str
    port: int
    job_name: str
    offered: str
    idle: str
    pids: list[int]
    no_task: str

    def send(self, program: str, request: str, folder: Path) -> tuple[Outcome, float]:
        """What came of it, and microseconds of CPU per request."""
        if request == "job":
            target, body = "/job", {"job_name": self.job_name, "capabilities": {"methods": ["cnn"]}}
        else:
            target, body = f"/task?job_id={self.idle}", {}
        (folder / "requests").write_text("\0".join(http_request(target, body, number) for number in range(DEVICES)))
        expect = self.offered if request == "job" else self.no_task
        order = Order(port=self.port, requests="job", job="", devices=DEVICES, expect=expect)
        order.connections, order.seconds, order.server_pid = CONNECTIONS, SECONDS, self.pids[0]
        before = self._cpu_s()
        outcome = run_wrk(program, order, folder / "requests")
        return outcome, (self._cpu_s() - before) / outcome.requests * 1e6

    def _cpu_s(self) -> float:
        return sum(sum(cpu_by_process(pid).values()) for pid in self.pids)


@contextmanager
def flare(folder: Path) -> Iterator[Way]:
    """FLARE with a job that waits, and its routing proxy before it."""
    folder.mkdir()
    deployment = Deployment(folder)
    leaf_clients = {"site-1": {"host": "localhost", "port": deployment.port}}
    with deployment.running() as session, routing_proxy(folder, leaf_clients, str(deployment.root_ca)) as proxy:
        job = job_of_numbers(folder / "jobs", versions=2, cohort=1, selected=NEVER)
        job_id = session.submit_job(str(job))
        no_task = '"Model not ready"'
        eventually("FLARE's job answers", lambda: no_task in asked(proxy.port, job_id), PATIENCE_S)
        yield Way("FLARE", proxy.port, "numbers", job_id, job_id, [proxy.pid, *deployment.pids], no_task)


@contextmanager
def ours(folder: Path) -> Iterator[Way]:
    """turnout with a job whose only place is taken."""
    with turnout(folder, gateways=1, devices=DEVICES) as server:
        eventually("the job answers", lambda: '"OK"' in asked(server.port, server.full_job))
        yield Way("turnout", server.port, "bench", server.open_job, server.full_job, [server.pid], traffic.RETRY)


def http_request(target: str, body: object, number: int) -> str:
    """What a device of FLARE's Python SDK sends; every number is another device."""
    text = json.dumps(body)
    return (
        f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-Flare-Device-ID: device-{number:06d}\r\nX-Flare-Device-Info: app_name=flare_mobile&app_version=1.0\r\n"
        f"X-Flare-User-Info: user_id=demo\r\nContent-Length: {len(text)}\r\n\r\n{text}"
    )


def asked(port: int, job_id: str) -> str:
    """What a device is told that asks for a task."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {"Content-Type": "application/json", "X-Flare-Device-ID": "first"}
    try:
        connection.request("POST", f"/task?job_id={job_id}", "{}", headers)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def main() -> None:
    program = find("wrk")
    if program is None:
        raise SystemExit("wrk is not installed: apt install wrk")
    found: dict[tuple[str, str], list[tuple[Outcome, float]]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made, ExitStack() as stack:
        folder = Path(made)
        ways = [stack.enter_context(flare(folder / "flare")), stack.enter_context(ours(folder / "turnout"))]
        for _ in range(REPEATS):
            for way in ways:
                for request in ("job", "task"):
                    found.setdefault((request, way.name), []).append(way.send(program, request, folder))
    print(describe())
    print("| request | | requests/s | p50 ms | p99 ms | CPU per request, µs | not answered |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for (request, name), measured in sorted(found.items()):
        rate = median(outcome.requests / outcome.elapsed_s for outcome, _ in measured)
        p50, p99 = (median(getattr(outcome, which) for outcome, _ in measured) for which in ("p50_ms", "p99_ms"))
        cpu_us = median(cpu_us for _, cpu_us in measured)
        errors = sum(outcome.errors for outcome, _ in measured)
        print(f"| {request} | {name} | {rate:.0f} | {p50:.0f} | {p99:.0f} | {cpu_us:.0f} | {errors} |")


if __name__ == "__main__":
    main()
