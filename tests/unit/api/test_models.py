"""Models on their way in and out of the Python API."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turnout.api.models import model_file, read_model
from turnout.errors import JobFolderError, ServerError
from turnout.wire.model_files import read_start, write_arrays


def test_arrays_become_float32_and_come_back_by_name(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(model_file({"w": np.array([[0.5, 1], [2, 3]]), "b": np.array([], np.float16), "s": 4.0}))
    arrays = read_model(file)
    assert {name: array.tolist() for name, array in arrays.items()} == {"w": [[0.5, 1], [2, 3]], "b": [], "s": 4.0}
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_a_file_is_a_model_too(tmp_path: Path) -> None:
    arrays = {"w": np.array([1, 2], np.float32)}
    np.savez(tmp_path / "model.npz", **arrays)
    (tmp_path / "model.safetensors").write_bytes(model_file(arrays))
    assert model_file(tmp_path / "model.npz") == model_file(str(tmp_path / "model.safetensors")) == model_file(arrays)


def test_files_and_arrays_of_every_kind_are_taken_alike(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As in a job folder: floating point is cast, which a file's reader is told, and integers are carried."""
    arrays = {"w": np.array([1, 2], np.float16), "n": np.array(3)}
    np.savez(tmp_path / "model.npz", **arrays)
    (tmp_path / "model.safetensors").write_bytes(write_arrays(arrays))
    made = [model_file(each) for each in (arrays, tmp_path / "model.npz", tmp_path / "model.safetensors")]
    for start in map(read_start, made):
        assert (start.model.tolist(), start.carried["n"].tolist(), start.notes[1:]) == ([1, 2], 3, ())
    assert sum("w: float16, trained as float32" in message for message in caplog.messages) == 2


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (3, "model is a int; expected is a dict of arrays by name, a torch.nn.Module, or the path"),
        ({}, "the model has no floating point numbers"),
        ({"w": [1, 2]}, "the model has no floating point numbers, and only these are trained"),
        ({"w": ["x"]}, 'model: tensor "w" is <U1: floating point of 16, 32 or 64 bits is trained'),
        ({"w": [1.0, np.nan]}, 'model: tensor "w" is nan at position 1'),
        ({"w": [1e300]}, 'model: tensor "w" is inf at position 0'),
        ("missing.npz", "the model in missing.npz cannot be read: .*No such file"),
        ("model.pt", "the model model.pt is no .safetensors or .npz file"),
    ],
)
def test_what_is_no_model_is_said(model: Any, words: str) -> None:
    with pytest.raises(JobFolderError, match=words):
        model_file(model)


def test_a_broken_download_is_said(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ServerError, match="cannot be read"):
        read_model(tmp_path / "model.safetensors")
