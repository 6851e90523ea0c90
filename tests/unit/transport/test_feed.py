"""The feed tells each gateway which jobs run, however late it comes."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from turnout.messages import FeedEvent, GatewayCounters, JobCompleted, JobLaunched, RunningJob, TableSnapshot
from turnout.transport import stream
from turnout.transport.feed import FeedServer, follow

DIGITS = RunningJob(job_id="digits-1", name="digits", meta={"edge_method": "train"})


@pytest.fixture
def path() -> Iterator[Path]:
    """A socket path short enough for every system, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="turnout-", dir="/tmp") as folder:
        yield Path(folder) / "feed.sock"


class Gateway:
    """A gateway that only listens."""

    def __init__(self, path: Path, number: int = 0) -> None:
        self.events: asyncio.Queue[FeedEvent] = asyncio.Queue()
        self.complaints: list[str] = []
        self.task = asyncio.create_task(
            follow(path, self.events.put_nowait, lambda: GatewayCounters(number), self.complaints.append)
        )

    async def next(self) -> FeedEvent:
        return await asyncio.wait_for(self.events.get(), 5)


async def started(server: FeedServer, path: Path) -> asyncio.Task[None]:
    ready = asyncio.Event()
    task = asyncio.create_task(server.serve(path, ready.set))
    await ready.wait()
    return task


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.anyio
async def test_a_gateway_gets_a_snapshot_first_then_events_in_order(path: Path) -> None:
    jobs = [DIGITS]
    server = FeedServer(lambda: jobs)
    serving = await started(server, path)
    gateway = Gateway(path)
    assert await gateway.next() == TableSnapshot((DIGITS,))
    server.publish(JobLaunched(DIGITS))
    server.publish(JobCompleted("digits-1"))
    assert await gateway.next() == JobLaunched(DIGITS)
    assert await gateway.next() == JobCompleted("digits-1")
    await ended(gateway.task)
    await ended(serving)


@pytest.mark.anyio
async def test_a_gateway_finds_a_restarted_control_and_learns_what_runs_now(path: Path) -> None:
    gateway = Gateway(path)
    serving = await started(FeedServer(lambda: [DIGITS]), path)
    assert await gateway.next() == TableSnapshot((DIGITS,))
    await ended(serving)
    serving = await started(FeedServer(list), path)
    assert await gateway.next() == TableSnapshot(())
    await ended(gateway.task)
    await ended(serving)


@pytest.mark.anyio
async def test_counters_come_up_the_feed(path: Path) -> None:
    server = FeedServer(list)
    serving = await started(server, path)
    gateways = [Gateway(path, number) for number in (1, 0)]
    for gateway in gateways:
        await gateway.next()
    await eventually(lambda: len(server.gateways()) == 2)
    assert [counters.gateway for counters in server.gateways()] == [0, 1]
    for gateway in gateways:
        await ended(gateway.task)
    await ended(serving)


@pytest.mark.anyio
async def test_a_gateway_says_when_control_speaks_another_version(path: Path) -> None:
    async def stranger(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"turnout\n\x00\x00\x00\x63")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(stranger, str(path))
    gateway = Gateway(path)
    await eventually(lambda: bool(gateway.complaints))
    spoken = stream.STREAM_VERSION
    assert gateway.complaints[0] == f"control's feed: stream version 99 offered, {spoken} spoken: update the older side"
    await ended(gateway.task)
    server.close()
    await server.wait_closed()
