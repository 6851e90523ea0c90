"""What the server measures after each version: how well the model reads digits that no device has seen."""

from turnout.demo import digits
from turnout.device.trainers.numpy_trainer import accuracy, cross_entropy
from turnout.wire.tensors import Vector


def evaluate(model: dict[str, Vector]) -> dict[str, float]:
    _, test = digits.load()
    return {
        "accuracy": accuracy(model, test.examples, test.labels),
        "loss": cross_entropy(model, test.examples, test.labels),
    }
