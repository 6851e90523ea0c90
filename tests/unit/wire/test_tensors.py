"""Named tensors, the flat vector and safetensors: each way there and back, and each way wrong."""

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.wire.memory import refused_within
from turnout.errors import DeviceError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire import tensors

SCHEMA = ModelSchema((TensorSpec("w", (2, 3)), TensorSpec("b", (2,))))
ARRAYS = {"w": np.array([[1, 2, 3], [4, 5, 6]], dtype=np.float32), "b": np.array([7, 8], dtype=np.float32)}
VECTOR = np.array([1, 2, 3, 4, 5, 6, 7, 8], dtype=np.float32)

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
MODELS = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda name: name != "__metadata__"),
    hnp.arrays(np.float32, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4), elements=FINITE),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=12,
)


def safetensors_file(header: object, numbers: bytes = b"") -> bytes:
    text = msgspec.json.encode(header)
    return len(text).to_bytes(8, "little") + text + numbers


def reason(error: pytest.ExceptionInfo[DeviceError]) -> str:
    return error.value.reason


# --- the schema and the vector ------------------------------------------------------------------------------------


def test_the_vector_holds_the_tensors_in_the_order_of_the_schema() -> None:
    assert tensors.num_parameters(SCHEMA) == 8
    assert tensors.flatten(ARRAYS, SCHEMA).tolist() == VECTOR.tolist()


def test_the_schema_of_tensors_keeps_their_order() -> None:
    assert tensors.schema_of(ARRAYS) == SCHEMA


def test_unflattened_tensors_are_views() -> None:
    vector = VECTOR.copy()
    tensors.unflatten(vector, SCHEMA)["b"][0] = 70
    assert vector[6] == 70


def test_a_transposed_tensor_is_flattened_row_by_row() -> None:
    arrays = {"w": np.asfortranarray(ARRAYS["w"]), "b": ARRAYS["b"]}
    assert tensors.flatten(arrays, SCHEMA).tolist() == VECTOR.tolist()


def test_missing_and_unexpected_tensors_are_named() -> None:
    with pytest.raises(tensors.TensorNamesError, match='missing "b"; not of this model "bias"') as error:
        tensors.flatten({"w": ARRAYS["w"], "bias": ARRAYS["b"]}, SCHEMA)
    assert reason(error) == "names"


def test_names_chosen_by_a_device_are_shown_clipped_few_and_printable() -> None:
    arrays = {**ARRAYS, **{f"{i}\n" + "x" * 10_000: ARRAYS["b"] for i in range(1000)}}
    with pytest.raises(tensors.TensorNamesError, match="and 997 more") as error:
        tensors.flatten(arrays, SCHEMA)
    assert len(str(error.value)) < 500
    assert str(error.value).isprintable()


def test_a_tensor_of_another_shape_is_refused_even_if_it_has_as_many_elements() -> None:
    with pytest.raises(tensors.TensorShapeError, match=r'"w" has shape \[3, 2\]; \[2, 3\] is expected') as error:
        tensors.flatten({**ARRAYS, "w": ARRAYS["w"].reshape(3, 2)}, SCHEMA)
    assert reason(error) == "shape"


def test_a_tensor_is_never_broadcast() -> None:
    with pytest.raises(tensors.TensorShapeError, match=r"shape \[\]"):
        tensors.flatten({**ARRAYS, "b": np.float32(1)}, SCHEMA)


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.bool_])
def test_a_tensor_of_another_dtype_is_refused(dtype: type) -> None:
    with pytest.raises(tensors.TensorDtypeError, match=f'"b" is {np.dtype(dtype)}; float32 is expected') as error:
        tensors.flatten({**ARRAYS, "b": ARRAYS["b"].astype(dtype)}, SCHEMA)
    assert reason(error) == "dtype"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found(number: float) -> None:
    with pytest.raises(tensors.TensorNotFiniteError, match=rf'"b" is {number} at position 1') as error:
        tensors.flatten({**ARRAYS, "b": np.array([0, number], dtype=np.float32)}, SCHEMA)
    assert reason(error) == "not_finite"


def test_infinities_that_would_cancel_out_are_found() -> None:
    with pytest.raises(tensors.TensorNotFiniteError, match='"b" is inf at position 0'):
        tensors.flatten({**ARRAYS, "b": np.array([np.inf, -np.inf], dtype=np.float32)}, SCHEMA)


def test_numbers_whose_squares_are_beyond_float32_are_finite() -> None:
    large = np.array([3e38, -3e38], dtype=np.float32)
    assert tensors.flatten({**ARRAYS, "b": large}, SCHEMA)[-2:].tolist() == large.tolist()


@given(MODELS)
def test_flattening_and_back_changes_nothing(model: dict[str, np.ndarray]) -> None:
    schema = tensors.schema_of(model)
    back = tensors.unflatten(tensors.flatten(model, schema), schema)
    assert list(back) == list(model)
    assert all(np.array_equal(back[name], model[name]) for name in model)


# --- safetensors --------------------------------------------------------------------------------------------------


@given(MODELS)
def test_our_files_are_read_by_us_without_a_copy_and_by_the_library(model: dict[str, np.ndarray]) -> None:
    schema = tensors.schema_of(model)
    vector = tensors.flatten(model, schema)
    data = tensors.to_safetensors(vector, schema)
    read = tensors.from_safetensors(data, schema)
    assert read.tobytes() == vector.tobytes() == tensors.update_from_safetensors(data, schema)
    assert np.shares_memory(read, np.frombuffer(data, np.uint8)) or not vector.size
    library = safetensors.numpy.load(data)
    assert all(np.array_equal(library[name], model[name]) for name in model)


@given(MODELS)
def test_files_of_the_library_are_read(model: dict[str, np.ndarray]) -> None:
    schema = tensors.schema_of(model)
    data = safetensors.numpy.save(model, metadata={"format": "np"})
    flat = tensors.flatten(model, schema).tobytes()
    assert tensors.from_safetensors(data, schema).tobytes() == tensors.update_from_safetensors(data, schema) == flat
    by_name = dict(sorted(model.items()))
    vector, found = tensors.read_safetensors(data)
    assert found == tensors.schema_of(by_name)
    assert vector.tobytes() == tensors.flatten(by_name, found).tobytes()


@pytest.mark.parametrize("shift", range(8))
def test_a_body_may_lie_anywhere_in_a_larger_buffer(shift: int) -> None:
    data = tensors.to_safetensors(VECTOR, SCHEMA)
    body = memoryview(bytes(shift) + data + b"next")[shift : shift + len(data)]
    read = tensors.from_safetensors(body, SCHEMA)
    assert read.tolist() == VECTOR.tolist()
    assert tensors.update_from_safetensors(body, SCHEMA) == VECTOR.tobytes()
    assert read.flags.aligned
    assert read.dtype == np.float32


@pytest.mark.parametrize(
    ("arrays", "kind", "words"),
    [
        ({"w": ARRAYS["w"]}, tensors.TensorNamesError, 'missing "b"'),
        ({**ARRAYS, "b": ARRAYS["b"].astype(np.float16)}, tensors.TensorDtypeError, '"b" is F16; F32'),
        ({**ARRAYS, "b": ARRAYS["w"]}, tensors.TensorShapeError, r'"b" has shape \[2, 3\]; \[2\]'),
        ({**ARRAYS, "b": ARRAYS["b"] * np.float32(np.nan)}, tensors.TensorNotFiniteError, '"b" is nan'),
    ],
)
def test_a_file_of_another_model_is_refused(arrays: dict[str, np.ndarray], kind: type[DeviceError], words: str) -> None:
    with pytest.raises(kind, match=words):
        tensors.from_safetensors(safetensors.numpy.save(arrays), SCHEMA)


def test_a_file_of_ours_with_a_nan_is_refused() -> None:
    data = tensors.to_safetensors(np.full(8, np.nan, dtype=np.float32), SCHEMA)
    with pytest.raises(tensors.TensorNotFiniteError, match='"w" is nan at position 0'):
        tensors.from_safetensors(data, SCHEMA)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 64,
        safetensors_file([]),
        safetensors_file({"w": 1}),
        safetensors_file({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)),
        safetensors_file({"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8)),
        (60_000).to_bytes(8, "little") + b"[" * 60_000,
    ],
)
def test_what_is_no_safetensors_file_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(tensors.TensorFormatError, match="not a safetensors file") as error:
        tensors.from_safetensors(data, SCHEMA)
    assert reason(error) == "format"


def test_an_empty_tensor_of_impossible_shape_is_refused() -> None:
    data = safetensors_file({"w": {"dtype": "F32", "shape": [0, 2**62], "data_offsets": [0, 0]}})
    with pytest.raises(tensors.TensorShapeError):
        tensors.read_safetensors(data)


@given(st.integers(0, 200), st.binary(max_size=8), st.integers(0, 200))
def test_damaged_files_raise_nothing_but_device_errors(place: int, garbage: bytes, end: int) -> None:
    data = tensors.to_safetensors(VECTOR, SCHEMA)
    damaged = (data[:place] + garbage + data[place + len(garbage) :])[:end]
    for read in (tensors.read_safetensors, lambda body: tensors.from_safetensors(body, SCHEMA)):
        try:
            read(damaged)
        except DeviceError:
            pass


@given(JSON, st.binary(max_size=40))
def test_any_header_raises_nothing_but_device_errors(header: object, numbers: bytes) -> None:
    for data in (safetensors_file(header, numbers), safetensors_file({"w": header, "b": header}, numbers)):
        with pytest.raises(DeviceError):
            tensors.from_safetensors(data, SCHEMA)


@given(st.binary(max_size=200))
def test_garbage_raises_nothing_but_device_errors(data: bytes) -> None:
    with pytest.raises(DeviceError):
        tensors.from_safetensors(data, SCHEMA)


def test_a_header_of_far_more_tensors_than_the_models_is_refused_before_it_is_parsed() -> None:
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    data = safetensors_file({f"t{number}": nothing for number in range(20_000)})
    error = refused_within(lambda: tensors.from_safetensors(data, SCHEMA), 100_000)
    assert isinstance(error, tensors.TensorFormatError)
    assert "the model's 2 tensors need" in str(error)
