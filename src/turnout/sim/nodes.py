"""The processes of the simulated world: thin shells around the real cores, as the real ones are."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec
import numpy as np

from turnout.device.session import Ended, Send, Session, Sleep, Train, TrainedUpdate
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
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
    SelectionAsked,
    Stop,
    TaskAsked,
    Tick,
)
from turnout.job.journal import BlobRef, MemoryJournal, Snapshot
from turnout.messages import (
    EdgeRequest,
    EdgeResponse,
    ModelSchema,
    ResultOffer,
    ResultReport,
    ResultResponse,
    RunningJob,
    SelectionRequest,
    Status,
    TableSnapshot,
    TaskRequest,
    TaskResponse,
    TensorSpec,
    Topic,
)
from turnout.sim.checker import Checker
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import Air, SimTransport
from turnout.sim.weather import Weather
from turnout.transport.base import JobHandler, Reply

JOB = RunningJob("job-1", "sums", {"edge_method": "numpy"}, address="sim", blobs="sim")
REPLY_TIMEOUT_S = 12.0  #: A device gives up on a request after this.
DISPATCHER_TICK_S = 0.25
EVALUATION_S = 5.0  #: Mean; longer than many a version.


class SimJob:
    """The job's process: feeds the core, commits to the journal after a while, dies and comes back."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        journal: MemoryJournal,
        checker: Checker,
        make_core: Callable[[], JobCore],
    ) -> None:
        self.loop, self.rng, self.weather = loop, rng, weather
        self.journal, self.checker = journal, checker
        self.generation = 0
        self.make_core = make_core
        self.core: JobCore | None = None
        self.published = 0
        self.finished = False
        self.hangs_until = 0.0
        size = make_core().model.size
        self.schema = ModelSchema((TensorSpec("x", (size,)),))
        self._epoch = 0.0
        self._tickets = 0
        self._waiting: dict[int, tuple[Reply, TaskRequest | ResultReport | SelectionRequest | ResultOffer]] = {}
        self._committing: Snapshot | None = None

    @property
    def handler(self) -> JobHandler | None:
        return None if self.core is None else _Visit(self, self.generation)

    def start(self) -> None:
        self.generation += 1
        self.finished = False
        snapshot = self.journal.load()
        self._epoch = self.loop.now - (snapshot.job_time if snapshot else 0.0)
        self.core = self.make_core()
        self._carry_out(self.core.start(self._now(), snapshot))

    def crash(self) -> None:
        """The process is killed; a commit under way may have made it to the disk."""
        if self._committing is not None and self.rng.random() < 0.5:
            self.journal.commit(self._committing)
        self._committing = None
        self.core = None
        self._waiting.clear()

    def feed(self, event: Event) -> None:
        assert self.core is not None
        self._carry_out(self.core.handle(event, self._now()))

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        self._tickets += 1
        ticket = self._tickets
        match topic:
            case Topic.TASK:
                task = msgspec.msgpack.decode(payload, type=TaskRequest)
                self._waiting[ticket] = (reply, task)
                self.feed(TaskAsked(ticket, task))
            case Topic.RESULT:
                report = msgspec.msgpack.decode(payload, type=ResultReport)
                self._waiting[ticket] = (reply, report)
                self.feed(Result(ticket, report))
            case Topic.OFFER:
                offer = msgspec.msgpack.decode(payload, type=ResultOffer)
                self._waiting[ticket] = (reply, offer)
                self.feed(ResultOffered(ticket, offer))
            case Topic.SELECTION:
                selection = msgspec.msgpack.decode(payload, type=SelectionRequest)
                self._waiting[ticket] = (reply, selection)
                self.feed(SelectionAsked(ticket, selection))
            case _:
                reply.fail(f"no {topic} here")

    def _now(self) -> float:
        return self.loop.now - self._epoch

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Answer():
                    self._answer(effect)
                case Commit():
                    self._commit(effect.snapshot)
                case Publish():
                    self.published = effect.version
                case Evaluate():
                    self._evaluate(effect.version)
                case Finish():
                    self.finished = True
        self._schedule_tick()

    def _answer(self, effect: Answer) -> None:
        reply, request = self._waiting.pop(effect.ticket)
        response = effect.response
        device = index_of(request.device.device_id)
        if isinstance(response, ResultResponse) and isinstance(request, ResultReport | ResultOffer):
            self.checker.answered(request, response)
        elif isinstance(response, TaskResponse) and response.task_id is not None:
            self.checker.task_given(device, response)
        reply(msgspec.msgpack.encode(response))

    def _schedule_tick(self) -> None:
        assert self.core is not None
        due = self.core.next_tick(self._now())
        if due is not None:
            generation = self.generation
            self.loop.at(due + self._epoch, lambda: self._tick(generation))

    def _tick(self, generation: int) -> None:
        if self.core is None or generation != self.generation:
            return
        due = self.core.next_tick(self._now())
        if due is not None and due + self._epoch <= self.loop.now:
            self._carry_out(self.core.handle(Tick(), max(self._now(), due)))  # sums of floats may fall short

    def _commit(self, snapshot: Snapshot) -> None:
        self._committing = snapshot
        generation = self.generation
        took_s = self.rng.expovariate(1 / self.weather.commit_s)
        self.loop.after(took_s, lambda: self._committed(snapshot, took_s, generation))

    def _committed(self, snapshot: Snapshot, took_s: float, generation: int) -> None:
        if generation != self.generation or self.core is None:
            return
        self._committing = None
        blob = BlobRef(f"{snapshot.version:064x}", snapshot.model.nbytes)
        if self.rng.random() < self.weather.commit_fails:
            self.feed(CommitFailed(snapshot.commit, "simulated", self.journal.load(), None))
            return
        self.journal.commit(snapshot)
        if self.rng.random() < self.weather.commit_doubtful:
            self.feed(CommitFailed(snapshot.commit, "simulated doubt", self.journal.load(), blob))
        else:
            self.feed(Committed(snapshot.commit, took_s, blob))

    def _evaluate(self, version: int) -> None:
        generation = self.generation
        metrics = {"accuracy": 1.0} if self.rng.random() < 0.8 else None

        def done() -> None:
            if self.core is not None and generation == self.generation:
                self.checker.seen["evaluations"] += 1
                self.feed(Evaluated(version, metrics, "simulated"))

        self.loop.after(self.rng.expovariate(1 / EVALUATION_S), done)

    def hang(self) -> None:
        if self.core is not None:
            self.checker.seen["hangs"] += 1
            self.hangs_until = self.loop.now + self.weather.hangs_for_s

    def stop(self) -> None:
        if self.core is not None:
            self.feed(Stop("a person says so"))

    def resume(self) -> None:
        if self.core is not None:
            self.feed(Resumed())


@dataclass(slots=True)
class _Visit:
    """What a connection made to one start of the job reaches: nothing once that process is dead."""

    job: SimJob
    generation: int

    def received(self, topic: Topic, payload: memoryview, reply: Reply) -> None:
        if self.job.core is None or self.job.generation != self.generation:
            return
        if self.job.hangs_until > self.job.loop.now:
            self.job.loop.at(self.job.hangs_until, lambda: self.received(topic, payload, reply))
            return
        self.job.received(topic, payload, reply)


class SimGateway:
    """A gateway's process: the real dispatcher, and the connections of devices that break when it dies."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        job: SimJob,
        make_dispatcher: Callable[[JobTable, SimTransport, VirtualLoop, Random], EdgeTaskDispatcher],
    ) -> None:
        self.loop, self.rng, self.weather, self.job = loop, rng, weather, job
        self._make_dispatcher = make_dispatcher
        self.transport: SimTransport | None = None
        self._dispatcher: EdgeTaskDispatcher | None = None
        self._starts = 0
        self._connections: dict[int, Callable[[], None]] = {}  # exchange -> what breaks with it
        self._exchanges = 0

    def start(self) -> None:
        self._starts += 1
        self.transport = SimTransport(self.loop, self.rng, self.weather, self.job)
        self._dispatcher = self._make_dispatcher(JobTable(), self.transport, self.loop, self.rng)
        self._dispatcher.apply(TableSnapshot((JOB,)))
        self._tick(self._starts)

    def crash(self) -> None:
        if self.transport is not None:
            self.transport.gateway_died()
        self.transport = self._dispatcher = None
        broken, self._connections = self._connections, {}
        for breaks in broken.values():
            self.loop.after(0.01, breaks)

    def request(self, request: EdgeRequest, answer: Callable[[EdgeResponse], None], breaks: Callable[[], None]) -> None:
        if self._dispatcher is None:
            breaks()
            return
        self._exchanges += 1
        exchange, starts = self._exchanges, self._starts
        self._connections[exchange] = breaks

        def answered(response: EdgeResponse) -> None:
            assert starts == self._starts or self._dispatcher is None, "an answer of a dead gateway"
            if self._connections.pop(exchange, None) is not None:
                answer(response)

        self._submit(request, answered)

    def _submit(self, request: EdgeRequest, answered: Callable[[EdgeResponse], None]) -> None:
        """As a gateway does: of a large result it asks the job first, and reads on only if it is wanted."""
        assert self._dispatcher is not None
        if not isinstance(request, ResultReport) or self.rng.random() >= self.weather.asks_first:
            self._dispatcher.submit(request, answered)
            return
        dispatcher = self._dispatcher

        def judged(response: EdgeResponse) -> None:
            assert isinstance(response, ResultResponse)
            if response.status is Status.OK and not response.counted:
                dispatcher.submit(request, answered)
            else:
                answered(response)

        dispatcher.submit(ResultOffer(request.device, request.job_id, request.task_id), judged)

    def _tick(self, starts: int) -> None:
        if self._dispatcher is not None and starts == self._starts:
            self._dispatcher.tick(self.loop.now)
            self.loop.after(DISPATCHER_TICK_S, lambda: self._tick(starts))


def device_id(index: int) -> str:
    return f"device-{index}"


def index_of(device_id: str) -> int:
    return int(device_id.removeprefix("device-"))


@dataclass(slots=True)
class SimDevice:
    """A device: the real session, and a trainer that adds 1 at the device's own coordinate."""

    index: int
    size: int
    session: Session
    loop: VirtualLoop
    rng: Random
    weather: Weather
    air: Air
    gateways: list[SimGateway]
    checker: Checker
    may_leave: Callable[[], bool]
    ended: bool = False
    _step: int = field(default=0)  # what was begun before the present step comes to nothing

    def act(self) -> None:
        """Do what the session says next."""
        self._step += 1
        step = self._step
        match self.session.next(self.loop.now):
            case Send(request):
                self._send(request, step)
            case Train(_):
                self._train(step)
            case Sleep(until):
                self.loop.at(until, lambda: self.act() if step == self._step else None)
            case Ended():
                self.ended = True

    def _send(self, request: EdgeRequest, step: int) -> None:
        if isinstance(request, ResultReport):
            self.checker.result_sent(request)
        gateway = self.rng.choice(self.gateways)
        self.loop.after(REPLY_TIMEOUT_S, lambda: self._failed("time-out", step))

        arrived = [0.0]

        def arrive() -> None:
            arrived[0] = self.loop.now
            gateway.request(request, answer, lambda: self._failed("connection lost", step))

        def answer(response: EdgeResponse) -> None:
            if isinstance(request, ResultReport) and isinstance(response, ResultResponse):
                self.checker.told(request, response, self.loop.now - arrived[0])
            self.air.carry(lambda: self._answered(response, step))

        self.air.carry(arrive)

    def _answered(self, response: EdgeResponse, step: int) -> None:
        if step == self._step:
            self.session.received(response, self.loop.now)
            self.act()

    def _failed(self, reason: str, step: int) -> None:
        if step == self._step:
            self.session.failed(reason, self.loop.now)
            self.act()

    def _train(self, step: int) -> None:
        if self.rng.random() < self.weather.dropout:
            if self.may_leave() and self.rng.random() < self.weather.leaves:
                self.ended = True
                return
            self.session.abandon(self.loop.now + self.rng.expovariate(1 / self.weather.away_s))
            self.act()
            return
        update = np.zeros(self.size, dtype="<f4")
        update[self.index] = 1.0
        trained = TrainedUpdate(memoryview(update.tobytes()))
        self.loop.after(self.rng.expovariate(1 / self.weather.training_s), lambda: self._trained(trained, step))

    def _trained(self, trained: TrainedUpdate, step: int) -> None:
        if step == self._step:
            self.session.trained(trained, self.loop.now)
            self.act()
