"""Has the job's own code measure its models, in a process of its own."""

import asyncio
from typing import Self

import msgspec

from turnout.job.core.events import Evaluate, Evaluated
from turnout.job.folder.folder import EVALUATE, JobFolder
from turnout.job.hooks import evaluate_hook
from turnout.process.pool import WorkerFailed, WorkerPool

EVALUATION_TIMEOUT_S = 300.0
TARGET = "turnout.job.hooks.evaluate_hook:evaluate"


class Evaluator:
    """One model at a time."""

    def __init__(self, folder: JobFolder) -> None:
        self._file_of = folder.file_of
        self._workers = WorkerPool(TARGET, size=1, queue_max=1, init=str(folder.server).encode())

    @classmethod
    def of(cls, folder: JobFolder) -> Self | None:
        """None where the job measures nothing."""
        return cls(folder) if folder.server is not None and folder.has_hook(EVALUATE) else None

    async def measure(self, wanted: Evaluate) -> Evaluated:
        """What the job's code says of this model, or why it says nothing."""
        try:
            file = await asyncio.to_thread(self._file_of, wanted.model)
            metrics = await self._workers.run(file, EVALUATION_TIMEOUT_S)
        except WorkerFailed as error:
            return Evaluated(wanted.version, None, str(error))
        measured = msgspec.msgpack.decode(metrics, type=dict[str, float])
        if bad := evaluate_hook.not_finite(measured):
            return Evaluated(wanted.version, None, evaluate_hook.no_metric(bad[0], measured[bad[0]]), bad)
        return Evaluated(wanted.version, measured)

    async def close(self) -> None:
        await self._workers.close()
