"""What a job should make of its results, written down a second time from the papers, in float64 and by itself.

Nothing here is imported from what it is held against: FedAvg and FedBuff for the mean, FedAsync for the discounts,
FedOpt for the server's step.
"""

import math

import numpy as np
from numpy.typing import NDArray

from turnout.job.folder.spec import (
    AdagradOptimizer,
    AdamOptimizer,
    BufferedTraining,
    ConstantDiscount,
    FlareDiscount,
    HingeDiscount,
    JobSpec,
    PolynomialDiscount,
    SgdOptimizer,
    YogiOptimizer,
)

Vector = NDArray[np.float64]


def weight_of(spec: JobSpec, examples: float, factor: float) -> float:
    """What a result weighs; ``factor`` is that of the job's own code."""
    training = spec.training
    own = min(examples, training.weight_max) if training.weighting == "examples" else 1.0
    return min(own * factor, training.weight_max)


def discount_of(spec: JobSpec, staleness: int) -> float:
    """What an update still counts that is this many versions old."""
    if not isinstance(spec.training, BufferedTraining):
        return 1.0
    match spec.training.staleness:
        case ConstantDiscount():
            return 1.0
        case PolynomialDiscount(exponent=exponent):
            return 1.0 / math.pow(1.0 + staleness, exponent)
        case HingeDiscount(a=a, b=b):
            return 1.0 if staleness <= b else 1.0 / (a * (staleness - b) + 1.0)
        case FlareDiscount():
            return 1.0 / (1.0 + math.sqrt(1.0 + staleness))


class Server:
    """The server's step, and what it remembers from one to the next."""

    def __init__(self, spec: JobSpec) -> None:
        self._rule = spec.optimizer
        self.state: tuple[Vector, ...] = ()  #: Nothing before the first step.

    def forget(self) -> None:
        self.state = ()

    def step(self, model: Vector, mean: Vector) -> Vector:
        """The next model."""
        match self._rule:
            case SgdOptimizer(learning_rate=rate, momentum=momentum):
                velocity = mean + (momentum * self.state[0] if self.state else 0.0)
                self.state = (velocity,) if momentum else ()
                return model + rate * velocity
            case AdamOptimizer(beta2=keep):
                first, second = self._moments(mean)
                second = keep * second + (1.0 - keep) * mean * mean
            case YogiOptimizer(beta2=keep):
                first, second = self._moments(mean)
                square = mean * mean
                second = np.where(second > square, second - (1.0 - keep) * square, second + (1.0 - keep) * square)
            case AdagradOptimizer():
                first, second = self._moments(mean)
                second = second + mean * mean
        self.state = (first, second)
        return model + self._rule.learning_rate * first / (np.sqrt(second) + self._rule.tau)

    def _moments(self, mean: Vector) -> tuple[Vector, Vector]:
        """The first after this mean, and the second as it was."""
        assert not isinstance(self._rule, SgdOptimizer)
        first, second = self.state or (np.zeros_like(mean), np.full_like(mean, self._rule.tau**2))
        return self._rule.beta1 * first + (1.0 - self._rule.beta1) * mean, second
