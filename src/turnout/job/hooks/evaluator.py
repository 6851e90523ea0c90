"""Has the job's own code measure its models: ``evaluate`` of its ``server.py``."""

import asyncio
from typing import Self

import msgspec

from turnout.job.core.events import Evaluated
from turnout.job.folder.folder import EVALUATE, JobFolder
from turnout.job.hooks.returned import no_metric, not_finite
from turnout.job.hooks.runner import HookRunner
from turnout.job.workflow.evaluation import Evaluate
from turnout.process.pool import WorkerFailed

EVALUATION_TIMEOUT_S = 300.0


class Evaluator:
    """One model at a time."""

    def __init__(self, folder: JobFolder, runner: HookRunner) -> None:
        self._file_of = folder.file_of
        self._runner = runner

    @classmethod
    def of(cls, folder: JobFolder, runner: HookRunner | None) -> Self | None:
        """None where the job measures nothing."""
        return cls(folder, runner) if runner is not None and folder.has_hook(EVALUATE) else None

    async def measure(self, wanted: Evaluate) -> Evaluated:
        """What the job's code says of this model, or why it says nothing."""
        try:
            file = await asyncio.to_thread(self._file_of, wanted.model)
            metrics = await self._runner.run(EVALUATE, file, EVALUATION_TIMEOUT_S)
        except WorkerFailed as error:
            return Evaluated(wanted.version, None, str(error))
        measured = msgspec.msgpack.decode(metrics, type=dict[str, float])
        if bad := not_finite(measured):
            return Evaluated(wanted.version, None, no_metric(bad[0], measured[bad[0]]), bad)
        return Evaluated(wanted.version, measured)
