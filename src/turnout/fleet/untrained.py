"""In a classroom's place: every task is done at once, and nothing was learned. To see what a server bears."""

import asyncio
from collections.abc import Callable

import numpy as np

from turnout.device.blobs import BlobCache, BlobUnavailable
from turnout.device.http import HttpClient
from turnout.device.session import TrainedUpdate, TrainingFailed
from turnout.device.training import schema_of_file
from turnout.errors import ServerError
from turnout.fleet.core import Outcome, SimDevice
from turnout.messages import VALIDATE, ModelRef, ModelSchema, TaskResponse
from turnout.wire.tensors import num_parameters


class Untrained:
    """Answers every task with zeros. Of a job's models the first alone is fetched, to know how many."""

    def __init__(self, http: HttpClient) -> None:
        self.trained: Callable[[SimDevice, Outcome, float], None] = lambda device, outcome, now: None
        self._blobs = BlobCache(http)
        self._known: dict[str, tuple[ModelSchema, TrainedUpdate]] = {}
        self._coming: dict[str, list[tuple[SimDevice, TaskResponse]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._now = asyncio.get_running_loop().time

    async def check(self) -> None:
        """Nothing can be missing."""

    async def close(self) -> None:
        """Give up what is being fetched."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._blobs.close()

    def train(self, device: SimDevice, task: TaskResponse) -> None:
        """Do a device's task."""
        assert task.job_id
        assert task.task_data
        known = self._known.get(task.job_id)
        if known is not None:
            device.schema, update = known
            measured = task.task_name == VALIDATE
            self.trained(device, _MEASURED if measured else update, self._now())
        elif (others := self._coming.get(task.job_id)) is not None:
            others.append((device, task))
        else:
            self._coming[task.job_id] = [(device, task)]
            fetching = asyncio.create_task(self._fetch(task.job_id, task.task_data))
            self._tasks.add(fetching)
            fetching.add_done_callback(self._tasks.discard)

    async def _fetch(self, job_id: str, ref: ModelRef) -> None:
        try:
            schema = schema_of_file(await self._blobs.get(job_id, ref))
        except (BlobUnavailable, ServerError) as error:
            for device, _ in self._coming.pop(job_id):
                self.trained(device, TrainingFailed(f"no model: {error}", again=True), self._now())
            return
        zeros = np.zeros(num_parameters(schema), "<f4").view(np.uint8).data
        self._known[job_id] = schema, TrainedUpdate(zeros)
        for device, task in self._coming.pop(job_id):
            self.train(device, task)


_MEASURED = TrainedUpdate(memoryview(b""), metrics={"loss": 0.0}, measured=True)
