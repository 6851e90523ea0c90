"""What could be done to FLARE's server, done to ours over HTTP: a job keeps to what honest devices learned."""

import json
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.contract.flare.jobs import folder, python_device
from tests.contract.flare.players.python import PythonDevice, Reply
from tests.contract.flare.quirks import covers
from tests.contract.flare.test_whole_jobs import learned
from tests.end_to_end.site import JOB_ID, Site, site

pytestmark = pytest.mark.anyio

GOOD = {"conv": [[1.0] * 3] * 2, "bias": [1.0]}
PARAMETERS = 300_000  #: As JSON more than FLARE's 4 MB.


@asynccontextmanager
async def job(tmp_path: Path, **settings: Any) -> AsyncIterator[Site]:
    async with site(folder(tmp_path / "job", "weights", **settings)) as served:
        yield served


async def task_of(device: PythonDevice) -> Reply:
    return await device.post("task", {"job_id": JOB_ID}, {})


async def send(device: PythonDevice, task: Reply, update: Any = GOOD, **fields: Any) -> Reply:
    """The answer to a result, whatever its HTTP status."""
    result = {"kind": "WEIGHT_DIFF", "data": {"dict": update, **fields.pop("data", {})}, "meta": fields.pop("meta", {})}
    query = {"job_id": JOB_ID, "task_id": task["task_id"], "task_name": "train"}
    return await device.ask("result", query, {"result": result, **fields})


@covers("hole-08", "hole-07")
@pytest.mark.parametrize(
    "update",
    [
        {"conv": [[1.0] * 3] * 2},
        {**GOOD, "more": [1.0]},
        {"conv": [[1.0] * 2] * 3, "bias": [1.0]},
        {"conv": [[1.0] * 3, [1.0] * 2], "bias": [1.0]},
        {"conv": [[1.0] * 3] * 2, "bias": ["1"]},
        {"conv": [[1.0] * 3] * 2, "bias": {"nested": [1.0]}},
        {"conv": [[1.0] * 3] * 2, "bias": [1e39]},
        {"conv": [[1.0] * 3] * 2, "bias": [None]},
        [1.0],
        None,
    ],
    ids=["missing", "more", "shape", "ragged", "text", "nested", "too large", "null", "list", "none"],
)
async def test_one_bad_result_comes_first_and_spoils_nothing(tmp_path: Path, update: Any) -> None:
    async with job(tmp_path, versions=1, concurrency=3, goal=2) as served:
        devices = [python_device(served.url, device_id=f"d{number}") for number in range(3)]
        tasks = [await task_of(device) for device in devices]
        refused = await send(devices[0], tasks[0], update)
        assert refused["status"] in ("RETRY", "ERROR"), "RETRY is what Python's client makes of a 400"
        assert not refused.get("counted")
        for device, task in zip(devices[1:], tasks[1:], strict=True):
            assert (await send(device, task))["counted"]
        assert learned(served) == 1


async def test_an_update_that_cannot_be_decoded_frees_its_place_and_may_still_be_followed_by_a_better_one(
    tmp_path: Path,
) -> None:
    async with job(tmp_path, versions=1) as served:
        mine, other = (python_device(served.url, device_id=name) for name in ("mine", "other"))
        task = await task_of(mine)
        await send(mine, task, {"conv": [1.0]})
        assert mine.line.answers[-1].status == 400
        assert (await task_of(mine))["status"] == "RETRY", "it gets no second task of this version"
        assert (await task_of(other))["status"] == "OK", "the only place"
        assert (await send(mine, task))["counted"]
        assert learned(served) == 1


@covers("hole-22")
async def test_an_update_that_the_job_judges_bad_is_told_why_and_frees_its_place_at_once(tmp_path: Path) -> None:
    bounded = folder(tmp_path / "job", "weights", versions=1)
    toml = (bounded / "job.toml").read_text()
    (bounded / "job.toml").write_text(toml.replace("[training]", "[training]\nupdate_norm_max = 10.0"))
    async with site(bounded) as served:
        mine, other = (python_device(served.url, device_id=name) for name in ("mine", "other"))
        answer = await send(mine, await task_of(mine), {"conv": [[100.0] * 3] * 2, "bias": [100.0]})
        assert (answer["status"], answer["counted"]) == ("ERROR", False)
        assert "norm" in answer["message"]
        assert (await send(other, await task_of(other)))["counted"]


@covers("hole-09", "data/task-meta")
async def test_a_claim_of_a_billion_examples_weighs_no_more_than_the_lease_allows(tmp_path: Path) -> None:
    more = "[device]\nbatch_size = 4\n"
    async with job(tmp_path, versions=1, concurrency=2, goal=2, more=more) as served:
        devices = [python_device(served.url, device_id=f"d{number}") for number in range(2)]
        tasks = [await task_of(device) for device in devices]
        assert tasks[0]["task_data"]["meta"] == {"model_version": 0, "batch_size": 4}
        greedy = {name: (np.array(value) * 3).tolist() for name, value in GOOD.items()}
        await send(devices[0], tasks[0], greedy, data={"count": 10**9})
        await send(devices[1], tasks[1], data={"count": 1000})
        assert learned(served) == 2, "the mean of 3 and 1: both weigh weight_max = 1000"


@covers("hole-18")
async def test_a_result_that_is_sent_again_counts_once_and_the_first_body_wins(tmp_path: Path) -> None:
    async with job(tmp_path, versions=2) as served:
        device = python_device(served.url)
        task = await task_of(device)
        first = await send(device, task)
        again = await send(device, task, {"conv": [[9.0] * 3] * 2, "bias": [9.0]})
        assert (first["counted"], again["counted"]) == (True, True)
        assert "duplicate" not in first
        assert again["duplicate"] is True
        assert learned(served) == 1


@covers("hole-06", "cookie/unsigned", "hole-07")
async def test_a_task_is_its_devices_and_cannot_be_made_up(tmp_path: Path) -> None:
    async with job(tmp_path, versions=1) as served:
        mine, thief = (python_device(served.url, device_id=name) for name in ("mine", "thief"))
        task = await task_of(mine)
        for stolen in (task, {"task_id": task["task_id"][:-4] + "AAAA"}, {"task_id": "x"}):
            refused = await send(thief, stolen)
            assert (refused["status"], refused["counted"]) == ("NO_TASK", False)
            assert refused["message"]
        assert learned(served) == 0
        assert (await send(mine, task))["counted"]


@covers("cookie/result", "data/result-meta", "cookie/shape", "id/selection")
@pytest.mark.parametrize("cookie", [None, {}, {"model_version": 999}, {"model_version": "one"}, {"other": True}])
async def test_a_results_version_is_that_of_its_task_whatever_its_cookie_says(tmp_path: Path, cookie: Any) -> None:
    async with job(tmp_path, versions=1) as served:
        device = python_device(served.url)
        task = await task_of(device)
        assert task["cookie"] == {"model_version": 0, "device_selection_id": 1}
        meta = {"timestamp": 1.5, "config_args": ["lr"], "training_completed": True, "epochs": None}
        assert (await send(device, task, cookie=cookie, meta=meta))["counted"]
        assert learned(served) == 1


@covers("cookie/task")
async def test_a_device_that_asks_again_gets_the_task_that_it_has_and_nobody_elses_place(tmp_path: Path) -> None:
    async with job(tmp_path, versions=1) as served:
        device = python_device(served.url)
        tasks = [await task_of(device) for _ in range(3)]
        assert len({task["task_id"] for task in tasks}) == 1
        assert (await task_of(python_device(served.url, device_id="another")))["status"] == "RETRY"


@covers("hole-03", "data/size")
async def test_a_result_of_more_than_4_megabytes_counts(tmp_path: Path) -> None:
    async with job(tmp_path, versions=1, shapes={"w": (PARAMETERS,)}) as served:
        device = python_device(served.url)
        task = await task_of(device)
        update = {"w": [0.5 + 2**-21] * PARAMETERS}
        assert len(json.dumps(update)) > 4 * 2**20
        assert (await send(device, task, update))["counted"]
        assert learned(served) == 0.5 + 2**-21


@covers("hole-04")
async def test_replies_leave_no_threads_behind(tmp_path: Path) -> None:
    async with job(tmp_path) as served:
        device = python_device(served.url)
        await task_of(device)
        before = threading.active_count()
        for _ in range(100):
            await task_of(device)
        assert threading.active_count() <= before
