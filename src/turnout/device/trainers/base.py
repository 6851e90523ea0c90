"""What a trainer is: anything that learns from a model on one device's data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Update:
    """What one device learned: ``delta`` = model after minus model before training, by tensor name."""

    delta: Arrays
    num_examples: float  #: How many examples it learned from; > 0. The server weighs by it, up to the lease's cap.
    metrics: Mapping[str, float] = field(default_factory=dict)


class Trainer(Protocol):
    """Trains on one device's own data. May be called for many tasks, one at a time."""

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        """Learn from ``model`` without changing its arrays. ``config`` holds the job's ``[device]`` settings."""
        ...
