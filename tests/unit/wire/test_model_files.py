"""Model files as frameworks write them: what is trained, what is carried, and what each line says of it."""

import json
import struct

import numpy as np
import pytest

from turnout.errors import DeviceError
from turnout.wire.model_files import (
    DTYPES,
    as_used,
    read_arrays,
    read_start,
    start_from,
    with_carried,
    write_arrays,
    write_start,
)
from turnout.wire.tensors import to_safetensors


def file_of(*tensors: tuple[str, str, list[int], bytes]) -> bytes:
    """A safetensors file, written by hand: name, dtype, shape and bytes of each."""
    header, data = {}, b""
    for name, dtype, shape, content in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + data


def test_floating_point_of_every_size_is_trained_as_float32() -> None:
    start = read_start(
        file_of(
            ("half", "F16", [2], np.array([0.5, -2], "<f2").tobytes()),
            ("brain", "BF16", [2], struct.pack("<HH", 0x3FC0, 0xC040)),  # 1.5 and -3, the upper halves of float32
            ("single", "F32", [], np.array(4, "<f4").tobytes()),
            ("double", "F64", [1], np.array([0.25], "<f8").tobytes()),
        )
    )
    assert [tensor.name for tensor in start.schema.tensors] == ["brain", "double", "half", "single"]
    assert start.model.tolist() == [1.5, -3, 0.25, 0.5, -2, 4]
    assert start.model.dtype == np.float32
    assert start.notes == (
        "brain: bfloat16, trained as float32",
        "double: float64, trained as float32",
        "half: float16, trained as float32",
    )


def test_integers_and_booleans_are_carried_as_they_came() -> None:
    counter = file_of(
        ("bn.weight", "F32", [1], np.array([1], "<f4").tobytes()),
        ("bn.num_batches_tracked", "I64", [], np.array(7, "<i8").tobytes()),
        ("mask", "BOOL", [2], b"\x01\x00"),
    )
    start = read_start(counter)
    assert [tensor.name for tensor in start.schema.tensors] == ["bn.weight"]
    assert start.notes == ("bn.num_batches_tracked, mask: carried in every model file, not trained",)
    written = read_arrays(with_carried(to_safetensors(np.array([2], np.float32), start.schema), start.carried))
    assert {name: (array.dtype.name, array.tolist()) for name, array in written.items()} == {
        "bn.weight": ("float32", [2]),
        "bn.num_batches_tracked": ("int64", 7),
        "mask": ("bool", [True, False]),
    }
    assert read_start(write_start(start)).carried.keys() == start.carried.keys()
    used = as_used(start.model, start.schema, start.carried)
    assert used.keys() == written.keys()
    used["mask"][0] = False  # its own to change
    assert start.carried["mask"].tolist() == [True, False]


@pytest.mark.parametrize("name", DTYPES.values())
def test_every_kind_that_can_be_kept_comes_back(name: str) -> None:
    array = np.ones((2, 1), name)
    (found,) = read_arrays(write_arrays({"x": array})).values()
    assert (found.dtype, found.tolist()) == (array.dtype, array.tolist())


def test_a_file_without_anything_to_carry_is_the_same_bytes() -> None:
    start = start_from({"w": np.array([1], np.float32)})
    assert write_start(start) == to_safetensors(start.model, start.schema)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x", "it is not a safetensors file"),
        (file_of(("w", "F8_E4M3", [1], b"0")), 'tensor "w" is F8_E4M3: .*convert it, or leave it out'),
        (file_of(("w", "F64", [1], np.array([1e300]).tobytes())), 'tensor "w" is inf at position 0'),
        (file_of(("mask", "F32", [1], np.array([-np.inf], "<f4").tobytes())), 'tensor "mask" is -inf'),
    ],
)
def test_what_can_be_neither_trained_nor_carried_is_named(data: bytes, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        read_start(data)
