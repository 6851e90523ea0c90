"""Results: raw safetensors with fields in the query, and FLARE's JSON."""

from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.memory import refused_within
from turnout.errors import DeviceError
from turnout.messages import DeviceInfo, ModelSchema, ResultReport, TensorSpec
from turnout.wire import tensors
from turnout.wire.edge_metrics import METRICS_MAX, NAME_WORDS
from turnout.wire.edge_requests import BadField, MissingField
from turnout.wire.edge_results import (
    DecodedResult,
    ResultQuery,
    decode_result_query,
    encode_result,
    result_from_json,
    result_from_safetensors,
)

DEVICE = DeviceInfo("d1")
SCHEMA = ModelSchema((TensorSpec("w", (2,)), TensorSpec("b", ())))
QUERY = ResultQuery("j", "t", "train")
DXO = b'{"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1, 2.5], "b": -1}, "count": 7}, "meta": {}}'


OTHERS = {
    "number": ModelSchema((TensorSpec("w", ()),), "number"),
    "executorch": ModelSchema(SCHEMA.tensors, "executorch"),
}


def schema_of(job_id: str) -> ModelSchema | None:
    return {"j": SCHEMA, **OTHERS}.get(job_id)


def numbers(result: DecodedResult) -> list[float]:
    assert result.update is not None
    return [float(number) for number in np.frombuffer(result.update, "<f4")]


def from_json(body: bytes, query: ResultQuery = QUERY) -> DecodedResult:
    return result_from_json(query, body, schema_of)


def test_a_weight_diff_becomes_the_vector_and_its_count_the_number_of_examples() -> None:
    result = from_json(b'{"result": %b, "cookie": {"model_version": 2}, "status": "OK"}' % DXO)
    assert numbers(result) == [1.0, 2.5, -1.0]
    assert result.fields.num_examples == 7.0
    assert result.fields.cookie == {"model_version": 2}
    assert (result.fields.job_id, result.fields.task_id, result.fields.task_name) == ("j", "t", "train")


def test_a_result_is_read_in_the_form_of_its_job() -> None:
    number = from_json(b'{"job_id": "number", "result": {"kind": "number", "data": {"value": 2.5, "count": 4}}}')
    assert (numbers(number), number.fields.num_examples, number.absolute) == ([2.5], 4.0, True)
    tensor = b'"net.w": {"data": [1, 2.5], "sizes": [2], "strides": [1]}, "net.b": {"data": [-1], "sizes": []}'
    exported = from_json(b'{"job_id": "executorch", "result": {"kind": "number", "data": {%b}}}' % tensor)
    assert (numbers(exported), exported.fields.num_examples, exported.absolute) == ([1.0, 2.5, -1.0], 1.0, False)


@pytest.mark.parametrize("job_id", ["j", *OTHERS])
def test_a_missing_result_is_asked_for_in_the_form_of_its_job(job_id: str) -> None:
    kinds = {"j": "WEIGHT_DIFF", "number": "number", "executorch": "et_tensor_diff"}
    with pytest.raises(MissingField, match=f'missing result; send .*"kind": "{kinds[job_id]}"'):
        from_json(b"{}", ResultQuery(job_id, "t", "train"))


@pytest.mark.parametrize("job_id", ["j", *OTHERS])
def test_a_failed_training_is_the_same_in_every_form(job_id: str) -> None:
    result = from_json(b'{"result": {"kind": "error", "data": {"error": "no"}}}', ResultQuery(job_id, "t", "train"))
    assert (result.fields.status, numbers(result)) == ("ERROR", [])


def test_what_the_query_counts_goes_before_nothing_but_not_before_the_update_itself() -> None:
    query = msgspec.structs.replace(QUERY, num_examples=3.0)
    assert from_json(b'{"result": %b}' % DXO, query).fields.num_examples == 7.0
    assert from_json(b'{"num_examples": 5, "result": %b}' % DXO, query).fields.num_examples == 5.0


def test_a_result_without_status_is_ok_because_the_mobile_clients_send_none() -> None:
    assert from_json(b'{"result": %b}' % DXO).fields.status == "OK"


def test_without_a_count_a_result_is_worth_one_example() -> None:
    body = b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1, 2], "b": 3}}}}'
    assert from_json(body).fields.num_examples == 1.0


def test_the_body_wins_over_the_query() -> None:
    body = b'{"task_id": "t2", "task_name": "n2", "num_examples": 3, "metrics": {"loss": 0.5}, "result": %b}' % DXO
    fields = from_json(body).fields
    assert (fields.task_id, fields.task_name, fields.num_examples) == ("t2", "n2", 3.0)
    assert fields.metrics == {"loss": 0.5}


def test_ios_reports_a_failed_training_as_a_result_of_kind_error() -> None:
    result = from_json(b'{"result": {"kind": "error", "data": {"error": "no data"}}}')
    assert result.fields.status == "ERROR"
    assert numbers(result) == []


def test_a_status_other_than_ok_needs_no_result() -> None:
    result = from_json(b'{"status": "TRAIN_FAILED", "result": null}')
    assert result.fields.status == "TRAIN_FAILED"
    assert numbers(result) == []


def test_of_an_unknown_job_the_update_is_not_read() -> None:
    assert from_json(b'{"result": %b}' % DXO, ResultQuery("k", "t", "train")).update is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{}", "missing result"),
        (b'{"result": null}', "missing result"),
        (b'{"result": []}', "result"),
        (b'{"result": {"kind": "number", "data": {"value": 1}}}', 'result.kind must be "WEIGHT_DIFF"'),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": 5}}', "result.data: Expected `object`"),
        (b'{"result": {"kind": "WEIGHT_DIFF"}}', "result.data: Expected `object`"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": 5}}}', "an object of tensors by name"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"count": 1}}}', "missing result.data.dict"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {}}}}', 'missing "w", "b"'),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1], "b": 1}}}}', 'tensor "w"'),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": ["x", 1], "b": 1}}}}', 'tensor "w"'),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1e300, 1], "b": 1}}}}', 'tensor "w"'),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [NaN, 1], "b": 1}}}}', "malformed"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {}, "count": "7"}}}', "count"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {}, "count": true}}}', "count"),
        (b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {}, "count": 1%b}}}' % (b"0" * 400), "count"),
        (b'{"task_id": "%b", "result": %b}' % (b"x" * 1025, DXO), "task_id is longer"),
        (b'{"task_name": "%b", "result": %b}' % (b"x" * 1025, DXO), "task_name is longer"),
        (b'{"job_id": "%b", "result": %b}' % (b"x" * 1025, DXO), "job_id is longer"),
        (b'{"status": "%b", "result": %b}' % (b"x" * 1025, DXO), "status is longer"),
    ],
)
def test_a_bad_result_is_refused_and_says_why(body: bytes, words: str) -> None:
    with pytest.raises(DeviceError) as refused:
        from_json(body)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "body",
    [
        b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": %b}}}}',
        b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {}, "count": %b}}}',
        b'{"result": {"kind": "WEIGHT_DIFF", "data": %b}}',
        b'{"result": {"kind": "number", "data": %b}}',
        b'{"result": %b}',
        b'{"metrics": {"x": %b}}',
        b'{"cookie": {"x": %b}}',
        b'{"status": %b}',
        b'{"x": %b}',
    ],
)
def test_a_refused_result_takes_no_more_memory_than_its_body_wherever_it_is_hostile(body: bytes) -> None:
    hostile = body % (b"[" + b"[]," * 200_000 + b"0]")
    refused_within(lambda: from_json(hostile), len(hostile) + 50_000)


@pytest.mark.parametrize("field", ["metrics", "cookie"])
def test_fields_that_are_null_are_as_if_absent(field: str) -> None:
    fields = from_json(b'{"%b": null, "result": %b}' % (field.encode(), DXO)).fields
    assert (fields.metrics, fields.cookie) == ({}, None)


@pytest.mark.parametrize("field", ["job_id", "task_id", "task_name"])
def test_a_missing_field_is_named_with_where_to_put_it(field: str) -> None:
    query = msgspec.structs.replace(QUERY, **{field: None})
    with pytest.raises(MissingField, match=rf"missing {field}.*\?{field}="):
        from_json(b'{"result": %b}' % DXO, query)
    with pytest.raises(MissingField, match=f"missing {field}"):
        result_from_safetensors(query, b"", schema_of)


def test_numbers_in_the_query_must_be_numbers() -> None:
    assert decode_result_query({"num_examples": "32"}).num_examples == 32.0
    for text in ("many", ""):
        with pytest.raises(BadField, match="num_examples"):
            decode_result_query({"num_examples": text})


@pytest.mark.parametrize(
    "text",
    [
        *("nan", "inf", "-inf", "1e999", "1e3", "1_000", " 1 ", "+1", "-1", "0x10", "\u0661\u0662", "1.", ".5", "1,5"),
        *("", "1" * 17, "1 000"),
    ],
)
def test_num_examples_in_the_query_is_a_plain_decimal_number(text: str) -> None:
    with pytest.raises(BadField, match="num_examples"):
        result_from_safetensors(
            decode_result_query({"job_id": "j", "task_id": "t", "task_name": "n", "num_examples": text}), b"", schema_of
        )


@pytest.mark.parametrize("cookie", [b'{"text": "%b"}' % (b"x" * 4096), b"[]", b'"text"', b'{"n": 9223372036854775808}'])
def test_a_cookie_of_another_kind_is_ignored(cookie: bytes) -> None:
    assert from_json(b'{"cookie": %b, "result": %b}' % (cookie, DXO)).fields.cookie is None


@pytest.mark.parametrize(
    ("metrics", "left_out"),
    [
        (b'{"acc": 1, "loss": NaN}', "loss: it is not a finite number"),
        (b'{"loss":-Infinity,"acc":1}', "loss: it is not a finite number"),
        (b'{"loss": null, "acc": 1}', "loss: it is not a finite number"),
        (b'{"loss": "0.5", "acc": 1}', "loss: it is not a finite number"),
        (b'{"loss": true, "acc": 1}', "loss: it is not a finite number"),
        (b'{"loss": [0.5], "acc": 1}', "loss: it is not a finite number"),
        (b'{"loss": 1%b, "acc": 1}' % (b"0" * 400), "loss: it is not a finite number"),
        (b'{"": 0.5, "acc": 1}', f"'': a name has {NAME_WORDS}"),
        (b'{"\\u001b[31m": 0.5, "acc": 1}', f"'\\x1b[31m': a name has {NAME_WORDS}"),
    ],
)
def test_a_bad_metric_costs_itself_and_says_why(metrics: bytes, left_out: str) -> None:
    result = from_json(b'{"metrics": %b, "result": %b}' % (metrics, DXO))
    assert result.update is not None
    assert (result.fields.metrics, result.fields.metrics_left_out) == ({"acc": 1.0}, left_out)


@pytest.mark.parametrize("metrics", [b'"low"', b"5", b"[]", b"[NaN", b'{"a": {"b": 1'])
def test_metrics_in_the_query_that_are_none_are_left_out(metrics: bytes) -> None:
    found = decode_result_query({"metrics": metrics.decode()}).metrics
    assert found.values == {}
    assert found.left_out.startswith("all: they are not a JSON object of numbers")


def test_metrics_in_the_query_keep_what_can_be_read() -> None:
    query = decode_result_query(
        {"job_id": "j", "task_id": "t", "task_name": "train", "metrics": '{"acc": 0.5, "loss": NaN}'}
    )
    result = result_from_safetensors(query, tensors.to_safetensors(np.ones(3, np.float32), SCHEMA), schema_of)
    assert result.fields.metrics == {"acc": 0.5}
    assert result.fields.metrics_left_out == "loss: it is not a finite number"


def test_too_many_and_too_large_metrics_are_left_out() -> None:
    many = msgspec.json.encode({f"m{i}": 1.0 for i in range(METRICS_MAX + 2)})
    result = from_json(b'{"metrics": %b, "result": %b}' % (many, DXO))
    assert len(result.fields.metrics) == METRICS_MAX
    assert result.fields.metrics_left_out == "m64: more than 64 were sent"
    large = from_json(b'{"metrics": {"%b": 1}, "result": %b}' % (b"x" * 8192, DXO))
    assert (large.fields.metrics, large.fields.metrics_left_out) == (
        {},
        "all: they have 8199 bytes of JSON, and 8192 are allowed",
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"metrics": {"loss": NaN}, "result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [NaN, 1], "b": 1}}}}',
        b'{"metrics": {"loss": NaN}, "num_examples": NaN, "result": %b}' % DXO,
        b'{"metrics": {"loss": 1}, "result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"metrics": {"w": NaN}}}}}',
    ],
)
def test_what_is_no_number_elsewhere_stays_refused(body: bytes) -> None:
    with pytest.raises(DeviceError):
        from_json(body)


@pytest.mark.parametrize("number", ['"32"', '" 1 "', "true", "1_000", "[1]"])
def test_num_examples_in_json_is_a_number(number: str) -> None:
    with pytest.raises(DeviceError):
        from_json(b'{"num_examples": %b, "result": %b}' % (number.encode(), DXO), QUERY)


def assert_says(result: DecodedResult, told: ResultReport) -> None:
    """What was read is what was told, beside who told it."""
    for name in ("job_id", "task_id", "task_name", "num_examples", "metrics", "status", "cookie"):
        assert getattr(result.fields, name) == getattr(told, name), name
    assert result.fields.metrics_left_out == told.metrics_left_out
    assert (result.update, result.absolute) == (told.update, told.absolute)


def test_what_a_device_reports_the_gateway_reads() -> None:
    vector = np.array([1.5, -2.0, 0.25], np.float32)
    told = ResultReport(DEVICE, "j", "t", "train", vector.view(np.uint8).data, 12.0, {"loss": 0.5})
    sent = encode_result(told, SCHEMA)
    assert dict(sent.headers)["Content-Type"] == "application/vnd.safetensors"
    query = decode_result_query(dict(parse_qsl(urlsplit(sent.target).query)))
    result = result_from_safetensors(query, sent.body, schema_of)
    assert result.update is not None
    assert_says(result, told)


def test_a_device_reports_what_it_measured_without_a_body() -> None:
    told = ResultReport(DEVICE, "j", "t", "validate", memoryview(b""), 12.0, {"loss": 0.5}, status="VALIDATED")
    sent = encode_result(told, SCHEMA)
    assert sent.body == b""
    query = decode_result_query(dict(parse_qsl(urlsplit(sent.target).query)))
    result = result_from_safetensors(query, sent.body, schema_of)
    assert result.update is not None
    assert_says(result, told)


def test_a_device_reports_a_failure_without_a_body() -> None:
    told = ResultReport(DEVICE, "j", "t", "train", memoryview(b""), status="ERROR")
    sent = encode_result(told, SCHEMA)
    assert sent.body == b""
    query = decode_result_query(dict(parse_qsl(urlsplit(sent.target).query)))
    assert result_from_safetensors(query, sent.body, schema_of).fields.status == "ERROR"


def test_safetensors_of_another_model_are_refused() -> None:
    other = ModelSchema((TensorSpec("w", (3,)),))
    with pytest.raises(DeviceError):
        result_from_safetensors(QUERY, tensors.to_safetensors(np.zeros(3, np.float32), other), schema_of)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["w", "b", "dict", "count"]), inner),
    max_leaves=12,
)


@given(json_values, json_values, st.sampled_from(["WEIGHT_DIFF", "error", ""]))
def test_no_result_raises_anything_but_a_device_error(data: object, count: object, kind: str) -> None:
    body = {"result": {"kind": kind, "data": {"dict": data, "count": count}}}
    try:
        from_json(msgspec.json.encode(body))
    except DeviceError:
        pass
