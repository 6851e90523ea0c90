"""What ExecuTorch devices are told and send: a file in base64, and tensors with sizes."""

from base64 import b64decode
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.memory import refused_within
from tests.unit.wire.test_tensors import JSON, MODELS, SCHEMA, VECTOR
from turnout.errors import DeviceError
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire import tensors
from turnout.wire.forms import EXECUTORCH

W = {"data": [1, 2, 3, 4, 5, 6], "sizes": [2, 3], "strides": [3, 1]}
B = {"data": [7.0, 8.0], "sizes": [2]}


def read(data: object, schema: ModelSchema = SCHEMA, kind: str | None = "et_tensor_diff") -> tensors.Vector:
    return EXECUTORCH.decode(kind, msgspec.Raw(msgspec.json.encode(data)), schema).vector


def refusal(**tensor: object) -> str:
    with pytest.raises(DeviceError) as refused:
        read({"w": {**W, **tensor}, "b": B})
    return str(refused.value)


def test_a_device_is_told_the_file_as_text() -> None:
    assert EXECUTORCH.encode(b"\x00\xffpte") == b'"AP9wdGU="'


@given(st.binary())
def test_the_file_that_a_device_reads_is_the_one_that_was_exported(file: bytes) -> None:
    assert b64decode(msgspec.json.decode(EXECUTORCH.encode(file), type=str), validate=True) == file


def test_numbers_come_in_one_row_with_their_sizes() -> None:
    assert read({"w": W, "b": B}).tolist() == VECTOR.tolist()


@pytest.mark.parametrize("kind", ["et_tensor_diff", "number", "WEIGHT_DIFF", "", None])
def test_any_kind_will_do_for_the_sdks_do_not_agree_on_one(kind: str | None) -> None:
    assert read({"w": W, "b": B}, kind=kind).tolist() == VECTOR.tolist()


def test_names_lose_the_prefix_of_flares_wrapper() -> None:
    assert read({"net.w": W, "b": B}).tolist() == VECTOR.tolist()


def test_names_that_have_the_prefix_in_the_model_keep_it() -> None:
    schema = ModelSchema((TensorSpec("net.b", (2,)),))
    for name in ("net.b", "net.net.b"):
        assert read({name: B}, schema).tolist() == [7, 8]


def test_a_tensor_under_both_names_is_refused() -> None:
    with pytest.raises(tensors.TensorNamesError, match='"w" is there twice'):
        read({"w": W, "net.w": W, "b": B})


def test_missing_and_unknown_tensors_are_named() -> None:
    with pytest.raises(tensors.TensorNamesError, match='missing "b"; not of this model "c"'):
        read({"w": W, "c": B})


@pytest.mark.parametrize("data", [[[1, 2, 3], [4, 5, 6]], [[1, 2], [3, 4], [5, 6]], [[[1], [2], [3], [4], [5], [6]]]])
def test_the_python_simulator_nests_its_numbers(data: object) -> None:
    assert read({"w": {**W, "data": data}, "b": B}).tolist() == VECTOR.tolist()


@pytest.mark.parametrize("sizes", [[2, 3], [6], [-1], [2, -1], [-1, 3], [1, 2, 3, 1], [6, 1]])
def test_sizes_that_leave_every_number_in_its_place_are_taken(sizes: list[int]) -> None:
    assert read({"w": {"data": W["data"], "sizes": sizes}, "b": B}).tolist() == VECTOR.tolist()


@pytest.mark.parametrize("sizes", [[3, 2], [2, 2], [], [7], [-1, -1], [0], [4, -1], [2, 3, 2], [0, -1], [-1, 0]])
def test_other_sizes_are_refused(sizes: list[int]) -> None:
    assert refusal(sizes=sizes, strides=None) == f'tensor "w" has sizes {sizes}; [2, 3] is expected'


def test_a_single_number_may_stand_alone() -> None:
    schema = ModelSchema((TensorSpec("w", ()),))
    for told in ({"data": 5, "sizes": []}, {"data": [5], "sizes": [1], "strides": [9]}, {"data": [5], "sizes": []}):
        assert read({"w": told}, schema).tolist() == [5]


@pytest.mark.parametrize("strides", [[1, 2], [3], [3, 1, 1], [3, 2], [0, 0], [-1, 1]])
def test_strides_of_numbers_in_another_order_are_refused(strides: list[int]) -> None:
    assert "send its numbers in the order of sizes" in refusal(strides=strides)


def test_the_stride_of_a_length_of_one_says_nothing() -> None:
    told = {"data": W["data"], "sizes": [1, 2, 3], "strides": [99, 3, 1]}
    assert read({"w": told, "b": B}).tolist() == VECTOR.tolist()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": [1, 2, 3]}, "has 3 numbers in its data; 6 are expected"),
        ({"data": [[1, 2, 3], [4, 5]]}, "lists of different lengths"),
        ({"data": [[1, 2, 3], 4]}, "lists of different lengths"),
        ({"data": [1, 2, 3, [4], 5, 6]}, "holds a list"),
        ({"data": ["1", 2, 3, 4, 5, 6]}, "holds text"),
        ({"data": [True, 2, 3, 4, 5, 6]}, "holds a boolean"),
        ({"data": [1e39, 2, 3, 4, 5, 6]}, "is inf at position 0"),
        ({"data": None}, "has 1 numbers"),
        ({"sizes": None}, "cannot be read"),
        ({"sizes": [2.5]}, "cannot be read"),
        ({"sizes": [10**17]}, "cannot be read"),
        ({"strides": "3,1"}, "cannot be read"),
    ],
)
def test_what_is_no_tensor_of_the_model_is_refused(fields: dict[str, object], words: str) -> None:
    assert words in refusal(**fields)


@pytest.mark.parametrize("data", [b"[]", b"null", b"7"])
def test_what_is_no_object_of_tensors_is_refused(data: bytes) -> None:
    with pytest.raises(tensors.TensorFormatError, match="an object of tensors by name is expected"):
        EXECUTORCH.decode("number", msgspec.Raw(data), SCHEMA)


@given(MODELS, st.booleans(), st.booleans())
def test_a_device_that_sends_its_tensors_back_changes_nothing(model: Any, prefixed: bool, nests: bool) -> None:
    schema = tensors.schema_of(model)
    told = {}
    for name, array in model.items():
        strides = [stride // 4 for stride in array.strides]
        data = array.tolist() if nests else array.reshape(-1).tolist()
        told["net." + name if prefixed else name] = {"data": data, "sizes": array.shape, "strides": strides}
    assert read(told, schema).tobytes() == tensors.flatten(model, schema).tobytes()


MANY = 200_000


@pytest.mark.parametrize("field", [b'"data": %b, "sizes": [2]', b'"data": [1], "sizes": %b', b'"x": %b'])
def test_far_more_values_than_the_models_are_refused_before_they_are_parsed(field: bytes) -> None:
    text = b'{"w": {%b}}' % (field % (b"[" + b"0," * MANY + b"0]"))
    error = refused_within(lambda: EXECUTORCH.decode("x", msgspec.Raw(text), SCHEMA), 2 * len(text) + 100_000)
    assert "far more values" in str(error)


@given(JSON, JSON, JSON)
def test_any_json_raises_nothing_but_device_errors(data: object, sizes: object, strides: object) -> None:
    for told in (
        data,
        {"w": data, "b": B},
        {"w": {"data": data, "sizes": sizes, "strides": strides}, "b": B},
        {"w": {**W, "sizes": sizes}, "b": B},
        {"w": {**W, "strides": strides}, "b": B},
    ):
        try:
            EXECUTORCH.decode("", msgspec.Raw(msgspec.json.encode(told)), SCHEMA)
        except DeviceError:
            pass
