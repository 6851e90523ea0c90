"""Who gets places, over HTTP from real processes: what ``unit/job/places/test_fair_places.py`` shows, in real time.

The devices are raw loops: they ask again at once after a counted result, whatever wait it names, as FLARE's clients
do, and wait only where RETRY tells them to.
"""

import asyncio
import itertools
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.end_to_end.server import Server, eventually, server
from turnout.client.view import JobState
from turnout.device.exchange import from_http, to_http
from turnout.device.http import HttpClient, HttpLimits
from turnout.messages import (
    DeviceInfo,
    EdgeResponse,
    ModelSchema,
    ResultReport,
    ResultResponse,
    Status,
    TaskRequest,
    TaskResponse,
    TensorSpec,
)
from turnout.wire.edge_headers import ANDROID
from turnout.wire.edge_replies import HttpReply

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

JOB_TOML = """
name = "{name}"
[training]
workflow = "rounds"
cohort = {cohort}
over_selection = 1.0
quorum = 1.0
deadline_s = 600.0
[pacing]
check_ins_per_s = {check_ins_per_s}
wait_min_s = 0.05
wait_max_s = {wait_max_s}
[stop]
versions = {rounds}
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros(2, np.float32)}
"""
SCHEMA = ModelSchema((TensorSpec("w", (2,)),))
ONES = np.ones(2, np.float32)
CONNECTIONS_MAX = 20
AGAIN_S = 0.1  #: After no answer.

ALL = 100  #: Devices of a round that needs every one,
ALL_ROUNDS = 3  #: of so many rounds,
ALL_MAX_S = 60.0  #: on a busy machine; the last of a round never came when places were thinned for those who had one.

FLEET, COHORT, ROUNDS = 40, 8, 150
FAIR = COHORT / FLEET
FAIR_MAX_S = 400.0  #: Ends a test that would hang, on a busy machine too.
CHI_SQUARE_MAX = 42.7  #: Of eight degrees of freedom; exceeded by chance once in a million times.
SIGMAS_MAX = 5.0  #: As rarely does one position alone leave these bounds.


def job_folder(path: Path, name: str, **settings: float) -> Path:
    path.mkdir()
    (path / "job.toml").write_text(JOB_TOML.format(name=name, **settings))
    (path / "model.py").write_text(MODEL_PY)
    return path


class RawFleet:
    """Devices of one job, and who was counted for which version, in the order in which they reported."""

    def __init__(self, url: str, job_id: str) -> None:
        self.reported: dict[int, list[int]] = defaultdict(list)
        self._job_id = job_id
        self._http = HttpClient(url, HttpLimits(connections_max=CONNECTIONS_MAX))

    async def run(self, devices: int, patience_s: float) -> None:
        """Until the job has ended, whatever the job says to each."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s), asyncio.TaskGroup() as group:
                for number in range(devices):
                    group.create_task(self._live(number))
        await self._http.close()

    async def _live(self, number: int) -> None:
        device = DeviceInfo(f"device-{number}", platform=ANDROID)  # which hears waits to the millisecond
        while True:
            answer = await self._send(TaskRequest(device, self._job_id, accept=("safetensors",)))
            match answer:
                case TaskResponse(status=Status.OK, task_id=str(task_id), task_data=data) if data is not None:
                    await self._report(number, device, task_id, data.meta["model_version"])
                case TaskResponse(status=Status.RETRY):
                    await asyncio.sleep(answer.retry_wait or AGAIN_S)
                case TaskResponse():
                    return
                case _:
                    await asyncio.sleep(AGAIN_S)

    async def _report(self, number: int, device: DeviceInfo, task_id: str, version: int) -> None:
        members = self.reported[version]
        members.append(number)
        report = ResultReport(device, self._job_id, task_id, "train", memoryview(ONES.tobytes()))
        while True:
            answer = await self._send(report)
            if isinstance(answer, ResultResponse) and answer.status is not Status.RETRY:
                if not answer.counted:  # on a busy machine a lease may end, and its place go to another
                    members.remove(number)
                return
            await asyncio.sleep(AGAIN_S)

    async def _send(self, request: TaskRequest | ResultReport) -> EdgeResponse | None:
        reply = await self._http.request(to_http(request, SCHEMA))
        if not isinstance(reply, HttpReply):
            return None
        answer = from_http(request, reply)
        return answer if isinstance(answer, TaskResponse | ResultResponse) else None


async def fleet_of(running: Server, folder: Path, devices: int, patience_s: float) -> list[list[int]]:
    """Train the job of a folder to its end; who was in each of its rounds."""
    job_id = running.client.submit(folder).job_id
    await asyncio.to_thread(eventually, "the job answers", lambda: running.client.job(job_id).fresh)
    fleet = RawFleet(running.devices_url, job_id)
    await fleet.run(devices, patience_s)
    rounds = [members for _, members in sorted(fleet.reported.items())]
    happens = f"it completes; round {len(rounds)} has {len(rounds[-1])} results"
    await asyncio.to_thread(eventually, happens, lambda: running.client.job(job_id).state is JobState.COMPLETED)
    return rounds


async def test_rounds_that_need_all_of_a_hundred_devices_complete(tmp_path: Path) -> None:
    settings = {"cohort": ALL, "rounds": ALL_ROUNDS, "check_ins_per_s": 500.0, "wait_max_s": 2.0}
    with server(tmp_path / "data") as running:
        rounds = await fleet_of(running, job_folder(tmp_path / "job", "all", **settings), ALL, ALL_MAX_S)
    assert [sorted(members) for members in rounds] == [[*range(ALL)]] * ALL_ROUNDS


async def test_no_device_of_a_round_is_likelier_than_others_to_be_in_the_next(tmp_path: Path) -> None:
    """Whichever place it had in its round, the last included: it asks at the moment when the next places are free."""
    settings = {"cohort": COHORT, "rounds": ROUNDS, "check_ins_per_s": 80.0, "wait_max_s": 1.0}
    with server(tmp_path / "data") as running:
        rounds = await fleet_of(running, job_folder(tmp_path / "job", "fair", **settings), FLEET, FAIR_MAX_S)
    assert [len(members) for members in rounds] == [COHORT] * ROUNDS
    overlaps = np.array([[member in after for member in before] for before, after in itertools.pairwise(rounds)]).sum(0)
    expected = (ROUNDS - 1) * FAIR
    sigmas = (overlaps - expected) / np.sqrt(expected * (1 - FAIR))
    print("in the next round, of", ROUNDS - 1, "by place in the round:", overlaps, "fair:", expected)
    assert (sigmas**2).sum() < CHI_SQUARE_MAX, overlaps
    assert sigmas.max() < SIGMAS_MAX, overlaps
