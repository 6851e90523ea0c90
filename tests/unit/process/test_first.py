"""The first process of a container, in a namespace where there is one."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

SPACE = ["unshare", *(() if os.getuid() == 0 else ("--map-root-user",)), "--pid", "--fork", "--mount-proc"]


def cannot() -> str:
    """Why there is no PID namespace here; empty when there is one."""
    if shutil.which("unshare") is None:
        return "no unshare here"
    return subprocess.run([*SPACE, "true"], capture_output=True, text=True, check=False, timeout=60).stderr


needs_space = pytest.mark.skipif(bool(cannot()), reason=f"no PID namespace can be made here: {cannot().strip()}")
BEGIN = """
import os, signal, subprocess, sys, time
from turnout.process import first
assert os.getpid() == 1
first.go_on_in_child()
assert os.getpid() != 1 and os.getppid() == 1
"""
#: A child that leaves a grandchild behind, which ends at once; then the states of all processes that there are.
ORPHAN = """
subprocess.run(["sh", "-c", "sh -c 'sleep 0.01; exit 3' & echo $! > /dev/null"], check=True)
own = subprocess.Popen(["sh", "-c", "exit 7"])
def states():
    pids = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in (1, os.getpid(), own.pid)]
    return [open(f"/proc/{pid}/stat").read().rpartition(") ")[2][0] for pid in pids]
for _ in range(500):
    try:
        found = states()
    except (FileNotFoundError, ProcessLookupError):
        continue
    if not found:
        break
    time.sleep(0.01)
assert not found, found
assert own.wait() == 7, "our own children are ours to wait for"
"""


def in_space(code: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*SPACE, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@needs_space
def test_orphans_are_reaped_and_the_command_s_own_children_are_left_to_it() -> None:
    process = in_space(BEGIN + ORPHAN + "sys.exit(5)")
    process.communicate(timeout=60)
    assert process.returncode == 5


@needs_space
def test_signals_are_passed_on_and_a_kill_is_told_as_shells_tell_it() -> None:
    code = """
signal.signal(signal.SIGUSR1, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
os.kill(1, signal.SIGUSR1)
while True: signal.pause()
"""
    process = in_space(BEGIN + code)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


@needs_space
def test_a_command_in_the_first_process_goes_on_in_a_child() -> None:
    found = subprocess.run(
        [*SPACE, sys.executable, "-m", "turnout", "bogus"], capture_output=True, text=True, check=False, timeout=60
    )
    assert found.returncode == 2
    assert found.stderr.startswith("turnout: ")
