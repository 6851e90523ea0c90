"""The shell around a job's core: feeds it events, carries out its effects in order, feeds back what became of them.

Everything around it is passed in. A job's process gives it an event loop, a thread, files and the job's own code
(``process.py``); the simulation gives it virtual time, a faulty disk and a checker (``turnout.sim``).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import SavedSum
from turnout.blobs.base import BlobRef
from turnout.errors import TurnoutError
from turnout.job import exits, told
from turnout.job.account.latency import Latency
from turnout.job.account.tally import SavedTally
from turnout.job.around import Around, Ended, Timer
from turnout.job.core.core import JobCore
from turnout.job.core.events import (
    Answer,
    Commit,
    CommitDoubtful,
    CommitFailed,
    Committed,
    Effect,
    Evaluated,
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
from turnout.job.core.states import Kind
from turnout.job.core.status import status_of
from turnout.job.hooks.choices import Weights
from turnout.job.journal.journal import Fenced, SavedJob, Snapshot
from turnout.job.journal.recorder import Phase, Published
from turnout.job.workflow.evaluation import Evaluate
from turnout.job.workflow.published import SavedModels
from turnout.messages import (
    JobStatus,
    ModelSchema,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    Status,
    TaskRequest,
    Topic,
)
from turnout.transport.base import Reply
from turnout.wire.tensors import from_safetensors, to_safetensors

SAVE_WARNINGS_S = 1.0  #: A warning is in a commit, with its date, after at most this.
READ_AGAIN_S = 1.0  #: After a failed commit, while the journal cannot be read either.
TASK, RESULT = Topic.TASK, Topic.RESULT  #: To look up a member of an enum takes 0.2 µs.

logger = logging.getLogger("turnout.job")

_encode = msgspec.msgpack.Encoder().encode
_task_request = msgspec.msgpack.Decoder(TaskRequest).decode
_selection_request = msgspec.msgpack.Decoder(SelectionRequest).decode
_result_report = msgspec.msgpack.Decoder(ResultReport).decode
_result_offer = msgspec.msgpack.Decoder(ResultOffer).decode


class Shell:
    """Owns the job's time, and the tickets of those who wait for an answer."""

    def __init__(
        self, core: JobCore, schema: ModelSchema, around: Around, recovered: Snapshot | None, seed: int | None = None
    ) -> None:
        """``recovered`` is what the journal holds; ``seed`` that of the job's settings, for people."""
        self.core = core
        self.around = around
        self.schema = schema
        self.deaf = False  #: It takes in and gives out nothing any more.
        self._seed = seed
        self._recovered = recovered
        self._loop = around.loop
        self._epoch = self._loop.time() - (recovered.of(SavedJob).job_time if recovered else 0.0)
        self._waiting: dict[int, tuple[Reply, float]] = {}  # and since when, by the loop's clock
        self._tickets = 0
        self._acks, self._commits = Latency(), Latency()
        self._tick: Timer | None = None
        self._tick_at = 0.0  # by the loop's clock; uvloop's timers do not tell
        self._settling = False
        self._word_told = core.word
        self._blob: tuple[NDArray[np.float32], BlobRef] | None = None  # the model last written, by identity
        self._drops: list[BlobRef] = []  # models that nobody needs, to be removed with the next commit
        self._tidied = False  # what an earlier process left behind is removed
        self._progress = (recovered.version, recovered.of(SavedTally).counted) if recovered else (0, 0)
        self._published_at = self.now()
        self._phase = Phase.RECOVERY
        self._writing = 0  # the commit under way, or the last
        self._closing = False  # the commit under way makes a new version
        self._noted: tuple[Phase, int] | None = None  # and how many results were staged

    def start(self) -> None:
        """Recover and make the first commit; devices are answered once that is done."""
        snapshot, self._recovered = self._recovered, None
        before = self.around.recorder.before
        interrupted = f"its last process was interrupted {before}" if before and not before.in_order else ""
        if snapshot is not None:
            logger.info(
                "goes on at version %d, commit %d, with %d results in the buffer%s",
                *(snapshot.version, snapshot.commit, snapshot.of(SavedSum).count, interrupted and f"; {interrupted}"),
            )
        self.around.notes.event("started", version=snapshot.version if snapshot else 0, text=interrupted)
        self._carry_out(self.core.start(self.now(), snapshot))

    def stop(self) -> None:
        """Answer nobody from now on. What the thread does is finished; its devices hear of it when they send again."""
        self.deaf = True
        if self._tick is not None:
            self._tick.cancel()

    def now(self) -> float:
        """Job time."""
        return self._loop.time() - self._epoch

    # --- requests ----------------------------------------------------------------------------------------------

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        """One request of a gateway or of control. What cannot be decoded is refused by the transport."""
        if self.deaf:
            return
        if topic == TASK:
            task, at = _task_request(payload), self._loop.time()
            chances = self.around.chances
            chance = chances.of(task.device) if chances is not None else 1.0
            self._carry_out(self.core.handle(TaskAsked(self._ticket(reply, at), task, chance), at - self._epoch))
        elif topic == RESULT:
            report, at = _result_report(payload), self._loop.time()
            if self.around.weights is None:
                self._result(Result(self._ticket(reply, at), report), at)
            else:
                self._weigh(self.around.weights, report, self._ticket(reply, at))
        else:
            self._seldom(topic, payload, reply)

    def _seldom(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        match topic:
            case Topic.OFFER:
                self.feed(ResultOffered(self._ticket(reply, self._loop.time()), _result_offer(payload)))
            case Topic.SELECTION:
                self.feed(SelectionAsked(self._ticket(reply, self._loop.time()), _selection_request(payload)))
            case Topic.STATUS:
                reply(_encode(self.status()))
            case _:
                reply(b"")
                self.feed(told.event_of(topic, payload))

    def _ticket(self, reply: Reply, at: float) -> int:
        self._tickets = ticket = self._tickets + 1
        self._waiting[ticket] = (reply, at)
        return ticket

    def _weigh(self, weights: Weights, report: ResultReport, ticket: int) -> None:
        """Have the job's own code weigh a result, if it is one of ours and new; all else the core decides."""
        lease = self.core.parts.seal.open(report.task_id) if report.status == Status.OK else None
        if lease is None or self.core.counted.has(lease.version, lease.task):
            self._result(Result(ticket, report), self._loop.time())
            return

        def weighed(factor: float) -> None:
            if not self.deaf:
                self._result(Result(ticket, report, factor), self._loop.time())

        weights.ask(report, lease, self.core.version, weighed)

    def _result(self, result: Result, at: float) -> None:
        """What cannot be added is refused by the core; the job lives on."""
        try:
            effects = self.core.handle(result, at - self._epoch)
        except Exception as error:  # half of it may be in the sum: only the journal is right now
            digest = sha256(result.report.update).hexdigest()
            raise AssertionError(f"a result could not be handled; the sha256 of its update is {digest}") from error
        self._carry_out(effects)

    def status(self) -> JobStatus:
        return msgspec.structs.replace(
            status_of(self.core, self.now()),
            seed=self._seed,
            journal="durable" if self.around.journal.durable else "memory",
            ack_ms=self._acks.quantiles(),
            commit_ms=self._commits.quantiles(),
        )

    # --- events and effects ------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """An event that is no request for a task, nor a result."""
        if not self.deaf:
            self._carry_out(self.core.handle(event, self.now()))

    def _carry_out(self, effects: Iterable[Effect]) -> None:
        try:
            for effect in effects:
                match effect:
                    case Answer():
                        self._answer(effect)
                    case Commit():
                        self._commit(effect.snapshot)
                    case Evaluate():
                        assert self.around.evaluate is not None, "the core only asks where something measures"
                        self.around.evaluate(effect, self._evaluated)
                    case Recall():
                        self.around.thread(partial(self._recall, effect), lambda recalled, _: self.feed(recalled))
                    case Publish():
                        self._publish(effect)
                    case Retract():
                        self._drops.append(effect.blob)
                        if self.around.exports is not None:
                            self.around.exports.forget(effect.blob)
                    case Finish():
                        self._finish(effect)
        except Exception as error:  # the core believes that all of them are carried out: only the journal is right now
            raise AssertionError("an effect could not be carried out") from error
        if not self._settling:  # once for all requests that came together
            self._settling = True
            self._loop.call_soon(self._settle)

    def _answer(self, effect: Answer) -> None:
        reply, since = self._waiting.pop(effect.ticket)
        response = effect.response
        reply(_encode(response))
        if isinstance(response, ResultResponse) and response.counted and not response.duplicate:
            self._acks.add(self._loop.time() - since)

    def _publish(self, effect: Publish) -> None:
        core, notes = self.core, self.around.notes
        took_s, self._published_at = self.now() - self._published_at, self.now()
        counts = {"counted": core.tally.counted, "results": core.made.of_version.get(effect.version, 0)}
        notes.event("published", version=effect.version, took_s=took_s, **counts)
        if measured := core.federated.mean(effect.version - 1):  # by now most of those who measure it have
            text = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
            notes.event("measured", version=effect.version - 1, metrics=measured, text=text)
        newest = Published(effect.version, effect.blob.sha256)
        self.around.recorder.published(newest)
        notes.published(newest)
        if self.around.exports is not None:
            self.around.exports.want(core.models.all())

    def _evaluated(self, measured: Evaluated) -> None:
        if self.deaf:
            return
        notes = self.around.notes
        if measured.metrics is not None:
            notes.event("evaluated", version=measured.version, metrics=dict(measured.metrics))
        else:
            logger.warning("evaluating version %d failed: %s", measured.version, measured.error)
            if self.core.parts.evaluation.fails is None:
                notes.event("evaluation_failed", version=measured.version, text=measured.error)
        self.feed(measured)

    def _recall(self, wanted: Recall) -> Recalled:
        """In the thread."""
        try:
            return Recalled(wanted.version, from_safetensors(self.around.blobs.read(wanted.blob), self.schema))
        except (OSError, TurnoutError) as error:
            return Recalled(wanted.version, None, str(error))

    # --- after the requests that came together -----------------------------------------------------------------

    def _settle(self) -> None:
        """Note where the job stands, tell people what changed, and see when time alone has consequences."""
        self._settling = False
        if self.deaf:
            return
        core = self.core
        if self._noted != (self._phase, len(core.staged)):
            self._note()
        if core.warnings.undated:
            self._warned()
        if core.word is not self._word_told:
            self._word_told = core.word
            self.around.notes.event("state", text=core.word)
        due = core.next_tick(self.now())
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
        if not self.deaf:
            self._carry_out(self.core.handle(Tick(), max(self.now(), due)))

    def warn(self, text: str) -> None:
        """Something that is not the core's, and that a person should know."""
        self.core.warnings.add(text)
        self._carry_out(())

    def _warned(self) -> None:
        """Tell people of new warnings."""
        if not self.core.ending:
            self.core.commits.save_by(self.now() + SAVE_WARNINGS_S)  # with its date, also if nothing else is saved
        for text in self.core.warnings.told(self.around.wall_clock()):
            self.around.notes.event("warning", text=text)

    def _note(self) -> None:
        """For inspection after a crash."""
        core, phase, staged = self.core, self._phase, len(self.core.staged)
        committing = phase in (Phase.COMMITTING, Phase.COMMITTED)
        commit = self._writing if committing else core.commits.last  # which counts on before the last are answered
        self.around.recorder.note(phase, staged, commit, core.version, self._closing and committing)
        self._noted = (phase, staged)

    # --- commits -----------------------------------------------------------------------------------------------

    def _commit(self, snapshot: Snapshot) -> None:
        self._phase = Phase.RECOVERY if self._phase is Phase.RECOVERY else Phase.COMMITTING
        self._writing = snapshot.commit
        self._closing = not self.core.models.has(snapshot.version)
        drops = self._take_drops()
        self.around.thread(partial(self._write, snapshot, drops), partial(self._written, snapshot, drops))

    def _take_drops(self) -> list[BlobRef]:
        """The models to be removed now. One that the note of the newest version names waits for another commit."""
        if not self._drops:
            return []
        used = {blob.sha256 for _, blob in self.core.models.all()}  # later versions may be the same bytes
        kept = {*self.around.notes.names(), self._blob[1].sha256 if self._blob is not None else ""}
        unused = [blob for blob in self._drops if blob.sha256 not in used]
        self._drops = [blob for blob in unused if blob.sha256 in kept]
        return [blob for blob in unused if blob.sha256 not in kept]

    def _write(self, snapshot: Snapshot, drops: Sequence[BlobRef]) -> BlobRef | OSError | TurnoutError:
        """In the thread: the model's blob first, so that a committed version always has one."""
        try:
            if self._blob is None or self._blob[0] is not snapshot.model:
                data = to_safetensors(snapshot.model, self.schema)
                self._blob = (snapshot.model, self.around.blobs.put(data, self.around.allow))
            self.around.journal.commit(snapshot)
        except (OSError, TurnoutError) as error:
            return error
        self._phase = Phase.COMMITTED
        self._note()
        self._remove(drops, snapshot)
        return self._blob[1]

    def _remove(self, drops: Sequence[BlobRef], *kept: Snapshot | None) -> None:
        """In the thread, once the journal has shown that it is still ours: a successor may need what we do not.

        The first time, also what an earlier process left behind.
        """
        newest = self._blob[1].sha256 if self._blob is not None else ""
        if not self._tidied:
            self._tidied = True  # whether it succeeds or not: later, exports may have begun
            snapshots = [snapshot for snapshot in kept if snapshot is not None]
            needed = {newest, *(blob.sha256 for each in snapshots for _, blob in each.of(SavedModels).blobs)}
            named = set(self.around.named_before)
            self._try_removal(partial(self.around.blobs.keep_only, needed | named))
            self._drops += [BlobRef(sha256, 0) for sha256 in named - needed]  # with the next note of a version
        unneeded = [blob for blob in drops if blob.sha256 != newest]
        self._drops += [blob for blob in unneeded if not self._try_removal(partial(self.around.blobs.drop, blob))]

    def _try_removal(self, remove: Callable[[], None]) -> bool:
        try:
            remove()
        except OSError as error:
            logger.warning("cannot remove models that nobody needs any more: %s", error)
            return False
        return True

    def _written(
        self, snapshot: Snapshot, drops: Sequence[BlobRef], outcome: BlobRef | OSError | TurnoutError, took_s: float
    ) -> None:
        if self.deaf:
            return
        if isinstance(outcome, OSError):
            self._read_again(snapshot, drops, outcome)
        elif isinstance(outcome, TurnoutError):
            self._give_up(outcome)
        else:
            self._loop.call_soon(self._loop.call_soon, self._answered)  # after the tick in which the answers leave
            done = (snapshot.version, snapshot.of(SavedTally).counted)
            if done > self._progress:  # a process's first commit is none, nor one that only saves what was given out
                self._progress = done
                self.around.progressed()
            self._commits.add(took_s)
            self._carry_out(self.core.handle(Committed(snapshot.commit, took_s, outcome), self.now()))

    def _answered(self) -> None:
        if self._phase is Phase.COMMITTED and not self.deaf:
            self._phase = Phase.OPEN
            self._note()

    def _read_again(self, snapshot: Snapshot, drops: Sequence[BlobRef], why: OSError, doubtful: bool = False) -> None:
        """After a failed commit only the journal can tell whether it happened, as soon as it can be read."""
        if self.deaf:
            return

        def read(found: Snapshot | OSError | TurnoutError | None, took_s: float) -> None:
            if self.deaf:
                return
            if isinstance(found, OSError):
                if not doubtful:
                    logger.warning("a commit failed, and the journal cannot be read to see if it happened: %s", found)
                    self.feed(CommitDoubtful(snapshot.commit, str(found)))
                self._loop.call_later(READ_AGAIN_S, self._read_again, snapshot, drops, why, True)
            elif isinstance(found, TurnoutError):
                self._give_up(found)
            else:
                self._phase = Phase.OPEN
                happened = found is not None and found.commit >= snapshot.commit
                assert not happened or (self._blob is not None and self._blob[0] is snapshot.model)
                blob = self._blob[1] if self._blob is not None and happened else None
                self.feed(CommitFailed(snapshot.commit, str(why), found, blob))

        self.around.thread(partial(self._load, snapshot, drops), read)

    def _load(self, failed: Snapshot, drops: Sequence[BlobRef]) -> Snapshot | OSError | TurnoutError | None:
        """In the thread."""
        try:
            found = self.around.journal.load()
        except (OSError, TurnoutError) as error:
            return error
        self._remove(drops, failed, found)  # there may be no room because of these
        return found

    # --- the end -----------------------------------------------------------------------------------------------

    def _give_up(self, error: TurnoutError) -> None:
        """This process may not go on: devices that wait ask the next one."""
        self.deaf = True
        exit_code = exits.EXIT_NOT_OURS if isinstance(error, Fenced) else exits.EXIT_FAILED
        self.around.ended(Ended(exit_code, error))

    def _finish(self, effect: Finish) -> None:
        self._phase = Phase.ENDED
        counts = {"counted": self.core.tally.counted, "left": effect.left}
        self.around.notes.event("finished", version=self.core.version, text=effect.reason, **counts)
        status = msgspec.structs.replace(self.status(), state=effect.kind.value)
        self.around.notes.final(status, partial(self._finished, effect))

    def _finished(self, effect: Finish, error: OSError | None) -> None:
        """The model and the journal are safe, also where the last account cannot be written."""
        exit_code = exits.EXIT_COMPLETED if effect.kind is Kind.COMPLETED else exits.EXIT_CANCELLED
        missing = None
        if error is not None:
            logger.warning("cannot write the last account of the job: %s", error)
            if effect.kind is Kind.COMPLETED:  # the next process finds that out again, and may have room for it
                exit_code = exits.EXIT_NOT_NOW
                missing = TurnoutError(f"it has completed, and cannot say so: {error}")
        self.around.ended(Ended(exit_code, missing))
