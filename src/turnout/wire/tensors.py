"""Models and updates <-> bytes: named float32 tensors, or the one flat vector that the rest of turnout adds up.

Every way in distrusts its input: names, shapes, dtype and finiteness are checked here, once. Whatever is wrong raises
a ``DeviceError`` that names the tensor, what was found and what is expected; nothing else is ever raised for input.

A safetensors file is an eight-byte length, a JSON header and the numbers. Ours has the tensors in the order of the
schema, so that the numbers *are* the vector: a sender of exactly this header is read without a parse or a copy. Files
of other writers go through the safetensors library.
"""

import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import safetensors
from numpy.typing import NDArray

from turnout.errors import DeviceError
from turnout.messages import ModelSchema, TensorSpec

Vector = NDArray[np.float32]
_FLOAT32 = np.dtype("<f4")  # a type's name is looked up each time

ELEMENT_BYTES = 4
HEADER_ALIGNMENT = 8  #: Writers pad the header with spaces to this, so that the numbers can be used where they lie.
LENGTH_BYTES = 8
#: What another writer's header may have beyond twice ours: for metadata, and so that a few wrong names can be told.
HEADER_SPARE_BYTES = 64 * 1024
DIMENSIONS_MAX = 32
ELEMENTS_MAX = 2**40  #: Of one tensor, counting a dimension of zero as one: beyond it numpy cannot even hold the shape.
NAMES_SHOWN = 3
NAME_SHOWN_CHARS = 80
ERROR_SHOWN_CHARS = 200
HEADS_MAX = 256  #: Headers kept ready: one for each job that this process serves.


class TensorFormatError(DeviceError):
    """Not tensors at all: broken safetensors bytes, or JSON of another form."""

    reason = "format"


class TensorNamesError(DeviceError):
    """Tensors are missing or not of this model."""

    reason = "names"


class TensorShapeError(DeviceError):
    """A tensor has another shape than the model's."""

    reason = "shape"


class TensorDtypeError(DeviceError):
    """A tensor does not hold float32 numbers."""

    reason = "dtype"


class TensorNotFiniteError(DeviceError):
    """A number is NaN or infinite, or becomes so as float32."""

    reason = "not_finite"


# --- the schema ---------------------------------------------------------------------------------------------------


def num_parameters(schema: ModelSchema) -> int:
    """How many numbers a model of this schema has."""
    return sum(math.prod(tensor.shape) for tensor in schema.tensors)


def schema_of(arrays: Mapping[str, NDArray[Any]]) -> ModelSchema:
    """The schema of these tensors, in the order given."""
    return ModelSchema(tuple(TensorSpec(name, tuple(array.shape)) for name, array in arrays.items()))


def layout(schema: ModelSchema) -> Iterator[tuple[TensorSpec, int, int]]:
    """Each tensor with its first index in the vector and its number of elements."""
    begin = 0
    for tensor in schema.tensors:
        size = math.prod(tensor.shape)
        yield tensor, begin, size
        begin += size


# --- arrays <-> vector --------------------------------------------------------------------------------------------


def flatten(arrays: Mapping[str, NDArray[Any]], schema: ModelSchema) -> Vector:
    """One new contiguous vector of these tensors, which must be exactly those of ``schema``, float32 and finite."""
    check_names(arrays.keys(), schema)
    vector = np.empty(num_parameters(schema), dtype=np.float32)
    for tensor, begin, size in layout(schema):
        array = np.asarray(arrays[tensor.name])
        if array.dtype != np.float32:
            raise TensorDtypeError(f"tensor {quote(tensor.name)} is {array.dtype}; float32 is expected")
        check_shape(tensor, array.shape)
        vector[begin : begin + size] = array.reshape(-1)
    check_finite(vector, schema)
    return vector


def unflatten(vector: Vector, schema: ModelSchema) -> dict[str, Vector]:
    """The tensors of a vector, as views of it. The vector's length must be that of the schema."""
    assert vector.shape == (num_parameters(schema),), "a vector that passed the wire has its schema's length"
    return {tensor.name: vector[begin : begin + size].reshape(tensor.shape) for tensor, begin, size in layout(schema)}


# --- safetensors --------------------------------------------------------------------------------------------------


def to_safetensors(vector: Vector, schema: ModelSchema) -> bytes:
    """A safetensors file whose numbers lie in the order of the schema."""
    assert vector.shape == (num_parameters(schema),), "a vector that passed the wire has its schema's length"
    return _head(schema)[0] + np.ascontiguousarray(vector, dtype="<f4").tobytes()


def update_to_safetensors(update: memoryview, schema: ModelSchema) -> bytes:
    """The same of the bytes of a flat little-endian float32 vector."""
    head, file_bytes = _head(schema)
    assert len(head) + update.nbytes == file_bytes, "a vector that passed the wire has its schema's length"
    return head + update


def from_safetensors(data: bytes | memoryview, schema: ModelSchema) -> Vector:
    """The vector of a safetensors file, which must hold exactly the tensors of ``schema``, float32 and finite.

    A file as ``to_safetensors`` writes it is not copied: the vector is a read-only view of ``data``.
    """
    begin = _numbers_begin(data, schema)
    if not begin:
        return _from_other_writer(data, schema)
    vector = np.frombuffer(data, _FLOAT32, -1, begin)
    vector = vector.astype(np.float32, copy=not vector.flags.aligned)
    check_finite(vector, schema)
    return vector


def update_from_safetensors(data: bytes | memoryview, schema: ModelSchema) -> memoryview:
    """The same as the bytes of a flat little-endian float32 vector."""
    begin = _numbers_begin(data, schema)
    if not begin:
        return _from_other_writer(data, schema).view(np.uint8).data
    check_finite(np.frombuffer(data, _FLOAT32, -1, begin), schema)
    return memoryview(data)[begin:]


def _numbers_begin(data: bytes | memoryview, schema: ModelSchema) -> int:
    """Where the numbers begin in a file as ``to_safetensors`` writes it; 0 when another writer made it."""
    head, file_bytes = _head(schema)
    begin = len(head)
    return begin if len(data) == file_bytes and data[:begin] == head else 0


def _from_other_writer(data: bytes | memoryview, schema: ModelSchema) -> Vector:
    head, _ = _head(schema)
    header_bytes = int.from_bytes(data[:LENGTH_BYTES], "little")
    if len(data) > header_bytes > 2 * len(head) + HEADER_SPARE_BYTES:  # parsed, it would be thirty times as large
        tensors = len(schema.tensors)
        raise TensorFormatError(f"the header has {header_bytes} bytes; the model's {tensors} tensors need {len(head)}")
    return flatten(_load(data), schema)


def read_safetensors(data: bytes | memoryview) -> tuple[Vector, ModelSchema]:
    """The vector and schema of any safetensors file of finite float32 tensors, ordered by name."""
    arrays = _load(data)
    schema = schema_of({name: arrays[name] for name in sorted(arrays)})
    return flatten(arrays, schema), schema


@functools.lru_cache(maxsize=HEADS_MAX)
def _head(schema: ModelSchema) -> tuple[bytes, int]:
    """All of a file that comes before the numbers, and the size of the whole file."""
    header: dict[str, object] = {}
    for tensor, begin, size in layout(schema):
        data_offsets = (begin * ELEMENT_BYTES, (begin + size) * ELEMENT_BYTES)
        header[tensor.name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": data_offsets}
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % HEADER_ALIGNMENT)
    head = len(text).to_bytes(LENGTH_BYTES, "little") + text
    return head, len(head) + num_parameters(schema) * ELEMENT_BYTES


def _load(data: bytes | memoryview) -> dict[str, Vector]:
    """The tensors of any safetensors file, float32 and no larger than numpy can shape."""
    try:
        tensors = safetensors.deserialize(bytes(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise TensorFormatError(f"the body is not a safetensors file: {clip(str(error), ERROR_SHOWN_CHARS)}") from None
    arrays = {}
    for name, found in tensors:
        shape = found["shape"]
        if found["dtype"] != "F32":
            raise TensorDtypeError(f"tensor {quote(name)} is {found['dtype']}; F32 (float32) is expected")
        if len(shape) > DIMENSIONS_MAX or num_elements(shape) > ELEMENTS_MAX:
            raise TensorShapeError(f"tensor {quote(name)} has more dimensions or elements than a tensor can have")
        arrays[name] = np.frombuffer(found["data"], dtype="<f4").reshape(shape)
    return arrays


def num_elements(shape: Sequence[int]) -> int:
    """Of a tensor of this shape, counting a dimension of zero as one."""
    return math.prod(max(size, 1) for size in shape)


# --- checks and words ---------------------------------------------------------------------------------------------


def check_names(names: Collection[str], schema: ModelSchema) -> None:
    expected = {tensor.name for tensor in schema.tensors}
    if expected == set(names):
        return
    missing = [tensor.name for tensor in schema.tensors if tensor.name not in names]
    unexpected = [name for name in names if name not in expected]
    found = [f"missing {_quote_some(missing)}"] * bool(missing)
    found += [f"not of this model {_quote_some(unexpected)}"] * bool(unexpected)
    raise TensorNamesError(f"tensors: {'; '.join(found)}; expected are exactly the {len(expected)} of the model")


def check_shape(tensor: TensorSpec, shape: tuple[int, ...]) -> None:
    if shape != tensor.shape:
        raise TensorShapeError(
            f"tensor {quote(tensor.name)} has shape {clip(str(list(shape)))}; {list(tensor.shape)} is expected"
        )


def check_finite(vector: Vector, schema: ModelSchema) -> None:
    # One number that is not finite makes this sum of squares so. Half the time of asking each; unlike a sum or ``dot``
    # it does not warn when large numbers overflow.
    if math.isfinite(np.vdot(vector, vector)):
        return
    finite = np.isfinite(vector)
    if finite.all():
        return
    index = int(finite.argmin())
    for tensor, begin, size in layout(schema):
        if begin <= index < begin + size:
            raise TensorNotFiniteError(
                f"tensor {quote(tensor.name)} is {vector[index]} at position {index - begin}; "
                "finite float32 numbers are expected"
            )


def quote(name: str) -> str:
    """A name that a device chose, fit to be shown: clipped, and without control characters."""
    return f'"{clip(name)}"'


def _quote_some(names: Collection[str]) -> str:
    shown = ", ".join(quote(name) for name in list(names)[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} and {len(names) - NAMES_SHOWN} more"


def clip(text: str, chars_max: int = NAME_SHOWN_CHARS) -> str:
    text = text if len(text) <= chars_max else text[:chars_max] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]
