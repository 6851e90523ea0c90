"""Classifiers in plain numpy: softmax regression, or a perceptron with one or more hidden layers of ReLU.

The model's tensors say which: ``w1, b1, w2, b2, ...``, layer by layer; ``w1, b1`` alone is softmax regression. Local
training is minibatch SGD with momentum on the cross-entropy, as ClientUpdate of McMahan et al. 2017 (algorithm 1).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from turnout.device.trainers.base import Arrays, NoExamples, Update
from turnout.messages import ModelSchema
from turnout.wire.tensors import Vector, flatten, schema_of, unflatten

Examples = NDArray[np.float32]  #: Of shape (examples, features).
Labels = NDArray[np.intp]  #: Of shape (examples,), each from 0 to classes - 1.
Layers = Sequence[tuple[Vector, Vector]]  #: Weights of shape (inputs, outputs) and biases of shape (outputs,).


class TrainingConfig(msgspec.Struct, frozen=True):
    """The ``[device]`` settings that this trainer knows; it ignores others."""

    #: Passes over the device's data per task. More save communication, and let devices drift apart.
    epochs: Annotated[int, Meta(ge=1)] = 1
    #: Examples per step, at least 1.
    batch_size: Annotated[int, Meta(ge=1)] = 16
    #: The step size of local SGD, above 0.
    learning_rate: Annotated[float, Meta(gt=0)] = 0.1
    #: After this many model versions the step size is half its first, after twice as many a third. 0: it stays.
    #: Where devices hold different data it must fall for the model to settle (Li et al. 2020, arXiv:1907.02189).
    decay_versions: Annotated[float, Meta(ge=0)] = 0.0
    #: How much of the last step is kept, 0 to below 1.
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    #: How strongly the device is held to the model it began with: ``mu / 2`` times the squared distance is added to its
    #: loss. 0: not at all. Where devices hold different data or do uneven amounts of work, try 0.001 to 1.
    #: From FedProx (Li et al. 2020, arXiv:1812.06127).
    mu: Annotated[float, Meta(ge=0)] = 0.0
    #: Varies the order of examples between runs.
    seed: Annotated[int, Meta(ge=0)] = 0
    #: Put there by the job: every version has its own order of examples.
    model_version: Annotated[int, Meta(ge=0)] = 0

    @property
    def step_size(self) -> float:
        age = self.model_version / self.decay_versions if self.decay_versions else 0.0
        return self.learning_rate / (1 + age)


class NumpyTrainer:
    """Trains on the examples it was given; with none it raises NoExamples, and its device sits the job out.

    The same task always gives the same update, wherever it runs.
    """

    def __init__(self, examples: Examples, labels: Labels, seed: int = 0) -> None:
        if len(examples) != len(labels):
            raise ValueError(f"{len(examples)} examples have {len(labels)} labels; each has one")
        self._examples = np.ascontiguousarray(examples, dtype=np.float32)
        self._labels = labels
        self._seed = seed

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        """Raises msgspec.ValidationError for settings out of range, ValueError when training diverges."""
        settings = msgspec.convert(config, TrainingConfig)
        self._check_examples()
        schema = schema_of(model)
        before = flatten(model, schema)
        rng = np.random.default_rng((self._seed, settings.seed, settings.model_version))
        with np.errstate(over="ignore", invalid="ignore"):  # a training that diverges is reported below
            after, loss = _descend(before, schema, self._examples, self._labels, settings, rng)
        if not np.isfinite(after).all():
            raise ValueError(f"training diverged with learning_rate {settings.learning_rate:g}; lower it")
        return Update(unflatten(after - before, schema), float(len(self._labels)), {"loss": loss})

    def _check_examples(self) -> None:
        if not len(self._labels):
            raise NoExamples("the device has no examples")

    def evaluate(self, model: Arrays, config: Mapping[str, Any]) -> tuple[dict[str, float], float]:
        self._check_examples()
        measured = {
            "accuracy": accuracy(model, self._examples, self._labels),
            "loss": cross_entropy(model, self._examples, self._labels),
        }
        return measured, float(len(self._labels))


def initial_model(sizes: Sequence[int], seed: int = 0) -> dict[str, Vector]:
    """A model with layers of these sizes, from features to classes; at least two sizes.

    Weights are He et al. 2015's (variance 2 / inputs) but those of the last layer, which begins at zero: at first all
    classes are equally likely.
    """
    if len(sizes) < 2:
        raise ValueError(f"a model of layers of sizes {list(sizes)}; two are needed at least, features and classes")
    rng = np.random.default_rng(seed)
    model: dict[str, Vector] = {}
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes), start=1):
        scale = np.sqrt(2 / inputs) if layer < len(sizes) - 1 else 0.0
        model[f"w{layer}"] = (rng.standard_normal((inputs, outputs)) * scale).astype(np.float32)
        model[f"b{layer}"] = np.zeros(outputs, dtype=np.float32)
    return model


def accuracy(model: Arrays, examples: Examples, labels: Labels) -> float:
    """The share of examples whose likeliest class is their label."""
    predicted = _forward(_layers(model), examples)[-1].argmax(axis=1)
    return float((predicted == labels).mean())


def cross_entropy(model: Arrays, examples: Examples, labels: Labels) -> float:
    """The mean negative log-likelihood of the labels, in nats."""
    log_likelihood = _log_softmax(_forward(_layers(model), examples)[-1])
    return float(-log_likelihood[np.arange(len(labels)), labels].mean())


def gradients(model: Arrays, examples: Examples, labels: Labels) -> tuple[dict[str, Vector], float]:
    """The gradient of ``cross_entropy`` by tensor, and its value."""
    schema = schema_of(model)
    gradient = unflatten(np.empty_like(flatten(model, schema)), schema)
    loss = _backward(_layers(model), _layers(gradient), examples, labels)
    return gradient, loss


def _descend(
    start: Vector,
    schema: ModelSchema,
    examples: Examples,
    labels: Labels,
    settings: TrainingConfig,
    rng: np.random.Generator,
) -> tuple[Vector, float]:
    """The parameters after SGD, and the mean loss of the last epoch, without the term of ``mu``."""
    parameters, gradient = start.copy(), np.empty_like(start)
    velocity = np.zeros_like(start) if settings.momentum else gradient  # without momentum it is the gradient itself
    layers, by_layer = _layers(unflatten(parameters, schema)), _layers(unflatten(gradient, schema))
    step_size, loss = np.float32(settings.step_size), 0.0
    for _ in range(settings.epochs):
        order = rng.permutation(len(labels))
        loss = 0.0
        for begin in range(0, len(order), settings.batch_size):
            batch = order[begin : begin + settings.batch_size]
            loss += _backward(layers, by_layer, examples[batch], labels[batch]) * len(batch) / len(order)
            if settings.mu:
                gradient += np.float32(settings.mu) * (parameters - start)
            if settings.momentum:
                velocity *= settings.momentum
                velocity += gradient
            parameters -= step_size * velocity
    return parameters, loss


def _layers(model: Mapping[str, Vector]) -> Layers:
    """The tensors in pairs, checked: each layer takes as many inputs as the one before it has outputs."""
    depth = len(model) // 2
    names = {f"{kind}{layer}" for layer in range(1, depth + 1) for kind in "wb"}
    if not model or set(model) != names:
        raise ValueError(f"tensors w1, b1, w2, b2, ... are expected; found {', '.join(model) or 'none'}")
    layers = [(model[f"w{layer}"], model[f"b{layer}"]) for layer in range(1, depth + 1)]
    inputs = layers[0][0].shape[0] if layers[0][0].ndim else 0
    for number, (weights, biases) in enumerate(layers, start=1):
        if weights.ndim != 2 or weights.shape[0] != inputs or biases.shape != weights.shape[1:]:
            raise ValueError(f"layer {number}: w{number} of {weights.shape} and b{number} of {biases.shape} do not fit")
        inputs = weights.shape[1]
    return layers


def _forward(layers: Layers, examples: Examples) -> list[Vector]:
    """The input of each layer, and the logits."""
    values = [examples]
    for number, (weights, biases) in enumerate(layers, start=1):
        value = values[-1] @ weights
        value += biases
        if number < len(layers):
            np.maximum(value, 0, out=value)
        values.append(value)
    return values


def _backward(layers: Layers, gradient: Layers, examples: Examples, labels: Labels) -> float:
    """Write the gradient of the mean cross-entropy into ``gradient``; returns its value."""
    values = _forward(layers, examples)
    rows = np.arange(len(labels))
    log_likelihood = _log_softmax(values[-1])
    slope = np.exp(log_likelihood)  # of the loss by the outputs of the layer at hand
    slope[rows, labels] -= 1
    slope /= len(labels)
    for (weights, _), (by_weights, by_biases), value in zip(
        reversed(layers), reversed(gradient), reversed(values[:-1]), strict=True
    ):
        np.matmul(value.T, slope, out=by_weights)
        slope.sum(axis=0, out=by_biases)
        if value is not examples:
            slope = slope @ weights.T
            slope *= value > 0
    return float(-log_likelihood[rows, labels].mean())


def _log_softmax(logits: Vector) -> Vector:
    """Logarithms of the classes' probabilities; shifted by the largest logit, so that nothing overflows."""
    shifted: Vector = logits - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
