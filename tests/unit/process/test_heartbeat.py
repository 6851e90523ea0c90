"""A child's signs of life, over a real pipe."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from turnout.process.heartbeat import BEAT, PROGRESS, Pulse


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    os.close(read)
    os.close(write)


def test_beats_and_progress_arrive_in_their_order(pipe: tuple[int, int]) -> None:
    read, write = pipe
    pulse = Pulse(write)
    pulse.beat()
    pulse.progress()
    assert os.read(read, 10) == BEAT + PROGRESS


def test_progress_is_told_once_between_two_beats_so_that_the_pipe_does_not_fill(pipe: tuple[int, int]) -> None:
    read, write = pipe
    pulse = Pulse(write)
    for _ in range(1000):
        pulse.progress()
    pulse.beat()
    pulse.progress()
    assert os.read(read, 2000) == PROGRESS + BEAT + PROGRESS


def test_a_supervisor_that_does_not_read_delays_nobody(pipe: tuple[int, int]) -> None:
    _, write = pipe
    pulse = Pulse(write)
    for _ in range(100_000):
        pulse.beat()  # more than any pipe holds


def test_a_supervisor_that_is_gone_disturbs_nobody() -> None:
    read, write = os.pipe()
    pulse = Pulse(write)
    os.close(read)
    pulse.beat()
    os.close(write)


def test_without_a_supervisor_nothing_is_told() -> None:
    pulse = Pulse(None)
    pulse.beat()
    pulse.progress()


def test_the_pipe_is_not_handed_on_to_the_child_s_own_children(pipe: tuple[int, int]) -> None:
    _, write = pipe
    os.set_inheritable(write, True)
    Pulse(write)
    assert not os.get_inheritable(write)


@pytest.mark.anyio
async def test_a_loop_beats_at_once_and_then_by_itself(pipe: tuple[int, int]) -> None:
    read, write = pipe
    loop = asyncio.get_running_loop()
    pulse = Pulse(write)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    loop.add_reader(read, lambda: heard.put_nowait(os.read(read, 10)))
    pulse.beat_on(loop)
    assert [await asyncio.wait_for(heard.get(), 5) for _ in range(2)] == [BEAT, BEAT]
    loop.remove_reader(read)
