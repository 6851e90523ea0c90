"""Models as FLARE's JSON, for devices that do not take safetensors: made once for each model, kept within a bound."""

import asyncio
from collections.abc import Callable
from functools import partial

from turnout.errors import TurnoutError
from turnout.gateway import decode
from turnout.gateway.admission import GatewayLimits
from turnout.gateway.blobs import Blobs, Busy
from turnout.gateway.routes import BlobName
from turnout.workers import WorkerPool

Done = Callable[[bytes | None], None]


class Weights:
    """The JSON of models. Small ones are made on the loop, others in a worker."""

    def __init__(self, blobs: Blobs, workers: WorkerPool, limits: GatewayLimits) -> None:
        self._blobs = blobs
        self._workers = workers
        self._limits = limits
        self._kept: dict[BlobName, bytes] = {}
        self._bytes = 0
        self._waiting: dict[BlobName, list[Done]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fetch(self, name: BlobName, done: Done) -> None:
        """Call ``done`` with the model's JSON; with None when it cannot be had now."""
        text = self._kept.pop(name, None)
        if text is not None:
            self._kept[name] = text  # to the end: used last
            done(text)
        elif name in self._waiting:
            self._waiting[name].append(done)
        elif len(self._waiting) >= self._limits.loads_max:
            done(None)
        else:
            self._waiting[name] = [done]
            self._blobs.fetch(name, partial(self._found, name))

    def _found(self, name: BlobName, blob: memoryview | Busy | None) -> None:
        if blob is None or isinstance(blob, Busy):
            self._finish(name, None)
        elif len(blob) <= self._limits.inline_decode_bytes:
            self._finish(name, decode.weights_json(blob))
        else:
            task = asyncio.get_running_loop().create_task(self._make(name, blob))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _make(self, name: BlobName, blob: memoryview) -> None:
        text = None
        try:
            text = await self._workers.run(decode.weights_work(blob))
        except TurnoutError:
            pass  # busy, or a crash that the pool has reported: the device asks again
        finally:
            self._finish(name, text)

    def _finish(self, name: BlobName, text: bytes | None) -> None:
        waiting = self._waiting.pop(name)
        if text is not None:
            self._kept[name] = text
            self._bytes += len(text)
            while self._bytes > self._limits.weights_bytes_max and len(self._kept) > 1:
                self._bytes -= len(self._kept.pop(next(iter(self._kept))))
        for done in waiting:
            done(text)
