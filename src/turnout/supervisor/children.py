"""Which process to start, restart, stop or give up, and when. Pure: ``now`` is an argument, effects are returned.

A child is started when it is added and again whenever it ends, after a backoff that doubles with each failure and is
reset by progress or a healthy life. One that gives no sign of life hangs: it is killed, which is a failure like any.
A job that says that it cannot run for now has not failed, nor has one that somebody else has killed: it is never given
up for that.
Shutting down goes kind by kind: gateways finish what they hold while the jobs still answer, jobs store what they have,
control records how they ended. Replacing goes one by one: a child ends once its successor is ready.
"""

import signal
from collections import deque
from dataclasses import dataclass, field

from turnout.job.exits import EXIT_CANCELLED, EXIT_COMPLETED, EXIT_FAILED
from turnout.supervisor.effects import Delayed, Effect, Ended, Say, Signal, Start
from turnout.supervisor.policy import (
    FROM_OUTSIDE,
    KILLS_TOLD,
    NOT_ITS_FAULT,
    Kind,
    Policy,
    describe_exit,
    policies,
)
from turnout.supervisor.watched import LOOK_S, WatchedClock

TOLD_TO_STOP = "it was told to stop"
KILLED = float("inf")  #: When to kill a child that was killed already.
RETIRE = signal.SIGQUIT  #: Tells a child that has a successor to end in its own time.

# --- states of one child ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Starting:
    """Its process is being started."""


@dataclass(slots=True)
class Running:
    """Its process runs."""

    pid: int
    since: float
    heard: float  #: Its last sign of life, by the clock that stands still while we do not look.
    beating: bool = False  #: It has given one.
    ready: bool = False  #: It has made progress.
    hangs: bool = False  #: It is killed for that.


@dataclass(frozen=True, slots=True)
class Waiting:
    """It failed and is started again at ``until``."""

    until: float


@dataclass(slots=True)
class _Child:
    kind: Kind
    state: Starting | Running | Waiting = field(default_factory=Starting)
    failed_at: deque[float] = field(default_factory=deque)  # without progress since
    killed_at: deque[float] = field(default_factory=deque)  # from outside, without progress since
    failures: int = 0  # in a row, for the backoff
    kill_at: float | None = None  # set once it was told to stop
    retiring: bool = False
    delayed: bool = False  # it could not run the last time, and has not shown yet that it can


@dataclass(slots=True)
class _Replacing:
    """Children are being replaced: ``new`` is on its way to take the place of ``old``; then come those ``left``."""

    kind: Kind
    left: list[str]
    old: str = ""
    new: str = ""


class Children:
    """The book of all child processes of one supervisor."""

    def __init__(self, kept: dict[Kind, Policy] | None = None) -> None:
        self._policies = kept or policies()
        self._children: dict[str, _Child] = {}
        self._ending: list[Kind] | None = None  # kinds told to end so far; None until shutting down
        self._replacing: _Replacing | None = None
        self._clock = WatchedClock()
        self._look_at = 0.0

    def __contains__(self, name: str) -> bool:
        return name in self._children

    @property
    def ending(self) -> bool:
        """All were told to end."""
        return self._ending is not None

    @property
    def over(self) -> bool:
        """All were told to end, and have."""
        return self._ending is not None and not self._children

    def deadline(self) -> float | None:
        """When ``tick`` is due next."""
        times = [child.state.until for child in self._children.values() if isinstance(child.state, Waiting)]
        times += [child.kill_at for child in self._children.values() if child.kill_at not in (None, KILLED)]
        if any(isinstance(child.state, Running) and child.kill_at is None for child in self._children.values()):
            times.append(self._look_at)
        return min(times, default=None)

    def add(self, name: str, kind: Kind) -> list[Effect]:
        """Keep a child from now on. Nothing happens when it is known, or when all are ending."""
        if name in self._children or self._ending is not None:
            return []
        self._children[name] = _Child(kind)
        return [Start(name)]

    # --- what becomes of a process ---

    def started(self, name: str, pid: int, now: float) -> list[Effect]:
        """Its process runs."""
        child = self._children[name]
        child.state = Running(pid, now, self._clock.at(now))
        if child.kill_at is None:
            return []
        return [Signal(name, signal.SIGKILL if child.kill_at == KILLED else signal.SIGTERM)]

    def beat(self, name: str, now: float) -> list[Effect]:
        """Its process gave a sign of life."""
        state = self._running(name)
        if state is None:
            return []
        state.heard, state.beating = self._clock.at(now), True
        return self._no_longer_delayed(name)

    def progressed(self, name: str, now: float) -> list[Effect]:
        """Its process did what it is there for: its failures are counted anew, and whom it replaces may end."""
        state = self._running(name)
        if state is None:
            return []
        effects = self.beat(name, now)
        child = self._children[name]
        child.failed_at.clear()
        child.killed_at.clear()
        child.failures = 0
        first, state.ready = not state.ready, True
        if first and self._replacing is not None and self._replacing.new == name:
            effects += self._succeed(now)
        return effects

    def exited(self, name: str, code: int, last_line: str, now: float) -> list[Effect]:
        """Its process has ended, or could not be started; a negative ``code`` is the signal that killed it."""
        child = self._children[name]
        who, lived_s = _who(name, child, now)
        by_itself = child.kind is Kind.JOB and code in (EXIT_COMPLETED, EXIT_CANCELLED)
        if child.kill_at is not None:
            return self._remove(name, code, "" if by_itself else TOLD_TO_STOP, now)
        if by_itself:
            how = "completed" if code == EXIT_COMPLETED else "was cancelled"
            return [Say(f"{who} {how} after {lived_s:.1f} s"), *self._remove(name, code, "", now)]
        hung = isinstance(child.state, Running) and child.state.hangs
        how = "hung and was killed" if hung else describe_exit(code)
        if child.kind is Kind.JOB and code == EXIT_FAILED:
            reason = last_line or f"its process {how}"
            return [Say(f"{who} failed: {reason}"), *self._remove(name, code, reason, now)]
        if child.kind is Kind.JOB and code in NOT_ITS_FAULT:
            return self._not_now(name, last_line or f"its process {how}", now)
        if self._replacing is not None and self._replacing.new == name and not self._is_ready(child):
            return [
                Say(f"{who} {how} before it was ready; the old ones stay"),
                *self._give_way(name, now),
            ]
        if child.kind is Kind.JOB and code in FROM_OUTSIDE and not hung:
            return self._killed(name, how, now)
        return [*self._no_longer_delayed(name), *self._failed(name, code, last_line, how, now)]

    def _not_now(self, name: str, reason: str, now: float) -> list[Effect]:
        """Start it again after a backoff, whatever number of times that was."""
        child = self._children[name]
        who, lived_s = _who(name, child, now)
        child.failures += 1
        wait_s = self._policies[child.kind].backoff_s(child.failures)
        child.state, child.delayed = Waiting(now + wait_s), True
        line = f"{who} cannot run for now, after {lived_s:.1f} s; starting it again in {wait_s:.1f} s: {reason}"
        return [Say(line), Delayed(name, reason)]

    def _killed(self, name: str, how: str, now: float) -> list[Effect]:
        """Somebody else has ended it, which says nothing of the job: start it again, ever later, and say so."""
        child = self._children[name]
        policy = self._policies[child.kind]
        who, lived_s = _who(name, child, now)
        times = _within(child.killed_at, now, policy.failures_within_s)
        wait_s = policy.backoff_s(times, killed=True)
        child.state = Waiting(now + wait_s)
        said = Say(f"{who} {how} after {lived_s:.1f} s; starting it again in {wait_s:.1f} s")
        if times < KILLS_TOLD:
            return [said]
        child.delayed = True
        reason = f"its process {how} {times} times without progress: by somebody, or because memory ran out (see dmesg)"
        return [said, Delayed(name, reason)]

    def _failed(self, name: str, code: int, last_line: str, how: str, now: float) -> list[Effect]:
        """Start it again after its backoff, or give it up."""
        child = self._children[name]
        policy = self._policies[child.kind]
        who, lived_s = _who(name, child, now)
        times = _within(child.failed_at, now, policy.failures_within_s)
        child.failures = 1 if lived_s >= policy.healthy_s else child.failures + 1
        if policy.failures_max is not None and times >= policy.failures_max:
            reason = f"its process failed {times} times in a row without progress; the last time it {how}"
            reason += f": {last_line}" if last_line else ""
            said = Say(f"{who} {how} after {lived_s:.1f} s; given up: {reason}")
            return [said, *self._remove(name, code, reason, now)]
        wait_s = policy.backoff_s(child.failures)
        child.state = Waiting(now + wait_s)
        return [Say(f"{who} {how} after {lived_s:.1f} s; starting it again in {wait_s:.1f} s")]

    # --- ending ---

    def stop(self, name: str, now: float) -> list[Effect]:
        """End one child: a signal, and after its grace a kill. Nothing happens when it is unknown or ending."""
        child = self._children.get(name)
        if child is None or (child.kill_at is not None and not child.retiring):
            return []
        child.retiring = False
        return self._end(name, signal.SIGTERM, self._policies[child.kind].grace_s, now)

    def shut_down(self, now: float) -> list[Effect]:
        """End all, kind by kind. Asked a second time: kill whatever is left."""
        self._replacing = None
        if self._ending is None:
            self._ending = []
            return self._end_next(now)
        self._ending = list(Kind)
        return [effect for name in list(self._children) for effect in self._kill(name, now)]

    # --- replacing ---

    def replace(self, kind: Kind) -> list[Effect]:
        """Put a new process in the place of each of a kind. One waits for the next until its successor is ready."""
        if self._ending is not None:
            return []
        if self._replacing is not None or any(child.retiring for child in self._children.values()):
            return [Say(f"{kind}s are still being replaced: ask again when that is done")]
        names = [name for name, child in self._children.items() if child.kind is kind and child.kill_at is None]
        self._replacing = _Replacing(kind, names)
        return [Say(f"replacing one after the other: {', '.join(names)}"), *self._replace_next()]

    def _replace_next(self) -> list[Effect]:
        replacing = self._replacing
        assert replacing is not None, "only while replacing"
        if not replacing.left:
            self._replacing = None
            return [Say(f"every {replacing.kind} has been replaced")]
        replacing.old = replacing.left.pop(0)
        number = 0
        while (name := f"{replacing.kind} {number}") in self._children:
            number += 1
        replacing.new = name
        return self.add(name, replacing.kind)

    def _succeed(self, now: float) -> list[Effect]:
        """The successor is ready: end the one before it, and continue with the next."""
        assert self._replacing is not None, "only while replacing"
        old, new = self._replacing.old, self._replacing.new
        effects: list[Effect] = []
        child = self._children[old]
        effects.append(Say(f"{_who(new, self._children[new], now)[0]} takes the place of {_who(old, child, now)[0]}"))
        child.retiring = True
        effects += self._end(old, RETIRE, self._policies[child.kind].retire_s, now)
        return effects + self._replace_next()

    def _give_way(self, name: str, now: float) -> list[Effect]:
        """A successor that fails at once would fail in every place: keep what works."""
        self._replacing = None
        return self._remove(name, 0, "it was never ready", now)

    # --- time ---

    def tick(self, now: float) -> list[Effect]:
        """Start again those whose backoff is over; kill those whose grace is over, and those that hang."""
        effects: list[Effect] = []
        watched = self._clock.at(now)
        if self._look_at <= now:
            self._look_at = now + LOOK_S
        for name, child in list(self._children.items()):
            if child.kill_at is not None:
                if child.kill_at <= now:
                    policy = self._policies[child.kind]
                    grace_s = policy.retire_s if child.retiring else policy.grace_s
                    effects.append(Say(f"{_who(name, child, now)[0]} did not end within {grace_s:.0f} s: killing it"))
                    effects += self._kill(name, now)
            elif isinstance(child.state, Waiting) and child.state.until <= now:
                child.state = Starting()
                effects.append(Start(name))
            elif isinstance(child.state, Running) and not child.state.hangs:
                effects += self._look(name, child, child.state, watched, now)
        return effects

    def _look(self, name: str, child: _Child, state: Running, watched: float, now: float) -> list[Effect]:
        """Kill a child that has been silent for too long."""
        policy = self._policies[child.kind]
        allowed_s = policy.hang_s if state.beating else max(policy.start_s, policy.hang_s)
        if watched - state.heard < allowed_s:
            return []
        state.hangs = True
        what = "hangs" if state.beating else "did not start in time"
        line = f"{_who(name, child, now)[0]} {what}: no heartbeat for {allowed_s:g} s; killing it"
        return [Say(line), Signal(name, signal.SIGKILL)]

    # --- within ---

    def _running(self, name: str) -> Running | None:
        child = self._children.get(name)
        return child.state if child is not None and isinstance(child.state, Running) else None

    def _no_longer_delayed(self, name: str) -> list[Effect]:
        child = self._children[name]
        before, child.delayed = child.delayed, False
        return [Delayed(name, "")] if before else []

    @staticmethod
    def _is_ready(child: _Child) -> bool:
        return isinstance(child.state, Running) and child.state.ready

    def _end(self, name: str, by: signal.Signals, grace_s: float, now: float) -> list[Effect]:
        child = self._children[name]
        child.kill_at = now + grace_s
        match child.state:
            case Waiting():
                return self._remove(name, 0, TOLD_TO_STOP, now)
            case Running():
                return [Signal(name, by)]
            case Starting():
                return []  # signalled when it has started

    def _kill(self, name: str, now: float) -> list[Effect]:
        child = self._children[name]
        child.kill_at = KILLED
        match child.state:
            case Waiting():
                return self._remove(name, 0, TOLD_TO_STOP, now)
            case Running():
                return [Signal(name, signal.SIGKILL)]
            case Starting():
                return []  # killed when it has started

    def _remove(self, name: str, code: int, reason: str, now: float) -> list[Effect]:
        del self._children[name]
        return [Ended(name, code, reason), *self._end_next(now)]

    def _end_next(self, now: float) -> list[Effect]:
        """While shutting down: once all of the kinds told to end have ended, tell the next kind."""
        effects: list[Effect] = []
        if self._ending is None:
            return effects
        while len(self._ending) < len(Kind) and not any(c.kind in self._ending for c in self._children.values()):
            kind = list(Kind)[len(self._ending)]
            self._ending.append(kind)
            for name in [name for name, child in self._children.items() if child.kind is kind]:
                effects += self.stop(name, now)
        return effects


def _within(times: deque[float], now: float, within_s: float) -> int:
    """How often it happened within this time, now among them; what is older is forgotten."""
    times.append(now)
    while times[0] < now - within_s:
        times.popleft()
    return len(times)


def _who(name: str, child: _Child, now: float) -> tuple[str, float]:
    """The child's name for people, and how long it has lived."""
    if isinstance(child.state, Running):
        return f"{name} (pid {child.state.pid})", now - child.state.since
    return f"{name} (not started)", 0.0
