"""Some devices of the fleet that a job is for, tried for a few versions: what they have, how long they take, and how
large their updates are.

Runs in the process of ``checking.py`` only: it is the folder's own code.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from turnout.cli.own_code import function, guarded
from turnout.device.trainers.base import NoExamples
from turnout.device.training import work_of
from turnout.errors import JobFolderError
from turnout.job.compose import optimizer_of
from turnout.job.folder.folder import JobFolder
from turnout.messages import Message
from turnout.wire.tensors import Vector, to_safetensors

TRAINED_MAX = 5  #: Devices that train, evenly chosen,
ASKED_MAX = 50  #: of at most this many that are asked until these have examples.
VERSIONS = 3
TRIAL_S = 5.0  #: After this time no further device and no further version begins; one of each always does.


class FleetTrial(Message, frozen=True):
    """What came of it. ``update_norms`` are the largest of each version, beginning with that of the initial model."""

    devices: int  #: In the fleet.
    trained: int = 0  #: Tried, and with examples.
    sat_out: int = 0  #: Tried, and without.
    train_s: float = 0.0  #: Of the slowest.
    examples_min: float = 0.0
    examples_max: float = 0.0
    update_norms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What one device learned from one version."""

    trainer: Any
    update: Vector
    num_examples: float
    took_s: float


def try_fleet(job: JobFolder, code: Path, devices: int) -> FleetTrial:
    """Let some of the devices train; each version is the step that the server would make. Raises JobFolderError."""
    give_up_at = time.monotonic() + TRIAL_S
    lessons, sat_out = _first(job, code, devices, give_up_at)
    if not lessons:
        if sat_out == devices:
            raise JobFolderError(f"{code.name}: none of the {devices} devices has any examples")
        return FleetTrial(devices, sat_out=sat_out)
    model, optimizer, rounds = job.model, optimizer_of(job.spec.optimizer), [lessons]
    while len(rounds) < VERSIONS and time.monotonic() < give_up_at:
        model = optimizer.step(model, _mean(job, rounds[-1]))
        if not np.isfinite(model).all():
            break
        rounds.append([_train(job, code, lesson.trainer, model, len(rounds)) for lesson in lessons])
    every = [lesson for lessons in rounds for lesson in lessons]
    return FleetTrial(
        devices=devices,
        trained=len(lessons),
        sat_out=sat_out,
        train_s=max(lesson.took_s for lesson in every),
        examples_min=min(lesson.num_examples for lesson in every),
        examples_max=max(lesson.num_examples for lesson in every),
        update_norms=tuple(max(float(np.linalg.norm(lesson.update)) for lesson in lessons) for lessons in rounds),
    )


def _first(job: JobFolder, code: Path, devices: int, give_up_at: float) -> tuple[list[_Lesson], int]:
    """What devices learn from the initial model; and how many have nothing to learn from."""
    make = function(code, "trainer", "trainer(index, devices, seed)")
    lessons: list[_Lesson] = []
    sat_out = 0
    for index in _spread(devices):
        if len(lessons) == TRAINED_MAX or (lessons and time.monotonic() >= give_up_at):
            break
        try:
            trainer = guarded(code, "trainer", partial(make, index, devices, job.spec.seed or 0))
            lessons.append(_train(job, code, trainer, job.model, 0))
        except NoExamples:
            sat_out += 1
    return lessons, sat_out


def _spread(devices: int) -> Iterator[int]:
    """Numbers of devices to ask, the first ones evenly over the fleet and then those between them."""
    count = min(devices, ASKED_MAX)
    even = [round(place * (devices - 1) / max(count - 1, 1)) for place in range(count)]
    stride = max(1, count // TRAINED_MAX)
    return (index for begin in range(stride) for index in even[begin::stride])


def _train(job: JobFolder, code: Path, trainer: Any, model: Vector, version: int) -> _Lesson:
    """As a device does it, with the same checks. Raises NoExamples, and JobFolderError for all else."""
    data = to_safetensors(model, job.schema)
    began = time.monotonic()
    update, _ = guarded(
        code, "train", lambda: work_of(None)(trainer, data, {"model_version": version, **job.spec.device_settings})
    )
    return _Lesson(trainer, np.frombuffer(update.update, "<f4"), update.num_examples, time.monotonic() - began)


def _mean(job: JobFolder, lessons: Sequence[_Lesson]) -> Any:
    training = job.spec.training
    by_examples = training.weighting == "examples"
    weights = [min(lesson.num_examples, training.weight_max) if by_examples else 1.0 for lesson in lessons]
    return np.average([lesson.update.astype(np.float64) for lesson in lessons], axis=0, weights=weights)
