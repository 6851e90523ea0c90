"""Whether a machine is fit for a server: for each thing looked at a line, "ok" or what is wrong and the way out.

What is found is judged by pure functions, so that tests can show them machines that are not fit.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from turnout.cli import certificates, installed
from turnout.cli.findings import Finding
from turnout.errors import TurnoutError
from turnout.process import machine
from turnout.storage import private
from turnout.supervisor import runtime
from turnout.transport import socket_folder

FREE_BYTES_MIN = 1 << 30
FILES_MIN = 1024
SYNCS = 40
SYNC_S_MAX = 0.05
DRIFT_MAX_S = 0.05
LOOK_AT_CLOCK_S = 0.5


def examine(port: int, control_port: int, data: Path, tls: tuple[Path, Path] | None = None) -> list[Finding]:
    """Look at everything; takes about a second. Leaves nothing behind. ``tls``: files of a certificate and its key."""
    found = list(_findings(port, control_port, data.absolute()))
    return found if tls is None else [*found, certificates.examine(*tls, time.time())]


def _findings(port: int, control_port: int, data: Path) -> Iterator[Finding]:
    yield _port(port, "--port", data)
    yield _port(control_port, "--control-port", data)
    yield open_files(machine.open_files_max())
    yield who_may_open(data, private.open_parts(data))
    nearest = next(folder for folder in (data, *data.parents) if folder.is_dir())
    yield sockets([(folder, socket_folder.unfit(folder)) for folder in socket_folder.roots()], data)
    yield free_disk(nearest, shutil.disk_usage(nearest).free)
    yield kind_of_disk(nearest, machine.filesystem(nearest))
    began = time.monotonic(), time.time()
    yield _syncs(nearest)
    time.sleep(max(0.0, LOOK_AT_CLOCK_S - (time.monotonic() - began[0])))
    yield drift(time.time() - began[1] - (time.monotonic() - began[0]))
    yield installed.clock(time.time())


def _port(port: int, option: str, data: Path) -> Finding:
    """Whether we could listen there; a turnout that runs there already is fine."""
    name = f"port {port}" if port else "a free port"
    try:
        runtime.listen("127.0.0.1", port, option, patience_s=0.0).close()
    except runtime.PortInUse:
        if _is_turnout(port, option, data):
            return Finding(name, True, "turnout runs there")
        return Finding(name, False, "another program listens there", f"end it, or choose another port with {option}")
    except TurnoutError as error:
        return Finding(name, False, str(error), f"choose another port with {option}; those below 1024 are root's")
    return Finding(name, True, "nobody listens there")


def _is_turnout(port: int, option: str, data: Path) -> bool:
    if option == "--port":
        return runtime.is_taken(port, data)
    from turnout.client.client import ControlClient

    return ControlClient(f"http://127.0.0.1:{port}").alive()


def open_files(files_max: int | None) -> Finding:
    """Each device that is connected takes one; None: no bound."""
    found = f"a process may open {files_max:,} files" if files_max is not None else "a process may open any number"
    if files_max is None or files_max >= FILES_MIN:
        return Finding("open files", True, found)
    advice = f"raise it with ulimit -Hn {FILES_MIN * 16}, or LimitNOFILE={FILES_MIN * 16} in a systemd unit"
    return Finding("open files", False, f"{found}, so it serves no more devices at once", advice)


def sockets(candidates: list[tuple[Path, str]], data: Path) -> Finding:
    """Where a server makes its sockets. ``candidates`` are folders, the best first, each with why it is not fit."""
    fit = next((folder for folder, wrong in candidates if not wrong), None)
    if fit is not None:
        return Finding("sockets", True, f"in {fit}, which is ours alone and can be written to")
    last = data / socket_folder.IN_DATA
    at_last = socket_folder.too_long(last) or f"they will lie in {last}, if that is not on a network disk"
    found = "; ".join([*(wrong for _, wrong in candidates), at_last])
    return Finding("sockets", False, found, "set XDG_RUNTIME_DIR to a folder that can be written to, with a short path")


def who_may_open(data: Path, parts: list[Path]) -> Finding:
    """Whether other accounts may open ``parts`` of the data folder: there are keys and tokens in it."""
    if not parts:
        return Finding("data folder", True, f"other accounts may open nothing of {data}")
    names = " ".join(str(part) for part in parts)
    advice = f"turnout up closes them when it starts; to do it now: chmod -R go= {names}"
    return Finding("data folder", False, f"other accounts may open {names}", advice)


def free_disk(folder: Path, free_bytes: int) -> Finding:
    """Room for models and journals."""
    found = f"{free_bytes / 1e9:.1f} GB free in {folder}"
    if free_bytes >= FREE_BYTES_MIN:
        return Finding("free disk", True, found)
    return Finding("free disk", False, found, "a job that cannot write stops counting; make room, or move --data")


def kind_of_disk(folder: Path, filesystem: str) -> Finding:
    """What is acknowledged must outlive the machine's power, and be locked for one server alone."""
    if machine.is_network(filesystem):
        found = f"{folder} lies on a network file system ({filesystem})"
        advice = "its locks and syncs are not sure, so results may be lost; put --data on a disk of this machine"
        return Finding("kind of disk", False, found, advice)
    if filesystem not in machine.IN_MEMORY:
        return Finding("kind of disk", True, filesystem or "not known here")
    found = f"{folder} lies in memory ({filesystem})"
    return Finding("kind of disk", False, found, "jobs are lost when the machine restarts; put --data on a disk")


def _syncs(folder: Path) -> Finding:
    try:
        return sync_times(folder, machine.sync_times(folder, SYNCS))
    except OSError as error:
        found = f"{folder} cannot be written: {error.strerror}"
        return Finding("disk speed", False, found, "give yourself the right to, or choose another folder with --data")


def sync_times(folder: Path, times_s: list[float]) -> Finding:
    """A result is acknowledged once it is on the disk, so a device waits for this."""
    ordered = sorted(times_s)
    median, worst = ordered[len(ordered) // 2], ordered[-1]
    found = f"a write reaches the disk in {1e3 * median:.2f} ms (median), {1e3 * worst:.1f} ms at most"
    if median <= SYNC_S_MAX:
        return Finding("disk speed", True, found)
    return Finding(
        "disk speed", False, found, f"devices wait for it; put --data on a faster disk than that of {folder}"
    )


def drift(seconds: float) -> Finding:
    """How much the wall clock moved against the monotonic one while we looked."""
    if abs(seconds) <= DRIFT_MAX_S:
        return Finding("clock speed", True, f"steady within {1e3 * abs(seconds):.1f} ms")
    found = f"the clock was set {seconds:+.2f} s while we looked"
    return Finding("clock speed", False, found, "times that people are shown will be wrong; let one NTP service set it")
