"""What our loops do that asyncio's own leave open."""

import asyncio
import os
import signal
import sys
import warnings
from collections.abc import Iterator

import pytest

from turnout.process import loops

ENDS = [sys.executable, "-c", "raise SystemExit(3)"]
SLEEPS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def watcher() -> Iterator[None]:
    """How Python 3.12 and later learn of exit codes on Linux: the loop looks, in a turn of its own."""
    if sys.version_info < (3, 12) and hasattr(os, "pidfd_open"):
        before = asyncio.get_event_loop_policy().get_child_watcher()
        asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
        yield
        asyncio.set_child_watcher(before)
    else:
        yield


@pytest.mark.usefixtures("watcher")
def test_a_signal_to_a_process_that_has_just_ended_leaves_it_its_exit_code() -> None:
    async def code() -> int:
        process = await asyncio.create_subprocess_exec(*ENDS)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222  the loop is not to look
        loops.send_signal(process, signal.SIGTERM)
        return await process.wait()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asyncio.run(code()) == 3


def test_a_signal_reaches_a_process_that_runs() -> None:
    async def code() -> int:
        process = await asyncio.create_subprocess_exec(*SLEEPS, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        await process.stdout.readline()
        loops.send_signal(process, signal.SIGTERM)
        return await process.wait()

    assert asyncio.run(code()) == -signal.SIGTERM


def test_a_signal_to_a_process_long_gone_is_nothing() -> None:
    async def code() -> int:
        process = await asyncio.create_subprocess_exec(*ENDS)
        await process.wait()
        loops.send_signal(process, signal.SIGKILL)
        return await process.wait()

    assert asyncio.run(code()) == 3
