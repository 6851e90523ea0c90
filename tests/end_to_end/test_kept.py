"""A device's process ends while nobody has answered its result; the next one sends it, and it is counted once."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.site import Site, site
from tests.end_to_end.test_slow_disk import SlowDisk
from turnout.device import Arrays, SessionPolicy, Update, run_device
from turnout.device.client import Finished

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

QUICK = SessionPolicy(backoff_base_s=0.01, backoff_max_s=0.02)
JOB_TOML = """
name = "kept"
[training]
workflow = "buffered"
buffer_goal = 2
concurrency = 4
weighting = "uniform"
[pacing]
wait_min_s = 0.01
wait_max_s = 0.05
[stop]
versions = 2
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.zeros(3, np.float32)}
"""


class AddsOne:
    """Learns that every number should be one higher; counts how often it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        self.times += 1
        return Update({"w": np.ones(3, np.float32)}, 1.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    (made / "job.toml").write_text(JOB_TOML)
    (made / "model.py").write_text(MODEL_PY)
    return made


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def until_staged(running: Site, disk: SlowDisk, trainer: AddsOne, keep: Path) -> None:
    """Run a device until the job has its result and cannot answer; then end the device."""
    disk.fast = 1
    first = asyncio.create_task(run(running, trainer, "a", keep))
    while not running.job.core.staged:
        assert not first.done()
        await asyncio.sleep(0.005)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def run(running: Site, trainer: AddsOne, device_id: str, keep: Path | None) -> Finished:
    return await run_device(running.url, "kept", trainer, device_id=device_id, policy=QUICK, keep=keep)


@pytest.mark.parametrize("when", ["before the commit", "after it"])
async def test_a_result_without_an_answer_is_counted_once_by_the_next_process(
    folder: Path, tmp_path: Path, when: str
) -> None:
    disk, trainer, keep = SlowDisk(), AddsOne(), tmp_path / "kept"
    async with site(folder, journal=disk) as running:
        core = running.job.core
        try:
            await until_staged(running, disk, trainer, keep)
            assert trainer.times == 1
            if when == "before the commit":
                asyncio.get_running_loop().call_later(0.2, disk.ready.set)
            else:
                disk.ready.set()
                while core.staged:
                    assert not core.commits.error
                    await asyncio.sleep(0.005)
            async with asyncio.timeout(20):
                second, other = await asyncio.gather(
                    run(running, trainer, "a", keep), run(running, AddsOne(), "b", None)
                )
        finally:
            disk.ready.set()
    assert second.counters.duplicates == 1, "the kept result, which the job had"
    assert trainer.times == 2, "once in each version"
    assert (second.counters.counted, other.counters.counted) == (2, 2)
    assert (core.version, core.tally.counted) == (2, 4)
    assert core.model.tolist() == [2.0] * 3
    assert names(tmp_path) == {"data", "folder"}, "nothing is kept any more"
