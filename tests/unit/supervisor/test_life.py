"""One life of a child, with real processes: what it prints, its signs of life, its end."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from turnout.process.heartbeat import BEAT, PROGRESS
from turnout.supervisor import life

pytestmark = pytest.mark.anyio


def python(code: str) -> Callable[[int], list[str]]:
    """Runs ``code`` with the number of its pulse as ``fd``."""
    return lambda pulse_fd: [sys.executable, "-c", f"import os, sys, time\nfd = {pulse_fd}\n{code}"]


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Seen:
    """What came of a child before its end."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.signs = b""

    def felt(self, signs: bytes) -> None:
        self.signs += signs

    async def start(self, code: str) -> life.Life:
        return await life.start(python(code), (), self.lines.append, self.felt)


async def test_lines_from_both_outputs_are_passed_on_and_the_last_one_is_kept() -> None:
    seen = Seen()
    child = await seen.start("print('one', flush=True); sys.exit('no journal')")
    assert await child.ended() == (1, "no journal")
    assert seen.lines == ["one", "no journal"]


async def test_a_line_without_an_end_is_a_line_too() -> None:
    seen = Seen()
    child = await seen.start("sys.stdout.write('half')")
    assert await child.ended() == (0, "half")


async def test_progress_just_before_the_end_is_known_when_the_end_is() -> None:
    seen = Seen()
    child = await seen.start(f"os.write(fd, {BEAT + PROGRESS!r}); os._exit(1)")
    assert await child.ended() == (1, "")
    assert seen.signs == BEAT + PROGRESS


async def test_more_signs_than_are_read_at_once_are_all_passed_on() -> None:
    seen = Seen()
    child = await seen.start(f"os.write(fd, {BEAT!r} * 3 * {life.PULSE_READ_BYTES})")
    await child.ended()
    assert seen.signs == BEAT * 3 * life.PULSE_READ_BYTES


async def test_a_child_that_closes_its_pulse_lives_on() -> None:
    seen = Seen()
    child = await seen.start("os.close(fd); print('still here')")
    assert await child.ended() == (0, "still here")


async def test_a_killed_child_ends_with_its_signal_and_a_late_signal_harms_nobody() -> None:
    child = await Seen().start("time.sleep(60)")
    child.signal(signal.SIGKILL)
    assert await child.ended() == (-signal.SIGKILL, "")
    child.signal(signal.SIGKILL)


async def test_a_child_of_the_child_that_outlives_it_delays_its_end_only_a_little() -> None:
    """It holds the output and the pulse open."""
    seen = Seen()
    child = await seen.start("pid = os.fork()\nif pid:\n    print(pid, flush=True)\nelse:\n    time.sleep(60)")
    code, last_line = await child.ended()
    assert code == 0
    os.kill(int(last_line), signal.SIGKILL)


async def test_what_cannot_be_started_leaves_nothing_open() -> None:
    before = open_files()
    with pytest.raises(FileNotFoundError):
        await life.start(lambda _: ["/nowhere/python"], (), print, lambda _: None)
    assert open_files() == before
