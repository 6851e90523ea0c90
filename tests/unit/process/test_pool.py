"""The pool of worker processes, with real processes."""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from turnout.process.pool import Failure, WorkerFailed, WorkerPool, WorkersBusy
from turnout.process.worker import HEADER, Kind

pytestmark = pytest.mark.anyio

WORK = """
import os, sys, time
from turnout.errors import DeviceError, TurnoutError

class WrongShape(DeviceError):
    reason = "shape"

prefix = b""

def setup(init):
    global prefix
    if init == b"broken":
        raise TurnoutError("device.py: line 3 is wrong")
    prefix = bytes(init)

def work(payload):
    word = bytes(payload[:8]).split(b" ")[0]
    if word == b"pid":
        return str(os.getpid()).encode()
    if word == b"refuse":
        raise WrongShape("tensor w has shape [2], not [3]")
    if word == b"raise":
        raise ValueError("two\\nlines")
    if word == b"die":
        os._exit(7)
    if word == b"hang":
        time.sleep(600)
    if word == b"print":
        print("a stray line")
        os.write(1, b"another, from C")
        return b"stdin: " + sys.stdin.read().encode()
    return prefix + bytes(payload)
"""

Make = Callable[..., WorkerPool]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Builds pools over WORK, and closes them."""
    (tmp_path / "work_of_test.py").write_text(WORK)
    pools: list[WorkerPool] = []

    def build(size: int = 1, queue_max: int = 10, init: bytes | None = None) -> WorkerPool:
        pool = WorkerPool("work_of_test:work", size, queue_max, init=init, env={"PYTHONPATH": str(tmp_path)})
        pools.append(pool)
        return pool

    yield build
    for pool in pools:
        await pool.close()


async def test_bytes_go_in_and_come_back(make: Make) -> None:
    assert await make().run(b"hello") == b"hello"


async def test_payloads_larger_than_a_pipe_come_back_whole(make: Make) -> None:
    payload = os.urandom(3_000_000)
    assert await make().run(memoryview(payload)) == payload


async def test_an_empty_payload_is_a_call(make: Make) -> None:
    assert await make().run(b"") == b""


async def test_setup_gets_its_bytes_before_the_first_call(make: Make) -> None:
    assert await make(init=b"> ").run(b"hello") == b"> hello"


async def test_what_user_code_prints_does_not_disturb_the_frames(make: Make, capfd: pytest.CaptureFixture[str]) -> None:
    assert await make().run(b"print") == b"stdin: "
    out, err = capfd.readouterr()
    assert out == ""
    assert "a stray line" in err
    assert "another, from C" in err


async def test_the_text_and_the_label_of_a_refusal_come_back(make: Make) -> None:
    with pytest.raises(WorkerFailed) as caught:
        await make().run(b"refuse")
    assert str(caught.value) == "tensor w has shape [2], not [3]"
    assert (caught.value.failure, caught.value.reason) == (Failure.REFUSED, "shape")


async def test_another_exception_is_one_line_and_its_traceback_is_on_stderr(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    pool = make()
    with pytest.raises(WorkerFailed, match=r"^ValueError: two lines$") as caught:
        await pool.run(b"raise")
    assert caught.value.failure is Failure.RAISED
    assert "Traceback" in capfd.readouterr().err
    assert await pool.run(b"next") == b"next"


async def test_a_crash_fails_its_one_call_and_the_worker_is_replaced(make: Make) -> None:
    pool = make()
    first, second, third = await asyncio.gather(
        pool.run(b"pid"), pool.run(b"die"), pool.run(b"pid"), return_exceptions=True
    )
    assert isinstance(second, WorkerFailed)
    assert second.failure is Failure.CRASHED
    assert str(second) == "the worker process ended with exit code 7"
    assert isinstance(first, bytes)
    assert isinstance(third, bytes)
    assert first != third


@pytest.mark.parametrize("word", [b"hello", b"refuse", b"raise", b"die", b"hang"])
async def test_what_a_call_was_given_is_freed_without_the_collector(make: Make, word: bytes) -> None:
    pool = make()
    await pool.check()
    payload = memoryview(word)
    given = weakref.ref(payload)
    gc.disable()
    try:
        outcomes = await asyncio.gather(pool.run(payload, timeout_s=0.5), return_exceptions=True)
        del payload, outcomes
        await pool.close()
        assert given() is None
    finally:
        gc.enable()


async def test_an_idle_worker_that_was_killed_costs_one_call(make: Make) -> None:
    pool = make()
    os.kill(int(await pool.run(b"pid")), signal.SIGKILL)
    with pytest.raises(WorkerFailed, match=r"killed by signal 9|ended"):
        await pool.run(b"hello")
    assert await pool.run(b"hello") == b"hello"


async def test_a_call_that_takes_too_long_is_given_up_and_its_worker_killed(make: Make) -> None:
    pool = make()
    before = int(await pool.run(b"pid"))
    with pytest.raises(WorkerFailed, match=r"took longer than 0\.05 s") as caught:
        await pool.run(b"hang", timeout_s=0.05)
    assert caught.value.failure is Failure.TIMED_OUT
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert await pool.run(b"hello") == b"hello"


async def test_a_full_queue_says_so_at_once(make: Make) -> None:
    pool = make(size=1, queue_max=1)
    waiting = [asyncio.ensure_future(pool.run(word)) for word in (b"one", b"two")]
    await asyncio.sleep(0)
    with pytest.raises(WorkersBusy):
        await pool.run(b"three")
    assert await asyncio.gather(*waiting) == [b"one", b"two"]
    assert pool.unfinished == 0


async def test_workers_are_started_as_they_are_needed(make: Make) -> None:
    pool = make(size=2)
    alone = {await pool.run(b"pid") for _ in range(3)}
    assert len(alone) == 1
    together = await asyncio.gather(pool.run(b"hang", timeout_s=0.3), pool.run(b"pid"), return_exceptions=True)
    assert together[1] not in alone


async def test_a_cancelled_call_leaves_the_worker_usable(make: Make) -> None:
    pool = make()
    await pool.check()
    call = asyncio.ensure_future(pool.run(b"one"))
    await asyncio.sleep(0)
    call.cancel()
    assert await pool.run(b"two") == b"two"
    assert pool.unfinished == 0


async def test_a_setup_that_fails_fails_the_call_with_its_reason(make: Make) -> None:
    pool = make(init=b"broken")
    for _ in range(2):
        with pytest.raises(WorkerFailed, match=r"^device\.py: line 3 is wrong"):
            await pool.check()


async def test_a_target_that_cannot_be_imported_is_named() -> None:
    pool = WorkerPool("no_such_module_at_all:work", 1, 1)
    with pytest.raises(WorkerFailed, match="No module named 'no_such_module_at_all'"):
        await pool.run(b"")
    await pool.close()


async def test_closing_kills_the_workers_and_fails_what_waits(make: Make) -> None:
    pool = make()
    pid = int(await pool.run(b"pid"))
    calls = [asyncio.ensure_future(pool.run(word)) for word in (b"hang", b"two")]
    await asyncio.sleep(0)
    await pool.close()
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, WorkerFailed)
        assert outcome.failure is Failure.CLOSED
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(WorkerFailed):
        await pool.run(b"three")


async def test_a_pool_that_was_never_used_closes(make: Make) -> None:
    await make().close()


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": True})])
async def test_a_crash_and_a_hang_are_survived_on_uvloop_too(make: Make) -> None:
    pool = make()
    for word, failure in ((b"die", Failure.CRASHED), (b"hang", Failure.TIMED_OUT), (b"refuse", Failure.REFUSED)):
        with pytest.raises(WorkerFailed) as caught:
            await pool.run(word, timeout_s=0.1)
        assert caught.value.failure is failure
    assert await pool.run(b"hello") == b"hello"


def test_a_worker_ends_when_its_stdin_closes_even_in_a_call(tmp_path: Path) -> None:
    (tmp_path / "work_of_test.py").write_text(WORK)
    worker = subprocess.Popen(
        [sys.executable, "-m", "turnout.process.worker", "work_of_test:work"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    with worker:
        assert worker.stdin
        assert worker.stdout
        worker.stdin.write(HEADER.pack(Kind.START, 0))
        worker.stdin.flush()
        assert HEADER.unpack(worker.stdout.read(HEADER.size))[0] == Kind.READY
        worker.stdin.write(HEADER.pack(Kind.CALL, 4) + b"hang")
        worker.stdin.close()
        assert worker.wait(timeout=20) == 0
