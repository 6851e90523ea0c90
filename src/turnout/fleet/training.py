"""What the fleet's worker processes do: train some devices, each on its own data.

Runs in workers only. Trainers and models are kept between calls, both bounded.
"""

import functools
import importlib
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from turnout.device.trainers.base import NoExamples, Trainer
from turnout.device.training import work_of
from turnout.errors import JobFolderError, TurnoutError
from turnout.job.folder.code import load_module
from turnout.job.folder.folder import DEVICE_CODE
from turnout.process.worker import one_line

TRAINERS_KEPT_MAX = 2048
MODELS_KEPT_MAX = 4
TARGET = "turnout.fleet.training:train_some"


class Source(msgspec.Struct, frozen=True, array_like=True):
    """Where trainers come from: a job folder (or its device.py), or the name of a module, with ``trainer`` in it."""

    trainers: str
    devices: int
    seed: int


class Work(msgspec.Struct, frozen=True, array_like=True):
    """One device's task. ``model`` is a file that never changes."""

    index: int
    model: str
    config: dict[str, Any]
    name: str = ""  #: Of the task.


class Learned(msgspec.Struct, frozen=True, array_like=True):
    """What one device learned, or why it did not: then ``error`` is not empty."""

    error: str = ""
    update: memoryview = memoryview(b"")
    num_examples: float = 1.0
    metrics: dict[str, float] = {}
    measured: bool = False
    sat_out: bool = False  #: It has no examples.


_works = msgspec.msgpack.Decoder(list[Work])
_encoder = msgspec.msgpack.Encoder()
_source: Source | None = None


def setup(init: memoryview) -> None:
    """Load the trainers' code. Raises TurnoutError when it is not there or does not run."""
    global _source
    _source = msgspec.msgpack.decode(init, type=Source)
    _maker()


def train_some(payload: memoryview) -> bytes:
    """A list of Work in, a list of Learned out."""
    return _encoder.encode([_train_one(work) for work in _works.decode(payload)])


def _train_one(work: Work) -> Learned:
    try:
        update, _ = work_of(work.name)(_trainer(work.index), _model(work.model), work.config)
    except NoExamples:
        return Learned(sat_out=True)
    except TurnoutError as error:
        return Learned(error=str(error))
    except Exception as error:  # a trainer is its user's code: its failure is this one task's
        traceback.print_exc()
        return Learned(error=one_line(error))
    return Learned("", update.update, update.num_examples, dict(update.metrics), update.measured)


@functools.cache
def _maker() -> Callable[[int, int, int], Trainer]:
    """The function ``trainer(index, devices, seed)``."""
    assert _source is not None
    path = Path(_source.trainers)
    if path.exists():
        file = path / DEVICE_CODE if path.is_dir() else path
        if not file.exists():
            raise JobFolderError(f"{path}: no {DEVICE_CODE}; simulated devices take their trainer from it")
        name, module = file.name, load_module(file)
    else:
        name = _source.trainers
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise TurnoutError(f"{name} is neither a job folder nor a module that can be imported: {error}") from error
    maker = getattr(module, "trainer", None)
    if not callable(maker):
        raise JobFolderError(f"{name} has no function trainer(index, devices, seed)")
    made: Callable[[int, int, int], Trainer] = maker
    return made


@functools.lru_cache(maxsize=TRAINERS_KEPT_MAX)
def _trainer(index: int) -> Trainer:
    assert _source is not None
    return _maker()(index, _source.devices, _source.seed)


@functools.lru_cache(maxsize=MODELS_KEPT_MAX)
def _model(file: str) -> bytes:
    return Path(file).read_bytes()
