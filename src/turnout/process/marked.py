"""Ends what a process has started, also what left its process group: by a mark in the environment, which is inherited.

Linux only: elsewhere nobody can read the environment of other processes. Code that means to can start a process without
the mark; this is for what is left behind by mistake.
"""

import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

MARK = "TURNOUT_STARTED_BY"
ROUNDS_MAX = 100  #: A process may start another while it is looked for.


def new_mark() -> dict[str, str]:
    """For the environment of a process that is about to be started."""
    return {MARK: secrets.token_hex(16)}


def kill_marked(value: str, proc: Path = Path("/proc")) -> None:
    """Kill every process with this mark but our own, until there is none."""
    wanted = f"{MARK}={value}".encode()
    for _ in range(ROUNDS_MAX):
        found = [pid for pid in _processes(proc) if _has(proc / str(pid) / "environ", wanted)]
        for pid in found:
            _kill(pid)
        if not found:
            return


def _processes(proc: Path) -> Iterator[int]:
    try:
        names = os.listdir(proc)
    except OSError:  # not on this system
        return
    for name in names:
        if name.isdigit() and int(name) != os.getpid():
            yield int(name)


def _has(environ: Path, wanted: bytes) -> bool:
    try:
        return wanted in environ.read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another account's
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended meanwhile
        pass
