"""The benchmark's side of the clients: our own, which is a process of its own, and wrk."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.load import Order, Outcome
from bench.machine import cpu_by_process, cpu_since
from bench.servers import ROOT

_outcome = msgspec.json.Decoder(Outcome)
_MARK = b"OUTCOME "


class OwnClient:
    """``bench.load``."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def carry_out(self, order: Order) -> Outcome:
        """What came of it; raises SystemExit when the client is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the client ended with exit code {self._process.wait()}")
        return _outcome.decode(line)

    def lease(self, port: int, job: str, devices: int) -> None:
        """Have these devices get tasks, unless they have some; raises SystemExit when they cannot."""
        leased = self.carry_out(Order(port=port, requests="lease", job=job, devices=devices))
        if leased.errors:
            raise SystemExit(f"no tasks to measure with: {leased.first_error}")

    def measure(self, order: Order) -> Outcome:
        """What came of it; raises SystemExit when a reply was wrong."""
        outcome = self.carry_out(order)
        if outcome.errors:
            raise SystemExit(f"{order.requests}: {outcome.first_error}")
        return outcome


@contextmanager
def own_client() -> Iterator[OwnClient]:
    """Start our client; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.load"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        process_group=0,
    )
    try:
        yield OwnClient(process)
    finally:
        process.kill()
        process.communicate()


def run_wrk(program: str, order: Order, requests: Path) -> Outcome:
    """Have wrk send the requests of a file. wrk measures whole seconds; the CPU is that of its whole run."""
    before = cpu_by_process(order.server_pid)
    command = [
        *(program, "-t1", f"-c{order.connections}", f"-d{max(round(order.seconds), 1)}s"),
        *("-s", str(ROOT / "bench" / "wrk.lua"), f"http://127.0.0.1:{order.port}", "--", str(requests), order.expect),
    ]
    found = subprocess.run(command, capture_output=True, check=False)
    cpu_s = cpu_since(before, order.server_pid)
    lines = [line for line in found.stdout.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise SystemExit(f"{command} failed:\n{found.stdout.decode()}{found.stderr.decode()}")
    return msgspec.structs.replace(_outcome.decode(lines[0].removeprefix(_MARK)), cpu_s=cpu_s)
