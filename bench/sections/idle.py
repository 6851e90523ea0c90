"""What a server takes that has little to do: open connections, devices that ask now and then, devices that it knows."""

import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from bench import machine, traffic
from bench.load import Order
from bench.section import Bench, Line, Report, Section, figure
from bench.servers import Started, job_folder, started
from bench.table import Goal
from turnout.device.counters import FleetCounters

PACED, PACED_WAIT_S = 1_000_000, 240.0
KNOWN = 100_000
NOTES = f"""\
`open connections` have each been asked something once, and are silent then; `kB each` is what the gateway's memory
grew by. The paced devices find the only place of a job taken, and come back when they are told to, which is within
{PACED_WAIT_S:g} s here and by default within 600: this is what the server takes for them, in per cent of a core, and
`MB` what its processes have in memory then. `known devices` asked a job of kind `cohort` for a task within the last
half hour; `bytes each` is what its process grew by. `nothing` is a server without jobs and devices.
"""
CONNECTIONS, FILES_SPARE = 20_000, 200
CONNECTION_KB_MAX, KNOWN_BYTES_MAX = 10, 100
WATCH_S, KNOWN_S = 10.0, 60.0
OPEN, DEVICES_KNOWN = "open connections", "known devices"


def measure(bench: Bench) -> None:
    """Once each: what grows does so the first time."""
    share = 20 if bench.quick else 1
    with started(bench.folder / "idle", bench.options.gateways) as server:
        for _ in bench.repeats(1):
            bench.add(Line("nothing", _watched(server, WATCH_S / share)))
            _connections(bench, server, CONNECTIONS // share)
            _paced(bench, server, PACED // share**2, PACED_WAIT_S / share)
            _known(bench, server, KNOWN // share)


def _watched(server: Started, seconds: float) -> dict[str, float]:
    before = server.by_role(machine.cpu_by_process(server.pid))
    time.sleep(seconds)
    after = server.by_role(machine.cpu_by_process(server.pid))
    return {
        f"% {role}": (after[role] - before[role]) / seconds * 100
        for role in ("gateway", "job", "control")
        if role in after
    }


def _connections(bench: Bench, server: Started, count: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(count, hard - FILES_SPARE)
    gateway = next(pid for pid, role in server.roles().items() if role == "gateway")
    before = machine.memory_bytes(gateway)
    asked = b"GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"
    connections = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", server.port))
            connection.sendall(asked)
            assert connection.recv(65536)
            connections.append(connection)
        values = {"count": count, "kB each": (machine.memory_bytes(gateway) - before) / count / 1000}
        bench.add(Line(OPEN, {**values, **_watched(server, WATCH_S / (20 if bench.quick else 1))}))
    finally:
        for connection in connections:
            connection.close()


def _paced(bench: Bench, server: Started, devices: int, wait_s: float) -> None:
    folder = job_folder(bench.folder / "paced", "paced", 1, 1)
    with (folder / "job.toml").open("a") as file:
        file.write(f"[pacing]\nwait_max_s = {wait_s}\n")
    job = server.control.submit(folder).job_id
    bench.client.lease(server.port, job, 1)
    command = [
        *(sys.executable, "-m", "turnout", "fleet", f"http://127.0.0.1:{server.port}", "--job", "paced"),
        *("--untrained", "--devices", str(devices), "--start-s", str(wait_s), "--connections", "64", "--json"),
    ]
    fleet = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0)
    try:
        _read_until(fleet, wait_s * 1.25)  # all have come, and the first come back
        used = _watched(server, wait_s / 4)
        counters = _read_until(fleet, wait_s * 1.5)
        answered = {"count": devices, "requests/s": counters.requests_per_s, "errors": sum(counters.errors.values())}
        memory = {
            f"MB {role}": machine.memory_bytes(pid) / 2**20
            for pid, role in server.roles().items()
            if role == "gateway" or f"--job-id {job} " in machine.command_line(pid)
        }
        bench.add(Line("paced devices", {**answered, **used, **memory}))
    finally:
        fleet.kill()
        fleet.wait()


def _read_until(fleet: "subprocess.Popen[bytes]", elapsed_s: float) -> FleetCounters:
    """Read what a fleet says of itself until it has lasted so long."""
    assert fleet.stdout is not None
    for line in fleet.stdout:
        counters = msgspec.json.decode(line, type=FleetCounters)
        if counters.elapsed_s >= elapsed_s:
            return counters
    raise SystemExit(f"the fleet ended with exit code {fleet.wait()}")


def _known(bench: Bench, server: Started, devices: int) -> None:
    folder = job_folder(bench.folder / "known", "known", 1, 1)
    _as_cohort(folder / "job.toml")
    job = server.control.submit(folder).job_id
    server.model_of(job)
    pid = next(p.pid for p in machine.tree(server.pid) if f"--job-id {job} " in machine.command_line(p.pid))
    few = Order(port=server.port, requests="task", job=job, devices=100, seconds=1.0, expect=traffic.RETRY)
    bench.client.carry_out(few)
    before = machine.memory_bytes(pid)
    seconds = KNOWN_S / (20 if bench.quick else 1)
    many = Order(
        port=server.port, requests="task", job=job, devices=devices, seconds=seconds, expect="", server_pid=server.pid
    )
    outcome = bench.client.carry_out(many)
    known = min(outcome.requests, devices)
    bench.add(Line(DEVICES_KNOWN, {"count": known, "bytes each": (machine.memory_bytes(pid) - before) / known}))


def _as_cohort(file: Path) -> None:
    text = file.read_text().replace('kind = "checkin"', 'kind = "cohort"').replace("thinning_window_s = 0\n", "")
    file.write_text(text)


def goals(report: Report) -> list[Goal]:
    """Bounds of memory."""
    found = {line.row: line.values for line in report.lines}
    goals = []
    if OPEN in found:
        each = found[OPEN]["kB each"]
        what = f"memory of an idle connection, {figure(found[OPEN]['count'])} open"
        goals.append(Goal(what, f"< {CONNECTION_KB_MAX} kB", f"{figure(each)} kB", each < CONNECTION_KB_MAX))
    if DEVICES_KNOWN in found:
        each = found[DEVICES_KNOWN]["bytes each"]
        what = f"memory of a known device, {figure(found[DEVICES_KNOWN]['count'])} known"
        goals.append(Goal(what, f"< {KNOWN_BYTES_MAX} bytes", f"{figure(each)} bytes", each < KNOWN_BYTES_MAX))
    return goals


SECTION = Section("idle", "With little to do", NOTES, measure, goals)
