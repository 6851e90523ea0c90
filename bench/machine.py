"""What the kernel knows: the CPU that processes used, what disturbed a run, and what machine this is."""

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
STEAL_MAX = 0.01  #: More of the machine than this taken by its host disturbs a run.
OTHERS_MAX = 0.05  #: More of the machine than this used by other programs disturbs a run.
FREE_GUEST = 8  #: Fields of a line of /proc/stat before guest time, which is in user time already.


@dataclass(frozen=True, slots=True)
class Process:
    """A line of ``/proc/PID/stat``: who, whose child, CPU seconds used by itself and by its children that ended."""

    pid: int
    parent: int
    cpu_s: float
    reaped_s: float


def processes() -> dict[int, Process]:
    """All processes of this machine."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = text.rpartition(")")[2].split()
        user, system, reaped_user, reaped_system = (int(field) / TICKS_PER_S for field in fields[11:15])
        pid = int(folder.name)
        found[pid] = Process(pid, int(fields[1]), user + system, reaped_user + reaped_system)
    return found


def tree(root: int) -> list[Process]:
    """``root`` and all processes below it."""
    running = processes()
    found: list[Process] = []
    parents = {root}
    if root in running:
        found.append(running[root])
    while parents:
        children = [process for process in running.values() if process.parent in parents]
        found += children
        parents = {process.pid for process in children}
    return found


def cpu_by_process(root: int) -> dict[int, float]:
    """CPU seconds used so far by each process of the tree."""
    return {process.pid: process.cpu_s for process in tree(root)}


def cpu_since(before: dict[int, float], root: int) -> dict[int, float]:
    """CPU seconds used by each process of the tree since ``before``."""
    return {pid: cpu_s - before.get(pid, 0.0) for pid, cpu_s in cpu_by_process(root).items()}


def written_bytes(pid: int) -> int:
    """What a process has had the kernel write to disks so far."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["write_bytes"])


def memory_bytes(pid: int, peak: bool = False) -> int:
    """What a process has in memory, or had at most."""
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM" if peak else "VmRSS"].split()[0]) * 1024


def file_system(path: Path) -> str:
    """The kind of the one that ``path`` is on."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        if mount.split()[2] == wanted:
            return kind.split()[0]
    return "an unknown file system"


def command_line(pid: int) -> str:
    """How a process was called."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")


class Disturbance(msgspec.Struct, frozen=True):
    """What else happened on the machine during a repeat; shares are of all its cores."""

    load_before: float
    steal: float
    others: float

    @property
    def serious(self) -> bool:
        return self.steal > STEAL_MAX or self.others > OTHERS_MAX

    def __str__(self) -> str:
        return f"load {self.load_before:.1f} before, stolen {self.steal:.1%}, other programs {self.others:.1%}"


class Watch:
    """Watches the machine for the length of a repeat."""

    def __init__(self) -> None:
        self._load = os.getloadavg()[0]
        self._began = time.monotonic()
        self._busy, self._steal = _machine_cpu_s()
        self._ours = _our_cpu_s()

    def end(self) -> Disturbance:
        """What happened since."""
        available_s = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        busy, steal = _machine_cpu_s()
        others_s = busy - self._busy - (_our_cpu_s() - self._ours)
        return Disturbance(self._load, (steal - self._steal) / available_s, max(others_s, 0.0) / available_s)


def describe() -> str:
    """This machine in a line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({model}), {memory:.0f} GB, Linux {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def _machine_cpu_s() -> tuple[float, float]:
    """CPU seconds since boot that were used by anybody, and those that the machine's host kept."""
    with open("/proc/stat") as file:
        fields = [int(field) / TICKS_PER_S for field in file.readline().split()[1 : FREE_GUEST + 1]]
    user, nice, system, _idle, _iowait, interrupts, soft_interrupts, steal = fields
    return user + nice + system + interrupts + soft_interrupts, steal


def _our_cpu_s() -> float:
    """CPU seconds of this process and of all that it started."""
    return sum(process.cpu_s + process.reaped_s for process in tree(os.getpid()))
