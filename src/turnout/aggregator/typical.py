"""How large the updates of a job usually are, so that one from another order of size never enters its mean.

A mean moves as far as its largest update: one of 1e30 is the end of a model, whatever it weighs. What bounds it is what
honest devices send, which nobody has to set.
"""

import math
from typing import Self

import numpy as np
from numpy.typing import NDArray

FAR = (
    100.0  #: An update is refused beyond so many medians. Honest ones differ by less, within a version and between two.
)
STEP = 0.05  #: By this share of itself each norm moves the median: a hundred move it by a factor of 150 at most.
LEARNED = 20  #: Until so many updates were taken, those that are refused show that the first guess was too low.
GUESS_MAX = 1e4  #: They raise it by at most this factor: no number of them makes an update of 1e30 acceptable.


class TypicalNorm:
    """The running median of the L2 norms of the updates that were taken.

    Each norm above it raises it by a step, each below lowers it by one, however far away: who sends fewer than half of
    the results can hold it anywhere among the norms of the others, and nowhere else. It begins as if every parameter
    moved by one, or the model by its own norm.
    """

    __slots__ = ("_first", "median", "taken")

    def __init__(self, first: float, median: float, taken: int = 0) -> None:
        assert first > 0
        self._first = first
        self.median = median
        self.taken = taken

    @classmethod
    def of(cls, model: NDArray[np.float32], norm_max: float | None) -> Self:
        """The guess before anything is known. ``norm_max``: a person has said how large an update may be."""
        first = float(np.linalg.norm(model.astype(np.float64))) + math.sqrt(model.size)
        first = max(first, (norm_max or 0.0) / FAR)
        return cls(first, first)

    @property
    def norm_max(self) -> float:
        """A larger update is refused."""
        return FAR * self.median

    def take(self, norm: float) -> None:
        """An update of this norm enters the mean. One of zeros says nothing: its device has not trained."""
        if norm > 0:
            self.median *= math.exp(STEP if norm > self.median else -STEP)
            self.taken += 1

    def refuse(self) -> None:
        """An update was refused for its norm."""
        if self.taken < LEARNED:
            self.median = min(self.median * math.exp(STEP), GUESS_MAX * self._first)

    def snapshot(self) -> tuple[float, int]:
        return self.median, self.taken

    def restore(self, state: tuple[float, int] | None) -> None:
        """None: of an earlier release, which did not look."""
        self.median, self.taken = state or (self._first, 0)
