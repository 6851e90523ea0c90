"""A real server for tests: ``turnout up`` on free ports, and what its processes are."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from turnout.client import servers
from turnout.client.client import ControlClient
from turnout.supervisor.policy import HANG_S

PATIENCE_S = 60.0  #: Ends a test that would hang; no test needs it.
T = TypeVar("T")
TURNOUT = [sys.executable, "-P", "-m", "turnout"]


def eventually(what: str, holds: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Wait until ``holds()`` is true, and return it. It happens in other processes: there is nothing to be told by."""
    give_up_at = time.monotonic() + patience_s
    while not (held := holds()):
        assert time.monotonic() < give_up_at, f"never happened: {what}"
        time.sleep(0.02)
    return held


def processes() -> dict[int, tuple[int, str]]:
    """Parent and command line of every process of this machine that has not ended."""
    found = {}
    shown = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,stat=,args="],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    for line in shown.stdout.splitlines():
        pid, parent, state, *command = line.split(None, 3)
        if not state.startswith("Z"):
            found[int(pid)] = (int(parent), command[0] if command else "")
    return found


def descendants(pid: int) -> set[int]:
    """All processes below ``pid``."""
    found: set[int] = set()
    running = processes()
    while more := {child for child, (parent, _) in running.items() if parent in found | {pid}} - found:
        found |= more
    return found


class Server:
    """A running ``turnout up``; ``lines`` is what it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        eventually("the server says that it is up", lambda: self.lines or process.poll() is not None)
        found = re.search(r"devices at (https?://\S+), API at (http://\S+)", self.lines[0])
        assert found is not None, self.lines
        self.devices_url, self.api_url = found.groups()
        _, self.token = servers.resolve(self.api_url, "")  # as commands find it
        self.client = ControlClient(self.api_url, self.token)
        eventually("control and a gateway answer", self.client.healthy)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.devices_url.rpartition(":")[2])

    def child(self, module: str) -> int:
        """The process that runs this module; there must be one. On a busy machine ``ps`` may miss it for a moment."""
        (pid,) = eventually(f"{module} is found", lambda: self._children(module))
        return pid

    def kill(self, module: str) -> int:
        """Kill a child with SIGKILL, and wait until another has taken its place; the old pid."""
        old = self.child(module)
        os.kill(old, signal.SIGKILL)
        eventually(f"{module} is started again", lambda: self._others(module, old))
        return old

    def wait_line(self, pattern: str) -> str:
        """The first line that the pattern is found in, now or later."""
        eventually(f"a line with {pattern!r}", lambda: any(re.search(pattern, line) for line in self.lines))
        return next(line for line in self.lines if re.search(pattern, line))

    def _others(self, module: str, old: int) -> bool:
        return any(pid != old for pid in self._children(module))

    def _children(self, module: str) -> list[int]:
        return [pid for pid in descendants(self.pid) if f"-m {module}" in processes().get(pid, (0, ""))[1]]

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as said:
            for line in said:
                self.lines.append(line.rstrip("\n"))


@contextmanager
def server(
    data: Path, port: int = 0, gateways: int = 1, hang_s: float = HANG_S, options: Sequence[str] = (), umask: int = -1
) -> Iterator[Server]:
    """Run ``turnout up`` until the block ends; then, unless the block killed it, none of its processes may be left."""
    ports = ["--port", str(port), "--control-port", "0"]
    settings = ["--gateways", str(gateways), "--data", str(data), "--hang-s", str(hang_s)]
    command = [*TURNOUT, "up", *ports, *settings, *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, umask=umask)
    running = None
    try:
        running = Server(process)
        yield running
        if process.poll() is None:
            left = descendants(running.pid)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
            assert not left & processes().keys(), "orphans"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if running is not None:
            print(*running.lines, sep="\n")  # shown when the test fails
