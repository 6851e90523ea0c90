"""FLARE's WEIGHTS and WEIGHT_DIFF: tensors as nested lists of numbers; what is learned may also come as base64."""

import math

import msgspec
import numpy as np

from turnout.messages import ModelSchema, TensorSpec
from turnout.wire import nested
from turnout.wire.edge_requests import MALFORMED, BadField, MissingField, bad_body
from turnout.wire.forms.base import Form, Learned
from turnout.wire.nested import Length
from turnout.wire.tensors import (
    ELEMENT_BYTES,
    TensorDtypeError,
    TensorShapeError,
    Vector,
    check_finite,
    check_shape,
    clip,
    layout,
    num_parameters,
    quote,
    read_safetensors,
)

WEIGHT_DIFF = "WEIGHT_DIFF"
F32 = "F32"  #: As safetensors calls it: little-endian float32.
EXAMPLE = '{"result": {"kind": "WEIGHT_DIFF", "data": {"dict": {name: nested lists}, "count": n}, "meta": {}}}'


class _Data(msgspec.Struct):
    dict: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    count: float | None = None


class _Packed(msgspec.Struct):
    """A tensor whose numbers lie one after the other, in base64."""

    dtype: str
    shape: tuple[Length, ...]
    data_base64: bytes


_DATA = msgspec.json.Decoder(_Data)
_PACKED = msgspec.json.Decoder(_Packed)


def encode(file: bytes | memoryview) -> bytes:
    """The JSON of ``{name: nested lists}`` of a safetensors file."""
    vector, schema = read_safetensors(file)
    return msgspec.json.encode(nested.to_nested(vector, schema))


def decode(kind: str | None, data: msgspec.Raw, schema: ModelSchema) -> Learned:
    """What ``{"dict": {name: tensor}, "count": n}`` says."""
    if kind != WEIGHT_DIFF:
        raise BadField(f'body of /result: result.kind must be "{WEIGHT_DIFF}" or "error"; send {EXAMPLE}')
    try:
        found = _DATA.decode(data)
    except MALFORMED as error:
        raise bad_body("/result, result.data", error, EXAMPLE) from None
    if isinstance(found.dict, msgspec.UnsetType):
        raise MissingField(f"body of /result: missing result.data.dict; send {EXAMPLE}")
    texts = nested.by_exact_name(found.dict, schema)
    vector = np.empty(num_parameters(schema), dtype=np.float32)
    for tensor, begin, size in layout(schema):
        vector[begin : begin + size] = _tensor(texts[tensor.name], tensor)
    check_finite(vector, schema)
    return Learned(vector, found.count)


def _tensor(text: msgspec.Raw, tensor: TensorSpec) -> Vector:
    if bytes(memoryview(text)[:1]) == b"{":
        return _unpacked(text, tensor)
    return nested.numbers(nested.lists(text), tensor)


def _unpacked(text: msgspec.Raw, tensor: TensorSpec) -> Vector:
    try:
        found = _PACKED.decode(text)
    except MALFORMED as error:
        raise nested.unreadable(error) from None
    if found.dtype != F32:
        raise TensorDtypeError(f'tensor {quote(tensor.name)} is {clip(found.dtype)}; "{F32}" (float32) is expected')
    check_shape(tensor, found.shape)
    numbers = math.prod(tensor.shape)
    if len(found.data_base64) != numbers * ELEMENT_BYTES:
        raise TensorShapeError(
            f"tensor {quote(tensor.name)} has {len(found.data_base64)} bytes in data_base64; {numbers} numbers of "
            f"{ELEMENT_BYTES} bytes are expected"
        )
    return np.frombuffer(found.data_base64, dtype="<f4")


WEIGHTS = Form("weights", "WEIGHTS", ".safetensors", encode, decode, EXAMPLE)
