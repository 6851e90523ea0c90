"""What a server's step depends on survives a restart of the job's process: the third model is the same to the last bit.

The simulation and the chaos harness train without momentum, for their sums must be exact; so this is shown here, with
the real process and the real journal.
"""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.unit.job.test_process import ask, ask_task, write_folder
from tests.unit.job.test_process_recovery import started
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.journal import SavedRandom
from turnout.job.journal.sqlite import read_snapshot
from turnout.job.process import JobProcess
from turnout.messages import DeviceInfo, ResultReport, ResultResponse, Topic

pytestmark = pytest.mark.anyio

JOB_TOML = """
name = "tiny"
[training]
workflow = "buffered"
buffer_goal = 2
concurrency = 10
[optimizer]
{optimizer}
[stop]
versions = 9
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {"w": np.array([0.1, -0.7, 1.3], np.float32)}
"""
OPTIMIZERS = {
    "momentum": 'name = "sgd"\nlearning_rate = 0.3\nmomentum = 0.9',
    "adam": 'name = "adam"\nlearning_rate = 0.03',
    "yogi": 'name = "yogi"\nlearning_rate = 0.03',
    "adagrad": 'name = "adagrad"\nlearning_rate = 0.03',
}
RESULTS = 6  #: Three versions of two.


def write_job(path: Path, optimizer: str) -> Path:
    return write_folder(path, **{"job.toml": JOB_TOML.format(optimizer=optimizer), "model.py": MODEL_PY})


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


async def train(process: JobProcess, number: int) -> None:
    """The result with this number, which says all of its update: no sum of these is exact."""
    device = f"device-{number}"
    task = await ask_task(process, device)
    update = Random(number)
    vector = np.array([update.gauss(0.0, 1.0) for _ in range(3)], "<f4")
    result = ResultReport(
        DeviceInfo(device), "tiny-1", task.task_id or "", "train", vector.view("u1").data, num_examples=1.0 + number / 7
    )
    assert (await ask(process, Topic.RESULT, result, ResultResponse)).counted


async def third_model(folder: Path, directory: Path, lives: list[range]) -> bytes:
    """Of a job whose process is another for each range of results."""
    for numbers in lives:
        async with started(folder, directory) as process:
            for number in numbers:
                await train(process, number)
    assert process.core.version == RESULTS // 2
    return process.core.model.tobytes()


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(
    "lives",
    [
        [range(2), range(2, RESULTS)],
        [range(3), range(3, RESULTS)],
        [range(4), range(4, RESULTS)],
        [range(1), range(1, 3), range(3, 5), range(5, RESULTS)],
        [range(number, number + 1) for number in range(RESULTS)],
    ],
    ids=["after a version", "in the middle of one", "after two", "three times", "after each result"],
)
async def test_a_job_that_was_interrupted_makes_the_same_model(
    tmp_path: Path, optimizer: str, lives: list[range]
) -> None:
    folder = write_job(tmp_path / "folder", optimizer)
    expected = await third_model(folder, make_directory(tmp_path / "whole"), [range(RESULTS)])
    assert await third_model(folder, make_directory(tmp_path / "broken"), lives) == expected


async def test_without_what_the_optimizer_remembers_it_would_be_another(tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    folder = write_job(tmp_path / "folder", OPTIMIZERS["momentum"])
    expected = await third_model(folder, make_directory(tmp_path / "whole"), [range(RESULTS)])
    directory = make_directory(tmp_path / "forgetful")
    await train_first(folder, directory, 4)
    async with started(folder, directory) as process:
        process.core.parts.optimizer.restore(())
        for number in range(4, RESULTS):
            await train(process, number)
        assert process.core.model.tobytes() != expected


async def train_first(folder: Path, directory: Path, count: int) -> None:
    async with started(folder, directory) as process:
        for number in range(count):
            await train(process, number)


async def test_the_random_stream_goes_on_where_the_last_commit_left_it(tmp_path: Path) -> None:
    folder = write_job(tmp_path / "folder", OPTIMIZERS["momentum"])
    directory = make_directory(tmp_path / "tiny-1")
    async with started(folder, directory) as first:
        begun = first.core.parts.rng.getstate()
        for number in range(12):
            await ask_task(first, f"device-{number}")  # two more than there are places: they are told a random wait
        assert first.core.parts.rng.getstate() != begun
        await train(first, 0)  # on the task that it has
    committed = read_snapshot(directory / JOURNAL)
    assert committed is not None
    assert committed.of(SavedRandom).state != begun
    async with started(folder, directory) as second:
        assert second.core.parts.rng.getstate() == committed.of(SavedRandom).state
