"""Control's orders and the supervisor's reports, over the real socket, with each side restarted."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnout.control.supervised import SupervisorLink
from turnout.supervisor.channel import Channel
from turnout.transport.orders import (
    ForgetJob,
    JobProcess,
    JobReport,
    Report,
    Roster,
    StartJob,
    StopJob,
)

pytestmark = pytest.mark.anyio

DIGITS = JobProcess("digits-1", "/data/folder", "/run/job-digits-1", "/data/blobs")


@pytest.fixture
def path() -> Iterator[Path]:
    """A socket path short enough for every system, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="turnout-", dir="/tmp") as folder:
        yield Path(folder) / "supervisor"


class Supervisor:
    """A channel that writes down what it is asked to do."""

    def __init__(self, path: Path) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.channel = Channel(self._start, self._stop)
        self.task = asyncio.create_task(self.channel.serve(path))

    def _start(self, job_id: str) -> None:
        self.asked.put_nowait(f"start {self.channel.job(job_id).folder}")

    def _stop(self, job_id: str) -> None:
        self.asked.put_nowait(f"stop {job_id}")

    async def next(self) -> str:
        return await asyncio.wait_for(self.asked.get(), 5)


class Control:
    """A link that writes down what it hears."""

    def __init__(self, path: Path) -> None:
        self.reports: asyncio.Queue[Report] = asyncio.Queue()
        self.link = SupervisorLink()
        self.task = asyncio.create_task(self.link.follow(path, self.reports.put_nowait))

    async def next(self) -> Report:
        return await asyncio.wait_for(self.reports.get(), 5)


async def ended(*parts: Supervisor | Control) -> None:
    for part in parts:
        part.task.cancel()
    await asyncio.gather(*(part.task for part in parts), return_exceptions=True)


async def test_a_job_is_started_once_and_stopped_by_its_id(path: Path) -> None:
    supervisor, control = Supervisor(path), Control(path)
    assert await control.next() == Roster()
    control.link.order(StartJob(DIGITS))
    control.link.order(StartJob(DIGITS))
    control.link.order(StopJob("digits-1"))
    assert await supervisor.next() == "start /data/folder"
    assert await supervisor.next() == "stop digits-1"
    await ended(control, supervisor)


async def test_the_end_of_a_job_is_kept_until_control_has_written_it_down(path: Path) -> None:
    supervisor, control = Supervisor(path), Control(path)
    await control.next()
    control.link.order(StartJob(DIGITS))
    await supervisor.next()
    await ended(control)
    supervisor.channel.ended("digits-1", 0, "")
    again = Control(path)
    assert await again.next() == Roster((JobReport("digits-1", 0),))
    again.link.order(ForgetJob("digits-1"))
    again.link.order(StartJob(DIGITS))
    assert await supervisor.next() == "start /data/folder"  # forgotten, so it may be started anew
    await ended(again, supervisor)


async def test_control_hears_at_once_how_a_job_ended(path: Path) -> None:
    supervisor, control = Supervisor(path), Control(path)
    await control.next()
    control.link.order(StartJob(DIGITS))
    await supervisor.next()
    supervisor.channel.ended("digits-1", 1, "given up")
    assert await control.next() == JobReport("digits-1", 1, "given up")
    await ended(control, supervisor)


async def test_control_hears_why_a_job_cannot_run_for_now_and_so_does_one_that_comes_later(path: Path) -> None:
    supervisor, control = Supervisor(path), Control(path)
    await control.next()
    control.link.order(StartJob(DIGITS))
    await supervisor.next()
    supervisor.channel.delayed("digits-1", "the disk is full")
    assert await control.next() == JobReport("digits-1", None, "the disk is full")
    later = Control(path)
    assert await later.next() == Roster((JobReport("digits-1", None, "the disk is full"),))
    supervisor.channel.delayed("digits-1", "")
    assert await later.next() == JobReport("digits-1")
    await ended(control, later, supervisor)


async def test_a_running_job_is_not_forgotten(path: Path) -> None:
    supervisor, control = Supervisor(path), Control(path)
    await control.next()
    control.link.order(StartJob(DIGITS))
    control.link.order(ForgetJob("digits-1"))
    control.link.order(StopJob("digits-1"))
    assert [await supervisor.next(), await supervisor.next()] == ["start /data/folder", "stop digits-1"]
    await ended(control)
    again = Control(path)
    assert await again.next() == Roster((JobReport("digits-1"),))
    await ended(again, supervisor)


async def test_an_order_without_a_connection_is_dropped() -> None:
    SupervisorLink().order(StartJob(DIGITS))
