"""The model that the devices begin with: a perceptron with one hidden layer."""

from turnout.demo.digits import MODEL_SIZES
from turnout.device.trainers.numpy_trainer import initial_model as layers
from turnout.wire.tensors import Vector


def initial_model() -> dict[str, Vector]:
    return layers(MODEL_SIZES)
