"""What this machine says of itself: its cores, limits and disk. What a system does not say is "not known"."""

import math
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
MOUNTS = Path("/proc/self/mountinfo")
SYNC_BYTES = 4096
#: File systems of other machines: their locks and their syncs promise less than a journal needs. All of FUSE's are
#: among them but those that a container's own root is made of.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "ncpfs"}
)
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.lxcfs"})
OWN_CGROUPS = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
IDENTITIES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
NETWORK_NAMESPACE = Path("/proc/self/ns/net")
IDENTITY_CHARS_MAX = 64
SYSCTL_S_MAX = 2.0


def identity(files: Iterable[Path] = IDENTITIES, ask: Callable[[], str] = lambda: _sysctl("kern.uuid")) -> str:
    """What tells this machine from others that share a home, and stays; its host name, which a network may change,
    only where there is nothing else.
    """
    for path in files:
        try:
            if found := path.read_text("ascii").strip()[:IDENTITY_CHARS_MAX]:
                return found
        except (OSError, UnicodeDecodeError):
            continue
    return ask() or socket.gethostname()


def _sysctl(name: str) -> str:
    """A value that the kernel of macOS or a BSD knows; empty elsewhere."""
    try:
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, text=True, timeout=SYSCTL_S_MAX, check=True
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return asked.stdout.strip()[:IDENTITY_CHARS_MAX]


def network() -> str:
    """In which of the machine's networks this process is: 127.0.0.1 of a container is not that of another. Empty where
    there is only one.
    """
    try:
        return str(NETWORK_NAMESPACE.stat().st_ino)
    except OSError:
        return ""


def is_network(kind: str) -> bool:
    """Whether a file system of this kind lies on another machine, or may."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)


def cores() -> int:
    """How many cores this process may use at once: those it may run on, and not more than its quota pays for."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        count = os.cpu_count() or 1
    return usable(count, cpu_quota())


def usable(affinity: int, quota: float | None) -> int:
    """The cores of ``affinity`` that a quota, if there is one, pays for; one at least."""
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def cpu_quota(own: Path = OWN_CGROUPS, root: Path = CGROUPS) -> float | None:
    """The cores that the control groups of this process allow, as of a container; None: no bound.

    ``own`` and ``root`` are as in cgroups(7), of version 1 or 2. In a container ``root`` may be its own group.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            quotas += [_quota_v2(group) for group in _groups(root, path)]
        elif "cpu" in controllers.split(","):
            quotas += [_quota_v1(group) for name in (controllers, "cpu") for group in _groups(root / name, path)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _groups(root: Path, path: str) -> list[Path]:
    """The group and all that it lies in: each may have a quota."""
    group = Path(path.lstrip("/"))
    return [root / each for each in (group, *group.parents)]


def _quota_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        period = int((group / "cpu.cfs_period_us").read_text(encoding="ascii"))
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def open_files_max() -> int | None:
    """Files that a process may open once it has raised its own limit; None: any number."""
    try:
        import resource
    except ImportError:  # no such limit here
        return None
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if hard < 0 or hard == resource.RLIM_INFINITY else hard


def filesystem(folder: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that the folder lies in; empty where that is not known. ``mounts`` is as in proc(5)."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found, depth = "", -1
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if (folder == point or point in folder.parents) and len(point.parts) > depth:  # the last of equals is on top
            found, depth = after.split()[0], len(point.parts) - 1
    return found


def sync_times(folder: Path, count: int) -> list[float]:
    """How long a small write takes to reach the disk, again and again. Raises OSError."""
    times = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(count):
            began = time.monotonic()
            file.write(bytes(SYNC_BYTES))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.monotonic() - began)
    return times
