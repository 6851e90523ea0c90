"""The pause of a job until a person resumes it, and the clock of a job's deadlines, which stands still meanwhile."""

import math
from dataclasses import dataclass

import msgspec


class SavedPause(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pause, as of a commit."""

    since: float | None = None
    total_s: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class Pause:
    """Times are job time but for what ``clock`` says. Leases go by job time: who trains meanwhile is not waited for."""

    since: float | None = None  #: When it began; None: the job is not paused.
    total_s: float = 0.0  #: Of all earlier pauses.
    reason: str = ""  #: Why the job paused itself; empty: a person paused it.

    @property
    def on(self) -> bool:
        return self.since is not None

    def save(self) -> SavedPause:
        return SavedPause(self.since, self.total_s, self.reason)

    def load(self, saved: SavedPause) -> None:
        self.since, self.total_s, self.reason = saved.since, saved.total_s, saved.reason

    def begin(self, now: float, reason: str = "") -> None:
        self.reason = reason or self.reason  # also of a job that a person has paused
        if self.since is None:
            self.since = now

    def end(self, now: float) -> None:
        if self.since is not None:
            self.total_s += now - self.since
            self.since, self.reason = None, ""

    def clock(self, now: float) -> float:
        """Job time without its pauses: by this go the deadlines of rounds and the time after which a job is over."""
        return (now if self.since is None else self.since) - self.total_s

    def when(self, clock: float | None) -> float | None:
        """When the clock will say ``clock``; None while it stands still, or for None."""
        if clock is None or self.on:
            return None
        at = clock + self.total_s
        while self.clock(at) < clock:  # sums of floats may fall short, and then that moment would come for ever
            at = math.nextafter(at, math.inf)
        return at
