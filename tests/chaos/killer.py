"""Kills the processes of a server with SIGKILL, and knows what each kill interrupted.

A job's process is stopped at a random moment and looked at through its recorder; then it is killed, or let go on when
it is not in what is wanted. What is counted is what the recorder says after its death.
"""

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random

from tests.chaos import processes
from turnout.job.folder.directory import RECORDER
from turnout.job.journal.recorder import Moment, Phase, read

LOOK_PAUSE_MAX_S = 0.004  #: Between two looks at a job; about as long as it stays in a phase.
CHASE_S = 10.0  #: How long to wait for a job that was killed to begin its recovery.
CHASE_POLL_S = 0.0005
COMMITS_MIN = 2  #: Seen in the life of a job's process before it is killed: the first of them may have begun before.
BLIND_SHARE = 0.15  #: Of the kills of jobs: at any moment, without a look.


class Role(StrEnum):
    """What is killed."""

    GATEWAY = "gateway"
    JOB = "job"
    CONTROL = "control"

    @property
    def module(self) -> str:
        """What its process runs."""
        return f"turnout.{self}.process"


ROLE_SHARES = {Role.JOB: 0.65, Role.GATEWAY: 0.22, Role.CONTROL: 0.13}
#: Least time between two kills of a role. The supervisor waits longer and longer before it starts again what never
#: lives to do its work, and what is not there cannot be interrupted. Of jobs the recorder knows better.
SPARED_S = {Role.JOB: 0.0, Role.GATEWAY: 1.5, Role.CONTROL: 12.0}


class Interrupted(StrEnum):
    """What a kill interrupted."""

    STAGED = "results staged"
    COMMITTING = "committing results"
    CLOSING = "closing a version"
    COMMITTED = "results committed, not answered"
    RECOVERY = "recovery"
    IDLE = "nothing staged"
    STARTING = "start, before recovery"
    ENDED = "after its end"
    SERVING = "serving"


#: Those of which there must be enough.
CLASSES = (
    Interrupted.STAGED,
    Interrupted.COMMITTING,
    Interrupted.CLOSING,
    Interrupted.COMMITTED,
    Interrupted.RECOVERY,
)


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill; ``detail`` says it in a person's words."""

    role: Role
    interrupted: Interrupted
    detail: str


def interrupted_by(moment: Moment | None, opened: bool) -> Interrupted:
    """What a job is in, by its recorder; without ``opened`` these are the words of the process before it."""
    if moment is None or not opened:
        return Interrupted.STARTING
    match moment.phase:
        case Phase.RECOVERY:
            return Interrupted.RECOVERY
        case Phase.ENDED:
            return Interrupted.ENDED
        case Phase.COMMITTING if moment.closing:
            return Interrupted.CLOSING
    if not moment.staged:
        return Interrupted.IDLE
    return {
        Phase.OPEN: Interrupted.STAGED,
        Phase.COMMITTING: Interrupted.COMMITTING,
        Phase.COMMITTED: Interrupted.COMMITTED,
    }[moment.phase]


class Aim:
    """Chooses the next kill: at random, and towards what has been hit too seldom."""

    def __init__(self, rng: Random, each_min: int) -> None:
        self._rng = rng
        self._each_min = each_min
        self.hits: Counter[tuple[Role, Interrupted]] = Counter()

    def note(self, kills: Iterable[Kill]) -> None:
        self.hits.update((kill.role, kill.interrupted) for kill in kills)

    def missing(self) -> dict[Interrupted, int]:
        """How many more of each are needed."""
        short = {each: self._each_min - self.hits[Role.JOB, each] for each in CLASSES}
        return {each: count for each, count in short.items() if count > 0}

    def role(self) -> Role:
        return self._rng.choices(list(ROLE_SHARES), list(ROLE_SHARES.values()))[0]

    def wanted(self) -> Interrupted | None:
        """What the next kill of a job shall interrupt; None: whatever it does."""
        if self._rng.random() < BLIND_SHARE:
            return None
        missing = self.missing()
        return self._rng.choices(list(missing), list(missing.values()))[0] if missing else self._rng.choice(CLASSES)


class JobHunter:
    """Kills the processes of one job, below the supervisor with this pid."""

    def __init__(self, supervisor: int, folder: Path, rng: Random) -> None:
        self._supervisor = supervisor
        self._folder = folder
        self._recorder = folder.resolve() / RECORDER
        self._rng = rng
        self._recovered = (0, 0)  # a process that was seen after its recovery, and its commit then

    def has_progressed(self) -> bool:
        """Has the present process committed what came since its recovery? Only then may it be killed again."""
        pid, moment = self._pid(), read(self._folder)
        if pid is None or moment is None:
            return False
        if pid != self._recovered[0]:
            if processes.has_open(pid, self._recorder) and moment.phase is not Phase.RECOVERY:
                self._recovered = (pid, moment.commit)
            return False
        return moment.commit >= self._recovered[1] + COMMITS_MIN

    def strike(self, wanted: Interrupted | None, patience_s: float) -> Kill | None:
        """Kill the job in what is wanted, or after ``patience_s`` in whatever it does; None without a process."""
        give_up_at = time.monotonic() + patience_s
        while (pid := self._pid()) is not None:
            time.sleep(self._rng.uniform(0, LOOK_PAUSE_MAX_S))
            if wanted is None:
                return self._kill(pid)
            if not processes.stop(pid):
                continue
            if self._look(pid) is wanted or time.monotonic() > give_up_at:
                return self._kill(pid)
            processes.go_on(pid)
        return None

    def chase(self) -> Kill | None:
        """Kill the next process of a killed job while it recovers, if it can be caught."""
        before = self._noted_at()
        give_up_at = time.monotonic() + CHASE_S
        while self._noted_at() == before:
            if time.monotonic() > give_up_at:
                return None
            time.sleep(CHASE_POLL_S)
        return self.strike(Interrupted.RECOVERY, patience_s=0.0)

    def _noted_at(self) -> int:
        """Changes when a process of the job opens its recorder, which is the first thing it does."""
        try:
            return self._recorder.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def _pid(self) -> int | None:
        found = processes.children(self._supervisor, Role.JOB.module)
        return found[-1] if found else None

    def _look(self, pid: int) -> Interrupted:
        return interrupted_by(read(self._folder), processes.has_open(pid, self._recorder))

    def _kill(self, pid: int) -> Kill:
        opened = processes.has_open(pid, self._recorder)
        processes.kill(pid)
        moment = read(self._folder)
        return Kill(Role.JOB, interrupted_by(moment, opened), str(moment))


def kill_any(supervisor: int, role: Role, rng: Random) -> Kill | None:
    """Kill a process of this role at any moment; None when there is none."""
    found = processes.children(supervisor, role.module)
    if not found:
        return None
    pid = rng.choice(found)
    sockets = processes.open_sockets(pid)
    processes.kill(pid)
    return Kill(role, Interrupted.SERVING, f"with {sockets} sockets open")
