"""What this machine says of itself: its limits and its disk. Where a system cannot say, the answer is "not known"."""

import os
import tempfile
import time
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
MOUNTS = Path("/proc/self/mountinfo")
SYNC_BYTES = 4096


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
