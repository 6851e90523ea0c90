"""One process of the simulated job, from its start to its end: the real shell, with virtual things around it.

It may be killed wherever ``Point`` says, it may hang, and while it hangs another may take the job over from it.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial
from random import Random
from typing import Any, Protocol, TypeVar

import msgspec

from turnout.job import exits
from turnout.job.around import Around, Ended
from turnout.job.core.core import JobCore
from turnout.job.core.events import Commit, Effect, Evaluated, Event, Finish, Publish
from turnout.job.hooks.choices import Chances, Weights
from turnout.job.journal.journal import Fenced, Journal, Snapshot
from turnout.job.journal.recorder import Moment, Phase, Published
from turnout.job.places.leases import Seal
from turnout.job.shell import Shell
from turnout.job.workflow.evaluation import Evaluate
from turnout.messages import (
    JobStatus,
    ModelSchema,
    RefusedResults,
    ResultOffer,
    ResultReport,
    ResultResponse,
    TaskRequest,
    TaskResponse,
    TensorSpec,
    Topic,
)
from turnout.sim.checker import Checker
from turnout.sim.disk import Disk, FaultyJournal, SimBlobs
from turnout.sim.hooks import Hooks
from turnout.sim.kept import Kept
from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Point, Weather
from turnout.transport.base import Reply

THREAD_S = 0.001  #: Mean time until the loop hears what its thread did.
T = TypeVar("T")
Request = TaskRequest | ResultReport | ResultOffer
MakeCore = Callable[[Journal], Any]  #: A core that is ``interruptible``.


class Killed(BaseException):
    """Whatever this process was about to do, it does not."""


class Machine(Protocol):
    """What runs the job's processes."""

    loop: VirtualLoop
    rng: Random
    weather: Weather
    disk: Disk
    blobs: SimBlobs
    hooks: Hooks
    checker: Checker
    end: Finish | None
    newest: Published | None
    make_core: MakeCore

    @property
    def process(self) -> "SimProcess | None":
        """The one that it takes for the job's."""

    def died(self, process: "SimProcess") -> None:
        """It does nothing any more."""

    def published(self, newest: Published) -> None: ...
    def finished(self, process: "SimProcess", end: Finish) -> None: ...


class SimProcess:
    """The event loop, the thread, the recorder and the notes of one shell."""

    def __init__(self, machine: Machine, incarnation: int, kept: Kept, clock_offset: float) -> None:
        self.machine, self.incarnation = machine, incarnation
        self.journal = FaultyJournal(kept, machine.disk, machine.checker, self.survive)
        self.schema = ModelSchema((TensorSpec("x", (machine.checker.size,)),))
        self.alive = True
        self.before: Moment | None = None
        self.shell: Shell | None = None
        self._loop, self._rng, self._checker = machine.loop, machine.rng, machine.checker
        self._clock_offset = clock_offset
        self.hung_until = 0.0
        self._frozen = False
        self._work: Callable[[], object] | None = None  # what its thread is about to do
        self._moment = Moment(Phase.RECOVERY, closing=False, staged=0, commit=0, version=0)

    # --- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.run(self._start)

    def _start(self) -> None:
        self.survive(Point.START)
        try:
            recovered = self.journal.load()
        except OSError:  # the next process may be able to read it
            self._checker.seen["crashes: journal not readable"] += 1
            raise Killed from None
        core = self.machine.make_core(self.journal)
        core.process = self
        self.shell = Shell(core, self.schema, self._around(), recovered)
        self.shell.start()

    def _around(self) -> Around:
        machine, hooks = self.machine, self.machine.hooks
        return Around(
            loop=self,
            thread=self.thread,
            journal=self.journal,
            blobs=machine.blobs,
            allow=lambda num_bytes: None,
            notes=self,
            recorder=self,
            wall_clock=self.time,
            progressed=lambda: None,
            ended=self._ended,
            named_before=[machine.newest.sha256] if machine.newest is not None else [],
            evaluate=self._evaluate,
            chances=Chances(hooks.selecting(self), self._job_time) if hooks.selects else None,
            weights=Weights(hooks.weighing(self)) if hooks.weighs else None,
        )

    def run(self, act: Callable[[], object]) -> None:
        """All that its loop does goes through here: nothing once it is dead, and what has to wait while it hangs."""
        if not self.alive:
            return
        if self._loop.now < self.hung_until:
            self._loop.at(self.hung_until, lambda: self.run(act))
            return
        try:
            act()
        except Killed:
            self.die()
        except Fenced:
            self._fenced()

    def hang(self, frozen: bool) -> float:
        """For a while its loop does nothing, and if ``frozen`` its thread neither; returns until when."""
        self.hung_until = self._loop.now + self.machine.weather.hangs_for_s
        self._frozen = frozen
        return self.hung_until

    @property
    def hangs(self) -> bool:
        return self._loop.now < self.hung_until

    def die(self) -> None:
        """It is killed. What its thread was writing may have made it to the disk."""
        self._checker.seen[f"crashes: {self.interrupted()}"] += 1
        if self._work is not None:
            self.journal.dying = True
            self._work()
        self.leave()

    def leave(self) -> None:
        """Its job is over, or it is."""
        self.alive = False
        if self.shell is not None:
            self.shell.stop()
        self.journal.leave()
        self.machine.died(self)

    def _ended(self, ended: Ended) -> None:
        if ended.exit_code == exits.EXIT_NOT_OURS:
            self._fenced()
        elif ended.error is not None:
            raise AssertionError(f"the process gave up: {ended.error}")

    def _fenced(self) -> None:
        self._checker.seen["fenced processes"] += 1
        self.leave()

    def interrupted(self) -> str:
        """What a crash now interrupts, by the recorder."""
        moment = self._moment
        match moment.phase:
            case Phase.RECOVERY:
                return "recovering"
            case Phase.COMMITTING if self.journal.written:
                return "committed, unanswered"
            case Phase.COMMITTING if moment.closing:
                return "closing"
        words = {Phase.OPEN: "staged", Phase.COMMITTING: "committing", Phase.COMMITTED: "committed, unanswered"}
        return words.get(moment.phase, "idle") if moment.staged else "idle"

    def survive(self, point: Point) -> None:
        share = self.machine.weather.crash.get(point, 0.0)
        if share and not self.journal.dying and self.machine.end is None and self._rng.random() < share:
            self._checker.seen[f"crashes {point.name}"] += 1
            raise Killed

    # --- its loop ----------------------------------------------------------------------------------------------

    def time(self) -> float:
        """It counts up, from anywhere; between two processes it may jump."""
        return self._loop.now + self._clock_offset

    def call_soon(self, act: Callable[..., object], *arguments: Any) -> None:
        self.call_later(0.0, act, *arguments)

    def call_later(self, delay_s: float, act: Callable[..., object], *arguments: Any) -> None:
        self._loop.after(delay_s, lambda: self.run(partial(act, *arguments)))

    def call_at(self, when: float, act: Callable[..., object], *arguments: Any) -> "SimTimer":
        timer = SimTimer(partial(act, *arguments))
        self._loop.at(when - self._clock_offset, lambda: self.run(timer))
        return timer

    def _job_time(self) -> float:
        assert self.shell is not None
        return self.shell.now()

    # --- its thread --------------------------------------------------------------------------------------------

    def thread(self, work: Callable[[], T], done: Callable[[T, float], object]) -> None:
        took_s = self.machine.disk.takes_s()
        self._work = work
        self._loop.after(took_s, lambda: self._in_thread(work, done, took_s))

    def _in_thread(self, work: Callable[[], T], done: Callable[[T, float], object], took_s: float) -> None:
        """It runs when the loop hangs, unless it hangs too."""
        if not self.alive:
            return
        if self._frozen and self._loop.now < self.hung_until:
            self._loop.at(self.hung_until, lambda: self._in_thread(work, done, took_s))
            return
        try:
            found = work()
        except Killed:
            self._work = None
            self.die()
        else:
            self._work = None
            self.call_later(self._rng.expovariate(1 / THREAD_S), done, found, took_s)

    # --- what it is asked --------------------------------------------------------------------------------------

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        watched = _WatchedReply(self, _request(topic, payload), reply)
        if topic is Topic.REFUSED:
            told = msgspec.msgpack.decode(payload, type=RefusedResults)
            self._checker.refused_elsewhere |= {each.task_id for each in told.items}
        self.run(lambda: self.shell.received(topic, payload, watched) if self.shell is not None else None)

    def tell(self, topic: Topic, text: str = "") -> None:
        """What a person wants of it, through control."""
        self.received(topic, memoryview(text.encode()), NOBODY)

    def answers(self, request: Request | None, payload: bytes) -> None:
        """The answer to a request leaves the process."""
        assert self.shell is not None
        if isinstance(request, TaskRequest):
            task = msgspec.msgpack.decode(payload, type=TaskResponse)
            if task.task_id is not None:
                lease = Seal(self.shell.core.rules.job_id, self.journal.key).open(task.task_id)
                assert lease is not None, "what a job gives out is sealed with its key"
                self._checker.task_given(request.device.device_id, lease, task, self.shell.now(), self.incarnation)
                if self.machine.process is self:
                    self._checker.model_named(task)
        elif request is not None:
            response = msgspec.msgpack.decode(payload, type=ResultResponse)
            self._checker.answered(request, response, self.shell.now())

    # --- what it does ------------------------------------------------------------------------------------------

    def happens(self, effects: list[Effect]) -> Iterator[Effect]:
        """It may be killed before each effect: some of the answers of one commit are out, others not."""
        for effect in effects:
            self.survive(Point.EFFECT)
            if isinstance(effect, Finish):
                self.machine.finished(self, effect)
            elif isinstance(effect, Commit):
                assert self.shell is not None
                places, begun = self.shell.core.parts.places, self.shell.core.commits.writing
                assert begun is not None
                self._checker.begins(effect.snapshot, places.live.by_task(), {} if begun.closes else places.taken())
            elif isinstance(effect, Publish):
                self._checker.published(effect.version, effect.blob)
            yield effect

    def _evaluate(self, wanted: Evaluate, done: Callable[[Evaluated], None]) -> None:
        took_s, measured = self.machine.hooks.evaluate(wanted.version)
        self.call_later(took_s, done, measured)

    # --- its notes and its recorder ----------------------------------------------------------------------------

    def event(self, kind: str, **fields: object) -> None:
        self._checker.seen[f"told: {kind}"] += 1

    def published(self, newest: Published) -> None:
        self.machine.published(newest)

    def names(self) -> Collection[str]:
        newest = self.machine.newest
        return () if newest is None else (newest.sha256,)

    def final(self, status: JobStatus, done: Callable[[OSError | None], None]) -> None:
        self.call_later(THREAD_S, done, None)

    def note(self, phase: Phase, staged: int, commit: int, version: int, closing: bool = False) -> None:
        self._moment = Moment(phase, closing, staged, commit, version)
        self.journal.written &= phase is not Phase.OPEN


class SimTimer:
    """Calls once, unless cancelled."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act: Callable[[], object] | None = act

    def cancel(self) -> None:
        self._act = None

    def __call__(self) -> None:
        if self._act is not None:
            self._act()


class _Effects(list[Effect]):
    """Carried out one after the other, while the process lives."""

    def __init__(self, process: SimProcess, effects: list[Effect]) -> None:
        super().__init__(effects)
        self._process = process

    def __iter__(self) -> Iterator[Effect]:
        return self._process.happens([*super().__iter__()])


def interruptible(kind: type[JobCore]) -> type[JobCore]:
    """The same core, in a process that may be killed before each event and each effect."""

    class Interruptible(kind):  # type: ignore[misc, valid-type]
        process: SimProcess

        def start(self, now: float, snapshot: Snapshot | None) -> list[Effect]:
            return _Effects(self.process, super().start(now, snapshot))

        def handle(self, event: Event, now: float) -> list[Effect]:
            self.process.survive(Point.EVENT)
            return _Effects(self.process, super().handle(event, now))

    return Interruptible


def _request(topic: Topic, payload: memoryview) -> Request | None:
    """None for what the checker does not look at."""
    kinds: dict[Topic, type[Request]] = {
        Topic.TASK: TaskRequest,
        Topic.RESULT: ResultReport,
        Topic.OFFER: ResultOffer,
    }
    kind = kinds.get(topic)
    return msgspec.msgpack.decode(payload, type=kind) if kind is not None else None


class _WatchedReply:
    def __init__(self, process: SimProcess, request: Request | None, reply: Reply) -> None:
        self._process, self._request, self._reply = process, request, reply

    def __call__(self, payload: bytes) -> None:
        self._process.answers(self._request, payload)
        self._reply(payload)

    def fail(self, reason: str) -> None:
        self._reply.fail(reason)


class Nobody:
    """Waits for no reply."""

    def __call__(self, payload: bytes) -> None:
        pass

    def fail(self, reason: str) -> None:
        pass


NOBODY = Nobody()
