"""One simulated world from one seed: real cores, bad weather, and a checker outside."""

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import MeanAggregator
from turnout.aggregator.optimizer import ServerSGD, Vector
from turnout.aggregator.staleness import constant
from turnout.device.session import Session, SessionPolicy
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.job.core.core import JobCore
from turnout.job.core.parts import Parts, Rules
from turnout.job.journal.memory import MemoryJournal
from turnout.job.places.cohort import Cohort
from turnout.job.places.fleets import Fleets
from turnout.job.places.known import KnownDevices
from turnout.job.places.leases import LeaseTime, Seal
from turnout.job.places.pacing import AppointmentBook
from turnout.job.places.places import Places
from turnout.job.places.selection import CheckIn, Selection
from turnout.job.workflow.buffered import Buffered
from turnout.job.workflow.evaluation import Evaluation
from turnout.job.workflow.ranking import Ranking
from turnout.job.workflow.rounds import Rounds
from turnout.job.workflow.workflow import Workflow
from turnout.messages import DeviceInfo
from turnout.sim.books import Violation
from turnout.sim.checker import Checker, WatchedJournal
from turnout.sim.device import SimDevice
from turnout.sim.gateway import JOB, SimGateway
from turnout.sim.job import SimJob
from turnout.sim.job_process import device_id
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import Air, SimTransport
from turnout.sim.strangers import Forger, Poisoner
from turnout.sim.weather import Weather

STORM_S = 90.0  #: How long faults happen, in virtual seconds.
CALM_MAX_S = 1200.0  #: After that, this much is time enough to make progress and to settle every result.
PROGRESS = 3  #: Versions that must be made once the faults have stopped.
RESUME_EVERY_S = 20.0  #: A person looks after paused jobs this often.
REVIVE_EVERY_S = 60.0  #: Once a job was started again, apps that ended with it are started again this often.
FORGE_EVERY_S = 5.0  #: Mean; where tasks are made up, one is this often.
PAUSE_EVERY_S = 50.0  #: Mean; a person pauses the job this often, in every other world.
END_MAX_S = 300.0  #: Enough for a last commit and for evaluations, of which two may be to come and one be slow.
MODEL_SIZE = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed decides."""

    devices: int
    goal: int
    concurrency: int
    staleness_max: int
    rounds: bool
    versions_max: int | None
    time_max_s: float | None  #: The job is over at this job time.
    stopped_at: float | None  #: A person ends the job in the middle of the storm.
    resend_window_s: float  #: Of the job; devices give up after half of it.
    lease_max_s: float
    weather: Weather
    cohort: bool = False  #: Devices are drawn by lot, and do not get places as they come.
    least: int = 0  #: Results that a last version may be made of; 0: no fewer than any other.
    diverges: bool = False  #: Now and then a step leaves the numbers.
    forges: bool = False  #: Somebody has the job's key, and makes up tasks.
    poisons: bool = False  #: One device more sends updates from another order of size.

    @classmethod
    def drawn(cls, rng: Random, strangers: Random) -> "Plan":
        goal = rng.choice([2, 4, 8])
        return cls(
            devices=rng.randint(goal + 4, MODEL_SIZE),
            goal=goal,
            concurrency=goal + rng.randint(0, 8),
            staleness_max=rng.choice([0, 1, 3, 10]),
            rounds=rng.random() < 0.35,
            versions_max=rng.randint(2, 12) if rng.random() < 0.2 else None,
            time_max_s=rng.uniform(20.0, STORM_S) if rng.random() < 0.1 else None,
            stopped_at=rng.uniform(20.0, STORM_S) if rng.random() < 0.15 else None,
            resend_window_s=rng.choice([2.0, 20.0, 120.0]),
            lease_max_s=rng.choice([5.0, 60.0]),
            weather=Weather.drawn(rng),
            cohort=rng.random() < 0.35,
            least=rng.choice([0, 2]),
            diverges=rng.random() < 0.25,
            forges=strangers.random() < 0.3,
            poisons=strangers.random() < 0.3,
        )

    def workflow(self) -> Workflow:
        if self.rounds:
            return Rounds(self.goal, 1.5, deadline_s=30.0, quorum=1.0, extensions_max=3, least=self.least)
        return Buffered(self.concurrency, self.goal, self.staleness_max, least=self.least)


class Diverging(ServerSGD):
    """Leaves the numbers at one mean in twenty, whichever process makes the step."""

    def step(self, model: NDArray[np.float32], mean: Vector) -> NDArray[np.float32]:
        if zlib.crc32(mean.tobytes()) % 20 == 0:
            return np.full_like(model, np.inf)
        return super().step(model, mean)


@dataclass(frozen=True, slots=True)
class Builders:
    """What the world is built of; a test puts a broken part in to see that it is found."""

    core: type[JobCore] = JobCore
    journal: type[MemoryJournal] = MemoryJournal
    places: type[Places] = Places
    seal: type[Seal] = Seal
    aggregator: type[MeanAggregator] = MeanAggregator
    dispatcher: type[EdgeTaskDispatcher] = EdgeTaskDispatcher
    session: type[Session] = Session


class World:
    """Devices, two gateways and a job that runs in virtual time."""

    def __init__(self, seed: int, builders: Builders = Builders(), plan: Plan | None = None) -> None:
        """``plan`` instead of the one that the seed draws."""
        self.seed = seed
        self.rng = Random(seed)
        strangers = Random(f"strangers of {seed}")
        drawn = Plan.drawn(self.rng, strangers)
        self.plan = plan or drawn
        self.builders = builders
        self._settling = False
        self.loop = VirtualLoop()
        workflow = self.plan.workflow()
        self.checker = Checker(
            MODEL_SIZE,
            workflow.least,
            workflow.goal,
            workflow.staleness_max,
            self.plan.lease_max_s,
            self.plan.resend_window_s,
            lambda: self.loop.now,
            self.plan.versions_max,
        )
        self.journal = WatchedJournal(builders.journal(), self.checker)
        self.weather = self.plan.weather
        self.air = Air(self.loop, self.rng, self.weather)
        self.job = SimJob(self.loop, self.rng, self.weather, self.journal, self.checker, self._make_core)
        self.gateways = [
            SimGateway(self.loop, self.rng, self.weather, self.job, self._make_dispatcher) for _ in range(2)
        ]
        self.devices = [self._make_device(index) for index in range(self.plan.devices)]
        self.poisoners = [self._make_device(MODEL_SIZE, Poisoner)] if self.plan.poisons else []
        self.checker.strangers = {poisoner.index for poisoner in self.poisoners}
        forger = Forger(self.job, strangers)
        for at in _moments(strangers, FORGE_EVERY_S, STORM_S) if self.plan.forges else ():
            self.loop.at(at, forger.act)

    def run(self) -> Counter[str]:
        """Storm, then calm. Raises Violation, which names the seed."""
        try:
            self._run()
        except AssertionError as error:
            raise Violation(f"seed {self.seed} at {self.loop.now:.3f} s: {error}\n  {self.plan}") from error
        return Counter({**self.checker.seen, "versions": self.job.version})

    def _run(self) -> None:
        self.job.start()
        for gateway in self.gateways:
            gateway.start()
        for device in (*self.devices, *self.poisoners):
            self.loop.after(self.rng.random(), device.act)
        self._often(self.weather.job_crash_s, self.job.crash)
        for gateway in self.gateways:
            self._often(self.weather.gateway_crash_s, partial(self._crash_gateway, gateway))
        self._often(self.weather.hang_s, self.job.hang)
        self._often(self.weather.full_s, self.job.disk.fill)
        self._often(self.weather.slow_s, self.job.disk.slow_down)
        pauses = Random(f"pauses of {self.seed}")
        if pauses.random() < 0.5:
            for at in _moments(pauses, PAUSE_EVERY_S, STORM_S):
                self.loop.at(at, self.job.pause)
        if self.plan.stopped_at is not None:
            self.loop.at(self.plan.stopped_at, self.job.stop)
        self._resume_often()
        self.loop.run_until(STORM_S)
        self._calm()
        self._make_progress()
        if self.plan.stopped_at is not None and self.job.end is not None and self.job.end.aborted:
            self._start_again()
        self._settle()
        self.checker.settled()
        self._end()

    def _make_progress(self) -> None:
        """Once the faults have stopped, versions are made again, up to the last."""
        made = self.job.version
        self.loop.run_until(self.loop.now + CALM_MAX_S, goes_on=lambda: not self._progressed(made))
        if not self._progressed(made):
            raise Violation(f"no progress: version {self.job.version}, {made} when the faults stopped")

    def _progressed(self, made: int) -> bool:
        if self.job.is_to_end or self.plan.versions_max is not None or self.plan.time_max_s is not None:
            return self.job.end is not None
        return self.job.version >= made + PROGRESS

    def _start_again(self) -> None:
        """What was left at the end goes into the versions that are made now, and no task of before counts any more."""
        self.job.start_again()
        self._revive_devices()
        self._make_progress()

    def _revive_devices(self) -> None:
        """Start the app again on devices that were told of the end.

        More than once: a process that hung and was replaced before the end may wake up and tell devices after it.
        """
        if self._settling or self.job.end is not None:
            return
        for index, device in enumerate(self.devices):
            if device.ended:
                self.devices[index] = self._make_device(index)
                self.loop.after(self.rng.random(), self.devices[index].act)
        self.loop.after(REVIVE_EVERY_S, self._revive_devices)

    def _end(self) -> None:
        """A person stops the job, if it has not ended by itself: it announces its end."""
        if self.job.end is None:
            self.job.stop()
            self.loop.run_until(self.loop.now + END_MAX_S, goes_on=lambda: self.job.end is None)
        if self.job.end is None:
            raise Violation("the job was stopped, and its end is not announced")

    def _calm(self) -> None:
        calm = self.weather.calm()
        self.weather = calm
        self.air.weather = self.job.weather = self.job.disk.weather = calm
        self.job.disk.mend()
        for device in (*self.devices, *self.poisoners):
            device.weather = calm
        for gateway in self.gateways:
            gateway.weather = calm
            if gateway.transport is not None:
                gateway.transport.weather = calm

    def _settle(self) -> None:
        """Devices take no more tasks and report what they have."""
        self._settling = True
        devices = [*self.devices, *self.poisoners]
        for device in devices:
            device.session.stop()
        end = self.loop.now + CALM_MAX_S
        self.loop.run_until(end, goes_on=lambda: not all(device.ended for device in devices))
        if not all(device.ended for device in devices):
            raise Violation("devices cannot settle their results though the faults have stopped")

    # --- faults ------------------------------------------------------------------------------------------------

    def _often(self, every_s: float, happens: Callable[[], None]) -> None:
        if every_s:
            for at in _moments(self.rng, every_s, STORM_S):
                self.loop.at(at, happens)

    def _crash_gateway(self, gateway: SimGateway) -> None:
        if gateway.transport is None:
            return
        gateway.crash()
        self.checker.seen["gateway crashes"] += 1
        self.loop.after(self.rng.expovariate(1 / self.weather.restart_s), gateway.start)

    def _resume_often(self) -> None:
        self.job.resume()
        self.loop.after(RESUME_EVERY_S, self._resume_often)

    # --- parts -------------------------------------------------------------------------------------------------

    def _make_core(self, key: bytes) -> JobCore:
        pacing = AppointmentBook(rate=10.0, wait_min_s=1.0, wait_max_s=10.0)
        parts = Parts(
            workflow=self.plan.workflow(),
            seal=self.builders.seal(JOB.job_id, key),
            aggregator=self.builders.aggregator(MODEL_SIZE, weight_max=1.0),
            optimizer=(Diverging if self.plan.diverges else ServerSGD)(learning_rate=1.0),
            discount=constant,
            places=self.builders.places(
                selection=self._make_selection(pacing),
                lease_time=LeaseTime(first_s=min(20.0, self.plan.lease_max_s), min_s=1.0, max_s=self.plan.lease_max_s),
                weight_max=1.0,
                resend_window_s=self.plan.resend_window_s,
                participation_interval_s=0.0,
            ),
            pacing=pacing,
            evaluation=Evaluation(every=2),
            rng=Random(self.seed),
            ranking=Ranking("accuracy", keep=2),
        )
        rules = Rules(
            JOB.job_id,
            JOB.name,
            by_examples=False,
            versions_max=self.plan.versions_max,
            time_max_s=self.plan.time_max_s,
            device_settings={},
        )
        return self.builders.core(rules, parts, np.zeros(MODEL_SIZE, np.float32))

    def _make_selection(self, pacing: AppointmentBook) -> Selection:
        if not self.plan.cohort:
            return CheckIn(0.2, pacing.waiting)
        known, fleets = KnownDevices(known_s=30.0, secret=bytes(8)), Fleets(silence_s=30.0)
        return Cohort(known, fleets, invite_s=5.0, allow_fleets=True, latest=lambda: pacing.latest)

    def _make_dispatcher(
        self, table: JobTable, transport: SimTransport, loop: VirtualLoop, rng: Random
    ) -> EdgeTaskDispatcher:
        return self.builders.dispatcher(table, transport, lambda: loop.now, rng)

    def _make_device(self, index: int, kind: type[SimDevice] = SimDevice) -> SimDevice:
        policy = SessionPolicy(0.5, backoff_max_s=5.0, resend_window_s=self.plan.resend_window_s / 2)
        session = self.builders.session(
            DeviceInfo(device_id(index)), JOB.name, Random(self.seed * 1000 + index), policy
        )
        return kind(
            index,
            MODEL_SIZE,
            session,
            self.loop,
            Random(self.seed * 1000 + 500 + index),
            self.weather,
            self.air,
            self.gateways,
            self.checker,
            self._may_leave,
        )

    def _may_leave(self) -> bool:
        """Enough honest devices must stay to make a version: each has one task of it."""
        return sum(not device.ended for device in self.devices) > self.plan.goal + 2


def _moments(rng: Random, every_s: float, end: float) -> Iterator[float]:
    at = rng.expovariate(1 / every_s)
    while at < end:
        yield at
        at += rng.expovariate(1 / every_s)
