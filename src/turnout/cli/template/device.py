"""How a device learns from its own data. Here the data is made up; yours would come from the device."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from turnout.device.trainers.base import Arrays, Trainer, Update

EXAMPLES = 30  #: Of each device.
FEATURES = 2


class LogisticRegression:
    """A few steps of gradient descent on the log-loss."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Points around a place of the device's own, so that no device sees what all see together."""
        self.points = rng.normal(rng.normal(size=FEATURES), 1.0, (EXAMPLES, FEATURES))
        self.labels = (self.points @ [2.0, -1.0] > 0.5).astype(float)  # the rule that is to be learned

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        """Learn from ``model``; ``config`` is [device] of job.toml. What is sent is the difference."""
        weights, bias = model["weights"].astype(float), model["bias"].astype(float)
        for _ in range(config["steps"]):
            wrong_by = 1 / (1 + np.exp(-(self.points @ weights + bias))) - self.labels
            weights -= config["learning_rate"] * wrong_by @ self.points / EXAMPLES
            bias -= config["learning_rate"] * wrong_by.mean()
        delta = {
            "weights": (weights - model["weights"]).astype(np.float32),
            "bias": (bias - model["bias"]).astype(np.float32),
        }
        return Update(delta, EXAMPLES)


def trainer(index: int, devices: int, seed: int) -> Trainer:
    """The trainer of device ``index`` of ``devices``. The same numbers make the same device again."""
    return LogisticRegression(np.random.default_rng((seed, index)))
