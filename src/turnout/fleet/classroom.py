"""Where a fleet's devices really train: models fetched once, tasks handed in batches to worker processes."""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from turnout.device.blobs import BlobCache, BlobUnavailable
from turnout.device.http import HttpClient
from turnout.device.session import SatOut, TrainedUpdate, TrainingFailed
from turnout.device.training import schema_of_file
from turnout.errors import ServerError
from turnout.fleet.core import Outcome, SimDevice
from turnout.fleet.spec import FleetSpec
from turnout.fleet.training import TARGET, Learned, Source, Work
from turnout.messages import ModelRef, ModelSchema, TaskResponse
from turnout.process.pool import WorkerFailed, WorkerPool

CALLS_PER_WORKER = 2  #: One that it works on and one that waits for it.
BATCH_MAX = 32  #: Tasks in one call, when many wait. A worker that crashes takes these with it.
MODEL_FILES_MAX = 64
TRAINING_TIMEOUT_S = 600.0  #: For one task.

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Learned]).decode


@dataclass(frozen=True, slots=True)
class _Model:
    file: Path
    schema: ModelSchema


@dataclass(frozen=True, slots=True)
class _Lesson:
    """One device's task, whose model is there."""

    device: SimDevice
    model: _Model
    config: dict[str, Any]
    name: str


class Classroom:
    """Trains any number of devices on a few workers. ``trained`` is told of each, later."""

    def __init__(self, http: HttpClient, trainers: str, spec: FleetSpec, workers: int, folder: Path) -> None:
        self.trained: Callable[[SimDevice, Outcome, float], None] = lambda device, outcome, now: None
        source = Source(trainers, spec.devices, spec.seed)
        self._calls_max = workers * CALLS_PER_WORKER
        self._pool = WorkerPool(TARGET, workers, self._calls_max - workers, init=_encode(source))
        self._blobs = BlobCache(http)
        self._folder = folder
        self._models: OrderedDict[str, _Model] = OrderedDict()
        self._coming: dict[str, list[tuple[SimDevice, TaskResponse]]] = {}
        self._waiting: deque[_Lesson] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0
        self._now = asyncio.get_running_loop().time

    async def check(self) -> None:
        """Raises WorkerFailed when the trainers cannot be loaded."""
        await self._pool.check()

    async def close(self) -> None:
        """End the workers; what they were at is forgotten."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._blobs.close()
        await self._pool.close()

    def train(self, device: SimDevice, task: TaskResponse) -> None:
        """Do a device's task."""
        assert task.task_data
        assert task.job_id
        model = self._models.get(task.task_data.sha256)
        if model is not None:
            self._models.move_to_end(task.task_data.sha256)
            self._take(device, model, task)
        elif (others := self._coming.get(task.task_data.sha256)) is not None:
            others.append((device, task))
        else:
            self._coming[task.task_data.sha256] = [(device, task)]
            self._spawn(self._fetch(task.job_id, task.task_data))

    def _take(self, device: SimDevice, model: _Model, task: TaskResponse) -> None:
        assert task.task_data
        device.schema = model.schema
        self._waiting.append(_Lesson(device, model, task.task_data.meta, task.task_name or ""))
        self._feed()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # a mistake of ours is one of the loop's

    async def _fetch(self, job_id: str, ref: ModelRef) -> None:
        """Have a model in a file, for the workers; then those that wait for it continue."""
        try:
            data = await self._blobs.get(job_id, ref)
            model = _Model(self._folder / f"{ref.sha256}.safetensors", schema_of_file(data))
            await asyncio.to_thread(model.file.write_bytes, data)
        except (BlobUnavailable, ServerError, OSError) as error:
            for device, _ in self._coming.pop(ref.sha256):
                self.trained(device, TrainingFailed(f"no model: {error}", again=True), self._now())
            return
        self._models[ref.sha256] = model
        while len(self._models) > MODEL_FILES_MAX:
            self._models.popitem(last=False)[1].file.unlink()
        for device, task in self._coming.pop(ref.sha256):
            self._take(device, model, task)

    def _feed(self) -> None:
        """Give the workers what waits: one task a call, more when many wait."""
        while self._waiting and self._calls < self._calls_max:
            size = min(BATCH_MAX, math.ceil(len(self._waiting) / self._calls_max))
            batch = [self._waiting.popleft() for _ in range(size)]
            self._calls += 1
            self._spawn(self._work(batch))

    async def _work(self, batch: list[_Lesson]) -> None:
        works = [Work(lesson.device.index, str(lesson.model.file), lesson.config, lesson.name) for lesson in batch]
        outcomes: list[Outcome]
        try:
            reply = await self._pool.run(_encode(works), TRAINING_TIMEOUT_S * len(batch))
            outcomes = [_outcome(learned) for learned in _decode(reply)]
        except WorkerFailed as error:
            outcomes = [TrainingFailed(str(error))] * len(batch)
        finally:
            self._calls -= 1
        for lesson, outcome in zip(batch, outcomes, strict=True):
            self.trained(lesson.device, outcome, self._now())
        self._feed()


def _outcome(learned: Learned) -> Outcome:
    if learned.sat_out:
        return SatOut()
    if learned.error:
        return TrainingFailed(learned.error)
    return TrainedUpdate(learned.update, learned.num_examples, learned.metrics, learned.measured)
