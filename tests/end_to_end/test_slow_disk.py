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
from turnout.gateway.admission import GatewayLimits
from turnout.job.journal import MemoryJournal, Snapshot
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, TaskRequest, TaskResponse

pytestmark = pytest.mark.anyio

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
thinning_window_s = 0
[stop]
versions = 1
"""
MODEL_PY = f"""
import numpy as np
def initial_model():
    return {{"w": np.zeros({SIZE}, np.float32)}}
"""


class SlowDisk(MemoryJournal):
    """After the first commit nothing is written until the disk is ``ready``."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = threading.Event()

    def commit(self, snapshot: Snapshot) -> None:
        if snapshot.commit > 2:
            self.ready.wait()
        super().commit(snapshot)


async def lease(http: HttpClient, device: DeviceInfo) -> str:
    request = TaskRequest(device, JOB_ID, accept=("safetensors",))
    answer = from_http(request, await http.request(to_http(request, None)))
    assert isinstance(answer, TaskResponse)
    assert answer.task_id, answer
    return answer.task_id


async def report(http: HttpClient, running: Site, device: DeviceInfo, task_id: str) -> ResultResponse:
    update = memoryview(np.ones(SIZE, "<f4").tobytes())
    result = ResultReport(device, JOB_ID, task_id, "train", update)
    answer = from_http(result, await http.request(to_http(result, running.job.schema)))
    assert isinstance(answer, ResultResponse)
    return answer


async def test_while_the_disk_is_slow_memory_is_bounded_and_afterwards_all_count(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "job.toml").write_text(JOB_TOML)
    (folder / "model.py").write_text(MODEL_PY)
    disk = SlowDisk()
    limits = DispatcherLimits(results_bytes_max=ROOM_BYTES, job_results_share_max=1.0, result_timeout_s=60.0)
    devices = [DeviceInfo(f"device-{number}") for number in range(DEVICES)]
    async with site(
        folder, journal=disk, gateway_limits=GatewayLimits(admission_timeout_s=60.0), dispatcher_limits=limits
    ) as running:
        http = HttpClient(running.url, HttpLimits(connections_max=DEVICES))
        tasks = [await lease(http, device) for device in devices]
        reports = [
            asyncio.create_task(report(http, running, device, task))
            for device, task in zip(devices, tasks, strict=True)
        ]
        most = 0
        while len(running.job.core.staged) < 5 or most < ROOM_BYTES - UPDATE_BYTES * 1.2:
            most = max(most, running.dispatcher.results_bytes)
            await asyncio.sleep(0)
        assert most <= ROOM_BYTES
        assert not any(answer.done() for answer in reports), "nothing is durable, so nobody is answered"
        disk.ready.set()
        answers = await asyncio.gather(*reports)
        await http.close()
    assert all(answer.counted for answer in answers)
    assert running.job.core.version == 1
    assert running.job.core.model.tolist() == [1.0] * SIZE
