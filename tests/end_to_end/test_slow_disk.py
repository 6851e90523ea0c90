"""A disk that takes its time: answers wait, memory stays bounded, devices that find no room are not read."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.site import JOB_ID, Site, site
from turnout.device.exchange import from_http, to_http
from turnout.device.http import HttpClient, HttpLimits
from turnout.dispatcher.pending import DispatcherLimits
from turnout.gateway.limits import GatewayLimits
from turnout.job.core.staged import WAITING_MAX
from turnout.job.journal.journal import Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, Status, TaskRequest, TaskResponse

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

SIZE = 25_000  #: 100 kB an update.
UPDATE_BYTES = 4 * SIZE
DEVICES = 40
ROOM_BYTES = 10 * UPDATE_BYTES
JOB_TOML = f"""
name = "slow"
[training]
workflow = "buffered"
buffer_goal = {DEVICES}
concurrency = {DEVICES}
weighting = "uniform"
[selection]
kind = "checkin"
thinning_window_s = 0
[stop]
versions = 1
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {{"w": np.zeros({size}, np.float32)}}
"""
#: Numbers of an update that goes to the job at once, and of one for which the gateway first asks.
SIZES = {"small": 100, "offered": 10_000}
TIMEOUT_S = 0.3
TOLD_MIN = 3  #: Every device hears RETRY as often before the disk is ready.
PATIENCE_S = 20.0  #: Ends the thread of a test that has failed.


class SlowDisk(MemoryJournal):
    """After the first ``fast`` commits nothing is written until the disk is ``ready``."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()
        self.fast = 2

    def commit(self, snapshot: Snapshot) -> None:
        if snapshot.commit > self.fast:
            assert self.ready.wait(PATIENCE_S)
        super().commit(snapshot)


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


def write_folder(folder: Path, size: int) -> Path:
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML)
    (folder / "model.py").write_text(MODEL_PY.format(size=size))
    return folder


async def lease(http: HttpClient, device: DeviceInfo) -> str:
    request = TaskRequest(device, JOB_ID, accept=("safetensors",))
    while True:
        answer = from_http(request, await http.request(to_http(request, None)))
        assert isinstance(answer, TaskResponse)
        if answer.task_id:
            return answer.task_id
        assert answer.status is Status.RETRY  # a busy machine may need longer than the shortest time-out


async def report(http: HttpClient, running: Site, device: DeviceInfo, task_id: str, size: int = SIZE) -> ResultResponse:
    update = memoryview(np.ones(size, "<f4").tobytes())
    result = ResultReport(device, JOB_ID, task_id, "train", update)
    answer = from_http(result, await http.request(to_http(result, running.job.shell.schema)))
    assert isinstance(answer, ResultResponse)
    return answer


async def test_while_the_disk_is_slow_memory_is_bounded_and_afterwards_all_count(
    tmp_path: Path, disk: SlowDisk
) -> None:
    folder = write_folder(tmp_path / "folder", SIZE)
    limits = DispatcherLimits(results_bytes_max=ROOM_BYTES, job_results_share_max=1.0, result_timeout_s=60.0)
    devices = [DeviceInfo(f"device-{number}") for number in range(DEVICES)]
    async with site(
        folder, journal=disk, gateway_limits=GatewayLimits(admission_timeout_s=60.0), dispatcher_limits=limits
    ) as running:
        http = HttpClient(running.url, HttpLimits(connections_max=DEVICES))
        tasks = [await lease(http, device) for device in devices]
        commits = running.job.core.commits
        disk.fast = commits.next - 1  # none that could have a result in it
        reports = [
            asyncio.create_task(report(http, running, device, task))
            for device, task in zip(devices, tasks, strict=True)
        ]
        most = 0
        while len(running.job.core.staged) < 5 or most < ROOM_BYTES - UPDATE_BYTES * 1.2:
            most = max(most, running.dispatcher.room.used)
            await asyncio.sleep(0)
        assert most <= ROOM_BYTES
        assert not any(answer.done() for answer in reports), "nothing is durable, so nobody is answered"
        disk.ready.set()
        answers = await asyncio.gather(*reports)
        await http.close()
    assert all(answer.counted for answer in answers)
    assert running.job.core.version == 1
    assert running.job.core.model.tolist() == [1.0] * SIZE


class Stubborn:
    """A device that sends its result at once again whenever it hears RETRY."""

    def __init__(self, http: HttpClient, running: Site, device: DeviceInfo, size: int) -> None:
        self.told_retry = 0
        self._ask = (http, running, device)
        self._size = size

    async def work(self) -> ResultResponse:
        http, running, device = self._ask
        task_id = await lease(http, device)
        while True:
            answer = await report(http, running, device, task_id, self._size)
            if answer.status is not Status.RETRY:
                return answer
            assert not answer.counted
            self.told_retry += 1


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_who_hears_retry_while_the_disk_is_slow_sends_again_and_is_counted_once(
    tmp_path: Path, disk: SlowDisk, size: int
) -> None:
    """The gateway gives up waiting again and again, and each time a copy of a staged result comes to the job."""
    disk.fast = 1
    limits = DispatcherLimits(job_results_share_max=1.0, result_timeout_s=TIMEOUT_S, request_timeout_s=TIMEOUT_S)
    async with site(write_folder(tmp_path / "folder", size), journal=disk, dispatcher_limits=limits) as running:
        core = running.job.core
        http = HttpClient(running.url, HttpLimits(connections_max=DEVICES))
        devices = [Stubborn(http, running, DeviceInfo(f"device-{number}"), size) for number in range(DEVICES)]
        working = [asyncio.create_task(device.work()) for device in devices]
        while min(device.told_retry for device in devices) < TOLD_MIN:
            assert not any(task.done() for task in working), "nothing is durable, so nobody is answered"
            waiting = [*core.staged.fresh.values(), *core.staged.writing.values()]
            assert max(map(len, waiting), default=0) <= WAITING_MAX
            assert len(running.job.shell._waiting) <= WAITING_MAX * DEVICES
            await asyncio.sleep(0.005)
        assert len(core.staged) == DEVICES
        disk.ready.set()
        answers = await asyncio.gather(*working)
        await http.close()
    assert all(answer.counted for answer in answers)
    assert core.tally.counted == DEVICES
    assert core.tally.duplicates >= DEVICES * TOLD_MIN
    assert core.version == 1
    assert core.model.tolist() == [1.0] * size
