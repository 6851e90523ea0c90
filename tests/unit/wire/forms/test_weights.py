"""FLARE's WEIGHTS and WEIGHT_DIFF: nested lists, or base64, there and back, and each way wrong."""

from base64 import b64encode
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.memory import refused_within
from tests.unit.wire.test_tensors import JSON, MODELS, SCHEMA, VECTOR
from turnout.errors import DeviceError
from turnout.messages import ModelSchema
from turnout.wire import nested, tensors
from turnout.wire.forms import WEIGHTS

NESTED = {"w": [[1, 2, 3], [4, 5, 6]], "b": [7.0, 8.0]}
MANY = 200_000  #: Three times what is parsed to say which tensor is wrong.


def read(text: bytes, schema: ModelSchema = SCHEMA) -> tensors.Vector:
    return WEIGHTS.decode("WEIGHT_DIFF", msgspec.Raw(b'{"dict": %b}' % text), schema).vector


def packed(numbers: Any, shape: object = None, **fields: object) -> dict[str, object]:
    array = np.array(numbers, "<f4")
    return {"dtype": "F32", "shape": shape or array.shape, "data_base64": b64encode(array.tobytes()).decode(), **fields}


def test_nested_lists_of_integers_and_floats_are_taken() -> None:
    assert read(msgspec.json.encode(NESTED)).tolist() == VECTOR.tolist()


def test_the_count_is_what_the_device_says() -> None:
    data = msgspec.Raw(msgspec.json.encode({"dict": NESTED, "count": 25}))
    assert WEIGHTS.decode("WEIGHT_DIFF", data, SCHEMA).count == 25.0


def test_a_tensor_may_come_as_base64_of_its_float32() -> None:
    assert b64encode(np.array([7, 8], "<f4").tobytes()) == b"AADgQAAAAEE="
    text = b'{"w": [[1,2,3],[4,5,6]], "b": {"dtype": "F32", "shape": [2], "data_base64": "AADgQAAAAEE="}}'
    assert read(text).tolist() == VECTOR.tolist()


@given(MODELS)
def test_a_model_that_a_device_packs_and_sends_back_is_the_same(model: dict[str, np.ndarray]) -> None:
    schema = tensors.schema_of(model)
    text = msgspec.json.encode({name: packed(array) | {"shape": array.shape} for name, array in model.items()})
    assert read(text, schema).tobytes() == tensors.flatten(model, schema).tobytes()


@given(MODELS)
def test_a_model_that_a_device_reads_and_sends_back_is_the_same(model: dict[str, np.ndarray]) -> None:
    schema = tensors.schema_of(model)
    vector = tensors.flatten(model, schema)
    text = WEIGHTS.encode(tensors.to_safetensors(vector, schema))
    assert read(text, schema).tobytes() == vector.tobytes()
    marks = sum(text.count(mark) for mark in nested.VALUE_MARKS)
    assert marks <= sum(map(nested._marks, schema.tensors)) + 1, "the spare is not for models, but for mistakes"


@pytest.mark.parametrize(
    ("b", "kind", "words"),
    [
        ([7.0], tensors.TensorShapeError, r'"b" is not nested lists of shape \[2\]: at depth 1, lists of length 2'),
        (7.0, tensors.TensorShapeError, "at depth 1"),
        ([[7.0], [8.0]], tensors.TensorShapeError, '"b" holds a list'),
        ("ab", tensors.TensorShapeError, "at depth 1"),
        (["7", "8"], tensors.TensorDtypeError, '"b" holds text; numbers in shape'),
        ([True, 8], tensors.TensorDtypeError, '"b" holds a boolean'),
        ([None, {}], tensors.TensorDtypeError, '"b" holds an object and null'),
        ([1, 1e39], tensors.TensorNotFiniteError, '"b" is inf at position 1'),
        (packed([7, np.nan]), tensors.TensorNotFiniteError, '"b" is nan at position 1'),
        (packed([7, 8], dtype="F64"), tensors.TensorDtypeError, '"b" is F64; "F32"'),
        (packed([7, 8], [1, 2]), tensors.TensorShapeError, r'"b" has shape \[1, 2\]; \[2\] is expected'),
        (packed([7, 8, 9], [2]), tensors.TensorShapeError, "12 bytes in data_base64; 2 numbers of 4 bytes"),
        (packed([7, 8], [2], data_base64="AAA"), tensors.TensorFormatError, "Invalid base64"),
        (packed([7, 8], [2.5]), tensors.TensorFormatError, "Expected `int`"),
        ({}, tensors.TensorFormatError, "missing required field `dtype`"),
    ],
)
def test_what_is_no_tensor_of_the_model_is_refused(b: object, kind: type[DeviceError], words: str) -> None:
    with pytest.raises(kind, match=words):
        read(msgspec.json.encode({**NESTED, "b": b}))


@pytest.mark.parametrize(
    ("b", "words"),
    [(b"[1%b, 1]" % (b"0" * 39), '"b" is inf at position 0'), (b"[1%b, 1]" % (b"0" * 400), "beyond all floats")],
)
def test_an_integer_beyond_float32_is_refused(b: bytes, words: str) -> None:
    with pytest.raises(tensors.TensorNotFiniteError, match=words):
        read(b'{"w": [[1,2,3],[4,5,6]], "b": %b}' % b)


@pytest.mark.parametrize(
    "values",
    [b"[],", b"{},", b"1.5,", b'"",', b'{"":1},', b"[1],", b"null,", b"99999999999,"],
)
@pytest.mark.parametrize("form", [b'{"w": [%b0], "b": [7, 8]}', b"[%b0]"])
def test_a_text_of_far_more_values_than_the_models_is_refused_before_it_is_parsed(values: bytes, form: bytes) -> None:
    text = form % (values * MANY)
    error = refused_within(lambda: read(text), 2 * len(text) + 100_000)
    assert isinstance(error, tensors.TensorShapeError)
    assert "far more values" in str(error)


@pytest.mark.parametrize("form", [b'{"w": %b0%b}', b"%b0%b"])
def test_a_text_nested_far_too_deeply_is_refused(form: bytes) -> None:
    for depth in (10_000, MANY):
        with pytest.raises(DeviceError):
            read(form % (b"[" * depth, b"]" * depth))


def test_names_without_end_are_refused_before_they_are_parsed() -> None:
    text = b"{" + b",".join(b'"%d":1' % number for number in range(MANY)) + b"}"
    error = refused_within(lambda: read(text), 2 * len(text) + 100_000)
    assert isinstance(error, tensors.TensorShapeError)
    assert "far more values" in str(error)


@pytest.mark.parametrize("text", [b"[]", b"7", b"null", b'"w"'])
def test_what_is_no_object_of_tensors_is_refused(text: bytes) -> None:
    with pytest.raises(tensors.TensorFormatError, match="an object of tensors by name is expected"):
        read(text)


@given(JSON)
def test_any_json_raises_nothing_but_device_errors(value: object) -> None:
    for told in (
        value,
        {**NESTED, "b": value},
        {**NESTED, "w": [value, value]},
        {**NESTED, "b": {**packed([7, 8]), "dtype": value}},
        {**NESTED, "b": {**packed([7, 8]), "shape": value}},
        {**NESTED, "b": {**packed([7, 8]), "data_base64": value}},
    ):
        try:
            read(msgspec.json.encode(told))
        except DeviceError:
            pass


@given(st.text(max_size=20), JSON)
def test_any_data_raises_nothing_but_device_errors(kind: str, data: object) -> None:
    with pytest.raises(DeviceError):
        WEIGHTS.decode(kind, msgspec.Raw(msgspec.json.encode(data)), SCHEMA)
