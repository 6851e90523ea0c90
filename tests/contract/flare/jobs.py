"""A real job behind a real gateway, for players; and what a player learns: every number of the model grows by one."""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.contract.flare.players.android import Android
from tests.contract.flare.players.ios import Ios
from tests.contract.flare.players.line import Line
from tests.contract.flare.players.python import PythonDevice, Sleep

NAME = "cnn"
SHAPES = {"conv": (2, 3), "bias": (1,)}
CONFIG = {"components": [{"type": "Trainer.DLTrainer", "name": "trainer", "args": {"lr": 0.1}}]}
MOMENT_S = 0.02
PTE = b"ET12 a model of version "

FIRST_COME = 'kind = "checkin"\nthinning_window_s = 0.0'
FLEETS = 'kind = "cohort"\nallow_fleets = true'
JOB_TOML = """
name = "{name}"
[training]
workflow = "buffered"
concurrency = {concurrency}
buffer_goal = {goal}
results_min = {goal}
staleness = {{ discount = "constant" }}
[pacing]
wait_min_s = 2.0
wait_max_s = 3.0
[selection]
{selection}
[wire]
form = "{form}"
[stop]
versions = {versions}
"""
MODEL_PY = """
import numpy as np
def initial_model():
    return {{name: np.zeros(shape, np.float32) for name, shape in {shapes!r}.items()}}
"""
NUMBER_PY = """
import numpy as np
def initial_model():
    return {"value": np.zeros(1, np.float32)}
"""
SERVER_PY = f"""
def evaluate(model):
    return {{"bias": float(model["bias"][0])}}
def export(model):
    return {PTE!r} + b"%d" % model["bias"][0]
"""


def folder(
    path: Path,
    form: str,
    *,
    versions: int = 3,
    concurrency: int = 1,
    goal: int = 1,
    config: Any = CONFIG,
    more: str = "",
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    selection: str = FIRST_COME,
) -> Path:
    """A job whose version closes with each result, unless it is told otherwise; ``more`` goes into its job.toml."""
    path.mkdir()
    numbers = {"versions": versions, "concurrency": concurrency, "goal": goal}
    settings = {"name": NAME, "form": form, "selection": selection, **numbers}
    (path / "job.toml").write_text(JOB_TOML.format(**settings) + more)
    (path / "model.py").write_text(NUMBER_PY if form == "number" else MODEL_PY.format(shapes=dict(shapes)))
    (path / "server.py").write_text(SERVER_PY if form == "executorch" else "def evaluate(model):\n    return {}\n")
    if config is not None:
        (path / "device_config.json").write_bytes(msgspec.json.encode(config))
    return path


async def no_time(wait: float) -> None:
    """A moment in place of any wait, for the process that exports models to get on with it."""
    await asyncio.sleep(MOMENT_S)


def python_device(url: str, sleep: Sleep = no_time, **changes: Any) -> PythonDevice:
    return PythonDevice(Line(url), NAME, changes.pop("train", plus_one), sleep, **changes)


def android(url: str, sleep_ms: Sleep = no_time, **changes: Any) -> Android:
    return Android(Line(url), NAME, changes.pop("train", tensors_of_one), sleep_ms, **changes)


def ios(url: str, sleep_s: Sleep = no_time, **changes: Any) -> Ios:
    """One that learns: FLARE's own would report zeros."""
    changes.setdefault("mended", True)
    return Ios(Line(url), NAME, changes.pop("train", strided_tensors_of_one), sleep_s, **changes)


def plus_one(task_data: Mapping[str, Any]) -> dict[str, Any]:
    """What FLARE's Python trainers answer: an update, or, for a bare number, the new one."""
    if task_data["kind"] == "number":
        return {"kind": "number", "data": {"value": task_data["data"]["value"] + 1}, "meta": {}}
    assert task_data["kind"] == "WEIGHTS"
    update = {name: _ones(value) for name, value in task_data["data"].items()}
    return {"kind": "WEIGHT_DIFF", "data": {"dict": update, "count": 1}, "meta": {"batch_size": 4}}


def tensors_of_one(pte: bytes, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What Android's trainer answers."""
    assert pte == PTE + b"%d" % meta["model_version"]
    return {f"net.{name}": {"data": [1.0] * math.prod(shape), "sizes": list(shape)} for name, shape in SHAPES.items()}


def strided_tensors_of_one(pte: bytes, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What the iOS trainer answers."""
    tensors = tensors_of_one(pte, meta)
    for tensor in tensors.values():
        sizes = tensor["sizes"]
        tensor["strides"] = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    return tensors


def _ones(value: Any) -> Any:
    return [_ones(item) for item in value] if isinstance(value, list) else 1.0
