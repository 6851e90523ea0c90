"""How large the updates of a job usually are, so that one from another order of size never enters its mean.

A mean moves as far as its largest update: one of 1e30 is the end of a model, whatever it weighs. The bound is what
honest devices send, which nobody has to set.
"""

import math
from collections.abc import Sequence
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

FAR = 100.0  #: An update is refused beyond this many medians. Honest ones differ by less, also between two versions.
FEW = 5  #: With fewer updates taken, their median bounds nothing.
FIRST = 31  #: The median of this many is exact, and their bound never above that of the first update.
STEP = 0.05  #: By this share of itself each later norm moves the median.
STUCK = 100  #: Refused in a row, with none taken between them: the bound is below what this job's devices send.


class Norms(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """As a snapshot holds them. Earlier releases wrote the first two fields."""

    median: float = 0.0
    taken: int = 0
    first: tuple[float, ...] = ()  #: Each norm, while there are fewer than ``FIRST``.


class TypicalNorm:
    """The median of the L2 norms of the updates that were taken, and the bound that follows from it.

    The first update may be as large as the model itself, as if every parameter moved by one, or ``FAR``. From the fifth
    on the bound is ``FAR`` times the median, which is exact for the first 31. After these each norm above the median
    raises it by a step, each below lowers it by one, however far away: senders of fewer than half of the results can
    hold it anywhere among the norms of the others, and nowhere else.

    So a stranger among the first four may send as much as the first bound: a step as long as the model is large, in a
    version of at least two results. A tighter bound would need results of others to hold it against, kept apart until
    there are five: each is a model in memory and in the journal, and its sender waits. A bound by one or two of them
    would be whatever a stranger sends first, and next to nothing shuts out all others.

    Refused updates never raise the bound above that of the first: a job of larger ones is told to set a bound itself,
    which is the least that this one is. They do lead back to the first bound, where the first updates were so small
    that nothing else is taken.
    """

    __slots__ = ("_first", "_norm_max", "_refused", "_start", "median", "taken")

    def __init__(self, start: float, norm_max: float | None = None) -> None:
        """``start``: what the first update may be. ``norm_max``: what a person says that each may be."""
        assert start > 0
        self._start = start
        self._norm_max = norm_max or 0.0
        self._refused = 0
        self._first: list[float] = []
        self.median = 0.0  #: 0 while nothing was taken.
        self.taken = 0

    @classmethod
    def of(cls, model: NDArray[np.float32], norm_max: float | None) -> Self:
        """Before anything is known."""
        own = float(np.linalg.norm(model.astype(np.float64)))
        return cls(max(own, math.sqrt(model.size), FAR), norm_max)

    @property
    def norm_max(self) -> float:
        """A larger update is refused."""
        return max(self._learned(), self._norm_max)

    def _learned(self) -> float:
        if self.taken < FEW:
            return self._start
        return FAR * self.median if self.taken >= FIRST else min(FAR * self.median, self._start)

    def take(self, norm: float) -> None:
        """An update of this norm enters the mean. One of zeros says nothing: its device has not trained."""
        if norm <= 0:
            return
        self._refused = 0
        self.taken += 1
        if self.taken > FIRST:
            self.median *= math.exp(STEP if norm > self.median else -STEP)
            return
        self._first.append(norm)
        self.median = _middle(self._first)
        if self.taken == FIRST:
            self._first = []

    def refuse(self, again: bool = False) -> None:
        """An update was refused for its norm; ``again``: not for the first time, so it says nothing new."""
        self._refused += not again
        if self._refused >= STUCK and self._learned() < self._start:
            self.load(Norms())

    def save(self) -> Norms:
        return Norms(self.median, self.taken, tuple(self._first))

    def load(self, saved: Norms) -> None:
        """An earlier release that knew fewer than ``FIRST`` guessed: begin again."""
        if saved.taken < FIRST and len(saved.first) != saved.taken:
            saved = Norms()
        self._refused = 0
        self._first = list(saved.first)
        self.median, self.taken = saved.median, saved.taken


def _middle(norms: Sequence[float]) -> float:
    """The lower of the two in the middle, where there are two."""
    return sorted(norms)[(len(norms) - 1) // 2]
