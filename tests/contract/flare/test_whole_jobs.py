"""Each of FLARE's clients does a whole job to its end, against a real gateway and a real job."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.flare.jobs import FLEETS, NAME, android, folder, ios, no_time, plus_one, python_device
from tests.contract.flare.players.line import Line
from tests.contract.flare.players.python_fleet import PythonFleet
from tests.contract.flare.players.python_grpc import PythonGrpcDevice
from tests.contract.flare.quirks import covers
from tests.end_to_end.site import JOB_ID, Site, site
from turnout.gateway.grpc import GrpcServer
from turnout.gateway.limits import GrpcLimits
from turnout.job.places.cohort import Cohort

pytestmark = pytest.mark.anyio

VERSIONS = 3
NOW = 0.0  #: A job's clock begins here, and devices are known for far longer than a test takes.
LARGE = 300_000  #: Parameters; as JSON more than FLARE's 4 MB.


def learned(served: Site) -> float:
    """What every number of the model has become; that they are alike is part of the answer."""
    model = served.job.core.model
    assert np.unique(model).size == 1
    return float(model[0])


@covers("data/weights", "request/python", "cookie/shape", "reply/extra-fields", "path/connection", "device/job-OK")
async def test_python_does_a_job_of_weights(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights", versions=VERSIONS)) as served:
        device = python_device(served.url)
        assert await device.run() == "idle"
        assert learned(served) == VERSIONS
    assert len(set(device.trained)) == VERSIONS
    assert all(answer["counted"] and answer["status"] == "OK" for answer in device.results)
    assert device.line.opened == len(device.line.answers), "it opens a connection for each request"


@covers("data/number")
async def test_python_does_a_job_of_a_number_and_answers_with_the_new_one(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "number", versions=VERSIONS)) as served:
        device = python_device(served.url)
        assert await device.run() == "idle"
        assert learned(served) == VERSIONS


@covers("data/executorch", "data/executorch-kind", "data/android-text", "request/android", "path/connection")
async def test_android_does_a_job_of_executorch(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "executorch", versions=VERSIONS)) as served:
        device = android(served.url)
        assert await device.run() == "no task in time"
        assert learned(served) == VERSIONS
    assert len(set(device.trained)) == VERSIONS
    assert all(answer["counted"] for answer in device.results)
    assert device.line.opened == 1, "its connection is kept"


@covers("data/executorch", "data/executorch-kind", "data/executorch-meta", "data/ios-text", "request/ios")
async def test_ios_does_a_job_of_executorch(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "executorch", versions=VERSIONS)) as served:
        device = ios(served.url)
        assert await device.run() == "task: DONE"
        assert learned(served) == VERSIONS
    assert len(set(device.trained)) == VERSIONS
    assert all(answer["counted"] for answer in device.results)


@covers("id/range", "id/selection", "path/selection", "reply/selection", "hole-10", "hole-13")
async def test_pythons_simulator_finds_its_devices_in_the_selection_and_each_is_served_for_it(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights", versions=9999, concurrency=2, selection=FLEETS)) as served:

        async def until_some_were_trained_for_dummy(wait: float) -> None:
            if fleet.asked_as[-4:] == ["dummy"] * 4 and served.job.core.version >= VERSIONS:
                raise AllDone
            await no_time(wait)

        make = partial(python_device, served.url)
        fleet = PythonFleet(lambda name: make(device_id=name), until_some_were_trained_for_dummy, devices=20)
        with pytest.raises(AllDone):
            await fleet.run()
        assert learned(served) == served.job.core.version
    assert fleet.asked_as[0] == f"{fleet.prefix}?20"
    assert {name.removeprefix(f"{fleet.prefix}#") for name in fleet.all} <= {str(number) for number in range(20)}


@covers("id/dummy")
async def test_dummy_is_nobody_when_it_asks_for_a_job_or_the_selection_and_a_device_when_for_a_task(
    tmp_path: Path,
) -> None:
    async with site(folder(tmp_path / "job", "weights", selection=FLEETS)) as served:
        cohort = served.job.core.parts.places.selection
        assert isinstance(cohort, Cohort)
        dummy = python_device(served.url, device_id="dummy")
        assert (await dummy.post("job", {}, {"job_name": NAME, "capabilities": {"methods": ["edge"]}}))[
            "status"
        ] == "OK"
        for _ in range(20):
            assert (await dummy.post("selection", {"job_id": JOB_ID}, {}))["selection"] == {}
        assert cohort.known.count(NOW) == 0, "so no draw can name it"
        assert (await dummy.ask_task(JOB_ID))["status"] == "OK", "it is drawn, as nobody else is known"
        assert cohort.known.count(NOW) == 1


@covers("id/range")
async def test_a_job_that_takes_no_fleets_tells_a_simulator_so(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights")) as served:
        asker = python_device(served.url, device_id="sim?20")
        answer = await asker.post("selection", {"job_id": JOB_ID}, {})
    assert answer["status"] == "INVALID_REQUEST"
    assert "allow_fleets = true" in answer["message"]


class AllDone(Exception):
    """The test has seen what it came for."""


@asynccontextmanager
async def grpc_device(served: Site, **changes: Any) -> AsyncIterator[PythonGrpcDevice]:
    """A device that reaches the same gateway by gRPC."""
    server = GrpcServer(served.gateway.site, "127.0.0.1:0", GrpcLimits())
    try:
        yield PythonGrpcDevice(Line(f"127.0.0.1:{await server.start()}"), NAME, plus_one, no_time, **changes)
    finally:
        await server.close()


@covers("grpc/method", "grpc/request", "grpc/payload", "grpc/reply", "grpc/channels", "request/body-identity")
@pytest.mark.parametrize("form", ["weights", "number"])
async def test_python_does_a_job_by_grpc(tmp_path: Path, form: str) -> None:
    async with site(folder(tmp_path / "job", form, versions=VERSIONS)) as served, grpc_device(served) as device:
        assert await device.run() == "idle"
        assert learned(served) == VERSIONS
    assert len(set(device.trained)) == VERSIONS
    assert all(answer["counted"] for answer in device.results)


@covers("grpc/limits", "hole-03", "data/size")
async def test_a_result_of_more_than_4_megabytes_counts_by_grpc_too(tmp_path: Path) -> None:
    async with (
        site(folder(tmp_path / "job", "weights", versions=1, shapes={"w": (LARGE,)})) as served,
        grpc_device(served) as device,
    ):
        task = await device.ask_task(JOB_ID)
        result = {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [0.5 + 2**-21] * LARGE}}, "meta": {}}
        assert len(json.dumps(result)) > 4 * 2**20
        target = {"job_id": JOB_ID, "task_id": task["task_id"]}
        assert (await device.post("result", target, {"task_name": "train", "result": result}))["counted"]
        assert learned(served) == 0.5 + 2**-21


@covers("grpc/reply", "request/required", "request/falsy", "status/NO_JOB", "status/INVALID_REQUEST")
async def test_what_is_wrong_is_told_by_grpc_too(tmp_path: Path) -> None:
    async with site(folder(tmp_path / "job", "weights")) as served, grpc_device(served) as device:
        assert await device.post("task", {}, {}) == {"status": "INVALID_REQUEST"}
        assert (await device.post("task", {"job_id": ""}, {}))["status"] == "INVALID_REQUEST"
        assert (await device.post("task", {"job_id": "gone"}, {}))["status"] == "NO_JOB"
        fleet = PythonGrpcDevice(device.line, NAME, plus_one, no_time, device_id="sim?100")
        refused = await fleet.post("selection", {"job_id": JOB_ID}, {})
        assert refused["status"] == "INVALID_REQUEST"
        assert "allow_fleets" in refused["message"]
