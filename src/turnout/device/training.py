"""One task, done: model bytes in, a checked update out."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from turnout.device.session import TrainedUpdate
from turnout.device.trainers.base import Evaluator, NoExamples, Trainer, Update
from turnout.errors import DeviceError, ServerError
from turnout.messages import EXAMPLES_MAX, EXAMPLES_MIN, VALIDATE, ModelSchema, TensorSpec
from turnout.wire.tensors import Vector, flatten, from_safetensors, unflatten

LENGTH_BYTES = 8
METADATA = "__metadata__"

Work = Callable[[Trainer, bytes | memoryview, Mapping[str, Any]], tuple[TrainedUpdate, ModelSchema]]


class BadTrainer(DeviceError):
    """A trainer returned what cannot be an update."""

    reason = "bad_trainer"


class _Tensor(msgspec.Struct):
    dtype: str = ""
    shape: tuple[int, ...] = ()
    data_offsets: tuple[int, int] = (0, 0)


_HEADER = msgspec.json.Decoder(dict[str, _Tensor])


def schema_of_file(data: bytes | memoryview) -> ModelSchema:
    """The schema of a model in safetensors, in the order of the file. Raises ServerError when it is none."""
    length = int.from_bytes(data[:LENGTH_BYTES], "little")
    try:
        tensors = _HEADER.decode(data[LENGTH_BYTES : LENGTH_BYTES + length])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise ServerError(f"the model that the server sent is not in safetensors: {error}") from None
    tensors.pop(METADATA, None)
    names = sorted(tensors, key=lambda name: tensors[name].data_offsets)
    return ModelSchema(tuple(TensorSpec(name, tensors[name].shape) for name in names))


def train(trainer: Trainer, model: bytes | memoryview, config: Mapping[str, Any]) -> tuple[TrainedUpdate, ModelSchema]:
    """Have ``trainer`` learn from a model in safetensors.

    Raises ServerError for an invalid model, DeviceError for an invalid update, NoExamples where there was
    nothing to learn from, and whatever the trainer does.
    """
    vector, schema = _read(model)
    update = trainer.train(unflatten(vector, schema), config)
    if not isinstance(update, Update):
        raise BadTrainer(f"train() returned {type(update).__name__}; an Update(delta, num_examples) is expected")
    num_examples, metrics = _examples(update.num_examples), _metrics(update.metrics)
    return TrainedUpdate(flatten(update.delta, schema).view("u1").data, num_examples, metrics), schema


def measure(
    trainer: Trainer, model: bytes | memoryview, config: Mapping[str, Any]
) -> tuple[TrainedUpdate, ModelSchema]:
    """Have ``trainer`` measure a model in safetensors; there is no update. Raises as ``train`` does."""
    if not isinstance(trainer, Evaluator):
        raise BadTrainer("this trainer has no evaluate(model, config), so it cannot measure a model")
    vector, schema = _read(model)
    metrics, num_examples = trainer.evaluate(unflatten(vector, schema), config)
    return TrainedUpdate(memoryview(b""), _examples(num_examples), _metrics(metrics), measured=True), schema


def work_of(task_name: str | None) -> Work:
    """What a task of this name is."""
    return measure if task_name == VALIDATE else train


def _read(model: bytes | memoryview) -> tuple[Vector, ModelSchema]:
    schema = schema_of_file(model)
    try:
        return from_safetensors(model, schema), schema
    except DeviceError as error:
        raise ServerError(f"the model that the server sent cannot be used: {error}") from None


def _examples(given: float) -> float:
    num_examples = float(given)
    if num_examples == 0:
        raise NoExamples("the device has no examples")
    if not EXAMPLES_MIN <= num_examples <= EXAMPLES_MAX:
        raise BadTrainer(f"the trainer says it learned from {num_examples} examples; a number from 1 is expected")
    return num_examples


def _metrics(given: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in given.items() if math.isfinite(value)}  # JSON has no NaN
