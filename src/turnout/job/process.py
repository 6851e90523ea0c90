"""The process of one running job: a loop around ``core.py`` that feeds it and carries out its effects.

It ends with exit code 0 when the job is completed and 3 when it is aborted, and says which, and why, in ``final.json``.
Any other end is a crash.
"""

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout import loops
from turnout.errors import TurnoutError
from turnout.job.blobs import BlobStore
from turnout.job.compose import parts_of, rules_of
from turnout.job.core import JobCore
from turnout.job.events import (
    Answer,
    Commit,
    CommitFailed,
    Committed,
    Effect,
    Evaluate,
    Evaluated,
    Event,
    Finish,
    Publish,
    Result,
    ResultOffered,
    Resumed,
    Retract,
    SelectionAsked,
    Stop,
    TaskAsked,
    Tick,
)
from turnout.job.folder import JobFolder, load_job_folder
from turnout.job.journal import BlobRef, Journal, MemoryJournal, Snapshot
from turnout.job.progress import Progress, ProgressFile
from turnout.job.status import status_of
from turnout.lifeline import watch
from turnout.messages import (
    JobStatus,
    ResultOffer,
    ResultReport,
    SelectionRequest,
    TaskRequest,
    Topic,
)
from turnout.transport.base import Reply
from turnout.transport.unix import UnixJobServer
from turnout.wire.tensors import num_parameters, to_safetensors
from turnout.workers import WorkerFailed, WorkerPool

EXIT_COMPLETED = 0
EXIT_ABORTED = 3
EXIT_STOPPED = 143  #: Asked to end by SIGTERM, or because the supervisor is gone; the job is not over.
EVALUATION_TIMEOUT_S = 300.0
#: Objects made before the collector looks at the youngest: requests make no cycles, so it seldom finds any.
GC_THRESHOLDS = (50_000, 50, 50)
FINAL = "final.json"
COMPLETED, ABORTED = "completed", "aborted"  #: The ``state`` in it.

logger = logging.getLogger("turnout.job")

_encoder = msgspec.msgpack.Encoder()
_task_request = msgspec.msgpack.Decoder(TaskRequest)
_selection_request = msgspec.msgpack.Decoder(SelectionRequest)
_result_report = msgspec.msgpack.Decoder(ResultReport)
_result_offer = msgspec.msgpack.Decoder(ResultOffer)


class JobProcess:
    """The shell around one core: owns its clock, its journal, its files and the tickets of those who wait."""

    def __init__(self, folder: JobFolder, job_id: str, blobs: BlobStore, journal: Journal) -> None:
        self.folder = folder
        self.job_id = job_id
        self.schema = folder.schema
        self.ended = asyncio.Event()
        self.exit_code = EXIT_STOPPED
        self._blobs = blobs
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        snapshot = journal.load()
        self._epoch = self._loop.time() - (snapshot.job_time if snapshot else 0.0)
        self._hooks = self._hook_pool(folder.server)
        parts = parts_of(
            folder.spec,
            job_id,
            journal.key,
            num_parameters(folder.schema),
            evaluates=self._hooks is not None,
            rng=Random(),
        )
        self.core = JobCore(rules_of(folder.spec, job_id), parts, folder.model)
        self._waiting: dict[int, Reply] = {}
        self._tickets = 0
        self._tick: asyncio.TimerHandle | None = None
        self._tick_at = 0.0  # by the loop's clock; uvloop's handles do not tell
        self._scheduling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._blob: tuple[NDArray[np.float32], BlobRef] | None = None  # the model last written, by identity
        self._progress = ProgressFile(blobs.folder.parent)
        self._lost_work(self._progress.before, journal)

    @staticmethod
    def _hook_pool(server: Path | None) -> WorkerPool | None:
        if server is None:
            return None
        return WorkerPool("turnout.job.hooks:evaluate", size=1, queue_max=1, init=str(server).encode())

    def _lost_work(self, before: Progress | None, journal: Journal) -> None:
        """Say honestly what a journal that lives in memory forgot."""
        if before is None or journal.durable or not (before.version or before.counted):
            return
        text = (
            f"an earlier process of this job ended at model version {before.version} with at least {before.counted} "
            f"results counted; its journal was in memory, so they are lost: training starts again at version 0"
        )
        self.core.warnings.append(text)
        logger.warning("%s", text)

    def start(self) -> None:
        """Recover and make the first commit; devices are answered once that is done."""
        snapshot = self._journal.load()
        self._blobs.keep_only({blob.sha256 for _, blob in snapshot.blobs} if snapshot else ())
        self._carry_out(self.core.start(self._now(), snapshot))

    # --- requests ----------------------------------------------------------------------------------------------

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        """One request of a gateway or of control."""
        match topic:
            case Topic.TASK:
                self._feed(TaskAsked(self._ticket(reply), _task_request.decode(payload)))
            case Topic.RESULT:
                self._result(payload, reply)
            case Topic.OFFER:
                self._feed(ResultOffered(self._ticket(reply), _result_offer.decode(payload)))
            case Topic.SELECTION:
                self._feed(SelectionAsked(self._ticket(reply), _selection_request.decode(payload)))
            case Topic.STATUS:
                reply(_encoder.encode(self.status()))
            case Topic.STOP:
                reply(b"")
                self._feed(Stop(bytes(payload).decode(errors="replace") or "stopped by a person"))
            case Topic.RESUME:
                reply(b"")
                self._feed(Resumed())

    def status(self) -> JobStatus:
        status = status_of(self.core, self._now())
        return msgspec.structs.replace(status, journal="durable" if self._journal.durable else "memory")

    def _result(self, payload: memoryview, reply: Reply) -> None:
        """A failure while handling one result refuses that result: the transport answers it, the job lives on."""
        report = _result_report.decode(payload)
        ticket = self._ticket(reply)
        try:
            effects = self.core.handle(Result(ticket, report), self._now())
        except Exception:
            del self._waiting[ticket]
            logger.error("a result could not be handled; its sha256 is %s", sha256(payload).hexdigest())
            raise
        self._carry_out(effects)

    def _ticket(self, reply: Reply) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = reply
        return self._tickets

    # --- the loop ----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._loop.time() - self._epoch

    def _feed(self, event: Event) -> None:
        self._carry_out(self.core.handle(event, self._now()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Answer():
                    self._waiting.pop(effect.ticket)(_encoder.encode(effect.response))
                case Commit():
                    self._background(self._commit(effect.snapshot))
                case Evaluate():
                    self._background(self._evaluate(effect))
                case Publish():
                    self._progress.published(effect.version, self.core.tally.counted)
                case Retract():
                    self._blobs.drop(effect.blob)
                case Finish():
                    self._finish(effect)
        if not self._scheduling:  # once for all requests that came together
            self._scheduling = True
            self._loop.call_soon(self._schedule_tick)

    def _schedule_tick(self) -> None:
        self._scheduling = False
        due = self.core.next_tick(self._now())
        if due is None:
            return
        at = due + self._epoch
        if self._tick is not None:
            if self._tick_at <= at:
                return
            self._tick.cancel()
        self._tick_at = at
        self._tick = self._loop.call_at(at, self._on_tick, due)

    def _on_tick(self, due: float) -> None:
        """Timers may fire a little early; the core would have nothing to do yet."""
        self._tick = None
        self._carry_out(self.core.handle(Tick(), max(self._now(), due)))

    def _background(self, work: Awaitable[Event]) -> None:
        """Slow work, elsewhere; what became of it returns as an event."""

        async def run() -> None:
            self._feed(await work)

        task = self._loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._loop.call_exception_handler({"message": "the job cannot go on", "exception": task.exception()})

    async def _commit(self, snapshot: Snapshot) -> Event:
        try:
            took_s, blob = await asyncio.to_thread(self._write, snapshot)
        except OSError as error:
            durable = await asyncio.to_thread(self._journal.load)
            happened = durable is not None and durable.commit >= snapshot.commit
            return CommitFailed(snapshot.commit, str(error), durable, self._written(snapshot) if happened else None)
        return Committed(snapshot.commit, took_s, blob)

    def _write(self, snapshot: Snapshot) -> tuple[float, BlobRef]:
        """In a thread: the model's blob first, so that a committed version always has one.

        Returns how long the write took. What the thread waited for its turn is no reason to commit more seldom.
        """
        began = time.perf_counter()
        if self._blob is None or self._blob[0] is not snapshot.model:
            self._blob = (snapshot.model, self._blobs.put(to_safetensors(snapshot.model, self.schema)))
        self._journal.commit(snapshot)
        return time.perf_counter() - began, self._blob[1]

    def _written(self, snapshot: Snapshot) -> BlobRef:
        assert self._blob is not None
        assert self._blob[0] is snapshot.model
        return self._blob[1]

    async def _evaluate(self, wanted: Evaluate) -> Event:
        assert self._hooks is not None, "the core only asks when there is a hook"
        try:
            data = await asyncio.to_thread(to_safetensors, wanted.model, self.schema)
            metrics = await self._hooks.run(data, EVALUATION_TIMEOUT_S)
        except WorkerFailed as error:
            logger.warning("evaluating version %d failed: %s", wanted.version, error)
            return Evaluated(wanted.version, None, str(error))
        return Evaluated(wanted.version, msgspec.msgpack.decode(metrics, type=dict[str, float]))

    def _finish(self, effect: Finish) -> None:
        final = self._blobs.folder.parent / FINAL
        unfinished = final.with_suffix(".unfinished")
        final_status = msgspec.structs.replace(self.status(), state=ABORTED if effect.aborted else COMPLETED)
        unfinished.write_bytes(msgspec.json.format(msgspec.json.encode(final_status)))
        unfinished.replace(final)
        self.exit_code = EXIT_ABORTED if effect.aborted else EXIT_COMPLETED
        self.ended.set()

    async def close(self) -> None:
        if self._tick is not None:
            self._tick.cancel()
        if self._hooks is not None:
            await self._hooks.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def run(folder: JobFolder, job_id: str, address: str, blobs: Path, lifeline_fd: int | None) -> int:
    """Run a job until it ends; the exit code of its process."""
    process = JobProcess(folder, job_id, BlobStore(blobs), MemoryJournal())
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_crash)
    server = UnixJobServer(address, job_id, time.time_ns(), folder.schema, process)
    process.start()
    await server.start()
    loop.add_signal_handler(signal.SIGTERM, process.ended.set)
    if lifeline_fd is not None:
        watch(lifeline_fd, partial(loop.call_soon_threadsafe, process.ended.set))
    await process.ended.wait()
    await server.close()
    await process.close()
    return process.exit_code


def _crash(loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    """A broken invariant: end the process; the supervisor starts it again from its journal."""
    error = context.get("exception")
    if not isinstance(error, Exception):
        logger.warning("%s", context.get("message"))
        return
    logger.critical("%s", context.get("message"), exc_info=error)
    os._exit(1)


def main() -> int:
    """``python -m turnout.job.process``; called by the supervisor."""
    parser = argparse.ArgumentParser(description="The process of one running job; started by the supervisor.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--job-id", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--blobs", type=Path, required=True)
    parser.add_argument("--lifeline-fd", type=int)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        folder = load_job_folder(arguments.folder)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        return loops.run(run(folder, arguments.job_id, arguments.address, arguments.blobs, arguments.lifeline_fd))
    except TurnoutError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
