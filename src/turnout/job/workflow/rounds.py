"""Synchronous rounds: one cohort trains one version; the round closes when enough of it has reported.

From Bonawitz et al. 2019 (arXiv:1902.01046, section 2.2): more devices are asked than needed, late ones are not
waited for. Where a round of theirs is abandoned at its deadline, ours is extended first: what has been
reported is acknowledged and stays counted.
"""

from dataclasses import dataclass
from math import ceil

from turnout.job.workflow.workflow import CLOSE, PAUSE, WAIT, SavedWorkflow, Verdict


def quorum_of(goal: int, share: float) -> int:
    """How many results are a quorum."""
    return max(ceil(goal * share), 1)


@dataclass(slots=True)
class Rounds:
    """One round per model version. A place used up by a result is not refilled; one lost by expiry is."""

    goal: int  #: The cohort: results that close a round.
    over_selection: float  #: Devices asked per result needed; 1.3 covers a dropout of 20 % with some to spare.
    deadline_s: float
    quorum: float  #: The share of the goal with which the deadline closes a round.
    extensions_max: int
    staleness_max: int = 0
    name: str = "rounds"
    asked: int = 0  #: Results in plus places: the devices this round may count on.
    closes_at: float | None = None  #: None while paused.
    extensions: int = 0
    least: int = 0  #: 0: the quorum.

    def __post_init__(self) -> None:
        self.least = self.least or quorum_of(self.goal, self.quorum)

    @property
    def paused(self) -> bool:
        return self.closes_at is None

    def opened(self, now: float) -> None:
        self.asked = ceil(self.goal * self.over_selection)
        self.closes_at = now + self.deadline_s
        self.extensions = 0

    def places(self, buffered: int) -> int:
        return max(self.asked - buffered, 0) if self.closes_at is not None else 0

    def verdict(self, buffered: int, live: int, now: float) -> Verdict:
        if buffered >= self.goal:
            return CLOSE
        due = self.closes_at is None or now >= self.closes_at
        if due and buffered >= max(quorum_of(self.goal, self.quorum), self.least):
            return CLOSE
        if self.closes_at is None or now < self.closes_at:
            return WAIT
        if self.extensions >= self.extensions_max:
            self.closes_at = None
            return PAUSE
        self._extend(buffered, live, now)
        return Verdict.EXTEND

    def _extend(self, buffered: int, live: int, now: float) -> None:
        """Another deadline, and a fresh over-selection of what is missing beside the devices that are silent."""
        self.extensions += 1
        self.closes_at = now + self.deadline_s
        self.asked = buffered + live + ceil((self.goal - buffered) * self.over_selection)

    def deadline(self) -> float | None:
        return self.closes_at

    def resume(self, now: float) -> None:
        if self.closes_at is None:
            self.extensions = 0
            self.closes_at = now + self.deadline_s

    def save(self) -> SavedWorkflow:
        return SavedWorkflow(self.asked, self.closes_at, self.extensions)

    def load(self, saved: SavedWorkflow) -> None:
        self.asked, self.closes_at, self.extensions = saved.asked, saved.closes_at, saved.extensions

    def words(self, buffered: int, live: int, version: int, now: float) -> str:
        have = f"{buffered} of {self.goal} updates for version {version + 1}"
        if self.closes_at is None:
            return f"a person to resume or cancel it: {have} came in {self.extensions + 1} deadlines"
        return f"{have}; {live} tasks are out; deadline in {max(self.closes_at - now, 0):.0f} s"
