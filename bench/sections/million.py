"""A million devices, each of which takes part once, over real HTTP, on this machine."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import handshake, machine
from bench.section import Bench, Line, Report, Section, figure
from bench.servers import Started, find, job_folder, started
from bench.table import Goal
from turnout.device.counters import FleetCounters
from turnout.job.account.tally import SavedTally
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.sqlite import read_snapshot

DEVICES = 1_000_000
QUICK_DEVICES = 2_000
AT_ONCE = 1024
TLS_SHARE = 10  #: A handshake costs so much that a tenth of the devices say as much.
GOAL = 1000  #: Results to a version.
GOAL_S = 300
CERT, KEY = "cert.pem", "key.pem"
ROLES = ("gateway", "job", "control", "supervisor")

NOTES = f"""\
`turnout fleet --devices 1000000 --each-once --at-once {AT_ONCE} --untrained` against `turnout up`, both on this
machine: every device asks for the job, for a task, sends 1000 float32 as raw safetensors, and ends when its result is
counted. {GOAL} results make a version. `counted` is read from the journal; `wrong` is every answer that was none or a
refusal. With connections of their own devices connect for these three requests alone; the client closes first, and
finds free ports because Linux uses those of the loopback again a second after (`tcp_tw_reuse`). CPU is per device;
`MB` are peaks of resident memory. `handshake` is what one full TLS handshake costs OpenSSL on both sides together,
measured in one process just after: a million of them, shared by all cores, are the least that a million devices with
TLS can take, so a tenth of them is measured.
"""


@dataclass(frozen=True, slots=True)
class _Way:
    """How the devices are connected."""

    name: str
    options: tuple[str, ...] = ()
    tls: bool = False
    share: int = 1  #: One of so many devices.


WAYS = (
    _Way(f"{AT_ONCE} kept-alive connections, shared"),
    _Way("a TCP connection for each device", ("--own-connections",)),
    _Way("a TLS connection for each device", ("--own-connections",), tls=True, share=TLS_SHARE),
)


def measure(bench: Bench) -> None:
    """Each way once: a run has millions of requests."""
    devices = min(QUICK_DEVICES, bench.options.fleet_devices) if bench.quick else bench.options.fleet_devices
    for number, way in enumerate(WAYS):
        watch = machine.Watch()
        tls: list[str] = []
        if way.tls:
            if find("openssl") is None:
                bench.say("openssl was not found, which makes a certificate: apt install openssl")
                continue
            tls = _certificate(bench.folder)
        with started(bench.folder / f"million-{number}", bench.options.gateways, options=tls) as server:
            line = _run(bench.folder / f"job-{number}", server, way, max(devices // way.share, 1))
        if way.tls:
            line.values["CPU µs handshake"] = handshake.seconds(bench.folder / CERT, bench.folder / KEY) * 1e6
        bench.add(line)
        bench.disturbed(way.name, watch)


def _certificate(folder: Path) -> list[str]:
    """A certificate of a P-256 key, as options of a server."""
    cert, key = folder / CERT, folder / KEY
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return ["--tls-cert", str(cert), "--tls-key", str(key)]


def _run(folder: Path, server: Started, way: _Way, devices: int) -> Line:
    job = server.control.submit(job_folder(folder, "million", 4 * AT_ONCE, GOAL))
    url = f"http{'s' * way.tls}://127.0.0.1:{server.port}"
    trust = ["--ca", str(folder.parent / CERT)] if way.tls else []
    command = [
        *(sys.executable, "-m", "turnout", "fleet", url, "--job", "million", *trust),
        *("--untrained", "--devices", str(devices), "--each-once", "--at-once", str(AT_ONCE), "--start-s", "0"),
        *("--training-s", "0", "--connections", str(AT_ONCE), "--json", *way.options),
    ]
    before = machine.cpu_by_process(server.pid)
    began = time.monotonic()
    fleet = subprocess.Popen(command, stdout=subprocess.PIPE, process_group=0)
    try:
        assert fleet.stdout is not None
        last = b""
        for line in fleet.stdout:
            last = line
        _, code, used = os.wait4(fleet.pid, 0)
    finally:
        fleet.kill()
    if code:
        raise SystemExit(f"the fleet ended with exit code {os.waitstatus_to_exitcode(code)}")
    seconds = time.monotonic() - began
    counters = msgspec.json.decode(last, type=FleetCounters)
    cpu_s = server.by_role(machine.cpu_since(before, server.pid))
    snapshot = read_snapshot(server.data / "jobs" / job.job_id / JOURNAL)
    assert snapshot is not None, "a job that counts results has a journal"
    wrong = sum(map(sum, (book.values() for book in (counters.errors, counters.refused, counters.trainings_failed))))
    return Line(
        way.name,
        {
            "devices": devices,
            "counted": snapshot.of(SavedTally).counted,
            "wrong": wrong + counters.given_up,
            "seconds": seconds,
            "devices/s": devices / seconds,
            "CPU µs gateway": cpu_s["gateway"] / devices * 1e6,
            "CPU µs job": cpu_s["job"] / devices * 1e6,
            "CPU µs fleet": (used.ru_utime + used.ru_stime) / devices * 1e6,
            **{f"MB {role}": size for role, size in _peaks(server).items()},
            "MB fleet": used.ru_maxrss / 1024,
        },
    )


def _peaks(server: Started) -> dict[str, float]:
    """The largest of each role."""
    found = dict.fromkeys(ROLES, 0.0)
    for pid, role in server.roles().items():
        if role in found:
            found[role] = max(found[role], machine.memory_bytes(pid, peak=True) / 2**20)
    return found


def goals(report: Report) -> list[Goal]:
    """Each way is to take less than five minutes for all devices, and to lose nothing."""
    return [
        Goal(
            f"a million devices, {line.row}",
            f"< {GOAL_S} s, none lost, none wrong",
            f"{figure(line.values['seconds'])} s for {figure(line.values['devices'])}, "
            f"{figure(line.values['devices'] - line.values['counted'])} lost, {figure(line.values['wrong'])} wrong",
            line.values["seconds"] < GOAL_S and line.values["counted"] == DEVICES and not line.values["wrong"],
        )
        for line in report.lines
    ]


SECTION = Section("million", "A million devices", NOTES, measure, goals)
