"""The lock of a job's directory: one process runs a job, or restores its journal."""

import fcntl
import os
import time
from pathlib import Path

from turnout.errors import TurnoutError
from turnout.storage import private

LOCK_POLL_S = 0.05


class JobLocked(TurnoutError):
    """Another process runs this job."""


def lock(path: Path, patience_s: float) -> int:
    """The lock of a job's directory, ours until the descriptor is closed; its file holds the pid for people."""
    fd = private.create(path, os.O_RDWR)
    try:
        _flock(fd, path, patience_s)
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
    except BaseException:
        os.close(fd)
        raise
    return fd


def _flock(fd: int, path: Path, patience_s: float) -> None:
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= give_up_at:
                pid = os.read(fd, 20).decode("ascii", "replace").strip() or "unknown"
                raise JobLocked(
                    f"another process (pid {pid}) runs the job in {path.parent}; exiting: only one may run it"
                ) from None
        time.sleep(LOCK_POLL_S)
