"""Linux processes from outside: whose children they are, stopping and looking, killing."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
STOP_PATIENCE_S = 5.0  #: A thread that the disk keeps waiting stops when it is served.


def children(pid: int, module: str) -> list[int]:
    """The processes that ``pid`` started with ``python -m module``, oldest first."""
    wanted = module.encode()
    return [child for child in _children(pid) if wanted in _read(child, "cmdline").split(b"\0")]


def stop(pid: int) -> bool:
    """Stop a process and wait until all its threads stand still; False when it is gone."""
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return False
    give_up_at = time.monotonic() + STOP_PATIENCE_S
    while states := set(_thread_states(pid)):
        if states <= {"T", "t"}:
            return True
        if states <= {"Z", "X"} or time.monotonic() > give_up_at:
            break
    return False


def go_on(pid: int) -> None:
    """Let a stopped process run again."""
    _signal(pid, signal.SIGCONT)


def kill(pid: int) -> None:
    """Kill a process, stopped or not, and wait until it is dead."""
    _signal(pid, signal.SIGKILL)
    while set(_thread_states(pid)) - {"Z", "X"}:
        time.sleep(0.0005)


def has_open(pid: int, file: Path) -> bool:
    """Has the process this file open?"""
    try:
        return any(os.readlink(fd) == str(file) for fd in (PROC / str(pid) / "fd").iterdir())
    except OSError:  # it has just ended
        return False


def open_sockets(pid: int) -> int:
    """How many sockets a process has."""
    try:
        return sum(os.readlink(fd).startswith("socket:") for fd in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in _read(pid, f"task/{pid}/children").split()]


def _thread_states(pid: int) -> Iterator[str]:
    """One letter for each thread of a process, as proc(5) has them; none when it is gone."""
    try:
        threads = os.listdir(PROC / str(pid) / "task")
    except OSError:
        return
    for thread in threads:
        if stat := _read(pid, f"task/{thread}/stat"):
            yield stat[stat.rindex(b")") + 2 :][:1].decode()


def _read(pid: int, name: str) -> bytes:
    """A file of a process; nothing when it is gone."""
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
