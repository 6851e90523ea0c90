"""The servers that are measured, each started as a user would start it and ended with the benchmark."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from urllib.parse import urlsplit

import msgspec
import numpy as np

from bench import traffic
from bench.machine import command_line, tree
from turnout.client.client import ControlClient
from turnout.process.environment import environment
from turnout.supervisor import commands
from turnout.wire.tensors import to_safetensors

ROOT = Path(__file__).parent.parent
PATIENCE_S = 20.0
#: The roles of turnout's processes, by the module that each of them runs.
ROLES = {
    "turnout.gateway.process": "gateway",
    "turnout.job.process": "job",
    "turnout.control.process": "control",
    "turnout.supervisor.process": "supervisor",
}
#: Leases outlive the run, chance keeps no device waiting: every device that asks has a task, as far as places go.
JOB_TOML = """
name = "{name}"
edge_method = "bench"
[training]
workflow = "buffered"
concurrency = {places}
buffer_goal = {goal}
results_min = {goal}
staleness_max = 1000
staleness = {{ discount = "polynomial", exponent = 0.5 }}
[device]
batch_size = 32
epochs = 1
learning_rate = 0.1
[selection]
kind = "checkin"
thinning_window_s = 0
[leases]
min_s = 3600.0
[stop]
versions = 1000000
"""
#: Servers in Python to compare with, and the modules that they are.
REFERENCES = {"echo": "bench.echo", "starlette": "bench.starlette_app"}
OPEN, FULL = "bench", "bench-full"  #: The job with a place for every device, and the one whose only place is taken.
GOALS_PER_FLEET = 10  #: The open job makes a version of a tenth of its devices.


@dataclass(frozen=True, slots=True)
class Server:
    """Something that answers on a port of this machine; ``pid`` is the root of all its processes."""

    name: str
    pid: int
    port: int

    def roles(self) -> dict[int, str]:
        """What each of its processes is, where it is one of turnout's."""
        found = {}
        for process in tree(self.pid):
            text = command_line(process.pid)
            found[process.pid] = next((role for module, role in ROLES.items() if module in text), "other")
        return found

    def by_role(self, cpu_s: Mapping[int, float]) -> dict[str, float]:
        """The CPU of its processes, added up by what they are."""
        roles, found = self.roles(), dict[str, float]()
        for pid, used_s in cpu_s.items():
            role = roles.get(pid, "other")
            found[role] = found.get(role, 0.0) + used_s
        return found


@dataclass(frozen=True, slots=True)
class Turnout(Server):
    """A whole server of turnout with both jobs running."""

    open_job: str
    full_job: str


@contextmanager
def turnout(folder: Path, gateways: int, devices: int) -> Iterator[Turnout]:
    """Run supervisor, gateways and control, and submit both jobs."""
    with started(folder, gateways) as server:
        jobs = [
            server.control.submit(job_folder(folder / OPEN, OPEN, devices, max(devices // GOALS_PER_FLEET, 1))),
            server.control.submit(job_folder(folder / FULL, FULL, 1, 1)),
        ]
        yield Turnout("turnout", server.pid, server.port, *(job.job_id for job in jobs))


@dataclass(frozen=True, slots=True)
class Started(Server):
    """A server of turnout, as yet without jobs."""

    control: ControlClient
    data: Path

    def model_of(self, job_id: str) -> str:
        """The sha256 of the model that a job gives out now, once its process answers."""
        while (status := self.control.job(job_id).status) is None or not status.model_sha256:
            time.sleep(0.02)
        return status.model_sha256


@contextmanager
def started(
    folder: Path, gateways: int, variables: Mapping[str, str] | None = None, options: Sequence[str] = ()
) -> Iterator[Started]:
    """Run supervisor, gateways and control, with these ``variables`` and ``options`` beside the usual."""
    folder.mkdir(exist_ok=True)
    lifeline, our_end = os.pipe()
    ready, theirs = os.pipe()
    command = commands.server(folder / "data", gateways, theirs, seed=0)
    process = subprocess.Popen(
        [part.replace(commands.LIFELINE, str(lifeline)) for part in (*command, *options)],
        env={**environment(), **(variables or {})},
        pass_fds=(lifeline, theirs),
        process_group=0,  # Ctrl-C is the benchmark's to handle
        stderr=(folder / "turnout.log").open("w"),
    )
    try:
        os.close(theirs)
        with os.fdopen(ready) as told:
            lines = told.read().split()
        if len(lines) != 3:
            raise SystemExit(f"the server did not start:\n{(folder / 'turnout.log').read_text()}")
        client = ControlClient(*lines[1:])
        _eventually("control and a gateway answer", client.healthy)
        port = urlsplit(lines[0]).port
        assert port is not None, lines
        yield Started("turnout", process.pid, port, client, folder / "data")
    finally:
        _end(process)
        os.close(our_end)
        os.close(lifeline)


@contextmanager
def nginx(folder: Path, workers: int) -> Iterator[Server | None]:
    """nginx with one worker per gateway; None where there is none."""
    program = find("nginx")
    if program is None:
        yield None
        return
    port = _free_port()
    folder.mkdir()
    body = msgspec.json.encode(traffic.STATIC_REPLY).decode()
    template = Template((ROOT / "bench" / "nginx.conf").read_text())
    (folder / "nginx.conf").write_text(template.substitute(folder=folder, port=port, workers=workers, body=body))
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
        process_group=0,
    )
    try:
        _eventually("nginx answers", lambda: _answers(port, process))
        yield Server("nginx", process.pid, port)
    finally:
        _end(process)


@contextmanager
def reference(name: str, module: str) -> Iterator[Server]:
    """A server of one process, such as ``bench.echo``, that ends with its standard input."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(port)], cwd=ROOT, stdin=subprocess.PIPE, process_group=0
    )
    try:
        _eventually(f"{module} answers", lambda: _answers(port, process))
        yield Server(name, process.pid, port)
    finally:
        _end(process)
        assert process.stdin is not None
        process.stdin.close()


def find(program: str) -> str | None:
    """Where a program is; system programs are not on everybody's path."""
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def job_folder(folder: Path, name: str, places: int, goal: int, parameters: int = traffic.NUM_PARAMETERS) -> Path:
    """Write a job whose model is all zeros."""
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML.format(name=name, places=places, goal=goal))
    (folder / "device_config.json").write_text('{"batch_size": 32, "epochs": 1, "learning_rate": 0.1}')
    zeros = np.zeros(parameters, np.float32)
    (folder / "model.safetensors").write_bytes(to_safetensors(zeros, traffic.schema(parameters)))
    return folder


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    if process.poll() is not None:
        raise SystemExit(f"{process.args!r} ended with exit code {process.returncode}")
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _eventually(what: str, holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"this never happened: {what}")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
