"""What the fleet's workers do, in a real pool of one."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from turnout.fleet.training import TARGET, Learned, Source, Work
from turnout.messages import ModelSchema, TensorSpec
from turnout.process.pool import WorkerFailed, WorkerPool
from turnout.wire.tensors import to_safetensors

pytestmark = pytest.mark.anyio

DEVICE = """
import numpy as np
from turnout.device import Update

class Adds:
    def __init__(self, number):
        self.number = number
        self.calls = 0

    def train(self, model, config):
        if self.number == 3:
            raise RuntimeError("no battery")
        self.calls += 1
        return Update({"w": model["w"] + self.number}, self.calls, {"step": config["step"]})

def trainer(index, devices, seed):
    return Adds(index + 10 * devices + 1000 * seed)
"""


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A job folder with a trainer, and a model beside it."""
    (tmp_path / "device.py").write_text(DEVICE)
    schema = ModelSchema((TensorSpec("w", (1,)),))
    (tmp_path / "model").write_bytes(to_safetensors(np.array([0.5], np.float32), schema))
    return tmp_path


async def learn(trainers: object, devices: int, seed: int, *works: Work) -> list[list[Learned]]:
    """What each call of one worker brings; the same works twice."""
    init = msgspec.msgpack.encode(Source(str(trainers), devices, seed))
    pool = WorkerPool(TARGET, 1, 0, init=init)
    try:
        replies = [await pool.run(msgspec.msgpack.encode(list(works))) for _ in range(2)]
        return [msgspec.msgpack.decode(reply, type=list[Learned]) for reply in replies]
    finally:
        await pool.close()


def number(learned: Learned) -> float:
    return float(np.frombuffer(learned.update, "<f4")[0])


async def test_each_device_trains_with_its_own_trainer_which_is_kept(folder: Path) -> None:
    works = [Work(index, str(folder / "model"), {"step": 7}) for index in (0, 1)]
    calls = await learn(folder, 2, 1, *works)
    assert [number(learned) for learned in calls[0]] == [1020.5, 1021.5]
    assert [learned.metrics for learned in calls[0]] == [{"step": 7.0}] * 2
    assert [[learned.num_examples for learned in call] for call in calls] == [[1.0, 1.0], [2.0, 2.0]]


async def test_a_trainer_that_fails_spoils_nobody_else_s_task(folder: Path) -> None:
    works = [Work(index, str(folder / "model"), {"step": 7}) for index in (3, 4)]
    (failed, fine), _ = await learn(folder / "device.py", 0, 0, *works)
    assert failed.error == "RuntimeError: no battery"
    assert (fine.error, number(fine)) == ("", 4.5)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (None, "no device.py"),
        ("def other(): ...", "device.py has no function trainer(index, devices, seed)"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    ],
)
async def test_trainers_that_cannot_be_had_are_said_to_be_so(tmp_path: Path, code: str | None, text: str) -> None:
    if code is not None:
        (tmp_path / "device.py").write_text(code)
    with pytest.raises(WorkerFailed) as caught:
        await learn(tmp_path, 1, 0)
    assert text in str(caught.value)


async def test_a_name_that_is_neither_folder_nor_module_is_named() -> None:
    with pytest.raises(WorkerFailed, match="no_such_trainers is neither a job folder nor a module"):
        await learn("no_such_trainers", 1, 0)
