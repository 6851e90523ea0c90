"""How one of the simulated devices learns: from its own few images of two digits or so."""

from turnout.demo import digits
from turnout.device.trainers.base import Trainer
from turnout.device.trainers.numpy_trainer import NumpyTrainer


def trainer(index: int, devices: int, seed: int) -> Trainer:
    """The trainer of device ``index`` of ``devices``; ``seed`` decides which images each holds."""
    training, _ = digits.load()
    mine = digits.partition(devices, seed)[index]
    return NumpyTrainer(training.examples[mine], training.labels[mine], seed=seed * devices + index)
