"""Each of FLARE's clients does a whole job over HTTP, to its end, against a real gateway and a real job."""

from pathlib import Path

import numpy as np
import pytest

from tests.contract.flare.jobs import android, folder, ios, python_device
from tests.contract.flare.quirks import covers
from tests.end_to_end.site import Site, site

pytestmark = pytest.mark.anyio

VERSIONS = 3


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
