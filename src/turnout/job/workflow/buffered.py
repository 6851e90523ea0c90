"""Buffered asynchronous training: a version closes when ``goal`` results are in, however old they are.

From FedBuff (Nguyen et al. 2022, arXiv:2106.06639, algorithm 1): a fixed number of devices train at once, each from
the version that was newest when it began, and the server steps after every K results.
"""

from dataclasses import dataclass

from turnout.job.workflow.workflow import CLOSE, WAIT, SavedWorkflow, Verdict


@dataclass(slots=True)
class Buffered:
    """No deadline: a place whose lease expires is given to another device, so results keep coming."""

    concurrency: int
    goal: int
    staleness_max: int
    name: str = "buffered"
    paused: bool = False
    least: int = 0  #: 0: the goal.

    def __post_init__(self) -> None:
        self.least = self.least or self.goal

    def opened(self, now: float) -> None:
        pass

    def places(self, buffered: int) -> int:
        return self.concurrency

    def verdict(self, buffered: int, live: int, now: float) -> Verdict:
        return CLOSE if buffered >= self.goal else WAIT

    def deadline(self) -> float | None:
        return None

    def resume(self, now: float) -> None:
        pass

    def save(self) -> SavedWorkflow:
        return SavedWorkflow()

    def load(self, saved: SavedWorkflow) -> None:
        pass

    def words(self, buffered: int, live: int, version: int, now: float) -> str:
        return f"{buffered} of {self.goal} updates for version {version + 1}; {live} tasks are out"
