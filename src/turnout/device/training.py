"""One task, done: model bytes in, a checked update out."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from turnout.device.session import TrainedUpdate
from turnout.device.trainers.base import Trainer
from turnout.errors import DeviceError, ServerError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import flatten, from_safetensors, unflatten

LENGTH_BYTES = 8
METADATA = "__metadata__"


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

    Raises ServerError for a model that is none, DeviceError for an update that is none, and whatever the trainer does.
    """
    schema = schema_of_file(model)
    try:
        vector = from_safetensors(model, schema)
    except DeviceError as error:
        raise ServerError(f"the model that the server sent cannot be used: {error}") from None
    update = trainer.train(unflatten(vector, schema), config)
    num_examples = float(update.num_examples)
    if not (math.isfinite(num_examples) and num_examples > 0):
        raise BadTrainer(f"the trainer says it learned from {num_examples} examples; a number above 0 is expected")
    metrics = {name: float(value) for name, value in update.metrics.items() if math.isfinite(value)}  # JSON has no NaN
    delta = flatten(update.delta, schema)
    return TrainedUpdate(delta.view("u1").data, num_examples, metrics), schema
