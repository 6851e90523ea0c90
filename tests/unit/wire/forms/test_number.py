"""Bare numbers: a model of one parameter, and its new value."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.test_tensors import FINITE, JSON
from turnout.errors import DeviceError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.forms import NUMBER
from turnout.wire.tensors import TensorNotFiniteError, to_safetensors

SCHEMA = ModelSchema((TensorSpec("w", ()),), "number")


def file_of(number: float, schema: ModelSchema = SCHEMA) -> bytes:
    return to_safetensors(np.array([number], np.float32), schema)


def value(text: bytes) -> float:
    return float(NUMBER.decode("number", msgspec.Raw(text), SCHEMA).vector.item())


def test_a_device_is_told_the_value() -> None:
    assert NUMBER.encode(file_of(1.5)) == b'{"value":1.5}'


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_the_shape_of_the_one_parameter_does_not_matter(shape: tuple[int, ...]) -> None:
    assert NUMBER.encode(file_of(2, ModelSchema((TensorSpec("w", shape),)))) == b'{"value":2.0}'


def test_what_comes_back_is_the_new_value() -> None:
    assert NUMBER.absolute
    assert value(b'{"value": 2.5}') == 2.5
    assert value(b'{"value": 3}') == 3.0


def test_a_count_may_come_with_it() -> None:
    assert NUMBER.decode("number", msgspec.Raw(b'{"value": 1, "count": 7}'), SCHEMA).count == 7.0
    assert NUMBER.decode("number", msgspec.Raw(b'{"value": 1}'), SCHEMA).count is None


@given(FINITE)
def test_a_number_that_a_device_reads_and_sends_back_is_the_same(number: float) -> None:
    assert np.float32(value(NUMBER.encode(file_of(number)))).tobytes() == np.float32(number).tobytes()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"value": true}', "got `bool`"),
        (b'{"value": "1"}', "got `str`"),
        (b'{"value": null}', "got `null`"),
        (b'{"value": [1]}', "got `array`"),
        (b"{}", "missing required field `value`"),
        (b"1", "Expected `object`"),
        (b'{"value": 1, "count": "7"}', "count"),
        (b'{"value": 1e999}', "out of range"),
        (b'{"value": NaN}', "malformed"),
        (b'{"value": 1, "notes": "%b"}' % (b"x" * 4096), "allowed are 4096"),
    ],
)
def test_what_is_no_number_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        value(text)


@pytest.mark.parametrize("text", [b'{"value": 1e39}', b'{"value": -1e39}', b'{"value": 1%b}' % (b"0" * 400)])
def test_a_number_beyond_float32_is_refused(text: bytes) -> None:
    with pytest.raises(TensorNotFiniteError):
        value(text)


def test_another_kind_is_refused() -> None:
    with pytest.raises(DeviceError, match=r'result\.kind must be "number"'):
        NUMBER.decode("WEIGHT_DIFF", msgspec.Raw(b'{"value": 1}'), SCHEMA)


@given(JSON, JSON, st.text(max_size=3))
def test_any_data_raises_nothing_but_device_errors(number: object, count: object, key: str) -> None:
    for data in (number, {"value": number, "count": count}, {key: number}):
        try:
            NUMBER.decode("number", msgspec.Raw(msgspec.json.encode(data)), SCHEMA)
        except DeviceError:
            pass
