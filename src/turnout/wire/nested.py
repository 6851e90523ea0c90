"""Tensors in JSON: objects of tensors by name, and nested lists of numbers.

A JSON text can become thirty times as large when it is parsed, so it is bounded by what the schema's tensors need
before anything of it is, and parsed tensor by tensor. Whatever is wrong raises a ``DeviceError``.
"""

from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np

from turnout.messages import ModelSchema, TensorSpec
from turnout.wire.edge_requests import MALFORMED
from turnout.wire.tensors import (
    ELEMENTS_MAX,
    ERROR_SHOWN_CHARS,
    TensorDtypeError,
    TensorFormatError,
    TensorNotFiniteError,
    TensorShapeError,
    Vector,
    check_names,
    clip,
    num_parameters,
    quote,
    unflatten,
)

KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
#: In a JSON text every value but the first of a list comes with one of these, and what takes more memory with more.
VALUE_MARKS = b',[:{"'
#: So many more marks than the model's own are still parsed, a few MB at most: to say which tensor is wrong.
MARKS_SPARE = 64 * 1024
#: Of a tensor that is an object: of its fields, and of the list of its shape.
FIELD_MARKS = 128

#: As devices write it: what cannot be the length of a tensor is refused before anything is made of it.
Length = Annotated[int, msgspec.Meta(ge=-1, le=ELEMENTS_MAX)]

_BY_NAME = msgspec.json.Decoder(dict[str, msgspec.Raw])


def by_name(text: msgspec.Raw, schema: ModelSchema) -> dict[str, msgspec.Raw]:
    """The JSON of each tensor, in an object that has tensors by any names."""
    whole = bytes(text)
    marks_max = sum(_marks(tensor) for tensor in schema.tensors) + MARKS_SPARE
    if sum(whole.count(mark) for mark in VALUE_MARKS) > marks_max:
        expected = num_parameters(schema)
        raise TensorShapeError(f"there are far more values than in the model; its {expected} numbers are expected")
    try:
        return _BY_NAME.decode(whole)
    except msgspec.ValidationError as error:
        raise TensorFormatError(f"an object of tensors by name is expected: {error}") from None
    except MALFORMED as error:
        raise unreadable(error) from None


def by_exact_name(text: msgspec.Raw, schema: ModelSchema) -> dict[str, msgspec.Raw]:
    """``by_name``, of exactly the tensors of the schema."""
    found = by_name(text, schema)
    check_names(found.keys(), schema)
    return found


def lists(text: msgspec.Raw) -> Any:
    """The lists and numbers of one tensor."""
    try:
        return msgspec.json.decode(text)
    except MALFORMED as error:
        raise unreadable(error) from None


def unreadable(error: Exception) -> TensorFormatError:
    """A tensor is no JSON, or other JSON than a tensor can be."""
    return TensorFormatError(f"the tensors cannot be read: {clip(str(error), ERROR_SHOWN_CHARS)}")


def _marks(tensor: TensorSpec) -> int:
    """How many of ``VALUE_MARKS`` a tensor of this shape and name has at most, with the brace before it."""
    count, deeper = 1, 0
    for length in tensor.shape:
        deeper += count
        count *= length
    return count + 2 * deeper + len(tensor.name) + len('{"":,') + FIELD_MARKS


def to_nested(vector: Vector, schema: ModelSchema) -> dict[str, Any]:
    """``{name: nested lists of floats}``; a tensor of shape () is a bare number."""
    return {name: array.tolist() for name, array in unflatten(vector, schema).items()}


def numbers(value: object, tensor: TensorSpec) -> Vector:
    """The numbers of a nested list of the tensor's shape, in one row; those beyond float32 become infinite.

    Goes down level by level, so that nothing is built that is larger than the tensor. Left to itself, numpy takes
    "1.5" and true for numbers, and one long text among many short ones for an array of long texts.
    """
    level: list[Any] = [value]
    for depth, length in enumerate(tensor.shape):
        if not all(type(item) is list and len(item) == length for item in level):
            raise TensorShapeError(
                f"tensor {quote(tensor.name)} is not nested lists of shape {list(tensor.shape)}: "
                f"at depth {depth + 1}, lists of length {length} are expected"
            )
        level = list(chain.from_iterable(level))
    wrong = set(map(type, level)) - {float, int}
    if wrong:
        kinds = " and ".join(sorted(KINDS.get(kind, kind.__name__) for kind in wrong))
        deeper = TensorShapeError if list in wrong else TensorDtypeError
        raise deeper(f"tensor {quote(tensor.name)} holds {kinds}; numbers in shape {list(tensor.shape)} are expected")
    try:
        with np.errstate(over="ignore"):
            return np.array(level, dtype=np.float32)
    except OverflowError:
        raise TensorNotFiniteError(
            f"tensor {quote(tensor.name)} holds an integer beyond all floats; finite float32 numbers are expected"
        ) from None
