"""One task, done: a model in safetensors in, an update out."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from turnout.device.trainers.base import Arrays, NoExamples, Update
from turnout.device.training import BadTrainer, measure, schema_of_file, train, work_of
from turnout.errors import DeviceError, ServerError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import to_safetensors

SCHEMA = ModelSchema((TensorSpec("w", (2, 1)), TensorSpec("b", ())))
MODEL = to_safetensors(np.array([1, 2, 3], dtype=np.float32), SCHEMA)


class Returns:
    """A trainer that has its update ready."""

    def __init__(self, update: Update) -> None:
        self.update = update

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        return self.update


class Halves:
    """Halves the model."""

    def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
        assert config == {"model_version": 3}
        return Update(
            {name: -array / 2 for name, array in reversed(model.items())}, 7, {"loss": 1, "nan": float("nan")}
        )


def test_the_update_is_one_vector_in_the_order_of_the_model() -> None:
    update, schema = train(Halves(), MODEL, {"model_version": 3})
    assert np.frombuffer(update.update, dtype="<f4").tolist() == [-0.5, -1.0, -1.5]
    assert (update.num_examples, update.metrics) == (7.0, {"loss": 1.0})
    assert schema == SCHEMA


def test_the_schema_of_a_file_has_the_order_of_its_numbers() -> None:
    assert schema_of_file(MODEL) == SCHEMA
    other = save({"b": np.zeros(1, np.float32), "a": np.zeros((2, 3), np.float32)}, metadata={"by": "someone"})
    assert {tensor.name: tensor.shape for tensor in schema_of_file(other).tensors} == {"a": (2, 3), "b": (1,)}


@pytest.mark.parametrize("model", [b"", b"x" * 20, MODEL[:-1], b"\xff" * 16, (9).to_bytes(8, "little") + b'{"w":[1]}'])
def test_a_model_that_is_none_is_the_server_s_mistake(model: bytes) -> None:
    with pytest.raises(ServerError, match="the model that the server sent"):
        train(Halves(), model, {})


def test_an_update_of_no_examples_is_none_and_no_mistake() -> None:
    with pytest.raises(NoExamples):
        train(Returns(Update({"w": np.zeros((2, 1), np.float32)}, 0)), MODEL, {})


@pytest.mark.parametrize("num_examples", [-1, float("nan"), float("inf")])
def test_an_impossible_number_of_examples_is_refused(num_examples: float) -> None:
    with pytest.raises(BadTrainer, match="a number from 1"):
        train(Returns(Update({"w": np.zeros((2, 1), np.float32)}, num_examples)), MODEL, {})


def test_an_update_of_other_tensors_is_refused() -> None:
    with pytest.raises(DeviceError, match='missing "b"'):
        train(Returns(Update({"w": np.zeros((2, 1), np.float32)}, 1)), MODEL, {})


def test_a_trainer_cannot_change_the_model_it_was_given() -> None:
    class Writes:
        def train(self, model: Arrays, config: Mapping[str, Any]) -> Update:
            model["w"][0] = 1.0
            raise AssertionError

    with pytest.raises(ValueError, match="read-only"):
        train(Writes(), MODEL, {})


class Measures(Halves):
    """Can measure, too."""

    def __init__(self, num_examples: float = 7) -> None:
        self.num_examples = num_examples

    def evaluate(self, model: Arrays, config: Mapping[str, Any]) -> tuple[Mapping[str, float], float]:
        return {"sum": float(sum(array.sum() for array in model.values())), "nan": float("nan")}, self.num_examples


def test_a_measurement_has_metrics_and_no_update() -> None:
    measured, schema = measure(Measures(), MODEL, {})
    assert (len(measured.update), measured.num_examples, measured.metrics) == (0, 7.0, {"sum": 6.0})
    assert measured.measured
    assert schema == SCHEMA


def test_a_trainer_without_evaluate_cannot_measure() -> None:
    with pytest.raises(BadTrainer, match="no evaluate"):
        measure(Halves(), MODEL, {})
    with pytest.raises(BadTrainer, match="a number from 1"):
        measure(Measures(-1), MODEL, {})


def test_the_name_of_a_task_says_what_it_is() -> None:
    assert work_of("validate") is measure
    assert work_of("train") is train
    assert work_of(None) is train


def test_a_trainer_that_returns_something_else_is_told_what_is_expected() -> None:
    class ReturnsItsLoss:
        def train(self, model: Arrays, config: Mapping[str, Any]) -> Any:
            return 0.25

    with pytest.raises(BadTrainer, match=r"train\(\) returned float; an Update\(delta, num_examples\) is expected"):
        train(ReturnsItsLoss(), MODEL, {})
