"""Which process to start, restart, stop or give up, and when. Pure: ``now`` is an argument, effects are returned.

A child is started when it is added and again whenever it ends, after a backoff that doubles with each failure and is
reset by a healthy life. Shutting down goes kind by kind: gateways finish what they hold while the jobs still answer,
jobs store what they have, control records how they ended.
"""

import signal
from dataclasses import dataclass, field
from enum import StrEnum

EXIT_COMPLETED = 0  #: Exit code of a job that reached its stop rule.
EXIT_ABORTED = 3  #: Exit code of a job that ended without reaching it; it has written down why.


class Kind(StrEnum):
    """The roles, in the order in which they are stopped."""

    GATEWAY = "gateway"
    JOB = "job"
    CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Policy:
    """How one kind of child is kept."""

    failures_max: int | None  #: Given up after this many failures in a row; None: never, control and gateways must be.
    grace_s: float  #: From the signal to stop until it is killed.
    backoff_min_s: float = 0.2  #: Wait before the first restart; doubles with each failure in a row.
    backoff_max_s: float = 10.0
    healthy_s: float = 10.0  #: A process that lived this long made progress: its failures are counted anew.

    def backoff_s(self, failures: int) -> float:
        """The wait after this many failures in a row (>= 1)."""
        return min(self.backoff_max_s, self.backoff_min_s * 2.0 ** min(failures - 1, 30))


TOLD_TO_STOP = "it was told to stop"
KILLED = float("inf")  #: When to kill a child that was killed already.

POLICIES = {
    Kind.GATEWAY: Policy(failures_max=None, grace_s=3.0),
    Kind.JOB: Policy(failures_max=5, grace_s=10.0),
    Kind.CONTROL: Policy(failures_max=None, grace_s=3.0),
}

# --- effects ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Start the child's process; answer with ``started`` or ``exited``."""

    name: str


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the child's process."""

    name: str
    signal: signal.Signals


@dataclass(frozen=True, slots=True)
class Say:
    """One line for people."""

    line: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The child is over for good; ``code`` is its last exit code, ``reason`` why when it did not end by itself."""

    name: str
    code: int
    reason: str


Effect = Start | Signal | Say | Ended

# --- states of one child ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Starting:
    """Its process is being started."""


@dataclass(frozen=True, slots=True)
class Running:
    """Its process runs."""

    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """It failed and is started again at ``until``."""

    until: float


@dataclass(slots=True)
class _Child:
    kind: Kind
    state: Starting | Running | Waiting = field(default_factory=Starting)
    failures: int = 0  # in a row
    kill_at: float | None = None  # set once it was told to stop


class Children:
    """The book of all child processes of one supervisor."""

    def __init__(self, policies: dict[Kind, Policy] = POLICIES) -> None:
        self._policies = policies
        self._children: dict[str, _Child] = {}
        self._ending: list[Kind] | None = None  # kinds told to end so far; None until shutting down

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
        return min(times, default=None)

    def add(self, name: str, kind: Kind) -> list[Effect]:
        """Keep a child from now on. Nothing happens when it is known, or when all are ending."""
        if name in self._children or self._ending is not None:
            return []
        self._children[name] = _Child(kind)
        return [Start(name)]

    def started(self, name: str, pid: int, now: float) -> list[Effect]:
        """Its process runs."""
        child = self._children[name]
        child.state = Running(pid, now)
        return [] if child.kill_at is None else [Signal(name, signal.SIGTERM)]

    def exited(self, name: str, code: int, last_line: str, now: float) -> list[Effect]:
        """Its process has ended, or could not be started; a negative ``code`` is the signal that killed it."""
        child = self._children[name]
        who, lived_s = _who(name, child, now)
        how = describe_exit(code)
        by_itself = child.kind is Kind.JOB and code in (EXIT_COMPLETED, EXIT_ABORTED)
        if child.kill_at is not None:
            return self._remove(name, code, "" if by_itself else TOLD_TO_STOP, now)
        if by_itself:
            verb = "has completed" if code == EXIT_COMPLETED else "has aborted"
            return [Say(f"{who} {verb} after {lived_s:.1f} s"), *self._remove(name, code, "", now)]
        policy = self._policies[child.kind]
        child.failures = 1 if lived_s >= policy.healthy_s else child.failures + 1
        if policy.failures_max is not None and child.failures >= policy.failures_max:
            reason = f"its process failed {child.failures} times in a row; the last time it {how}"
            reason += f": {last_line}" if last_line else ""
            return [
                Say(f"{who} {how} after {lived_s:.1f} s; given up: {reason}"),
                *self._remove(name, code, reason, now),
            ]
        wait_s = policy.backoff_s(child.failures)
        child.state = Waiting(now + wait_s)
        return [Say(f"{who} {how} after {lived_s:.1f} s; starting it again in {wait_s:.1f} s")]

    def stop(self, name: str, now: float) -> list[Effect]:
        """End one child: a signal, and after its grace a kill. Nothing happens when it is unknown or ending."""
        child = self._children.get(name)
        if child is None or child.kill_at is not None:
            return []
        child.kill_at = now + self._policies[child.kind].grace_s
        match child.state:
            case Waiting():
                return self._remove(name, 0, TOLD_TO_STOP, now)
            case Running():
                return [Signal(name, signal.SIGTERM)]
            case Starting():
                return []  # signalled when it has started

    def shut_down(self, now: float) -> list[Effect]:
        """End all, kind by kind. Asked a second time: kill whatever is left."""
        if self._ending is None:
            self._ending = []
            return self._end_next(now)
        self._ending = list(Kind)
        return [effect for name in list(self._children) for effect in self._kill(name, now)]

    def tick(self, now: float) -> list[Effect]:
        """Start again those whose backoff is over; kill those whose grace is over."""
        effects: list[Effect] = []
        for name, child in list(self._children.items()):
            if child.kill_at is not None and child.kill_at <= now:
                grace_s = self._policies[child.kind].grace_s
                effects.append(Say(f"{_who(name, child, now)[0]} did not end within {grace_s:.0f} s: killing it"))
                effects += self._kill(name, now)
            elif isinstance(child.state, Waiting) and child.state.until <= now:
                child.state = Starting()
                effects.append(Start(name))
        return effects

    def _kill(self, name: str, now: float) -> list[Effect]:
        child = self._children[name]
        child.kill_at = KILLED
        match child.state:
            case Waiting():
                return self._remove(name, 0, TOLD_TO_STOP, now)
            case Running():
                return [Signal(name, signal.SIGKILL)]
            case Starting():
                child.kill_at = now  # the tick after its start kills it
                return []

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


def describe_exit(code: int) -> str:
    """An exit code in words, as the verb of a sentence."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _who(name: str, child: _Child, now: float) -> tuple[str, float]:
    """The child's name for people, and how long it has lived."""
    if isinstance(child.state, Running):
        return f"{name} (pid {child.state.pid})", now - child.state.since
    return f"{name} (not started)", 0.0
