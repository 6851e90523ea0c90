"""One simulated world from one seed: real cores, bad weather, and a checker outside."""

import hashlib
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.mean import MeanAggregator
from turnout.aggregator.optimizer import ServerOptimizer, Vector
from turnout.device.session import ACCEPT, ACCEPT_ALL, Session, SessionPolicy
from turnout.dispatcher.pending import DispatcherLimits
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.dispatcher.table import JobTable
from turnout.job.compose import core_of
from turnout.job.core.core import JobCore
from turnout.job.core.parts import Parts
from turnout.job.core.states import Kind
from turnout.job.journal.journal import Journal
from turnout.job.journal.memory import MemoryJournal
from turnout.job.places.leases import Seal
from turnout.job.places.places import Places
from turnout.messages import DeviceInfo
from turnout.sim.books import Violation
from turnout.sim.checker import Checker, device_id
from turnout.sim.device import SimDevice
from turnout.sim.gateway import JOB, SimGateway
from turnout.sim.hooks import RARE_VERSION, Hooks
from turnout.sim.job import SimJob
from turnout.sim.kept import FileStore, MemoryStore, Store
from turnout.sim.loop import VirtualLoop
from turnout.sim.network import Air, SimTransport
from turnout.sim.plan import EXAMPLES, MODEL_SIZE, STORM_S, Plan
from turnout.sim.process import interruptible
from turnout.sim.strangers import Forger, Poisoner

CALM_MAX_S = 1200.0  #: After that, this much is time enough to make progress and to settle every result.
PROGRESS = 3  #: Versions that must be made once the faults have stopped.
RESUME_EVERY_S = 20.0  #: A person looks after paused jobs this often.
REVIVE_EVERY_S = 60.0  #: Once a job was started again, apps that ended with it are started again this often.
FORGE_EVERY_S = 5.0  #: Mean; where tasks are made up, one is this often.
PAUSE_EVERY_S = 50.0  #: Mean; a person pauses the job this often, in every other world.
END_MAX_S = 300.0  #: Enough for a last commit and for evaluations, of which two may be to come and one be slow.
IN_FLIGHT_MAX_S = 120.0  #: What devices no longer wait for is answered or timed out by then.
FAST = Path("/dev/shm")  #: Where a sync costs nothing.
RARE = 4  #: Every fourth device has an app that is seldom selected, where the job selects.

T = TypeVar("T")


class Diverging:
    """An optimizer that leaves the numbers at one mean in twenty, whichever process makes the step."""

    def __init__(self, optimizer: ServerOptimizer) -> None:
        self.snapshot, self.restore = optimizer.snapshot, optimizer.restore
        self._step = optimizer.step

    def step(self, model: NDArray[np.float32], mean: Vector) -> NDArray[np.float32]:
        stepped = self._step(model, mean)
        return np.full_like(model, np.inf) if zlib.crc32(mean.tobytes()) % 20 == 0 else stepped


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
        self._core = interruptible(builders.core)
        self._settling = False
        self.loop = VirtualLoop()
        spec = self.plan.spec
        self.hooks = Hooks(self.rng, self.plan.selects, self.plan.weighs, self.plan.diverges)
        self.checker = Checker(MODEL_SIZE, spec, self.hooks, lambda: self.loop.now)
        self._key = hashlib.sha256(b"%d" % seed).digest()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.weather = self.plan.weather
        self.air = Air(self.loop, self.rng, self.weather)
        self.job = SimJob(self.loop, self.rng, self.weather, self._store(), self.checker, self.hooks, self._make_core)
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
        except Exception as error:
            if isinstance(
                _root(error), TypeError | AttributeError | NameError
            ):  # a mistake, and not what is looked for
                raise
            what = error if isinstance(error, Violation) else traceback.format_exc(limit=-2).strip()
            raise Violation(f"seed {self.seed} at {self.loop.now:.3f} s: {what}\n  {self.plan}") from error
        finally:
            self.job.store.close()
            if self._folder is not None:
                self._folder.cleanup()
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
        if self.plan.stopped_at is not None and self.job.end is not None and self.job.end.kind is Kind.CANCELLED:
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
        if self.job.is_to_end or self.plan.ends:
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
        end = self.loop.now + IN_FLIGHT_MAX_S  # late copies come one by one
        self.loop.run_until(end, goes_on=lambda: any(gateway.room_used for gateway in self.gateways))
        if used := sum(gateway.room_used for gateway in self.gateways):
            raise Violation(f"{used} bytes of the gateways' room are never released")

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

    def _store(self) -> Store:
        """On the real disk where the plan says so; broken journals are in memory."""
        if not self.plan.on_disk or self.builders.journal is not MemoryJournal:
            return MemoryStore(self.builders.journal, self._key)
        self._folder = tempfile.TemporaryDirectory(prefix="turnout-sim-", dir=FAST if FAST.is_dir() else None)
        return FileStore(Path(self._folder.name), JOB.job_id, self._key)

    def _make_core(self, journal: Journal) -> JobCore:
        """Of the plan's settings, as a job's process makes it, but for what the builders break."""
        core = core_of(
            self.plan.spec,
            JOB.job_id,
            np.zeros(MODEL_SIZE, np.float32),
            journal,
            evaluates=True,
            rng=Random(self.seed),
            kind=self._core,
            change=self._change,
        )
        core.checks = True
        return core

    def _change(self, parts: Parts) -> Parts:
        builders, training = self.builders, self.plan.spec.training
        return replace(
            parts,
            seal=parts.seal if builders.seal is Seal else builders.seal(JOB.job_id, self._key),
            aggregator=builders.aggregator(MODEL_SIZE, training.weight_max, training.update_norm_max),
            optimizer=Diverging(parts.optimizer) if self.plan.diverges else parts.optimizer,
            places=_as(builders.places, parts.places),
        )

    def _make_dispatcher(
        self, table: JobTable, transport: SimTransport, loop: VirtualLoop, rng: Random
    ) -> EdgeTaskDispatcher:
        limits = DispatcherLimits(results_bytes_max=self.plan.room_bytes)
        return self.builders.dispatcher(table, transport, lambda: loop.now, rng, limits)

    def _make_device(self, index: int, kind: type[SimDevice] = SimDevice) -> SimDevice:
        spec = self.plan.spec
        policy = SessionPolicy(0.5, backoff_max_s=5.0, resend_window_s=spec.leases.resend_window_s / 2)
        device = DeviceInfo(device_id(index), app_version=RARE_VERSION if self._is_rare(index) else "1.0")
        accept = ACCEPT_ALL if index % 3 and index < MODEL_SIZE else ACCEPT
        rng = Random(self.seed * 1000 + index)
        session = self.builders.session(device, JOB.name, rng, policy, accept=accept)
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
            1.0 + index % EXAMPLES,
        )

    def _is_rare(self, index: int) -> bool:
        return self.plan.selects and index % RARE == RARE - 1

    def _may_leave(self) -> bool:
        """Enough honest devices must stay to make a version: each has one task of it."""
        stay = sum(not device.ended and not self._is_rare(device.index) for device in self.devices)
        return stay > self.plan.goal + 2


def _as(kind: type[T], part: Any) -> T:
    """The same, of a class that a test has broken."""
    if type(part) is kind:
        return part
    return kind(**{field.name: getattr(part, field.name) for field in fields(part) if field.init})


def _root(error: BaseException) -> BaseException:
    """Where it comes from."""
    return error if error.__cause__ is None else _root(error.__cause__)


def _moments(rng: Random, every_s: float, end: float) -> Iterator[float]:
    at = rng.expovariate(1 / every_s)
    while at < end:
        yield at
        at += rng.expovariate(1 / every_s)
