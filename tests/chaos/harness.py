"""One run: a real server, a real fleet, kills until there are enough, then peace, and a look at the books."""

import math
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from tests.chaos.ends import unexplained
from tests.chaos.job import NAME, write_job
from tests.chaos.killer import CLASSES, SPARED_S, Aim, Interrupted, JobHunter, Kill, Role, kill_any
from tests.chaos.ledger import Book
from tests.chaos.outage import Lasted, Outage, control_answers, gateway_answers, job_answers
from tests.chaos.settle import settle
from tests.chaos.verdict import Verdict, judge
from tests.end_to_end.server import TURNOUT, Server, eventually, server
from turnout.errors import TurnoutError
from turnout.job.folder.directory import JOURNAL
from turnout.job.journal.journal import Snapshot
from turnout.job.journal.sqlite import read_snapshot
from turnout.job.places.counted import COUNTED

STRIKE_S = 3.0  #: How long to wait for a job to be in what is wanted.
RECOVERIES_IN_A_ROW_MAX = 3  #: Kills during recovery without progress between them; the supervisor gives up after five.
STALL_S = 60.0  #: Nothing was acknowledged, or a job made no progress, for so long: that is a failure of its own.
SETTLE_S = 90.0  #: For every device to send what it has again, after the last kill; their backoff is 30 s at most.
TURN_S = 0.02
AHEAD_SHARE = 0.05  #: Of the kills: these may come sooner than evenly among the results, so there are bursts of them.
REPORT_EVERY_S = 5.0
FLEET_END_S = 20.0
SERVER_LOG, FLEET_LOG = "server.log", "fleet.log"


class ChaosFailed(TurnoutError):
    """The run could not be brought to its end: that is no verdict, and no success either."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does and when it is enough."""

    seed: int
    devices: int = 2000
    goal: int = 64  #: Results of a version, a power of two.
    places: int = 512  #: Devices that train at once.
    workflow: str = "buffered"
    gateways: int = 2
    kills_min: int = 200
    each_min: int = 20  #: Kills of the job in each class.
    acknowledged_min: int = 50_000
    pause_max_s: float = 0.8  #: Between two kills.
    duplicates: float = 0.05
    drops_before_answer: float = 0.02
    drops_after_answer: float = 0.02
    connections: int = 256
    #: How long a job knows which tasks it counted: short enough that a long run forgets some.
    resend_window_s: float = 60.0
    #: Results that are older are refused, and bitmaps that are older may be forgotten. Without trouble a result is some
    #: places / goal versions old; after a kill some come back later than this.
    staleness_max: int = 50


@dataclass(slots=True)
class Outcome:
    """What happened."""

    plan: Plan
    kills: list[Kill] = field(default_factory=list)
    sent: int = 0
    acknowledged: int = 0
    duplicates: int = 0
    refused: int = 0
    too_old: int = 0  #: Tasks of which the job did not know any more whether it had counted them.
    settled_by_us: int = 0  #: Results whose answers were under way when the fleet was ended, sent again by the harness.
    versions: int = 0
    forgotten: int = 0  #: Versions whose bitmaps the job has dropped: of their tasks only the sums tell.
    duration_s: float = 0.0
    outages: dict[Role, list[Lasted]] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)  #: Ends that were not ours, in the supervisor's words.
    verdict: Verdict | None = None

    @property
    def holds(self) -> bool:
        return self.verdict is not None and self.verdict.holds and not self.crashes


def run(plan: Plan, folder: Path, say: Callable[[str], object]) -> Outcome:
    """Do it in ``folder``, which is empty. ``say`` must not depend on what ``sys.stdout`` is. Raises ChaosFailed."""
    outcome = Outcome(plan)
    began = time.monotonic()
    job_folder = folder / "job"
    write_job(job_folder, plan.devices, plan.goal, plan.places, plan.workflow, plan.resend_window_s, plan.staleness_max)
    book = Book(folder / "ledger")
    with _server(plan, folder) as running:
        job_id = running.client.submit(job_folder).job_id
        home = folder / "data" / "jobs" / job_id
        with _fleet(plan, running.devices_url, job_folder, folder) as fleet:
            chaos = _Chaos(plan, running, job_id, home, book, fleet, outcome, say)
            chaos.kill_enough()
            say("enough: no more kills; every device sends again what nobody has answered")
            chaos.settle()
        book.catch_up()
        outcome.settled_by_us = settle(running.devices_url, job_id, plan.devices, book.open_tasks(), folder / "ledger")
        book.catch_up()
    outcome.crashes = unexplained(running.lines, outcome.kills)  # of its shutting down too
    snapshot = read_snapshot(home / JOURNAL)
    if snapshot is None:
        raise ChaosFailed("the journal is empty")
    outcome.verdict = judge(book.tasks, snapshot, plan.goal)
    outcome.sent, outcome.acknowledged, outcome.duplicates = book.sent, book.acknowledged, book.duplicates
    outcome.refused = sum(bool(task.refused) for task in book.tasks.values())
    outcome.too_old = sum(task.too_old for task in book.tasks.values())
    outcome.versions = snapshot.version
    outcome.forgotten = forgotten(snapshot)
    outcome.duration_s = time.monotonic() - began
    return outcome


def forgotten(snapshot: Snapshot) -> int:
    """How many versions there were whose bitmaps the job has dropped."""
    return snapshot.version + 1 - len(snapshot.rows(COUNTED))


@contextmanager
def _server(plan: Plan, folder: Path) -> Iterator[Server]:
    """A running server; what it said is in a log in the end."""
    with (
        (folder / SERVER_LOG).open("w") as log,
        redirect_stdout(log),
        server(folder / "data", gateways=plan.gateways) as running,
    ):
        yield running


@contextmanager
def _fleet(plan: Plan, url: str, job_folder: Path, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running fleet; at the end of the block it is told to end, and has."""
    options: dict[str, object] = {
        "job": NAME,
        "trainer": job_folder,
        "devices": plan.devices,
        "seed": plan.seed,
        "training-s": 0.05,
        "training-sigma": 1.0,
        "duplicates": plan.duplicates,
        "drops-before-answer": plan.drops_before_answer,
        "drops-after-answer": plan.drops_after_answer,
        "ledger": folder / "ledger",
        "connections": plan.connections,
        "workers": 1,
        "patience-s": 2 * STALL_S,
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    with (folder / FLEET_LOG).open("wb") as log:
        process = subprocess.Popen([*TURNOUT, "fleet", url, *arguments], stdout=log, stderr=log)
    try:
        yield process
        process.send_signal(signal.SIGINT)
        process.wait(FLEET_END_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class _Chaos:
    """The middle of a run: all is up, and is killed."""

    def __init__(
        self,
        plan: Plan,
        running: Server,
        job_id: str,
        home: Path,
        book: Book,
        fleet: subprocess.Popen[bytes],
        outcome: Outcome,
        say: Callable[[str], object],
    ) -> None:
        self._plan = plan
        self._server = running
        self._book = book
        self._fleet = fleet
        self._outcome = outcome
        self._say = say
        self._rng = Random(plan.seed)
        self._aim = Aim(self._rng, plan.each_min)
        self._hunter = JobHunter(running.pid, home, self._rng)
        self._outages = {
            Role.GATEWAY: Outage(partial(gateway_answers, running.devices_url)),
            Role.JOB: Outage(partial(job_answers, running.devices_url, job_id)),
            Role.CONTROL: Outage(partial(control_answers, running.api_url)),
        }
        self._began = self._reported_at = self._moved_at = time.monotonic()
        self._killed_at = dict.fromkeys(Role, -math.inf)
        self._acknowledged = 0
        self._journal = home / JOURNAL

    def kill_enough(self) -> None:
        """Kill until the plan is fulfilled."""
        eventually("the first results count", self._has_begun)
        while not self._is_enough():
            self._check()
            role = self._aim.role() if len(self._outcome.kills) < self._plan.kills_min else Role.JOB
            if not self._may_kill(role):
                time.sleep(TURN_S)
                continue
            if role is Role.JOB:
                self._kill_job()
            else:
                self._killed(role, kill_any(self._server.pid, role, self._rng))
            time.sleep(self._rng.uniform(0, self._plan.pause_max_s))

    def settle(self) -> None:
        """Wait until each device has an answer to what it had sent before the last kill, and nobody is away."""
        self._book.catch_up()
        waiting = self._book.open_tasks()
        give_up_at = time.monotonic() + SETTLE_S
        while any(task.is_open for task in waiting) or not all(outage.is_over for outage in self._outages.values()):
            if time.monotonic() > give_up_at:
                left = sum(task.is_open for task in waiting)
                raise ChaosFailed(f"{left} results had no answer {SETTLE_S:g} s after the last kill")
            self._check()
            time.sleep(TURN_S)
        for role, outage in self._outages.items():
            outage.close()
            self._outcome.outages[role] = outage.lasted

    def _may_kill(self, role: Role) -> bool:
        """A process that is not ready yet has nothing that a kill could interrupt."""
        if self._is_ahead():
            return False
        if role is Role.JOB:
            return self._hunter.has_progressed()
        return self._outages[role].is_over and time.monotonic() >= self._killed_at[role] + SPARED_S[role]

    def _is_ahead(self) -> bool:
        """Are there many more kills already than the results acknowledged so far have coming to them?"""
        due = self._plan.kills_min * self._book.acknowledged / max(self._plan.acknowledged_min, 1)
        return len(self._outcome.kills) > due + 1 + AHEAD_SHARE * self._plan.kills_min

    def _kill_job(self) -> None:
        """One kill of the job, and some more of its recoveries when these are what is wanted."""
        wanted = self._aim.wanted()
        recoveries = 0
        if wanted is Interrupted.RECOVERY:
            recoveries = self._rng.randint(1, RECOVERIES_IN_A_ROW_MAX)
            wanted = None
        kill = self._hunter.strike(wanted, STRIKE_S)
        self._killed(Role.JOB, kill)
        while kill is not None and recoveries:
            kill = self._hunter.chase()
            self._killed(Role.JOB, kill)
            recoveries -= 1

    def _killed(self, role: Role, kill: Kill | None) -> None:
        if kill is not None:
            self._killed_at[role] = time.monotonic()
            self._outages[role].begins(self._killed_at[role])
            self._outcome.kills.append(kill)
            self._aim.note([kill])

    def _has_begun(self) -> bool:
        self._book.catch_up()
        return self._book.acknowledged > 0

    def _is_enough(self) -> bool:
        kills = self._outcome.kills
        enough = len(kills) >= self._plan.kills_min and self._book.acknowledged >= self._plan.acknowledged_min
        return enough and not self._aim.missing() and self._has_forgotten()

    def _has_forgotten(self) -> bool:
        """A run in which the job remembers all tasks says nothing about those it has forgotten."""
        try:
            snapshot = read_snapshot(self._journal)
        except OSError:  # as between two processes of the job
            return False
        return snapshot is not None and forgotten(snapshot) > 0

    def _check(self) -> None:
        """Read the ledger, tell how it goes, and see that it goes at all."""
        self._book.catch_up()
        now = time.monotonic()
        if self._book.acknowledged > self._acknowledged:
            self._acknowledged, self._moved_at = self._book.acknowledged, now
        if self._fleet.poll() is not None:
            raise ChaosFailed(self._why_no_fleet())
        if self._server.process.poll() is not None:
            raise ChaosFailed("the supervisor has ended")
        if now - self._moved_at > STALL_S:
            raise ChaosFailed(f"nothing was acknowledged for {STALL_S:g} s")
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self._say(self._progress(now))

    def _why_no_fleet(self) -> str:
        """It ends when its job is over, which none of our kills may bring about."""
        ends = [line for line in self._server.lines if ") failed: " in line or "given up" in line]
        return ends[-1] if ends else f"the fleet ended with exit code {self._fleet.returncode}; its log says why"

    def _progress(self, now: float) -> str:
        hits = ", ".join(f"{each} {self._aim.hits[Role.JOB, each]}" for each in CLASSES)
        return (
            f"{now - self._began:4.0f} s: {len(self._outcome.kills)} kills ({hits}), {self._book.sent} results sent, "
            f"{self._book.acknowledged} acknowledged"
        )
