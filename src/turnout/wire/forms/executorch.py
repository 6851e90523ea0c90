"""ExecuTorch: the model as a .pte file in base64; back come the differences, tensor by tensor.

FLARE reads ``data`` in any nesting and then takes it for ``sizes``; so do we, as long as ``sizes`` leaves every number
where it is in the model's own shape. It does not look at ``strides``: whether ``data`` lies as they say or in the order
of ``sizes`` is nowhere laid down, and a guess would train a shuffled model unseen. Others than those of numbers in
order are refused.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from turnout.messages import ModelSchema, TensorSpec
from turnout.wire import nested
from turnout.wire.edge_requests import MALFORMED
from turnout.wire.forms.base import Form, Learned
from turnout.wire.tensors import (
    DIMENSIONS_MAX,
    ERROR_SHOWN_CHARS,
    TensorFormatError,
    TensorNamesError,
    TensorShapeError,
    Vector,
    check_finite,
    check_names,
    clip,
    layout,
    num_parameters,
    quote,
)

PREFIX = "net."  #: What FLARE's wrapper around a model puts before the names of its tensors.
EXAMPLE = '{"result": {"kind": "et_tensor_diff", "data": {name: {"data": [numbers], "sizes": [2, 3]}}, "meta": {}}}'
META = {
    "model_buffer_type": "executorch",
    "model_buffer_native_format": "binary",
    "model_buffer_encoding": "base64",
}


class _Tensor(msgspec.Struct):
    data: msgspec.Raw
    sizes: list[nested.Length]
    strides: list[nested.Length] | None = None


_TENSOR = msgspec.json.Decoder(_Tensor)


def encode(file: bytes | memoryview) -> bytes:
    """A .pte file as a JSON text of base64."""
    return b'"' + b64encode(file) + b'"'


def decode(kind: str | None, data: msgspec.Raw, schema: ModelSchema) -> Learned:
    """What ``{name: {"data", "sizes", "strides"}}`` says. The SDKs do not agree on a ``kind``, so any will do."""
    texts = _by_our_names(nested.by_name(data, schema), schema)
    vector = np.empty(num_parameters(schema), dtype=np.float32)
    for tensor, begin, size in layout(schema):
        vector[begin : begin + size] = _numbers(texts[tensor.name], tensor)
    check_finite(vector, schema)
    return Learned(vector, None)


def _by_our_names(texts: dict[str, msgspec.Raw], schema: ModelSchema) -> dict[str, msgspec.Raw]:
    """The same tensors, without the prefix where the model has none."""
    ours = {tensor.name for tensor in schema.tensors}
    renamed: dict[str, msgspec.Raw] = {}
    for name, text in texts.items():
        own = name if name in ours else name.removeprefix(PREFIX)
        if own in renamed:
            raise TensorNamesError(f'tensor {quote(own)} is there twice: with "{PREFIX}" before its name and without')
        renamed[own] = text
    check_names(renamed.keys(), schema)
    return renamed


def _numbers(text: msgspec.Raw, tensor: TensorSpec) -> Vector:
    try:
        found = _TENSOR.decode(text)
    except MALFORMED as error:
        said = clip(str(error), ERROR_SHOWN_CHARS)
        raise TensorFormatError(f"tensor {quote(tensor.name)} cannot be read: {said}; send {EXAMPLE}") from None
    flat = _flat(nested.lists(found.data), tensor)
    count = math.prod(tensor.shape)
    if len(flat) != count:
        raise TensorShapeError(f"tensor {quote(tensor.name)} has {len(flat)} numbers in its data; {count} are expected")
    row = nested.numbers(flat, TensorSpec(tensor.name, (count,)))
    sizes = _resolved(found.sizes, count)
    if not _same_place(sizes, tensor.shape):
        raise TensorShapeError(
            f"tensor {quote(tensor.name)} has sizes {clip(str(found.sizes))}; {list(tensor.shape)} is expected"
        )
    if found.strides is not None and not _in_order(found.strides, sizes):
        raise TensorShapeError(
            f"tensor {quote(tensor.name)} has strides {clip(str(found.strides))} with sizes {clip(str(sizes))}: "
            "send its numbers in the order of sizes, the last running fastest"
        )
    return row


def _flat(value: Any, tensor: TensorSpec) -> list[Any]:
    """The numbers of lists nested in any regular way, in one row."""
    level = value if type(value) is list else [value]
    for _ in range(DIMENSIONS_MAX):
        if not level or type(level[0]) is not list:
            break
        length = len(level[0])
        if not all(type(item) is list and len(item) == length for item in level):
            raise TensorShapeError(f"tensor {quote(tensor.name)} has lists of different lengths in its data")
        level = list(chain.from_iterable(level))
    return level


def _resolved(sizes: list[int], count: int) -> list[int]:
    """The same sizes, with the one that is -1 worked out, as torch does."""
    if sizes.count(-1) != 1 or len(sizes) > DIMENSIONS_MAX:
        return sizes
    rest = 1
    for size in sizes:
        rest *= size if size != -1 else 1
    return [count // rest if size == -1 and rest > 0 else size for size in sizes]


def _same_place(sizes: list[int], shape: tuple[int, ...]) -> bool:
    """Whether a tensor of these sizes has each number where the model has it: one row does, and ones matter not."""
    told = _without_ones(sizes)
    return told == _without_ones(shape) or told == _without_ones([math.prod(shape)])


def _without_ones(lengths: Sequence[int]) -> list[int]:
    return [length for length in lengths if length != 1]


def _in_order(strides: list[int], sizes: list[int]) -> bool:
    """Whether numbers with these strides lie in the order of ``sizes``; the stride of a single one says nothing."""
    if len(strides) != len(sizes):
        return False
    if 0 in sizes:
        return True
    expected = 1
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


EXECUTORCH = Form(
    "executorch",
    "APP_DEFINED",
    ".pte",
    encode,
    decode,
    EXAMPLE,
    not_ready="version {version} of the model is being exported",
    meta=META,
    exported=True,
)
