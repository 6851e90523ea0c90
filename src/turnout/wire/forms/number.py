"""FLARE's bare numbers, of its examples and simulators: a model of one parameter.

What a device sends back is the *new* value, so it means nothing without the model that it was made from.
"""

import msgspec
import numpy as np

from turnout.messages import ModelSchema
from turnout.wire.edge_requests import MALFORMED, BadField, bad_body
from turnout.wire.forms.base import Form, Learned
from turnout.wire.tensors import TensorNotFiniteError, check_finite, num_parameters, read_safetensors

KIND = "number"
DATA_BYTES_MAX = 4096  #: Of ``data``: a value, a count, and what a device may add of its own.
EXAMPLE = '{"result": {"kind": "number", "data": {"value": 1.5, "count": n}, "meta": {}}}'


class _Data(msgspec.Struct):
    value: int | float
    count: float | None = None


_DATA = msgspec.json.Decoder(_Data)


def encode(file: bytes | memoryview) -> bytes:
    """The JSON of ``{"value": number}`` of a safetensors file."""
    vector, _ = read_safetensors(file)
    return msgspec.json.encode({"value": vector.item()})


def decode(kind: str | None, data: msgspec.Raw, schema: ModelSchema) -> Learned:
    """What ``{"value": number, "count": n}`` says."""
    assert num_parameters(schema) == 1, "a job whose model has more is not started"
    if kind != KIND:
        raise BadField(f'body of /result: result.kind must be "{KIND}" or "error"; send {EXAMPLE}')
    num_bytes = memoryview(data).nbytes
    if num_bytes > DATA_BYTES_MAX:
        raise BadField(f"result.data has {num_bytes} bytes of JSON; allowed are {DATA_BYTES_MAX}; send {EXAMPLE}")
    try:
        found = _DATA.decode(data)
    except MALFORMED as error:
        raise bad_body("/result, result.data", error, EXAMPLE) from None
    try:
        with np.errstate(over="ignore"):
            vector = np.array([found.value], dtype=np.float32)
    except OverflowError:
        raise TensorNotFiniteError("result.data.value is beyond all floats; a finite float32 is expected") from None
    check_finite(vector, schema)
    return Learned(vector, found.count)


NUMBER = Form("number", KIND, ".safetensors", encode, decode, EXAMPLE, absolute=True)
