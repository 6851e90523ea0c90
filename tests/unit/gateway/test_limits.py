"""How large a result may be, and whether any result of a model can be sent."""

from turnout.gateway.bounds import RESULT_BYTES_MAX, RESULT_BYTES_MOST, WEIGHTS_MODEL_BYTES_MOST
from turnout.gateway.limits import (
    JSON_BYTES_PER_NUMBER,
    TENSOR_OVERHEAD_BYTES,
    result_bytes,
    too_large_as_json,
    too_large_to_send,
)
from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.tensors import ELEMENT_BYTES

SCHEMA = ModelSchema((TensorSpec("w", (1000,)),))
NEEDED = result_bytes(SCHEMA)


def of_parameters(number: int) -> ModelSchema:
    return ModelSchema((TensorSpec("w", (number,)),))


def test_a_result_has_room_for_its_numbers_and_for_what_stands_around_them() -> None:
    assert NEEDED > 1000 * ELEMENT_BYTES + TENSOR_OVERHEAD_BYTES
    assert result_bytes(SCHEMA, 28) - NEEDED == 1000 * (28 - ELEMENT_BYTES)


def test_a_model_whose_results_can_be_sent_is_fine() -> None:
    assert too_large_to_send(SCHEMA, NEEDED) == ""


def test_a_model_whose_results_cannot_be_sent_is_told_with_the_bound_and_the_way_out() -> None:
    said = too_large_to_send(SCHEMA, NEEDED - 1)
    assert "1,000 parameters" in said
    assert f"{NEEDED - 1:,} are allowed" in said
    assert f"turnout up --result-bytes-max {NEEDED}" in said


def test_the_way_out_that_is_named_is_one() -> None:
    schema = of_parameters(67_200_000)
    assert result_bytes(schema) > RESULT_BYTES_MAX
    assert f"--result-bytes-max {result_bytes(schema)}" in too_large_to_send(schema, RESULT_BYTES_MAX)
    assert too_large_to_send(schema, result_bytes(schema)) == ""


def test_no_option_is_named_that_could_not_be_given() -> None:
    said = too_large_to_send(of_parameters(RESULT_BYTES_MOST), RESULT_BYTES_MAX)
    assert "train a smaller model" in said
    assert "--result-bytes-max" not in said


def test_a_model_that_devices_may_get_and_send_back_as_json_is_fine() -> None:
    assert too_large_as_json(SCHEMA, result_bytes(SCHEMA, JSON_BYTES_PER_NUMBER), NEEDED) == ""


def test_what_is_too_large_as_json_is_told_with_the_option_that_helps() -> None:
    as_json = result_bytes(SCHEMA, JSON_BYTES_PER_NUMBER)
    assert f"turnout up --weights-model-bytes-max {NEEDED};" in too_large_as_json(SCHEMA, as_json, NEEDED - 1)
    assert f"turnout up --result-bytes-max {as_json};" in too_large_as_json(SCHEMA, as_json - 1, NEEDED)


def test_no_option_is_named_for_json_that_could_not_be_given() -> None:
    said = too_large_as_json(of_parameters(WEIGHTS_MODEL_BYTES_MOST // 4), RESULT_BYTES_MAX, 1000)
    assert "turnout up" not in said
    said = too_large_as_json(of_parameters(20_000_000), RESULT_BYTES_MAX, WEIGHTS_MODEL_BYTES_MOST)
    assert "560,0" in said
    assert "turnout up" not in said
