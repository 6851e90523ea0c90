"""The disk under the job's journal, in virtual time: it may be full, slow, or wrong about what it did."""

from dataclasses import dataclass
from enum import Enum
from random import Random

from turnout.sim.loop import VirtualLoop
from turnout.sim.weather import Weather

SLOW_COMMIT_S = 3.0  #: Mean of what a commit takes longer while the disk is slow; a gateway waits 8 s for its answer.
ERRORS_IN_A_ROW = (2, 5)


class Write(Enum):
    """What becomes of a commit."""

    DONE = "it is on disk"
    FAILED = "it is not, and an error says so"
    DOUBTFUL = "it is, and yet there was an error"


@dataclass(slots=True)
class Disk:
    loop: VirtualLoop
    rng: Random
    weather: Weather
    full_until: float = 0.0
    slow_until: float = 0.0
    _errors: int = 0  # still to come in a row

    def fill(self) -> None:
        self.full_until = self.loop.now + self.weather.full_for_s

    def slow_down(self) -> None:
        self.slow_until = self.loop.now + self.weather.slow_for_s

    def mend(self) -> None:
        """The faults have stopped."""
        self.full_until = self.slow_until = self.loop.now
        self._errors = 0

    @property
    def full(self) -> bool:
        return self.loop.now < self.full_until

    def takes_s(self) -> float:
        """How long the next commit takes."""
        slow_s = self.rng.expovariate(1 / SLOW_COMMIT_S) if self.loop.now < self.slow_until else 0.0
        return self.rng.expovariate(1 / self.weather.commit_s) + slow_s

    def write(self) -> Write:
        if self.full:
            return Write.FAILED
        if self._errors:
            self._errors -= 1
            return Write.FAILED if self._errors else Write.DOUBTFUL
        drawn = self.rng.random()
        if drawn < self.weather.commit_fails:
            if self.rng.random() < self.weather.errors_repeat:
                self._errors = self.rng.randint(*ERRORS_IN_A_ROW)
            return Write.FAILED
        return Write.DOUBTFUL if drawn < self.weather.commit_fails + self.weather.commit_doubtful else Write.DONE

    def readable(self) -> bool:
        return self.rng.random() >= self.weather.unreadable
