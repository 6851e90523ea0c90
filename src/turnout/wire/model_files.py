"""Model files as frameworks write them: what of them is trained, and what is carried along. Pure.

Floating point of any size is trained, as float32. Integers and booleans (a counter of batches, positions, a mask) are
carried: they are in no update, no device is sent them, and each model file that people get has them as they came.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save

from turnout.errors import DeviceError
from turnout.messages import ModelSchema
from turnout.wire.tensors import (
    DIMENSIONS_MAX,
    ELEMENTS_MAX,
    ERROR_SHOWN_CHARS,
    TensorDtypeError,
    TensorFormatError,
    TensorShapeError,
    Vector,
    clip,
    flatten,
    num_elements,
    quote,
    schema_of,
    to_safetensors,
    unflatten,
)

Arrays = Mapping[str, NDArray[Any]]

BFLOAT16 = "BF16"  #: The upper half of a float32, which numpy does not know.
#: What else a file may hold, as numpy calls it.
DTYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BOOL": "?",
    **{f"{kind}{8 * size}": f"<{kind.lower()}{size}" for kind in "IU" for size in (1, 2, 4, 8)},
}
_NAMES = {np.dtype(name): dtype for dtype, name in DTYPES.items()}
TENSORS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Start:
    """A model to start from. ``notes`` say, in lines, what was cast and what is carried."""

    model: Vector
    schema: ModelSchema
    carried: Arrays = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def start_from(arrays: Arrays, kinds: Mapping[str, str] | None = None) -> Start:
    """Divide arrays into what is trained and what is carried; ``kinds`` names what they were before they were read.

    Raises DeviceError for other things than numbers, and for numbers that are not finite, or not as float32.
    """
    floats: dict[str, Vector] = {}
    carried: dict[str, NDArray[Any]] = {}
    cast: dict[str, list[str]] = {}
    for name, array in arrays.items():
        kind = (kinds or {}).get(name, str(array.dtype))
        if np.issubdtype(array.dtype, np.floating):
            with np.errstate(over="ignore"):  # what is too large for float32 is found below
                floats[name] = np.asarray(array, np.float32)
            if kind != "float32":
                cast.setdefault(kind, []).append(name)
        elif array.dtype in _NAMES:
            carried[name] = array
        else:
            raise _neither(name, kind)
    notes = [f"{_some(names)}: {kind}, trained as float32" for kind, names in cast.items()]
    notes += [f"{_some(list(carried))}: carried in every model file, not trained"] if carried else []
    schema = schema_of(floats)
    return Start(flatten(floats, schema), schema, carried, tuple(notes))


def read_start(data: bytes | memoryview) -> Start:
    """Of a safetensors file, ordered by name. Raises DeviceError."""
    arrays, kinds = _read(data)
    return start_from({name: arrays[name] for name in sorted(arrays)}, kinds)


def read_arrays(data: bytes | memoryview) -> dict[str, NDArray[Any]]:
    """All that is in a model file, by name; the arrays are the caller's own to change. Raises DeviceError."""
    return {name: np.array(array) for name, array in _read(data)[0].items()}


def write_start(start: Start) -> bytes:
    """A safetensors file of all that ``read_start`` reads."""
    return with_carried(to_safetensors(start.model, start.schema), start.carried)


def with_carried(model: bytes, carried: Arrays) -> bytes:
    """A model in safetensors with what is carried beside it; where nothing is, the very same bytes."""
    if not carried:
        return model
    return write_arrays({**_read(model)[0], **carried})


def write_arrays(arrays: Arrays) -> bytes:
    """A safetensors file of arrays of any of ``DTYPES``."""
    return save({name: np.array(array, order="C") for name, array in arrays.items()})


def as_used(vector: Vector, schema: ModelSchema, carried: Arrays) -> dict[str, NDArray[Any]]:
    """A model as a job's own code gets it: all arrays by name, its own to change."""
    return {**unflatten(vector.copy(), schema), **{name: np.array(array) for name, array in carried.items()}}


def _read(data: bytes | memoryview) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays of a safetensors file and what each was in it; of bfloat16 the same numbers as float32."""
    try:
        tensors = safetensors.deserialize(bytes(data))  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise TensorFormatError(f"it is not a safetensors file: {clip(str(error), ERROR_SHOWN_CHARS)}") from None
    arrays, kinds = {}, {}
    for name, found in tensors:
        dtype, shape = found["dtype"], found["shape"]
        if len(shape) > DIMENSIONS_MAX or num_elements(shape) > ELEMENTS_MAX:
            raise TensorShapeError(f"tensor {quote(name)} has more dimensions or elements than a tensor can have")
        if dtype == BFLOAT16:
            halves = np.frombuffer(found["data"], "<u2").astype("<u4")
            arrays[name] = (halves << 16).view("<f4").reshape(shape)
        elif dtype in DTYPES:
            arrays[name] = np.frombuffer(found["data"], DTYPES[dtype]).reshape(shape)
        else:
            raise _neither(name, dtype)
        kinds[name] = "bfloat16" if dtype == BFLOAT16 else str(arrays[name].dtype)
    return arrays, kinds


def _neither(name: str, kind: str) -> DeviceError:
    return TensorDtypeError(
        f"tensor {quote(name)} is {clip(kind)}: floating point of 16, 32 or 64 bits is trained, integers and booleans "
        "are carried; convert it, or leave it out"
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(clip(name) for name in names[:TENSORS_SHOWN])
    return shown if len(names) <= TENSORS_SHOWN else f"{shown} and {len(names) - TENSORS_SHOWN} more"
