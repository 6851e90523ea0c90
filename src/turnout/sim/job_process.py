"""One process of the simulated job, from its start to its end: a thin shell around the real core, as the real one is.

It may be killed wherever ``Point`` says, it may hang, and while it hangs another may take the job over from it.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.blobs.base import BlobRef
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
    ResultsRefused,
    Retract,
    SelectionAsked,
    TaskAsked,
    Tick,
)
from turnout.job.journal.journal import Fenced, Snapshot
from turnout.job.places.leases import Seal
from turnout.job.workflow.evaluation import Evaluate
from turnout.messages import (
    ModelSchema,
    RefusedResults,
    ResultOffer,
    ResultReport,
    ResultResponse,
    SelectionRequest,
    TaskRequest,
    TaskResponse,
    TensorSpec,
    Topic,
)
from turnout.sim.checker import Checker, WatchedJournal
from turnout.sim.disk import Disk, Write
from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Point, Weather
from turnout.transport.base import Reply

EVALUATION_S = 5.0  #: Mean; longer than many a version.
READ_AGAIN_S = 0.5
THREAD_S = 0.001  #: Mean time until the loop hears what its thread did.


class Killed(Exception):
    """Whatever this process was about to do, it does not."""


class Machine(Protocol):
    """What runs the job's processes."""

    loop: VirtualLoop
    rng: Random
    weather: Weather
    disk: Disk
    checker: Checker
    end: Finish | None
    models: dict[int, NDArray[np.float32]]

    def died(self, process: "SimProcess") -> None:
        """It does nothing any more."""

    def published(self, version: int, model: NDArray[np.float32]) -> None: ...
    def finished(self, process: "SimProcess", end: Finish) -> None: ...


class SimProcess:
    """Feeds the core, commits to its handle of the journal, answers."""

    def __init__(
        self,
        machine: Machine,
        generation: int,
        journal: WatchedJournal,
        make_core: Callable[[bytes], JobCore],
        clock_offset: float,
    ) -> None:
        self.machine, self.generation, self.journal = machine, generation, journal
        self.loop, self.rng, self.checker = machine.loop, machine.rng, machine.checker
        self.core = make_core(journal.key)
        self.schema = ModelSchema((TensorSpec("x", (self.core.model.size,)),))
        self.alive = True
        self._clock_offset = clock_offset
        self._epoch = 0.0
        self._hangs_until = 0.0
        self._frozen = False
        self._tickets = 0
        self._waiting: dict[int, tuple[Reply, TaskRequest | ResultReport | SelectionRequest | ResultOffer]] = {}
        self._writing: Snapshot | None = None  # from the commit's beginning until the core hears of its end
        self._written = False  # it is on disk
        self._closes = False
        self._unanswered = 0  # answers of a durable commit that are still to go out

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.run(self._start)

    def _start(self) -> None:
        self._survive(Point.START)
        snapshot = self._load()
        self._epoch = self._clock() - (snapshot.job_time if snapshot else 0.0)
        effects = self.core.start(self._now(), snapshot)
        for effect in effects:
            if snapshot is not None and isinstance(effect, Commit):
                self.checker.recovered(snapshot, effect.snapshot)
        self._carry_out(effects)

    def run(self, act: Callable[[], None]) -> None:
        """All that its loop does goes through here: nothing once it is dead, and what has to wait while it hangs."""
        if not self.alive:
            return
        if self.loop.now < self._hangs_until:
            self.loop.at(self._hangs_until, lambda: self.run(act))
            return
        try:
            act()
        except Killed:
            self.die()
        except Fenced:
            self.checker.seen["fenced processes"] += 1
            self._end()

    def hang(self, frozen: bool) -> float:
        """For a while its loop does nothing, and if ``frozen`` its thread neither; returns until when."""
        self._hangs_until = self.loop.now + self.machine.weather.hangs_for_s
        self._frozen = frozen
        return self._hangs_until

    def die(self) -> None:
        """It is killed. A commit that was being written may have made it to the disk."""
        self.checker.seen[f"crashes: {self.interrupted()}"] += 1
        if self._writing is not None and not self._written and self.rng.random() < 0.5:
            try:
                self.journal.commit(self._writing)
            except Fenced:
                self.checker.seen["fenced while dying"] += 1
        self._end()

    def leave(self) -> None:
        """Its job is over."""
        self._end()

    def _end(self) -> None:
        self.alive = False
        self._waiting.clear()
        self.machine.died(self)

    def interrupted(self) -> str:
        """What a crash now interrupts."""
        if self.core.models.newest() is None:
            return "recovering"
        if self._unanswered or (self._written and self.core.uncommitted()):
            return "committed, unanswered"
        if self._writing is not None:
            return "closing" if self._closes else "committing"
        return "staged" if self.core.uncommitted() else "idle"

    def _survive(self, point: Point) -> None:
        share = self.machine.weather.crash.get(point, 0.0)
        if share and self.machine.end is None and self.rng.random() < share:
            self.checker.seen[f"crashes {point.name}"] += 1
            raise Killed

    def _clock(self) -> float:
        """It counts up, from anywhere; between two processes it may jump."""
        return self.loop.now + self._clock_offset

    def _now(self) -> float:
        return self._clock() - self._epoch

    # --- requests ----------------------------------------------------------------------------------------------

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        self.run(lambda: self._received(topic, payload, reply))

    def _received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        self._tickets += 1
        ticket = self._tickets
        match topic:
            case Topic.TASK:
                task = msgspec.msgpack.decode(payload, type=TaskRequest)
                self._waiting[ticket] = (reply, task)
                self._feed(TaskAsked(ticket, task))
            case Topic.RESULT:
                report = msgspec.msgpack.decode(payload, type=ResultReport)
                self._waiting[ticket] = (reply, report)
                self._feed(Result(ticket, report))
            case Topic.OFFER:
                offer = msgspec.msgpack.decode(payload, type=ResultOffer)
                self._waiting[ticket] = (reply, offer)
                self._feed(ResultOffered(ticket, offer))
            case Topic.REFUSED:
                reply(b"")
                self._feed(ResultsRefused(msgspec.msgpack.decode(payload, type=RefusedResults)))
            case Topic.SELECTION:
                selection = msgspec.msgpack.decode(payload, type=SelectionRequest)
                self._waiting[ticket] = (reply, selection)
                self._feed(SelectionAsked(ticket, selection))
            case _:
                reply.fail(f"no {topic} here")

    def feed(self, event: Event) -> None:
        """What a person or the machine wants of it."""
        self.run(lambda: self._feed(event))

    def _feed(self, event: Event) -> None:
        self._survive(Point.EVENT)
        self._carry_out(self.core.handle(event, self._now()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            self._survive(Point.EFFECT)
            match effect:
                case Answer():
                    self._answer(effect)
                case Commit():
                    self._commit(effect.snapshot)
                case Publish():
                    self.machine.published(effect.version, effect.model)
                case Retract():
                    self.checker.dropped(effect.blob)
                case Evaluate():
                    self._evaluate(effect.version)
                case Recall():
                    self._recall(effect.version)
                case Finish():
                    self.machine.finished(self, effect)
        self._schedule_tick()

    def _answer(self, effect: Answer) -> None:
        reply, request = self._waiting.pop(effect.ticket)
        response = effect.response
        if isinstance(response, ResultResponse) and isinstance(request, ResultReport | ResultOffer):
            self.checker.answered(request, response, self._now())
            self._unanswered -= bool(self._unanswered and response.counted)
        elif isinstance(response, TaskResponse) and response.task_id is not None:
            lease = Seal(self.core.rules.job_id, self.journal.key).open(response.task_id)
            assert lease is not None, "what a job gives out is sealed with its key"
            self.checker.task_given(index_of(request.device.device_id), lease.task, response, self._now())
        reply(msgspec.msgpack.encode(response))

    def _schedule_tick(self) -> None:
        due = self.core.next_tick(self._now())
        if due is not None:
            self.loop.after(due - self._now(), lambda: self.run(self._tick))

    def _tick(self) -> None:
        due = self.core.next_tick(self._now())
        if due is not None and due <= self._now() + 1e-6:  # sums of floats may fall short
            self._survive(Point.EVENT)
            self._carry_out(self.core.handle(Tick(), max(self._now(), due)))

    # --- slow work ---------------------------------------------------------------------------------------------

    def _commit(self, snapshot: Snapshot) -> None:
        newest = self.core.models.newest()
        self._writing, self._written = snapshot, False
        self._closes = newest is not None and snapshot.version > newest[0]
        took_s = self.machine.disk.takes_s()
        self.loop.after(took_s, lambda: self._write(snapshot, took_s))

    def _write(self, snapshot: Snapshot, took_s: float) -> None:
        """In a thread, which goes on when the loop hangs."""
        if not self.alive:
            return
        if self._frozen and self.loop.now < self._hangs_until:
            self.loop.at(self._hangs_until, lambda: self._write(snapshot, took_s))
            return
        try:
            self._survive(Point.WRITING)
            outcome = self.machine.disk.write()
            self.checker.seen[f"commits: {outcome.name}"] += 1
            if outcome is not Write.FAILED:
                self.journal.commit(snapshot)
                self._written = True
            self._survive(Point.WRITTEN)
        except Killed:
            self.die()
        except Fenced as fenced:
            self._later(partial(self._raise, fenced))
        else:
            self._later(lambda: self._report(snapshot, took_s, outcome))

    def _later(self, act: Callable[[], None]) -> None:
        """On the loop, once it hears of it; meanwhile it handles what comes in."""
        self.loop.after(self.rng.expovariate(1 / THREAD_S), lambda: self.run(act))

    def _raise(self, error: Exception) -> None:
        raise error

    def _report(self, snapshot: Snapshot, took_s: float, outcome: Write) -> None:
        """Feed back what became of a commit. After an error only the journal can tell, as soon as it can be read."""
        blob = BlobRef(f"{snapshot.version:064x}", snapshot.model.nbytes)
        if outcome is Write.DONE:
            self._done(Committed(snapshot.commit, took_s, blob))
            return
        self._survive(Point.READING)
        if not self.machine.disk.readable() and self.rng.random() < 0.5:
            self.checker.seen["journals read again"] += 1
            self._feed(CommitDoubtful(snapshot.commit, "simulated"))
            self.loop.after(READ_AGAIN_S, lambda: self.run(lambda: self._report(snapshot, took_s, outcome)))
            return
        durable = self._load()
        happened = durable is not None and durable.commit >= snapshot.commit
        self._done(CommitFailed(snapshot.commit, "simulated", durable, blob if happened else None))

    def _done(self, event: Committed | CommitFailed) -> None:
        self._survive(Point.EVENT)
        effects = self.core.handle(event, self._now())
        self._writing, self._written = None, False
        self._unanswered = sum(isinstance(each, Answer) and _counted(each) for each in effects)
        self._carry_out(effects)

    def _load(self) -> Snapshot | None:
        """A process that cannot read its journal ends: the next one may be able to."""
        if not self.machine.disk.readable():
            self.checker.seen["crashes: journal not readable"] += 1
            raise Killed
        return self.journal.load()

    def _recall(self, version: int) -> None:
        model = self.machine.models[version] if self.rng.random() < 0.9 else None
        self.checker.seen["models read again"] += model is not None
        self._later(lambda: self._feed(Recalled(version, model, "simulated")))

    def _evaluate(self, version: int) -> None:
        metrics = {"accuracy": version * 7 % 10} if self.rng.random() < 0.8 else None  # up and down

        def done() -> None:
            self.checker.seen["evaluations"] += 1
            self._feed(Evaluated(version, metrics, "simulated"))

        self.loop.after(self.rng.expovariate(1 / EVALUATION_S), lambda: self.run(done))


def _counted(answer: Answer) -> bool:
    return isinstance(answer.response, ResultResponse) and answer.response.counted


def device_id(index: int) -> str:
    return f"device-{index}"


def index_of(device_id: str) -> int:
    return int(device_id.removeprefix("device-"))
