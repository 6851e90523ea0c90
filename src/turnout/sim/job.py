"""The machine of the simulated job and its supervisor: processes crash, hang, are replaced and started again."""

from random import Random
from typing import Protocol

from turnout.job.core.events import Finish
from turnout.job.journal.recorder import Published
from turnout.messages import Topic
from turnout.sim.checker import Checker
from turnout.sim.disk import Disk, SimBlobs
from turnout.sim.hooks import Hooks
from turnout.sim.kept import Store
from turnout.sim.loop import VirtualLoop
from turnout.sim.process import MakeCore, SimProcess
from turnout.sim.weather import Weather

DAY_S = 86_400.0
GONE_S = 60.0  #: A replaced process is killed in the end: one that is paused commits nothing, and so does not notice.
AFTER_HANG_S = 6.0  #: What was sent to a process that hung has been read by then.
NOTICED = 0.3  #: A hang that is noticed is noticed after this share of it.


class Neighbour(Protocol):
    """Who is connected to the job's processes."""

    def job_started(self) -> None: ...
    def job_died(self, process: SimProcess) -> None: ...


class SimJob:
    """Runs one process of the job at a time, as far as it knows."""

    def __init__(
        self,
        loop: VirtualLoop,
        rng: Random,
        weather: Weather,
        store: Store,
        checker: Checker,
        hooks: Hooks,
        make_core: MakeCore,
    ) -> None:
        self.loop, self.rng, self.weather = loop, rng, weather
        self.disk = Disk(loop, rng, weather)
        self.blobs = SimBlobs(self.disk, checker)
        self.checker = checker
        self.hooks = hooks
        self.make_core = make_core
        self.process: SimProcess | None = None
        self.neighbours: list[Neighbour] = []
        self.newest: Published | None = None  #: The newest version that devices were given.
        self.end: Finish | None = None  #: What it said when it ended; nothing is started after that but by a person.
        self.is_to_end = False  #: A person wants it: said again to every process that starts.
        self.store = store
        self._incarnation = 0
        self._clock_offset = 0.0

    @property
    def version(self) -> int:
        return self.newest.version if self.newest is not None else 0

    @property
    def process_hung(self) -> bool:
        """Whether its process hangs, or did a moment ago."""
        return self.process is not None and self.process.hung_until > self.loop.now - AFTER_HANG_S

    def start(self) -> None:
        """Start a process, unless one runs."""
        if self.process is None:
            self._replace()

    def _replace(self) -> None:
        """A new process takes over, whether or not the old one is really dead."""
        self._incarnation += 1
        process = SimProcess(self, self._incarnation, self.store.take_over(), self._clock_offset)
        self.process = process
        process.start()
        if self.is_to_end:
            self.stop()
        if process.alive:
            for neighbour in self.neighbours:
                neighbour.job_started()

    def crash(self) -> None:
        """Kill the process, whatever it does."""
        if self.process is not None and self.end is None:
            self.process.die()

    def died(self, process: SimProcess) -> None:
        if process is self.process:
            self.process = None
            self.checker.seen["job crashes"] += 1
            self._jump()
            down_s = self.rng.expovariate(1 / self.weather.restart_s)
            if self.rng.random() < self.weather.outage:
                self.checker.seen["outages"] += 1
                down_s += self.rng.expovariate(1 / self.weather.outage_s)
            self.loop.after(down_s, self.start)
        for neighbour in self.neighbours:
            neighbour.job_died(process)

    def _jump(self) -> None:
        """The machine is moved, suspended or started again while the job is down."""
        if self.rng.random() < self.weather.clock_jumps:
            self.checker.seen["clock jumps"] += 1
            self._clock_offset = self.rng.choice(
                [self._clock_offset + DAY_S, self._clock_offset - DAY_S, -self.loop.now]
            )

    def hang(self) -> None:
        if self.process is None or self.end is not None:
            return
        process = self.process
        self.checker.seen["hangs"] += 1
        until = process.hang(frozen=self.rng.random() < self.weather.frozen)
        if self.rng.random() < self.weather.replaced:
            self.loop.after(NOTICED * (until - self.loop.now), lambda: self._give_up(process))

    def _give_up(self, process: SimProcess) -> None:
        """It does not answer: put another in its place. It may wake up and find that out for itself."""
        if self.process is process:
            self.checker.seen["replaced processes"] += 1
            self._replace()
            self.loop.after(GONE_S, lambda: process.die() if process.alive else None)

    def published(self, newest: Published) -> None:
        if newest.version >= self.version:
            self.newest = newest

    def finished(self, process: SimProcess, end: Finish) -> None:
        if process is self.process:
            self.end = end
            self.checker.ended(end)

    def start_again(self) -> None:
        """A person starts a job that a person had stopped."""
        before, self.process, self.end, self.is_to_end = self.process, None, None, False
        if before is not None:
            before.leave()
        self.checker.seen["starts after an end"] += 1
        self.start()

    def stop(self) -> None:
        """A person cancels the job."""
        self.is_to_end = True
        if self.process is not None:
            self.process.tell(Topic.CANCEL, "a person says so")

    def pause(self) -> None:
        if self.process is not None:
            self.checker.seen["pauses"] += 1
            self.process.tell(Topic.PAUSE)

    def resume(self) -> None:
        if self.process is not None:
            self.process.tell(Topic.RESUME)
