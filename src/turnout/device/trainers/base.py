"""What a trainer is: anything that learns from a model on one device's data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from turnout.errors import DeviceError

Arrays = Mapping[str, NDArray[np.float32]]


class NoExamples(DeviceError):
    """The device has nothing to learn from: it sits the job out, and nothing failed. A trainer may raise it."""

    reason = "no_examples"


@dataclass(frozen=True, slots=True)
class Update:
    """What one device learned: ``delta`` = model after minus model before training, by tensor name."""

    delta: Arrays
    num_examples: float  #: How many examples it learned from. The server weighs by it, up to the lease's cap. 0: none.
    metrics: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Evaluator(Protocol):
    """What a trainer may be beside it: who has this is also asked to measure a model, where the job wants that."""

    def evaluate(self, model: Arrays, config: Mapping[str, Any]) -> tuple[Mapping[str, float], float]:
        """Metrics of ``model`` on the device's own data, and of how many examples they are, above 0."""
        ...


class Trainer(Protocol):
    """Trains on one device's own data. May be called for many tasks, one at a time."""

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        """Learn from ``model`` without changing its arrays. ``config`` holds the job's ``[device]`` settings."""
        ...
