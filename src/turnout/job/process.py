"""The process of one running job: a loop around ``core.py`` that feeds it and carries out its effects.

It ends with exit code 0 when the job is completed and 3 when it is aborted, and says which, and why, in ``final.json``;
with 4 when another start would not help, and with 5 or 6 when it cannot run for now, with the reason as its last line.
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
from collections.abc import Awaitable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.blobs.folder import BlobStore
from turnout.errors import TurnoutError
from turnout.job import exits, told
from turnout.job.account.eventlog import wall_clock
from turnout.job.account.latency import Latency
from turnout.job.compose import parts_of, rules_of
from turnout.job.core.core import JobCore
from turnout.job.core.events import (
    Answer,
    Commit,
    CommitDoubtful,
    CommitFailed,
    Committed,
    Effect,
    Evaluate,
    Event,
    Finish,
    Publish,
    Recall,
    Recalled,
    Result,
    ResultOffered,
    Retract,
    SelectionAsked,
    TaskAsked,
    Tick,
)
from turnout.job.core.status import status_of
from turnout.job.folder.budget import DiskBudget
from turnout.job.folder.carried import keep_carried
from turnout.job.folder.directory import FINAL
from turnout.job.folder.folder import JobFolder, load_job_folder
from turnout.job.hooks.choices import chances_of, weights_of
from turnout.job.hooks.evaluator import Evaluator
from turnout.job.hooks.exports import Exports
from turnout.job.hooks.runner import HookRunner
from turnout.job.journal import damage
from turnout.job.journal.journal import BlobRef, Fenced, Journal, JournalDamaged, JournalUnusable, Snapshot
from turnout.job.journal.memory import MemoryJournal
from turnout.job.journal.recorder import Phase, Published, Recorder
from turnout.job.journal.sqlite import SqliteJournal
from turnout.job.notes import Notes
from turnout.job.workflow.bases import Bases
from turnout.messages import (
    JobStatus,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    Status,
    TaskRequest,
    Topic,
)
from turnout.process import loops
from turnout.process.heartbeat import Pulse
from turnout.process.lifeline import watch
from turnout.storage.lock import JobLocked
from turnout.transport.base import Reply
from turnout.transport.sockets import CannotListen
from turnout.transport.unix import UnixJobServer
from turnout.wire.forms import EXECUTORCH
from turnout.wire.tensors import from_safetensors, num_parameters, to_safetensors

SAVE_WARNINGS_S = 1.0  #: A warning is in a commit, with its date, after at most this.
READ_AGAIN_S = 1.0  #: After a failed commit, while the journal cannot be read either.
#: Objects made before the collector looks at the youngest: requests make no cycles, so it seldom finds any.
GC_THRESHOLDS = (50_000, 50, 50)
#: "memory" measures what durability costs; a job that runs so loses everything with its process, and says so.
JOURNAL_VARIABLE = "TURNOUT_JOURNAL"
EXITS: dict[type[TurnoutError], int] = {
    JournalDamaged: exits.EXIT_CANNOT_GO_ON,
    JournalUnusable: exits.EXIT_CANNOT_GO_ON,
    JobLocked: exits.EXIT_NOT_OURS,
    Fenced: exits.EXIT_NOT_OURS,
    CannotListen: exits.EXIT_NOT_NOW,
}
TASK, RESULT = Topic.TASK, Topic.RESULT  #: To look up a member of an enum takes 0.2 µs.
COMPLETED, ABORTED = "completed", "aborted"  #: The ``state`` in it.

logger = logging.getLogger("turnout.job")

_encoder = msgspec.msgpack.Encoder()
_task_request = msgspec.msgpack.Decoder(TaskRequest)
_selection_request = msgspec.msgpack.Decoder(SelectionRequest)
_result_report = msgspec.msgpack.Decoder(ResultReport)
_result_offer = msgspec.msgpack.Decoder(ResultOffer)


class JobProcess:
    """The shell around one core: owns its clock, its journal, its files and the tickets of those who wait."""

    def __init__(
        self, folder: JobFolder, job_id: str, blobs: BlobStore, journal: Journal, pulse: Pulse | None = None
    ) -> None:
        """Raises JournalDamaged when the journal is not what was committed, JournalUnusable for another model's.

        The job's directory is the parent of the blobs' folder.
        """
        self.folder = folder
        self.job_id = job_id
        self.schema = folder.schema
        self.directory = blobs.folder.parent
        self.ended = asyncio.Event()
        self.exit_code = exits.EXIT_STOPPED
        self.gave_up = ""  #: Why this process ended though the job has not.
        self._blobs = blobs
        self._journal = journal
        self._pulse = pulse or Pulse(None)
        self.budget = DiskBudget(self.directory, blobs.folder, folder.spec.disk.bytes_max)
        self._loop = asyncio.get_running_loop()
        self._recorder = Recorder(self.directory)
        self._recovered = self._read_journal()
        self._epoch = self._loop.time() - (self._recovered.job_time if self._recovered else 0.0)
        self._runner = HookRunner(folder.server) if folder.server is not None else None
        self._evaluator = Evaluator.of(folder, self._runner)
        self._exports = self._exports_of(folder)
        self._chances = chances_of(folder, self._runner, self._warn, self._now)
        self._weights = weights_of(folder, self._runner, self._warn)
        size, evaluates = num_parameters(folder.schema), self._evaluator is not None
        rng = Random(folder.draws)
        parts = parts_of(folder.spec, job_id, journal.key, size, evaluates=evaluates, rng=rng)
        bases = Bases(on=folder.spec.wire.form == "number")
        self.core = JobCore(rules_of(folder.spec, job_id, not journal.by_changes), parts, folder.model, bases=bases)
        self._waiting: dict[int, tuple[Reply, float]] = {}  # and since when, by the loop's clock
        self._acks, self._commits = Latency(), Latency()
        self._tickets = 0
        self._tick: asyncio.TimerHandle | None = None
        self._tick_at = 0.0  # by the loop's clock; uvloop's handles do not tell
        self._scheduling = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._blob: tuple[NDArray[np.float32], BlobRef] | None = None  # the model last written, by identity
        self._phase = Phase.RECOVERY
        self._deaf = False  # this process takes in and gives out nothing any more
        self._notes = Notes(self.directory)
        self._drops: list[BlobRef] = []  # models that nobody needs, to be removed with the next commit
        recovered = self._recovered
        self._progress = (recovered.version, recovered.tally["counted"]) if recovered else (0, 0)
        self._published_at = self._now()
        self._state_told = self.core.lasting_state
        self._writing = 0  # the commit under way, or the last
        self._closing = False  # the commit under way makes a new version

    def _read_journal(self) -> Snapshot | None:
        snapshot = self._journal.load()
        if self._journal.durable:
            damage.check_witness(self.directory, self._recorder.before, snapshot)
        expected = num_parameters(self.folder.schema)
        if snapshot is not None and snapshot.model.size != expected:
            raise JournalUnusable(
                f"the journal in {self.directory} is of a model of {snapshot.model.size} numbers, and the job folder's "
                f"has {expected}: put the model back that the job began with and start it again with: turnout start "
                f"{self.job_id}; or submit the new one as a new job"
            )
        return snapshot

    def _exports_of(self, folder: JobFolder) -> Exports | None:
        if self._runner is None or folder.spec.wire.form != EXECUTORCH.name:
            return None
        return Exports(self._runner, self._blobs, self.budget.check, self._warn, carried=folder.carried)

    def _warn(self, text: str) -> None:
        self.core.warnings.add(text)
        self._tell_people()

    def start(self) -> None:
        """Recover and make the first commit; devices are answered once that is done."""
        snapshot, before = self._recovered, self._recorder.before
        self._recovered = None
        interrupted = f"its last process was interrupted {before}" if before and not before.in_order else ""
        if snapshot is not None:
            logger.info(
                "goes on at version %d, commit %d, with %d results in the buffer%s",
                *(snapshot.version, snapshot.commit, snapshot.buffered, interrupted and f"; {interrupted}"),
            )
        self._notes.event("started", version=snapshot.version if snapshot else 0, text=interrupted)
        self._carry_out(self.core.start(self._now(), snapshot))

    # --- requests ----------------------------------------------------------------------------------------------

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        """One request of a gateway or of control."""
        if self._deaf:
            return
        if topic == TASK:
            self._task(_task_request.decode(payload), reply)
        elif topic == RESULT:
            self._weigh(payload, reply)
        else:
            self._seldom(topic, payload, reply)

    def _seldom(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        match topic:
            case Topic.OFFER:
                self._feed(ResultOffered(self._ticket(reply), _result_offer.decode(payload)))
            case Topic.SELECTION:
                self._feed(SelectionAsked(self._ticket(reply), _selection_request.decode(payload)))
            case Topic.STATUS:
                reply(_encoder.encode(self.status()))
            case _:
                reply(b"")
                self._feed(told.event_of(topic, payload))

    def status(self) -> JobStatus:
        status = status_of(self.core, self._now())
        return msgspec.structs.replace(
            status,
            seed=self.folder.spec.seed,
            journal="durable" if self._journal.durable else "memory",
            ack_ms=self._acks.quantiles(),
            commit_ms=self._commits.quantiles(),
        )

    def _task(self, request: TaskRequest, reply: Reply) -> None:
        chance = self._chances.of(request.device) if self._chances is not None else 1.0
        self._feed(TaskAsked(self._ticket(reply), request, chance))

    def _weigh(self, payload: memoryview, reply: Reply) -> None:
        """Have the job's own code weigh a result, if it does, and if it is one of ours; all else the core decides."""
        report, ticket = _result_report.decode(payload), self._ticket(reply)
        lease = None
        if self._weights is not None and report.status == Status.OK:
            lease = self.core.parts.seal.open(report.task_id)
        if self._weights is None or lease is None or self.core.counted.has(lease.version, lease.task):
            self._result(Result(ticket, report))
        else:
            self._weights.ask(
                report, lease, self.core.version, lambda factor: self._result(Result(ticket, report, factor))
            )

    def _result(self, result: Result) -> None:
        """What cannot be read is refused by the transport, what cannot be added by the core; the job lives on."""
        if self._deaf:
            return
        try:
            effects = self.core.handle(result, self._now())
        except Exception as error:  # half of it may be in the sum: only the journal is right now
            digest = sha256(result.report.update).hexdigest()
            raise AssertionError(f"a result could not be handled; the sha256 of its update is {digest}") from error
        self._carry_out(effects)

    def _ticket(self, reply: Reply) -> int:
        self._tickets += 1
        self._waiting[self._tickets] = (reply, self._loop.time())
        return self._tickets

    # --- the loop ----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._loop.time() - self._epoch

    def _feed(self, event: Event) -> None:
        self._carry_out(self.core.handle(event, self._now()))

    def _carry_out(self, effects: list[Effect]) -> None:
        if self._deaf:
            return
        for effect in effects:
            match effect:
                case Answer():
                    self._answer(effect)
                case Commit():
                    self._phase = Phase.RECOVERY if self._phase is Phase.RECOVERY else Phase.COMMITTING
                    self._writing = effect.snapshot.commit
                    self._closing = not self.core.models.has(effect.snapshot.version)
                    self._background(self._commit(effect.snapshot))
                case Evaluate():
                    self._background(self._evaluate(effect))
                case Recall():
                    self._background(self._recall(effect))
                case Publish():
                    self._published(effect)
                case Retract():
                    self._drops.append(effect.blob)
                    if self._exports is not None:
                        self._exports.forget(effect.blob)
                case Finish():
                    self._finish(effect)
        if not self._scheduling:  # once for all requests that came together
            self._scheduling = True
            self._loop.call_soon(self._schedule_tick)

    def _answer(self, effect: Answer) -> None:
        reply, since = self._waiting.pop(effect.ticket)
        response = effect.response
        reply(_encoder.encode(response))
        if isinstance(response, ResultResponse) and response.counted and not response.duplicate:
            self._acks.add(self._loop.time() - since)

    def _published(self, effect: Publish) -> None:
        took_s, self._published_at = self._now() - self._published_at, self._now()
        counts = {"counted": self.core.tally.counted, "results": self.core.made.of_version.get(effect.version, 0)}
        self._notes.event("published", version=effect.version, took_s=took_s, **counts)
        if measured := self.core.federated.mean(effect.version - 1):  # by now most of those who measure it have
            text = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
            self._notes.event("measured", version=effect.version - 1, metrics=measured, text=text)
        newest = Published(effect.version, effect.blob.sha256)
        self._recorder.published(newest)
        self._notes.published(newest)
        if self._exports is not None:
            self._exports.want(self.core.models.all())

    def _tell_people(self) -> None:
        """Of what the core has noted since the last tick."""
        if self.core.warnings.undated and not self.core.ending:
            self.core.commits.save_by(self._now() + SAVE_WARNINGS_S)  # with its date, also if nothing else is saved
        for text in self.core.warnings.told(wall_clock()):
            self._notes.event("warning", text=text)
        state = self.core.lasting_state
        if state != self._state_told:
            self._state_told = state
            self._notes.event("state", text=state)

    def _schedule_tick(self) -> None:
        self._scheduling = False
        if self._deaf:
            return
        self._note()
        self._tell_people()
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

    def _note(self) -> None:
        """For whoever looks after our death. Called when the answers of a tick have left."""
        core, committing = self.core, self._phase in (Phase.COMMITTING, Phase.COMMITTED)
        commit = self._writing if committing else core.commits.last  # which counts on before the last are answered
        self._recorder.note(self._phase, core.uncommitted(), commit, core.version, self._closing and committing)

    def _on_tick(self, due: float) -> None:
        """Timers may fire a little early; the core would have nothing to do yet."""
        self._tick = None
        if self._deaf:
            return
        self._carry_out(self.core.handle(Tick(), max(self._now(), due)))

    def _background(self, work: Awaitable[Event]) -> None:
        """Slow work, elsewhere; what became of it returns as an event."""

        async def run() -> None:
            try:
                self._feed(await work)
            except (Fenced, JournalDamaged) as error:
                self._give_up(error)

        task = self._loop.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    def _give_up(self, error: TurnoutError) -> None:
        """This process may not go on: whoever waits is left to ask the next one."""
        self._deaf = True
        self.exit_code = exits.EXIT_NOT_OURS if isinstance(error, Fenced) else exits.EXIT_CANNOT_GO_ON
        self.gave_up = damage.explained(error, self.directory)
        self.ended.set()

    def _reap(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        loops.tell_failure(task)

    async def _commit(self, snapshot: Snapshot) -> Event:
        try:
            took_s, blob = await asyncio.to_thread(self._write, snapshot, self._take_drops())
        except OSError as error:
            durable = await self._read_again(snapshot.commit)
            self._phase = Phase.OPEN
            happened = durable is not None and durable.commit >= snapshot.commit
            return CommitFailed(snapshot.commit, str(error), durable, self._written(snapshot) if happened else None)
        self._loop.call_soon(self._loop.call_soon, self._answered)  # after the tick in which the answers leave
        done = (snapshot.version, snapshot.tally["counted"])
        if done > self._progress:  # the first commit of a process is none, nor one that only saves what was given out
            self._progress = done
            self._pulse.progress()
        self._commits.add(took_s)
        return Committed(snapshot.commit, took_s, blob)

    def _take_drops(self) -> list[BlobRef]:
        """The models to be removed now. One that the note of the newest version names waits for another commit."""
        used = {blob.sha256 for _, blob in self.core.models.all()}  # later versions may be the same bytes
        written = self._blob[1].sha256 if self._blob is not None else ""
        unused = [blob for blob in self._drops if blob.sha256 not in used]
        self._drops = [blob for blob in unused if blob.sha256 == written or self._notes.name(blob.sha256)]
        return [blob for blob in unused if blob not in self._drops]

    def _answered(self) -> None:
        if self._phase is Phase.COMMITTED and not self._deaf:
            self._phase = Phase.OPEN
            self._note()

    def _write(self, snapshot: Snapshot, drops: Sequence[BlobRef]) -> tuple[float, BlobRef]:
        """In a thread: the model's blob first, so that a committed version always has one.

        Models are removed here too, and before: what is needed again is written again. Returns how long the write took.
        What the thread waited for its turn is no reason to commit more seldom.
        """
        began = time.perf_counter()
        for blob in drops:
            self._blobs.drop(blob)
        if self._blob is None:
            self._tidy(snapshot)
        if self._blob is None or self._blob[0] is not snapshot.model:
            data = to_safetensors(snapshot.model, self.schema)
            self._blob = (snapshot.model, self._blobs.put(data, self.budget.check))
        self._journal.commit(snapshot)
        self._phase = Phase.COMMITTED
        self._note()
        return time.perf_counter() - began, self._blob[1]

    def _tidy(self, snapshot: Snapshot) -> None:
        """Remove what an earlier process left behind; not the newest model, which this one is about to need."""
        named = {noted.sha256 for noted in damage.newest_first(self.directory)}
        wanted = {blob.sha256 for _, blob in snapshot.blobs}
        self._blobs.keep_only(wanted | named)
        self._drops += [BlobRef(sha256, 0) for sha256 in named - wanted]  # should it not be the newest

    async def _read_again(self, commit: int) -> Snapshot | None:
        """What the journal holds after a failed commit, as soon as it can be read: nothing else tells."""
        doubtful = False
        while True:
            try:
                return await asyncio.to_thread(self._journal.load)
            except OSError as error:
                if not doubtful:
                    logger.warning("a commit failed, and the journal cannot be read to see if it happened: %s", error)
                    self._feed(CommitDoubtful(commit, str(error)))
                doubtful = True
                await asyncio.sleep(READ_AGAIN_S)

    def _written(self, snapshot: Snapshot) -> BlobRef:
        assert self._blob is not None
        assert self._blob[0] is snapshot.model
        return self._blob[1]

    async def _evaluate(self, wanted: Evaluate) -> Event:
        assert self._evaluator is not None, "the core only asks when there is a hook"
        measured = await self._evaluator.measure(wanted)
        if measured.metrics is not None:
            self._notes.event("evaluated", version=wanted.version, metrics=dict(measured.metrics))
            return measured
        logger.warning("evaluating version %d failed: %s", wanted.version, measured.error)
        if self.core.parts.evaluation.fails is None:
            self._notes.event("evaluation_failed", version=wanted.version, text=measured.error)
        return measured

    async def _recall(self, wanted: Recall) -> Event:
        try:
            data = await asyncio.to_thread(self._blobs.read, wanted.blob)
            return Recalled(wanted.version, from_safetensors(data, self.schema))
        except (OSError, TurnoutError) as error:
            return Recalled(wanted.version, None, str(error))

    def _finish(self, effect: Finish) -> None:
        self._phase = Phase.ENDED
        counts = {"counted": self.core.tally.counted, "left": effect.left}
        self._notes.event("finished", version=self.core.version, text=effect.reason, **counts)
        status = msgspec.structs.replace(self.status(), state=ABORTED if effect.aborted else COMPLETED)
        task = self._loop.create_task(
            self._say_last(status, exits.EXIT_ABORTED if effect.aborted else exits.EXIT_COMPLETED)
        )
        self._tasks.add(task)
        task.add_done_callback(self._reap)

    async def _say_last(self, status: JobStatus, exit_code: int) -> None:
        try:
            await self._notes.final(status)
        except OSError as error:  # the model and the journal are safe: only this account is missing
            logger.warning("cannot write %s: %s", self.directory / FINAL, error)
            if exit_code == exits.EXIT_COMPLETED:  # the next process finds that out again, and may have room for it
                exit_code, self.gave_up = exits.EXIT_NOT_NOW, f"it has completed, and cannot say so: {error}"
        self.exit_code = exit_code
        self.ended.set()

    async def close(self) -> None:
        """Let go of all files. A commit under way is finished first; its devices hear of it when they send again."""
        self._deaf = True
        if self._tick is not None:
            self._tick.cancel()
        for own_code in (self._exports, self._chances, self._weights, self._runner):
            if own_code is not None:
                await own_code.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._notes.close)
        self._recorder.close(told_to_end=self.exit_code == exits.EXIT_STOPPED)
        self._journal.close()


async def run(folder: JobFolder, given: argparse.Namespace) -> int:
    """Run a job until it ends; the exit code of its process."""
    journal = _journal(folder, given)
    pulse = Pulse(given.pulse_fd)
    keep_carried(given.blobs.parent, folder.carried)
    process = JobProcess(folder, given.job_id, BlobStore(given.blobs), journal, pulse)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_crash)
    server = UnixJobServer(given.address, given.job_id, journal.incarnation, folder.schema, process)
    process.start()
    await server.start()
    loop.add_signal_handler(signal.SIGTERM, process.ended.set)
    if given.lifeline_fd is not None:
        watch(given.lifeline_fd, partial(loop.call_soon_threadsafe, process.ended.set))
    pulse.beat_on(loop)
    await process.ended.wait()
    await server.close()
    await process.close()
    if process.gave_up:
        print(process.gave_up, file=sys.stderr)
    return process.exit_code


def _journal(folder: JobFolder, given: argparse.Namespace) -> Journal:
    if os.environ.get(JOURNAL_VARIABLE) == "memory":
        logger.warning("the journal is in memory: nothing is durable, and a restart begins at version 0")
        return MemoryJournal()
    directory = given.blobs.parent
    damage.check_presence(directory)
    return SqliteJournal(directory, given.job_id, bytes_max=folder.spec.disk.bytes_max)


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
    parser.add_argument("--seed", type=int)
    parser.add_argument("--lifeline-fd", type=int)
    parser.add_argument("--pulse-fd", type=int)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        folder = load_job_folder(given.folder, given.seed)
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        return loops.run(run(folder, given))
    except TurnoutError as error:
        print(damage.explained(error, given.blobs.parent), file=sys.stderr)
        return EXITS.get(type(error), 1)
    except OSError as error:
        print(f"the job in {given.blobs.parent} cannot start: {error}", file=sys.stderr)
        return exits.EXIT_NOT_NOW
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
