"""The weighted mean of the updates of one model version: one running sum, however many devices report."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from turnout.aggregator.codec import DenseFloat32, Refusal, UpdateCodec
from turnout.aggregator.contribution import Contribution

TOTAL = "total"  #: The name of the sum among the vectors of a snapshot.


class SavedSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be known of the running sum beside its numbers."""

    total_weight: float
    count: int  #: Updates in it.


class MeanAggregator:
    """``sum(s_i * w_i * x_i) / sum(w_i)`` over updates x with weights w and staleness discounts s.

    With all s = 1 it is the average of FedAvg (McMahan et al. 2017, arXiv:1602.05629), with all w = 1 that of FedBuff
    (Nguyen et al. 2022, arXiv:2106.06639). It divides by the weights, not by the weights times the discounts: that
    would cancel the discount when all updates are equally stale.
    """

    def __init__(self, num_parameters: int, weight_max: float, norm_max: float | None = None) -> None:
        self._sum: UpdateCodec = DenseFloat32(num_parameters, norm_max)
        self.dtype = self._sum.dtype  #: What one number of an update is.
        self._weight_max = weight_max
        self.total_weight = 0.0
        self.count = 0  #: Results in the sum.

    def check(self, vector: NDArray[np.float32], weight: float) -> Refusal | float:
        """Why this update cannot be added, or its L2 norm. Looks at all of it and changes nothing."""
        if not 0 < weight <= self._weight_max:  # also refuses NaN
            return Refusal("weight", f"weight {weight:g} is not above 0 and at most {self._weight_max:g}")
        return self._sum.check(vector, weight)

    def add(self, contribution: Contribution, discount: float = 1.0) -> None:
        """Add what passed ``check`` with at least this factor; ``discount`` is above 0 and at most 1."""
        assert 0 < discount <= 1
        self._sum.add(contribution.vector, contribution.factor * discount)
        self.total_weight += contribution.weight
        self.count += len(contribution.tasks)

    def mean(self) -> NDArray[np.float64]:
        """The mean of all that was added, which must be something."""
        assert self.count > 0, "the mean of nothing"
        return self._sum.total() / self.total_weight

    def clear(self) -> None:
        """Begin the next version."""
        self._sum.clear()
        self.total_weight = 0.0
        self.count = 0

    def save(self) -> SavedSum:
        return SavedSum(self.total_weight, self.count)

    def load(self, saved: SavedSum) -> None:
        assert saved.count >= 0
        assert math.isfinite(saved.total_weight)
        self.total_weight, self.count = saved.total_weight, saved.count

    def vectors(self) -> dict[str, NDArray[Any]]:
        """The sum, which later adds do not change; the same array until it changes."""
        return {TOTAL: self._sum.total()}

    def load_vectors(self, vectors: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a snapshot; what was added since is forgotten."""
        self._sum.restore(vectors[TOTAL])
