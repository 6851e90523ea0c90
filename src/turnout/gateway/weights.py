"""Models as JSON, for devices that do not take safetensors: made once for each model and form, kept within a bound."""

import asyncio
from collections.abc import Callable
from functools import partial

from turnout.blobs.base import BUSY, BlobName, Busy
from turnout.blobs.cache import Blobs, SourceOf
from turnout.errors import TurnoutError
from turnout.gateway import decode
from turnout.gateway.limits import GatewayLimits
from turnout.process.pool import WorkerPool
from turnout.wire.forms import EXECUTORCH, NUMBER, WEIGHTS, Form

Done = Callable[[bytes | Busy | None], None]
Key = tuple[BlobName, str]


class Weights:
    """The JSON of models. Small ones are made on the loop, others in a worker."""

    def __init__(self, blobs: Blobs, exports: Blobs, workers: WorkerPool, limits: GatewayLimits) -> None:
        """``exports`` finds what a job has made of a model, under the model's own name."""
        self._files = {WEIGHTS.suffix: blobs, NUMBER.suffix: blobs, EXECUTORCH.suffix: exports}
        self._workers = workers
        self._limits = limits
        self._kept: dict[Key, bytes] = {}
        self._bytes = 0
        self._waiting: dict[Key, list[Done]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch(self, name: BlobName, form: Form, done: Done) -> None:
        """Call ``done`` with the model's JSON; with None when it cannot be had now, or with BUSY when too many are."""
        key = name, form.name
        text = self._kept.pop(key, None)
        if text is not None:
            self._kept[key] = text  # to the end: used last
            done(text)
        elif key in self._waiting:
            self._waiting[key].append(done)
        elif len(self._waiting) >= self._limits.loads_max:
            done(BUSY)
        else:
            self._waiting[key] = [done]
            self._files[form.suffix].fetch(name, partial(self._found, key, form))

    def _found(self, key: Key, form: Form, file: memoryview | Busy | None) -> None:
        if file is None or isinstance(file, Busy):
            self._finish(key, file)
        elif len(file) <= self._limits.inline_decode_bytes:
            self._finish(key, form.encode(file))
        else:
            task = asyncio.get_running_loop().create_task(self._make(key, form, file))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def forget_unless(self, runs: Callable[[str], bool]) -> None:
        """Drop the JSON of jobs that ended."""
        for key in [key for key in self._kept if not runs(key[0].job_id)]:
            self._bytes -= len(self._kept.pop(key))

    async def _make(self, key: Key, form: Form, file: memoryview) -> None:
        text = None
        try:
            text = await self._workers.run(decode.model_work(form, file))
        except TurnoutError:
            pass  # busy, or a crash that the pool has reported: the device asks again
        finally:
            self._finish(key, text)

    def _finish(self, key: Key, text: bytes | Busy | None) -> None:
        waiting = self._waiting.pop(key)
        if isinstance(text, bytes):
            self._kept[key] = text
            self._bytes += len(text)
            while self._bytes > self._limits.weights_bytes_max and len(self._kept) > 1:
                self._bytes -= len(self._kept.pop(next(iter(self._kept))))
        for done in waiting:
            done(text)


def exports_of(source_of: SourceOf, limits: GatewayLimits) -> Blobs:
    """What jobs have made of their models for ExecuTorch; each beside its model. Kept is what is made of them."""
    return Blobs(source_of, 0, limits.loads_max, EXECUTORCH.suffix)
