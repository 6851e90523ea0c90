"""The two pieces of work of a gateway's worker."""

import msgspec
import numpy as np
import pytest

from tests.unit.gateway.fakes import MODEL, SCHEMA
from turnout.errors import DeviceError
from turnout.gateway import decode
from turnout.wire.edge_results import DecodedResult, ResultQuery
from turnout.wire.forms import WEIGHTS

QUERY = ResultQuery("j", "t", "train")


def test_a_result_comes_back_as_its_fields_and_vector() -> None:
    body = b'{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {"w": [1, 2, 3, 4, 5, 6, 7, 8]}, "count": 4}}}'
    answer = decode.decode(memoryview(decode.result_work(QUERY, SCHEMA, body)))
    result = msgspec.msgpack.decode(answer, type=DecodedResult)
    assert result.fields.num_examples == 4.0
    assert result.update is not None
    assert np.frombuffer(result.update, "<f4").tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_bad_result_is_the_devices_mistake() -> None:
    with pytest.raises(DeviceError, match="/result"):
        decode.decode(memoryview(decode.result_work(QUERY, SCHEMA, b"[")))


def test_a_model_comes_back_as_json() -> None:
    answer = decode.decode(memoryview(decode.model_work(WEIGHTS, MODEL)))
    assert msgspec.json.decode(answer) == {"w": [0, 1, 2, 3, 4, 5, 6, 7]}
